"""The journal, from which a killed run is resumed.

An append-only file of JSON lines beside the output, each with a checksum over its body:

    {"crc":"1f0c86ab","line":{"journal":2,"settings":{...}}}          the first: the settings that decide the answers
    {"crc":"77d01c3e","line":{"rows":12000}}                          the length of the questions at a start
    {"crc":"5b1d3a07","line":{"start":7,"at_most_usd":"0.0021"}}      written before a question is asked
    {"crc":"c3d9a7f2","line":{"next":7,"at_most_usd":"0.0093"}}       written before its next stage is asked
    {"crc":"90ab12cd","line":{"done":7,"key":"...","trace":{...}}}    written when its trace is whole
    {"crc":"4410ab8e","line":{"wait":8,"tries":0,"key":...}}          its next stage is asked by a batch; with its steps
    {"crc":"2c07d119","line":{"batch":{"key":...,"step":...}}}        how far a batch is; before it is created, its rows
    {"crc":"0b6e2f81","line":{"owner":3}}                             of a shard: its lines are by worker 3 from here on
    {"crc":"e91d7c55","line":{"end":{"outcome":"complete",...}}}      of a shard: how a start ended

Every line is passed to the operating system at once, so a killed process loses no answer. `sync`, called about once a
second, writes it to the disk: a power cut may lose that second. A start without a done was in flight at a kill: it may
have been paid for, is asked again, and is counted.
"""

import os
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import msgspec

from corea.errors import ConfigError, DataError
from corea.run.answer_settings import differences, in_one_line
from corea.run.checked_lines import body_of, checked_line, good_lines, is_locked_error, lock, open_to_append
from corea.run.journal_lines import JournalLine, LostInFlight, Waiting, decode_line

VERSION = 2
BUFFER = 1 << 18  # bytes read or written at once
TAKEOVER_SECONDS = 10.0  # that a worker has to end, before the next owner goes on without it
KIND = ("a journal of corea", "move it away, or name another --out")
AROUND = len(checked_line(b""))  # bytes of a line around its body
ROWS_AHEAD = 1024  # room made for rows that will follow
_UNTOUCHED, _STARTED = 0, 1  # offsets below the first done line, which is never here


class FollowedError(DataError):
    """The journal has lines of another worker: it has taken the shard over, or was still ending."""

    followed = True


@dataclass(slots=True)
class Journal:
    """An open journal, locked against a second run. 16 bytes of memory a row.

    Args:
        write: Writes bytes to a file descriptor and returns their number; tests replace it to fill the disk.

    Attributes:
        rows: The largest number of rows at an earlier start; 0 where unknown.
        failure: The error of the last write that failed: the lines that waited for it are lost.
        owner: The highest number of an owner in it.
        end: How the last start ended; None where it was killed.
        begun_with: The settings in it.
    """

    path: Path
    write: Callable[[int, bytes], int] = os.write
    lost: LostInFlight = field(default_factory=LostInFlight)
    answered: int = 0
    rows: int = 0
    failure: DataError | None = None
    owner: int = 0
    end: dict[str, Any] | None = None
    begun_with: dict[str, Any] | None = None
    _epoch: int | None = None
    _descriptor: int = -1
    _size: int = 0
    _synced: int = 0
    _waiting: list[bytes] = field(default_factory=list[bytes])
    _waiting_size: int = 0
    _offsets: "array[int]" = field(default_factory=lambda: array("Q"))
    _keys: "array[int]" = field(default_factory=lambda: array("Q"))
    _again: set[int] = field(default_factory=set[int])
    waiting: Waiting = field(init=False)

    def __post_init__(self) -> None:
        self.waiting = Waiting(self._append)

    def open(
        self, settings: Mapping[str, Any], on_trace: Callable[[int, bytes], bool], *, epoch: int | None = None
    ) -> "Journal":
        """Opens or creates it, cuts off an incomplete last line, and restores the finished rows.

        Args:
            settings: All settings that decide the answers; a journal with answers under other settings is refused.
            on_trace: Receives each row and its trace as JSON; returns True if the question need not be asked
                again.
            epoch: The number of this owner, where a coordinator gives each owner a higher one: it may take the
                journal over, and is refused once another has.

        Raises:
            ConfigError: Another run holds it, or it was begun with other settings; the message names them.
            DataError: It is damaged in its middle, cannot be opened, or has a later owner.
        """
        self._descriptor = open_to_append(self.path)
        self._epoch = epoch
        try:
            self._lock()
            self._read(on_trace)
            self._check_epoch(epoch)
            os.ftruncate(self._descriptor, self._size)  # an incomplete last line
            self._continue(settings)
        except BaseException:
            self.close()
            raise
        return self

    def read(self, on_trace: Callable[[int, bytes], bool]) -> "Journal":
        """Restores the finished rows as `open` does, to read the traces; the file stays as it is.

        Raises:
            DataError: It is damaged in its middle, or cannot be opened.
        """
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError as error:
            why = f"{error.strerror}, expected the journal of a run; name its --out"
            raise DataError(why, path=str(self.path)) from error
        try:
            self._read(on_trace)
        finally:
            self.close()
        return self

    def _lock(self) -> None:
        """Waits a while for an earlier owner that is ending, since this one is entitled to it; then goes on."""
        waited = 0.0
        while not lock(self._descriptor):
            if self._epoch is None:
                raise is_locked_error(self.path)
            if waited >= TAKEOVER_SECONDS:
                return
            time.sleep(0.1)
            waited += 0.1

    def _check_epoch(self, epoch: int | None) -> None:
        """Refuses to follow a later owner."""
        if epoch is not None and epoch <= self.owner:
            raise DataError(
                f"its owner is worker {self.owner}; this earlier worker, {epoch}, is refused; nothing is lost",
                path=str(self.path),
            )

    def _check_owner(self) -> None:
        """Refuses to append after lines of another worker. The file is opened, so that NFS asks its server."""
        try:
            with self.path.open("rb") as now:
                size = os.fstat(now.fileno()).st_size
        except OSError:
            size = -1
        if size != self._size:
            self._waiting.clear()
            self.failure = FollowedError(
                f"another worker has taken it over, and this one, worker {self._epoch}, stops; nothing is lost",
                path=str(self.path),
            )
            raise self.failure

    def _read(self, on_trace: Callable[[int, bytes], bool]) -> None:
        pending: dict[int, Decimal] = {}
        for offset, body in self._lines():
            line = decode_line(body, self.path)
            if line.journal is not None:
                self.begun_with = self._settings_of(line)
            elif line.owner is not None:
                self.owner = max(self.owner, line.owner)
            elif line.end is not None:
                self.end = line.end
            elif line.rows is not None:
                self.rows = max(self.rows, line.rows)
            elif line.start is not None:
                if line.start in pending:
                    self.lost.add(line.start, pending[line.start])
                pending[line.start] = line.at_most_usd
                self.end = None
            elif line.next is not None:
                pending[line.next] = line.at_most_usd
            elif line.done is not None:
                pending.pop(line.done, None)
                finished = on_trace(line.done, bytes(line.trace))
                self._set_done(line.done, offset, int(line.key, 16), again=not finished)
            elif line.wait is not None:
                pending.pop(line.wait, None)
                self.waiting.put(line.wait, offset)
            elif line.lost is not None:
                self.lost.add(line.lost, line.at_most_usd)
            elif line.batch is not None:
                self.waiting.apply(line.batch)
        for row, at_most in pending.items():
            self.lost.add(row, at_most)
            if self._offset(row) == _UNTOUCHED:
                self._set(row, _STARTED, 0)
        if self.begun_with is None and self._size:
            raise DataError("is not {}; {}".format(*KIND), path=str(self.path))

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """(offset, body) of every complete line; an incomplete or damaged end is cut off."""
        with open(self._descriptor, "rb", closefd=False, buffering=BUFFER) as lines:
            lines.seek(0)
            for offset, body in good_lines(lines, self.path, *KIND):
                yield offset, body
                self._size = offset + len(body) + AROUND

    def _continue(self, settings: Mapping[str, Any]) -> None:
        """Writes the settings of the following answers, unless the journal has answers under other settings."""
        differing = [] if self.begun_with is None else differences(self.begun_with, settings)
        if differing and (self.answered > len(self._again) or self.waiting.count):
            raise ConfigError(
                f"{self.path}: begun with another configuration: {in_one_line(differing)}; restore what it was, or "
                "name another --out"
            )
        if differing or self.begun_with is None:
            self._append(msgspec.json.encode({"journal": VERSION, "settings": settings}))
        if self._epoch is not None:
            self._append(b'{"owner":%d}' % self._epoch)
        if self._waiting:
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

    def note_rows(self, count: int) -> None:
        """Writes the number of rows, for the next start to compare."""
        if count > self.rows:
            self.rows = count
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
        if self._epoch is not None:
            self._check_owner()
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

    def note_end(self, facts: Mapping[str, Any]) -> None:
        """Writes how this start has ended, to the disk."""
        self._append(msgspec.json.encode({"end": facts}))
        self.flush()
        self.sync()

    def waits(self, row: int, file: IO[bytes]) -> JournalLine:
        """The line by which a row waits, read from this journal's file."""
        file.seek(self.waiting.offset(row))
        return decode_line(body_of(file.readline()) or b"", self.path)

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
        with self.path.open("rb", buffering=BUFFER) as lines:
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
        line = checked_line(body)
        offset = self._size + self._waiting_size
        self._waiting.append(line)
        self._waiting_size += len(line)
        return offset

    def _offset(self, row: int) -> int:
        return self._offsets[row] if row < len(self._offsets) else _UNTOUCHED

    def _set_done(self, row: int, offset: int, key: int, *, again: bool) -> None:
        self.answered += self._offset(row) <= _STARTED
        self.waiting.done(row)
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
