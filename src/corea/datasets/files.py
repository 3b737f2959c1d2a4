"""Local files of questions: the file of a split, and the rows of JSON lines, JSON, CSV and Parquet files."""

import csv
import gzip
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from corea.errors import ConfigError, DataError
from corea.registry import install_hint

Row = Mapping[str, Any]
RECORDED = ("id", "question", "answer", "answer_type", "dataset", "grader", "choices", "category", "meta")
BATCH = 4096  # rows of a Parquet file in memory at once
SUFFIXES = (".jsonl", ".json", ".csv", ".parquet", ".jsonl.gz", ".json.gz", ".csv.gz")


def file_of(path: str, split: str, splits: tuple[str, ...] = ()) -> Path:
    """The file itself, or the one of a split in a folder ("test.jsonl", "main/test-00000-of-00001.parquet").

    Raises:
        DataError: There is none, there are several, or its name says that it holds another split.
    """
    place = Path(path)
    if place.is_dir():
        found = sorted(p for p in place.rglob("*") if p.name.startswith(split) and p.name.endswith(SUFFIXES))
        if len(found) != 1:
            names = ", ".join(p.name for p in found) or "none"
            raise DataError(f"expected one file whose name begins with {split!r}, got {names}; name it", path=path)
        return found[0]
    if not place.exists():
        raise DataError("no such file or folder", path=path)
    other = next((name for name in splits if name != split and name in _words(place.name)), None)
    if other and split not in _words(place.name):
        raise DataError(f"the split {split!r} was asked for, the name says {other!r}; give the right file", path=path)
    return place


def _words(name: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in name.lower()).split()


def read_rows(file: Path, *, columns: tuple[str, ...] = ()) -> Iterator[tuple[int, Row]]:
    """(line, row) of each row of a JSON lines, JSON array, CSV or Parquet file, all but the last also packed with gzip.

    Args:
        columns: The columns of a Parquet file that are read, with those of the recorded form; none: all.

    Raises:
        DataError: It cannot be read, or a row is not an object.
    """
    if not file.name.endswith(SUFFIXES):
        raise DataError(f"got the suffix {file.suffix!r}, expected one of {', '.join(SUFFIXES)}", path=str(file))
    if file.suffix == ".parquet":
        yield from _parquet_rows(file, columns)
        return
    try:
        packed = file.name.endswith(".gz")
        data = gzip.decompress(file.read_bytes()) if packed else file.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read ({error})", path=str(file)) from error
    if file.name.removesuffix(".gz").endswith(".csv"):
        reader = csv.DictReader(io.StringIO(text, newline=""))
        yield from ((reader.line_num, row) for row in reader)
        return
    yield from _json_rows(file, text)


def _json_rows(file: Path, text: str) -> Iterator[tuple[int, Row]]:
    if text.lstrip().startswith("["):
        lines: Iterable[tuple[int, str | Any]] = enumerate(_json(file, 1, text), 1)
    else:
        lines = ((n, _json(file, n, line)) for n, line in enumerate(text.split("\n"), 1) if line.strip())
    for number, row in lines:
        if not isinstance(row, dict):
            raise DataError(f"got {type(row).__name__}, expected an object", path=str(file), line=number)
        yield number, cast(dict[str, Any], row)


def _json(file: Path, line: int, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"not JSON ({error})", path=str(file), line=line) from error


def _parquet_rows(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, Row]]:
    try:
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError as error:
        hint = install_hint("pyarrow")
        raise ConfigError(f"{file}: a Parquet file needs pyarrow, which is not installed; {hint}") from error
    try:
        with parquet.ParquetFile(file) as opened:
            there: list[str] = opened.schema_arrow.names
            wanted = [name for name in there if not columns or name in (*columns, *RECORDED)]
            batches: Iterator[Any] = opened.iter_batches(BATCH, columns=wanted)
            yield from enumerate((row for batch in batches for row in batch.to_pylist()), 1)
    except (OSError, ValueError) as error:  # pyarrow's own errors are kinds of these
        raise DataError(f"cannot be read ({error})", path=str(file)) from error
