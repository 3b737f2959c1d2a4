"""Standard output that is full, closed, or no longer read: noticed for every command, whoever writes to it."""

import errno
import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast


@dataclass
class Watched:
    """What happened to standard output.

    Args:
        failure: The last error of a write; None while all is well.
    """

    failure: OSError | None = None


class _Raw(io.RawIOBase):
    """Writes to a file descriptor, and notes what fails. A descriptor of -1 stands for a closed output (`>&-`)."""

    def __init__(self, descriptor: int, watched: Watched) -> None:
        self._descriptor, self._watched = descriptor, watched

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._descriptor >= 0 and os.isatty(self._descriptor)

    def fileno(self) -> int:
        if self._descriptor < 0:
            raise io.UnsupportedOperation("fileno")
        return self._descriptor

    def write(self, data: Any) -> int:
        try:
            if self._descriptor < 0:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            written, whole = 0, memoryview(data).cast("B")
            while written < len(whole):
                written += os.write(self._descriptor, whole[written:])
            return written
        except OSError as error:
            self._watched.failure = error
            raise


@contextmanager
def watched_stdout() -> Generator[Watched]:
    """Has `sys.stdout` note what fails, until the end; what then waits to be written is dropped if it cannot be.

    Standard output that a test or another program has put in the place of Python's own is left alone.
    """
    watched, before = Watched(), sys.stdout
    if before is not sys.__stdout__:
        yield watched
        return
    closed = cast(Any, before) is None
    raw = _Raw(-1 if closed else before.fileno(), watched)
    direct = not closed and cast(io.TextIOWrapper, before).write_through  # PYTHONUNBUFFERED
    sys.stdout = io.TextIOWrapper(
        cast(Any, raw) if direct else io.BufferedWriter(raw),
        encoding=None if closed else before.encoding,
        errors=None if closed else before.errors,
        line_buffering=raw.isatty(),
        write_through=direct,
    )
    try:
        yield watched
    finally:
        if watched.failure is not None and not closed:
            with suppress(OSError):  # Python would complain at its end that it cannot write what waits
                os.dup2(os.open(os.devnull, os.O_WRONLY), raw.fileno())
        with suppress(OSError):
            sys.stdout.flush()
        sys.stdout = before
