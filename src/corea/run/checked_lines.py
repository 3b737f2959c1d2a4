"""Append-only files of JSON lines, each with a checksum: `{"crc":"1f0c86ab","line":{...}}`."""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from corea.errors import ConfigError, DataError

try:
    import fcntl
except ImportError:  # Windows has none: two writers at once are then not noticed
    fcntl = None

_PREFIX = b'{"crc":"'
_BODY = len(b'{"crc":"00000000","line":')


def checked_line(body: bytes) -> bytes:
    """One line with the checksum of its body."""
    return b'{"crc":"%08x","line":%s}\n' % (zlib.crc32(body), body)


def body_of(line: bytes) -> bytes | None:
    """The body of a line; None where it is incomplete or damaged."""
    if not (line.startswith(_PREFIX) and line.endswith(b"}\n")):
        return None
    body = line[_BODY:-2]
    return body if b"%08x" % zlib.crc32(body) == line[8:16] else None


def good_lines(lines: IO[bytes], path: Path, kind: str, advice: str) -> Iterator[tuple[int, bytes]]:
    """(offset, body) of every line; an incomplete or damaged last one is left out.

    Args:
        kind: The name of such a file, for the message if its first line is damaged.
        advice: The end of that message.

    Raises:
        DataError: A line before the last is damaged, or it is another file.
    """
    offset, number, damaged = 0, 0, 0
    for number, line in enumerate(lines, 1):
        if damaged:
            raise DataError(
                "a line before the last is damaged; restore the file, or move it away to begin again",
                path=str(path),
                line=damaged,
            )
        body = body_of(line)
        if body is None:
            damaged = number
        else:
            yield offset, body
            offset += len(line)
    if damaged == 1:
        raise DataError(f"is not {kind}; {advice}", path=str(path))


def open_to_append(path: Path) -> int:
    """A file descriptor that reads, and appends.

    Raises:
        DataError: It cannot be opened.
    """
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o644)
    except OSError as error:
        raise DataError(
            f"cannot be opened ({error.strerror}); is the folder there, and writable?", path=str(path)
        ) from error


def lock(descriptor: int) -> bool:
    """Locks an open file against other processes of this machine; False where another one has it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_locked_error(path: Path) -> ConfigError:
    """The error of a second writer."""
    return ConfigError(f"{path}: another run is writing it; wait for it, or name another --out")
