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
        UnreadableError: It is not text.
    """
    if pipe is not None:
        raw: io.RawIOBase = _Converted(getattr(pipe, "read1", pipe.read), _unchanged, None)
    elif path.endswith(".gz"):
        raw = cast(io.RawIOBase, gzip.open(path, "rb"))  # noqa: SIM115  # closed by its reader
    else:
        raw = io.FileIO(path)
    stream = _buffered(raw)
    try:
        return _as_utf8(stream)
    except BaseException:
        stream.close()
        raise


def _as_utf8(stream: io.BufferedReader) -> io.BufferedReader:
    head = stream.peek(4)[:4]
    for mark, encoding in BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return _buffered(_Converted(stream.read1, _utf8_from(encoding), stream))
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
    """A stream whose bytes are converted a chunk at a time.

    Args:
        convert: Receives the next bytes, and whether they are the last.
        close_with_this: Closed together with it; None where the stream is not ours (standard input).
    """

    def __init__(
        self, read: Callable[[int], bytes], convert: Callable[[bytes, bool], bytes], close_with_this: IO[bytes] | None
    ) -> None:
        self._read, self._convert, self._inner = read, convert, close_with_this
        self._waiting = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._waiting:
            data = self._read(CHUNK)
            self._waiting = self._convert(data, not data)
            if not data:
                break
        taken = self._waiting[: len(buffer)]
        self._waiting = self._waiting[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)

    def close(self) -> None:
        if self._inner is not None:
            self._inner.close()
        super().close()


def _buffered(raw: io.RawIOBase) -> io.BufferedReader:
    return cast(io.BufferedReader, io.BufferedReader(raw, CHUNK))


def _unchanged(data: bytes, _last: bool) -> bytes:
    return data


def _utf8_from(encoding: str) -> Callable[[bytes, bool], bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()

    def convert(data: bytes, last: bool) -> bytes:
        try:
            return decoder.decode(data, last).encode()
        except UnicodeDecodeError as error:
            raise UnreadableError(f"is not whole {encoding.upper()} ({error.reason}); save it as UTF-8") from error

    return convert


def with_line_feeds(stream: io.BufferedReader) -> io.BufferedReader:
    """The same stream with line feeds for line ends of any kind."""
    newlines = io.IncrementalNewlineDecoder(None, translate=True)

    def convert(data: bytes, last: bool) -> bytes:
        return newlines.decode(data.decode("latin-1"), final=last).encode("latin-1")

    return _buffered(_Converted(stream.read1, convert, stream))
