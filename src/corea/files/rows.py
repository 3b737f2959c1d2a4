"""Rows of a file or pipe, in the format that its name gives: JSON lines, JSON array, CSV, TSV, Parquet, also .gz."""

import csv
import sys
import zlib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from corea.errors import ConfigError, DataError
from corea.files.byte_streams import UnreadableError, open_utf8
from corea.files.readers import ANY_ROWS, PlainRow, Record, RowKind, csv_records, json_records, parquet_records


class FileFormat(StrEnum):
    """The format of the rows of a file."""

    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"
    PARQUET = "parquet"


SUFFIXES = {
    ".jsonl": FileFormat.JSONL,
    ".ndjson": FileFormat.JSONL,
    ".json": FileFormat.JSONL,
    ".csv": FileFormat.CSV,
    ".tsv": FileFormat.TSV,
    ".parquet": FileFormat.PARQUET,
}
ADVICE = {
    ".txt": "save it as .csv with a first line `question`, or as .jsonl",
    ".xlsx": "save the sheet as CSV (UTF-8)",
    ".xls": "save the sheet as CSV (UTF-8)",
    ".ods": "save the sheet as CSV (UTF-8)",
    ".zip": "unpack it",
}
DELIMITERS = {FileFormat.CSV: ",", FileFormat.TSV: "\t"}


def format_of(path: str, *, written: bool = False) -> FileFormat:
    """The format given by a name's suffix; .gz may follow it.

    Args:
        written: True for an output, which gets another advice.

    Raises:
        ConfigError: The suffix is unknown.
    """
    suffix = Path(path.removesuffix(".gz")).suffix.lower()
    if suffix not in SUFFIXES or path.endswith(".parquet.gz"):
        got = "a folder" if Path(path).is_dir() else f"the suffix {suffix!r}" if suffix else "no suffix"
        advice = (
            "name it answers.jsonl, or the like" if written else ADVICE.get(suffix, "rename it so, or name another")
        )
        raise ConfigError(
            f"{path}: got {got}, expected a name in {', '.join(SUFFIXES)} (with .gz behind it, too, but for .parquet); "
            f"{advice}"
        )
    return SUFFIXES[suffix]


def read_rows(
    path: str | Path, kind: FileFormat | None = None, *, columns: tuple[str, ...] = ()
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(line, row) of each row of a file, in Parquet its number.

    Args:
        kind: By default given by the name.
        columns: Of a Parquet file, the only columns that are read; none: all.

    Raises:
        ConfigError: The name does not give the format.
        DataError: The file cannot be read, or a row is not an object; with path and line.
    """
    for line, record in read_records(str(path), kind or format_of(str(path)), columns=columns):
        if isinstance(record, str):
            raise DataError(record, path=str(path), line=line)
        yield line, {"id": record.id, "question": record.question} if isinstance(record, PlainRow) else record


def read_records(
    path: str,
    kind: FileFormat,
    *,
    pipe: IO[bytes] | None = None,
    expected: RowKind = ANY_ROWS,
    columns: tuple[str, ...] = (),
) -> Iterator[tuple[int, Record]]:
    """(line, record) of each row of a file, or of a pipe where the path is "-"; an invalid one is its message.

    Args:
        pipe: The input for "-"; by default standard input.

    Raises:
        DataError: The file itself cannot be read (any further).
    """
    name = "<stdin>" if path == "-" else path
    try:
        if kind is FileFormat.PARQUET:
            yield from parquet_records(path, columns)
            return
        with open_utf8(path, (pipe or sys.stdin.buffer) if path == "-" else None) as stream:
            if kind is FileFormat.JSONL:
                yield from json_records(stream)
            else:
                yield from csv_records(stream, DELIMITERS[kind], expected)
    except FileNotFoundError as error:
        raise DataError(f"no such file, expected a file of {expected.name}", path=name) from error
    except IsADirectoryError as error:
        raise DataError(f"is a folder, expected a file of {expected.name}", path=name) from error
    except UnreadableError as error:
        raise DataError(str(error), path=name, line=error.line) from error
    except (OSError, EOFError, zlib.error, csv.Error) as error:  # the middle two: a broken .gz
        raise DataError(f"cannot be read ({error}); is it whole, and {kind}?", path=name) from error
