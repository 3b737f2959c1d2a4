"""The rows of a source as a stream: each checked to be a question with an id of its own, none blocking the event loop.

A file is checked to its end before anything is asked. Hashes of its ids are kept in a dict meanwhile (about 130 bytes a
row: 130 MB for a million), those of a pipe until it ends.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b

from corea.datasets.question_source import QuestionSource, SourceRow
from corea.errors import DataError
from corea.run.shutdown import Stop
from corea.types import Question

MESSAGES_KEPT = 20  # reported one by one; the rest are counted
PIPE_ROWS = 256  # read ahead of the questions asked


class OnBadRow(StrEnum):
    """The reaction to a row that is not a question, or whose id was used before."""

    STOP = "stop"  # the run ends with an error, before anything is asked where the source can be read twice
    SKIP = "skip"  # it is counted, reported and left out


class RowChecks:
    """Finds bad rows and repeated ids.

    Args:
        repeated: Rows whose id an earlier row has, which this source may not show, each with that row's line.

    Attributes:
        repeated: Those found, too.
        total: Questions of the source; None for a pipe.
        rows: Rows of the source, bad ones included; None while a pipe goes on.
        bad_rows: How many were left out; `messages` says why of the first few.
    """

    def __init__(self, source: QuestionSource, on_bad_row: OnBadRow, repeated: Mapping[int, int] | None = None) -> None:
        self.total: int | None = None
        self.rows: int | None = None
        self.bad_rows: int = 0
        self.messages: list[str] = []
        self._source, self._on_bad_row = source, on_bad_row
        self.repeated: dict[int, int] = dict(repeated or {})
        self._lines: dict[int, int] = {}  # by the hash of an id
        self._surveyed = False

    def survey(self) -> None:
        """Reads a file to its end: bad rows, repeated ids and the total are known before anything is paid."""
        if self._source.is_pipe:
            return
        total = rows = 0
        for found in self._source.ids():
            rows += 1
            total += self._refused(found) if isinstance(found, DataError) else self._is_new(*found)
        self.total, self.rows = total, rows
        self._surveyed = True
        self._lines.clear()

    def good(self, row: SourceRow | DataError) -> SourceRow | None:
        """The row if it is a question with an id of its own; an invalid one is reported or raised."""
        if isinstance(row, DataError):
            self._refused(row)
            return None
        if self._surveyed:
            return None if row.number in self.repeated else row
        return row if self._is_new(row.number, row.line, row.question.id) else None

    def _is_new(self, number: int, line: int, identity: str) -> bool:
        first = self.repeated.get(number)
        if first is None:
            key = hash(identity)  # 64 bits, seeded in each process: collisions cannot be constructed
            if key not in self._lines:
                self._lines[key] = line
                return True
            first = self.repeated[number] = self._lines[key]
        why = f"id {identity!r} was on line {first} already, expected an id of its own"
        return self._refused(DataError(why, path=self._source.name, line=line))

    def _refused(self, why: DataError) -> bool:
        """Raises a bad row, or reports it and returns False."""
        if self._on_bad_row is OnBadRow.STOP:
            raise why
        if not self._surveyed:
            self.bad_rows += 1
            if len(self.messages) < MESSAGES_KEPT:
                self.messages.append(str(why))
        return False


@dataclass(frozen=True, slots=True)
class _Broken:
    """The error at which reading a pipe ended."""

    error: DataError


async def rows_of(source: QuestionSource, stop: Stop) -> AsyncIterator[SourceRow | DataError]:
    """The rows of a source; those of a pipe are read by a thread, so that waiting does not block the loop."""
    if not source.is_pipe:
        for row in source.rows():
            yield row
        return
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[SourceRow | DataError | _Broken | None] = asyncio.Queue()
    room = threading.Semaphore(PIPE_ROWS)

    def put(item: SourceRow | DataError | _Broken | None) -> None:
        try:
            loop.call_soon_threadsafe(waiting.put_nowait, item)
        except RuntimeError:  # the run is over
            pass

    def read() -> None:
        try:
            for row in source.rows():
                room.acquire()
                put(row)
        except DataError as error:
            put(_Broken(error))
        put(None)

    stop.then(lambda: waiting.put_nowait(None))
    threading.Thread(target=read, daemon=True, name="corea-pipe").start()
    while (item := await waiting.get()) is not None:
        if isinstance(item, _Broken):
            raise item.error
        room.release()
        yield item


def key_of(text: str) -> int:
    """64 bits of a text's hash; two of a million texts share one with a chance of 3 in 100 million."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def fingerprint_of(question: Question) -> int:
    """64 bits that change with whatever a model is asked, or the id."""
    parts = [question.id, *question.choices]
    for message in question.messages:
        parts += (message.role, message.content, "" if message.raw is None else repr(message.raw))
    return key_of("\x1f".join(parts))
