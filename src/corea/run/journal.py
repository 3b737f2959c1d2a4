"""The journal, from which a killed run is resumed.

An append-only file of JSON lines beside the output, each with a checksum over its body:

    {"crc":"1f0c86ab","line":{"journal":2,"settings":{...}}}          the first: the settings that decide the answers
    {"crc":"77d01c3e","line":{"rows":12000}}                          the length of the questions at a start
    {"crc":"5b1d3a07","line":{"start":7,"at_most_usd":"0.0021"}}      written before a question is asked
    {"crc":"c3d9a7f2","line":{"next":7,"at_most_usd":"0.0093"}}       written before its next stage is asked
    {"crc":"90ab12cd","line":{"done":7,"key":"...","trace":{...}}}    written when its trace is whole

Every line is passed to the operating system at once, so a killed process loses no answer. `sync`, called about once a
second, writes it to the disk: a power cut may lose that second. A start without a done was in flight at a kill: it may
have been paid for, is asked again, and is counted.
"""

import os
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from corea.errors import ConfigError, DataError
from corea.prices import EXACT
from corea.run.answer_settings import differences, in_one_line
from corea.run.journal_line import JournalLine, body_of, decoded_line
from corea.types import ZERO_USD

try:
    import fcntl
except ImportError:  # Windows has none: two runs at once are then not noticed
    fcntl = None

VERSION = 2
BUFFER = 1 << 18  # bytes read or written at once
ROWS_AHEAD = 1024  # room made for rows that will follow
_UNTOUCHED, _STARTED = 0, 1  # offsets below the first done line, which is never here


@dataclass(slots=True)
class LostInFlight:
    """Questions in flight when a run was killed, over all its starts.

    Args:
        at_most_usd: Their worst-case cost by then, known under a budget; else 0.
        unbounded: Rows whose worst case is unknown, with the number of times.
    """

    questions: int = 0
    at_most_usd: Decimal = ZERO_USD
    unbounded: dict[int, int] = field(default_factory=dict[int, int])

    def add(self, row: int, at_most_usd: Decimal) -> None:
        """Adds one more; 0 is unknown."""
        self.questions += 1
        self.at_most_usd = EXACT.add(self.at_most_usd, at_most_usd)
        if not at_most_usd:
            self.unbounded[row] = self.unbounded.get(row, 0) + 1


@dataclass(slots=True)
class Journal:
    """An open journal, locked against a second run. 16 bytes of memory a row.

    Args:
        write: Writes bytes to a file descriptor and returns their number; tests replace it to fill the disk.

    Attributes:
        rows: The largest number of rows at an earlier start; 0 where unknown.
        failure: The error of the last write that failed: the lines that waited for it are lost.
    """

    path: Path
    write: Callable[[int, bytes], int] = os.write
    lost: LostInFlight = field(default_factory=LostInFlight)
    answered: int = 0
    rows: int = 0
    failure: DataError | None = None
    _descriptor: int = -1
    _size: int = 0
    _synced: int = 0
    _waiting: list[bytes] = field(default_factory=list[bytes])
    _waiting_size: int = 0
    _offsets: "array[int]" = field(default_factory=lambda: array("Q"))
    _keys: "array[int]" = field(default_factory=lambda: array("Q"))
    _again: set[int] = field(default_factory=set[int])

    def open(self, settings: Mapping[str, Any], on_trace: Callable[[int, bytes], bool]) -> "Journal":
        """Opens or creates it, cuts off an incomplete last line, and restores the finished rows.

        Args:
            settings: All settings that decide the answers; a journal with answers under other settings is refused.
            on_trace: Receives each row and its trace as JSON; returns True if the question need not be asked
                again.

        Raises:
            ConfigError: Another run holds it, or it was begun with other settings; the message names them.
            DataError: It is damaged in its middle, or cannot be opened.
        """
        try:
            self._descriptor = os.open(
                self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o644
            )
        except OSError as error:
            raise DataError(
                f"cannot be opened ({error.strerror}); is the folder there, and writable?", path=str(self.path)
            ) from error
        self._lock()
        try:
            self._read(settings, on_trace)
        except BaseException:
            self.close()
            raise
        return self

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise ConfigError(f"{self.path}: another run is writing it; wait for it, or name another --out") from error

    def _read(self, settings: Mapping[str, Any], on_trace: Callable[[int, bytes], bool]) -> None:
        pending: dict[int, Decimal] = {}
        begun_with: dict[str, Any] | None = None
        for offset, body in self._good_lines():
            line = decoded_line(body, self.path)
            if line.journal is not None:
                begun_with = self._settings_of(line)
            elif line.rows is not None:
                self.rows = max(self.rows, line.rows)
            elif line.start is not None:
                if line.start in pending:
                    self.lost.add(line.start, pending[line.start])
                pending[line.start] = line.at_most_usd
            elif line.next is not None:
                pending[line.next] = line.at_most_usd
            elif line.done is not None:
                pending.pop(line.done, None)
                finished = on_trace(line.done, bytes(line.trace))
                self._set_done(line.done, offset, int(line.key, 16), again=not finished)
        for row, at_most in pending.items():
            self.lost.add(row, at_most)
            if self._offset(row) == _UNTOUCHED:
                self._set(row, _STARTED, 0)
        if begun_with is None and self._size:
            raise DataError("is not a journal of corea; move it away, or name another --out", path=str(self.path))
        differing = differences(begun_with or {}, settings)
        if begun_with is None or differing:
            self._begin(settings, differing if begun_with is not None else [])

    def _begin(self, settings: Mapping[str, Any], differing: list[str]) -> None:
        """Writes the settings of the following answers, unless the journal has answers under other settings."""
        if differing and self.answered > len(self._again):
            raise ConfigError(
                f"{self.path}: begun with another configuration: {in_one_line(differing)}; restore what it was, or "
                "name another --out"
            )
        self._append(msgspec.json.encode({"journal": VERSION, "settings": settings}))
        self.flush()
        self.sync()

    def _settings_of(self, line: JournalLine) -> dict[str, Any]:
        if line.journal != VERSION:
            raise DataError(
                f"journal version {line.journal}, expected {VERSION}; finish this run with the corea that began it, or "
                "name another --out",
                path=str(self.path),
            )
        return line.settings or {}

    def _good_lines(self) -> Iterator[tuple[int, bytes]]:
        """(offset, body) of every complete line; an incomplete or damaged end is cut off."""
        with open(self._descriptor, "rb", closefd=False) as lines:
            lines.seek(0)
            number, damaged = 0, 0
            for number, line in enumerate(lines, 1):
                body = body_of(line)
                if damaged:
                    raise DataError(
                        "a line before the last is damaged; restore the journal, or move it away to begin again",
                        path=str(self.path),
                        line=damaged,
                    )
                if body is None:
                    damaged = number
                else:
                    yield self._size, body
                    self._size += len(line)
        if damaged > 1:
            os.ftruncate(self._descriptor, self._size)
        elif damaged == 1:
            raise DataError("is not a journal of corea; move it away, or name another --out", path=str(self.path))

    def note_rows(self, count: int) -> None:
        """Writes the number of rows, for the next start to compare."""
        if count > self.rows:
            self._append(b'{"rows":%d}' % count)
            self.flush()

    def start(self, row: int, at_most_usd: Decimal | None) -> None:
        """Queues that a question is about to be asked: it may be once `flush` has written it.

        Args:
            at_most_usd: The most that it costs before the next line about it is written.
        """
        bound = b"" if at_most_usd is None else b',"at_most_usd":"%s"' % format(at_most_usd, "f").encode()
        self._append(b'{"start":%d%s}' % (row, bound))

    def next_stage(self, row: int, at_most_usd: Decimal) -> None:
        """Writes that a question's next stage is about to be asked; the bound holds what was spent before."""
        self._append(b'{"next":%d,"at_most_usd":"%s"}' % (row, format(at_most_usd, "f").encode()))
        self.flush()

    def done(self, row: int, key: int, trace: bytes) -> None:
        """Queues the trace of a question, to be written by the next `flush`.

        Args:
            key: The fingerprint of the question as it was asked, to detect a changed input.
            trace: One line of JSON.
        """
        offset = self._append(b'{"done":%d,"key":"%016x","trace":%s}' % (row, key, trace))
        self._set_done(row, offset, key, again=False)

    def flush(self) -> None:
        """Writes all queued lines; a line that does not fit on the disk leaves no part.

        Raises:
            DataError: The disk is full, or the like.
        """
        if not self._waiting:
            return
        data, written = b"".join(self._waiting), 0
        self._waiting.clear()
        self._waiting_size = 0
        try:
            while written < len(data):
                written += self.write(self._descriptor, data[written:] if written else data)
        except OSError as error:
            self._size += data.rfind(b"\n", 0, written) + 1
            os.ftruncate(self._descriptor, self._size)  # shrinking works on a full disk
            self.failure = DataError(
                f"cannot be written ({error.strerror}); what was answered so far is safe in it; make room and start "
                "the same command again",
                path=str(self.path),
            )
            raise self.failure from error
        self._size += written

    def finished(self, row: int) -> bool:
        """True for a row that need not be asked."""
        return self._offset(row) > _STARTED and row not in self._again

    def key(self, row: int) -> int:
        """The fingerprint of a row's question, as passed to `done`."""
        return self._keys[row]

    def answered_from(self, row: int) -> int:
        """Rows with a trace, from a row on."""
        return sum(offset > _STARTED for offset in self._offsets[row:])

    def row_of(self, key: int) -> int | None:
        """The first row with a trace whose question had this key."""
        return next((row for row, each in enumerate(self._keys) if each == key and self._offset(row) > _STARTED), None)

    def traces(self, rows: int | None = None) -> Iterator[bytes]:
        """The newest trace of every row, in the order of the rows, each one line of JSON without the newline.

        Args:
            rows: Only of the first so many rows; None: of all.
        """
        self.flush()
        with open(self._descriptor, "rb", closefd=False, buffering=BUFFER) as lines:
            for offset in islice(self._offsets, rows):
                if offset > _STARTED:
                    lines.seek(offset)
                    body = body_of(lines.readline())
                    assert body is not None, "a journal is not written by others while it is locked"
                    yield body[body.index(b'"trace":') + 8 : -1]

    @property
    def size(self) -> int:
        """Bytes in it, those that wait included."""
        return self._size + self._waiting_size

    def sync(self) -> None:
        """Waits until all written lines are on the disk."""
        size, descriptor = self._size, self._descriptor  # may run in another thread
        if self._synced == size or descriptor < 0:
            return
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise DataError(f"cannot be written ({error.strerror}); make room", path=str(self.path)) from error
        self._synced = size

    def close(self) -> None:
        """Writes the queued lines, unlocks and closes it."""
        if self._descriptor < 0:
            return
        try:
            self.flush()
        finally:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, body: bytes) -> int:
        """Queues one line, and returns the offset where it will begin."""
        line = b'{"crc":"%08x","line":%s}\n' % (zlib.crc32(body), body)
        offset = self._size + self._waiting_size
        self._waiting.append(line)
        self._waiting_size += len(line)
        return offset

    def _offset(self, row: int) -> int:
        return self._offsets[row] if row < len(self._offsets) else _UNTOUCHED

    def _set_done(self, row: int, offset: int, key: int, *, again: bool) -> None:
        self.answered += self._offset(row) <= _STARTED
        self._set(row, offset, key)
        if again:
            self._again.add(row)
        else:
            self._again.discard(row)

    def _set(self, row: int, offset: int, key: int) -> None:
        if (more := row + 1 - len(self._offsets)) > 0:
            self._offsets.frombytes(bytes(8 * (more + ROWS_AHEAD)))
            self._keys.frombytes(bytes(8 * (more + ROWS_AHEAD)))
        self._offsets[row] = offset
        self._keys[row] = key
