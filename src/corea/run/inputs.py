"""Files and pipes of questions: JSON lines, CSV, TSV, Parquet, each packed with .gz or not, and "-" for a
pipe.

A source is read one row at a time. A bad row is a `DataError` with path and line in the stream, not an
exception: the run decides what follows.
"""

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import msgspec

from corea.datasets.rows import question_from_row
from corea.errors import ConfigError, DataError
from corea.registry import install_hint
from corea.types import Message, Question


class Format(StrEnum):
    """How rows are written in a file."""

    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"
    PARQUET = "parquet"


SUFFIXES = {
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".json": Format.JSONL,
    ".csv": Format.CSV,
    ".tsv": Format.TSV,
    ".parquet": Format.PARQUET,
}
PARQUET_BATCH = 512  # rows in memory at once
MAX_FIELD = 64 * 1024 * 1024  # characters of one CSV field; the csv module's own limit is 128 Ki


class Row(NamedTuple):
    """One question of a source.

    Args:
        number: From 0, bad rows counted too; the row's name in a journal.
        line: Where it is, from 1: the line of the file, in Parquet the row.
    """

    number: int
    line: int
    question: Question


class Plain(msgspec.Struct, forbid_unknown_fields=True):
    """A row of no more than an id and a question: most files have only such, and they are read quickly."""

    id: str
    question: str


Record = Mapping[str, Any] | Plain | str
"""A row as read; text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Source:
    """Questions to be read: a path, or "-" for standard input, which can be read only once.

    Args:
        format: By default told by the name; a pipe's is JSON lines.
        pipe: What "-" reads; by default standard input.

    Raises:
        ConfigError: The name does not tell the format.
    """

    path: str
    format: Format | None = None
    pipe: IO[bytes] | None = None

    def __post_init__(self) -> None:
        _ = self.kind

    @property
    def is_pipe(self) -> bool:
        """Whether it can be read only once."""
        return self.path == "-"

    @property
    def name(self) -> str:
        """What messages call it."""
        return "<stdin>" if self.is_pipe else self.path

    @property
    def kind(self) -> Format:
        """The format of its rows."""
        return self.format or (Format.JSONL if self.is_pipe else format_of(self.path))

    def rows(self) -> Iterator[Row | DataError]:
        """Every row in order; a bad one is a DataError that says where.

        Raises:
            DataError: The file itself cannot be read (any further).
        """
        for number, line, record in self._numbered():
            found = self._question(line, record)
            yield Row(number, line, found) if isinstance(found, Question) else found

    def ids(self) -> Iterator[tuple[int, int, str] | DataError]:
        """(number, line, id) of every row in order, and what is wrong with bad ones: a first look, for less."""
        for number, line, record in self._numbered():
            if isinstance(record, Plain) and record.id and record.question:
                yield number, line, record.id
            else:
                found = self._question(line, record)
                yield (number, line, found.id) if isinstance(found, Question) else found

    def _question(self, line: int, record: Record) -> Question | DataError:
        if isinstance(record, Plain):
            if record.id and record.question:
                return Question(id=record.id, messages=(Message("user", record.question),))
            record = {"id": record.id, "question": record.question}
        if isinstance(record, str):
            return DataError(record, path=self.name, line=line)
        try:
            return question_from_row(record, default_id=f"line-{line}")
        except DataError as error:
            return DataError(str(error), path=self.name, line=line)

    def _numbered(self) -> Iterator[tuple[int, int, Record]]:
        """(number, line, record) of every row."""
        number = -1
        try:
            for number, (line, record) in enumerate(self._records()):
                yield number, line, record
        except FileNotFoundError as error:
            raise DataError("no such file", path=self.name) from error
        except (OSError, EOFError, zlib.error, csv.Error) as error:  # the middle two: a broken .gz
            raise DataError(f"cannot be read ({error}); is it whole, and {self.kind}?", path=self.name) from error
        if number < 0 and not self.is_pipe:
            raise DataError("has no rows, expected at least one question", path=self.name)

    def _records(self) -> Iterator[tuple[int, Record]]:
        if self.kind is Format.PARQUET:
            yield from _parquet_records(self.path)
            return
        with self._open() as stream:
            yield from READERS[self.kind](stream)

    def _open(self) -> IO[bytes]:
        if self.is_pipe:
            return io.BufferedReader(cast(io.RawIOBase, _KeptOpen(self.pipe or sys.stdin.buffer)))
        if self.path.endswith(".gz"):
            return cast(IO[bytes], gzip.open(self.path, "rb"))
        return open(self.path, "rb")


class _KeptOpen(io.RawIOBase):
    """A stream that its reader does not close: standard input is not ours."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        read: Callable[[int], bytes] = getattr(self._stream, "read1", self._stream.read)
        data = read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def format_of(path: str) -> Format:
    """The format that a name tells; .gz may follow the suffix.

    Raises:
        ConfigError: It tells none.
    """
    suffix = Path(path.removesuffix(".gz")).suffix.lower()
    if suffix not in SUFFIXES or (path.endswith(".parquet.gz")):
        raise ConfigError(
            f"{path}: got the suffix {suffix or 'none'!r}, expected one of {', '.join(SUFFIXES)} (with .gz behind "
            "it, too, but for .parquet); rename it, or name the format"
        )
    return SUFFIXES[suffix]


def _jsonl_records(stream: IO[bytes]) -> Iterator[tuple[int, Record]]:
    decode_plain, decode = msgspec.json.Decoder(Plain).decode, msgspec.json.Decoder().decode
    plain = True  # until a row is more: its like will follow
    for line, data in enumerate(stream, 1):
        data = data.removeprefix(b"\xef\xbb\xbf").strip() if line == 1 else data.strip()
        if not data:
            continue
        if plain:
            try:
                yield line, decode_plain(data)
                continue
            except (msgspec.DecodeError, UnicodeDecodeError):
                plain = False
        try:
            record: Any = decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            yield line, f"not JSON ({error})"
            continue
        if isinstance(record, dict):
            yield line, cast(dict[str, Any], record)
        else:
            yield line, f'got {type(record).__name__}, expected a JSON object such as {{"question": "..."}}'


def _csv_records(stream: IO[bytes], delimiter: str = ",") -> Iterator[tuple[int, Record]]:
    csv.field_size_limit(MAX_FIELD)
    with io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        header = [name.strip() for name in next(reader, list[str]())]
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield line, f"not CSV ({error})"
                continue
            if not fields:
                continue
            if len(fields) != len(header):
                yield (
                    line,
                    f"got {len(fields)} fields, expected {len(header)} as in line 1 ({', '.join(header)})",
                )
            elif any("\udc80" <= c <= "\udcff" for field in fields if not field.isascii() for c in field):
                yield line, "not UTF-8; save the file as UTF-8"
            else:
                yield line, {name: value for name, value in zip(header, fields, strict=True) if value != ""}


def _tsv_records(stream: IO[bytes]) -> Iterator[tuple[int, Record]]:
    return _csv_records(stream, "\t")


def _parquet_records(path: str) -> Iterator[tuple[int, Record]]:
    pyarrow, parquet = import_parquet(path)
    try:
        with parquet.ParquetFile(path) as file:
            line = 0
            for batch in file.iter_batches(batch_size=PARQUET_BATCH):
                for record in batch.to_pylist():
                    line += 1
                    yield line, record
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"not Parquet ({str(error).splitlines()[0]})", path=path) from error


def import_parquet(path: str) -> tuple[Any, Any]:
    """pyarrow and its Parquet module.

    Raises:
        ConfigError: They are not installed.
    """
    try:
        pyarrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{path}: Parquet needs pyarrow, which is not installed; {install_hint('pyarrow')}"
        ) from error
    return pyarrow, parquet


READERS: dict[Format, Callable[[IO[bytes]], Iterator[tuple[int, Record]]]] = {
    Format.JSONL: _jsonl_records,
    Format.CSV: _csv_records,
    Format.TSV: _tsv_records,
}
