"""Traces to and from JSON lines, each with the version of its format."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import msgspec

from corea.errors import DataError
from corea.types import TRACE_VERSION, Trace

_encoder = msgspec.json.Encoder(decimal_format="string")
_decoder = msgspec.json.Decoder(Trace)


class _Version(msgspec.Struct):
    version: int = 0


def encode(trace: Trace) -> bytes:
    """A trace as one line of JSON, without the newline."""
    return _encoder.encode(trace)


def decode(line: bytes | str, *, path: str | None = None, number: int | None = None) -> Trace:
    """A trace from one line.

    Raises:
        DataError: The line is not a trace, or one of another version; with path and line number if given.
    """
    try:
        trace = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(_why(line, error), path=path, line=number) from error
    if trace.version != TRACE_VERSION:
        raise DataError(_wrong_version(trace.version), path=path, line=number)
    return trace


def _why(line: bytes | str, error: Exception) -> str:
    try:
        version = msgspec.json.decode(line, type=_Version).version
    except (msgspec.DecodeError, UnicodeDecodeError):
        return f"not a trace ({error}); expected one JSON object a line, as `corea run` writes them"
    if version not in (0, TRACE_VERSION):
        return _wrong_version(version)
    return f"not a trace ({error}); expected one as `corea run` writes them"


def _wrong_version(version: int) -> str:
    newer = "install a newer corea" if version > TRACE_VERSION else "remake it with this corea"
    return f"trace version {version}, expected {TRACE_VERSION}; {newer}"


def read_traces(path: str | Path) -> Iterator[Trace]:
    """The traces of a file, in order; a name that ends in .gz is decompressed.

    Raises:
        DataError: The file cannot be read, or a line is not a trace.
    """
    path = Path(path)
    try:
        with cast(IO[bytes], gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")) as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield decode(line, path=str(path), number=number)
    except (OSError, EOFError) as error:
        raise DataError(f"cannot be read ({error}); expected a file of traces", path=str(path)) from error
