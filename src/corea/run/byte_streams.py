"""A file or pipe as a stream of UTF-8 bytes: .gz is unpacked, UTF-16 and UTF-32 with a byte order mark are converted.

What is plainly another kind of file (a workbook, Parquet under another name) is an `UnreadableError` that says so.
"""

import codecs
import gzip
import io
from collections.abc import Callable
from typing import IO, Any, cast

CHUNK = 1 << 16
BYTE_ORDER_MARKS = (  # the longer ones first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SIGNATURES = (
    (b"PK\x03\x04", "is a zip archive or an Excel workbook (.xlsx); save the sheet as CSV (UTF-8)"),
    (b"\xd0\xcf\x11\xe0", "is an old Excel workbook (.xls); save the sheet as CSV (UTF-8)"),
    (b"\x1f\x8b", "is packed by gzip; give it a name that ends in .gz"),
    (b"PAR1", "is Parquet; give it a name that ends in .parquet"),
)


class UnreadableError(Exception):
    """A whole file that cannot be read (any further); the reader of the source adds the path.

    Args:
        line: Where it was noticed, from 1; None: nowhere in particular.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def open_utf8(path: str, pipe: IO[bytes] | None = None) -> io.BufferedReader:
    """The bytes of a file, or of a pipe (which is left open at the end), as UTF-8 without a byte order mark.

    Raises:
        UnreadableError: It is no text.
    """
    if pipe is not None:
        raw: io.RawIOBase = _KeptOpen(pipe)
    elif path.endswith(".gz"):
        raw = cast(io.RawIOBase, gzip.open(path, "rb"))  # noqa: SIM115  # closed by its reader
    else:
        raw = io.FileIO(path)
    stream = cast(io.BufferedReader, io.BufferedReader(raw, CHUNK))
    try:
        return _as_utf8(stream)
    except BaseException:
        stream.close()
        raise


def _as_utf8(stream: io.BufferedReader) -> io.BufferedReader:
    head = stream.peek(4)[:4]
    for mark, encoding in BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return io.BufferedReader(cast(io.RawIOBase, _Converted(stream, encoding)), CHUNK)
    for signature, why in SIGNATURES:
        if head.startswith(signature):
            raise UnreadableError(why)
    if b"\0" in head:
        raise UnreadableError(
            "is not UTF-8 (zero bytes at its start: UTF-16 without a byte order mark?); save it as UTF-8"
        )
    if head.startswith(codecs.BOM_UTF8):
        stream.read(len(codecs.BOM_UTF8))
    return stream


class _Converted(io.RawIOBase):
    """Text of another encoding as UTF-8, a chunk at a time."""

    def __init__(self, stream: io.BufferedReader, encoding: str) -> None:
        self._stream, self._encoding = stream, encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._waiting = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._waiting:
            data = self._stream.read1(CHUNK)
            try:
                self._waiting = self._decoder.decode(data, final=not data).encode()
            except UnicodeDecodeError as error:
                kind = self._encoding.upper()
                raise UnreadableError(f"is not whole {kind} ({error.reason}); save it as UTF-8") from error
            if not data:
                break
        taken = self._waiting[: len(buffer)]
        self._waiting = self._waiting[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)

    def close(self) -> None:
        self._stream.close()
        super().close()


def with_line_feeds(stream: io.BufferedReader) -> io.BufferedReader:
    """The same stream with line feeds for line ends of any kind."""
    return io.BufferedReader(cast(io.RawIOBase, _LineFeeds(stream)), CHUNK)


class _LineFeeds(io.RawIOBase):
    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream, self._newlines = stream, io.IncrementalNewlineDecoder(None, translate=True)
        self._waiting = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._waiting:
            data = self._stream.read1(CHUNK)
            self._waiting = self._newlines.decode(data.decode("latin-1"), final=not data).encode("latin-1")
            if not data:
                break
        taken = self._waiting[: len(buffer)]
        self._waiting = self._waiting[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)

    def close(self) -> None:
        self._stream.close()
        super().close()


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
