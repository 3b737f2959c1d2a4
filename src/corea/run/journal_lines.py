"""The lines of a journal, the questions that were in flight at kills, and those that wait for a batch API."""

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec

from corea.errors import DataError
from corea.prices import EXACT
from corea.types import ZERO_USD

RowNumber = Annotated[int, msgspec.Meta(ge=0, lt=1 << 40)]


class BatchStep(StrEnum):
    """How far a batch is."""

    PLANNED = "planned"  # written before it is created: it may be there or not
    CREATED = "created"
    ENDED = "ended"  # its results are in a file
    SETTLED = "settled"  # all its rows have an answer, an error, or wait again


class BatchNote(msgspec.Struct, omit_defaults=True):
    """A batch as the journal has it.

    Args:
        key: In its metadata, or the beginning of the ids of its requests.
        rows: Of the source; only in the line that plans it.
        at_most_usd: The most that its questions can still cost; None where that has no bound.
        at: When it was planned, in seconds since 1970.
        id: The server's.
        status: As the server named it at its end.
        error: The reason why the whole of it failed.
        count: Its number of rows.
    """

    key: str
    step: BatchStep
    stage: str = ""
    rows: list[RowNumber] = []
    at_most_usd: Decimal | None = None
    at: float = 0.0
    id: str = ""
    status: str = ""
    error: str = ""
    count: int = 0


class JournalLine(msgspec.Struct):
    """One line of a journal; the field that is set says of which kind."""

    journal: int | None = None
    settings: dict[str, Any] | None = None
    rows: int | None = None
    owner: int | None = None
    end: dict[str, Any] | None = None
    start: RowNumber | None = None
    next: RowNumber | None = None
    at_most_usd: Decimal = ZERO_USD
    done: RowNumber | None = None
    wait: RowNumber | None = None
    lost: RowNumber | None = None
    batch: BatchNote | None = None
    tries: int = 0
    key: str = ""
    trace: msgspec.Raw = msgspec.Raw(b"")


_decode = msgspec.json.Decoder(JournalLine).decode


def decode_line(body: bytes, path: Path) -> JournalLine:
    """The line of a body.

    Raises:
        DataError: Its checksum is right, but it is not a line of a journal.
    """
    try:
        line = _decode(body)
        keyless = line.done is None and line.wait is None
        if line.at_most_usd.is_finite() and (keyless or (line.trace and int(line.key, 16) < 1 << 64)):
            return line
    except (ValueError, RecursionError):  # of JSON, or of the key
        pass
    raise DataError("holds a line that corea did not write; restore it, or move it away", path=str(path))


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
class Waiting:
    """The rows that wait for a batch API, and the batches that are not settled. 12 bytes a row, where any wait.

    Args:
        append: Queues a line of the journal, and returns its offset.

    Attributes:
        ids: The servers' ids of all batches of the run.
        count: Rows that wait, in a batch or for the next one.
    """

    append: Callable[[bytes], int]
    batches: dict[str, BatchNote] = field(default_factory=dict[str, BatchNote])
    ids: set[str] = field(default_factory=set[str])
    count: int = 0
    _offsets: "array[int]" = field(default_factory=lambda: array("Q"))
    _batch: "array[int]" = field(default_factory=lambda: array("I"))
    _keys: list[str] = field(default_factory=lambda: [""])
    _members: list[int] = field(default_factory=lambda: [0])

    def wait(self, row: int, key: int, trace: bytes, tries: int) -> None:
        """Queues that a row waits for a batch.

        Args:
            trace: Its steps so far.
            tries: Batches in which it has failed.
        """
        self.put(row, self.append(b'{"wait":%d,"tries":%d,"key":"%016x","trace":%s}' % (row, tries, key, trace)))

    def lose(self, row: int, at_most_usd: Decimal) -> None:
        """Queues that the result of a row was lost in its batch, which may have been paid for."""
        self.append(b'{"lost":%d,"at_most_usd":"%s"}' % (row, format(at_most_usd, "f").encode()))

    def note(self, batch: BatchNote) -> None:
        """Queues how far a batch is."""
        self.append(msgspec.json.encode({"batch": batch}))
        self.apply(batch)

    def apply(self, batch: BatchNote) -> None:
        """Adds what a line says of a batch."""
        if batch.step is BatchStep.PLANNED:
            rows = [row for row in batch.rows if self.offset(row)]
            number = len(self._keys)
            self._keys.append(batch.key)
            self._members.append(len(rows))
            for row in rows:
                self._batch[row] = number
            batch = msgspec.structs.replace(batch, rows=[], count=len(batch.rows))
        elif batch.key not in self._keys:
            return  # not of a journal that we wrote
        if batch.id:
            self.ids.add(batch.id)
        self.batches[batch.key] = batch
        if batch.step is BatchStep.SETTLED:
            del self.batches[batch.key]

    def put(self, row: int, offset: int) -> None:
        """A row waits, by the line at an offset, and is in no batch."""
        if (more := row + 1 - len(self._offsets)) > 0:
            self._offsets.frombytes(bytes(self._offsets.itemsize * (more + 1024)))
            self._batch.frombytes(bytes(self._batch.itemsize * (more + 1024)))
        self.count += not self._offsets[row]
        self._offsets[row] = offset
        self._leave(row)

    def done(self, row: int) -> None:
        """A row does not wait any more."""
        if self.offset(row):
            self._leave(row)
            self._offsets[row] = 0
            self.count -= 1

    def offset(self, row: int) -> int:
        """The offset of the line by which a row waits; 0 where it does not."""
        return self._offsets[row] if row < len(self._offsets) else 0

    def batch_of(self, row: int) -> str:
        """The key of the batch that a row is in; "" where it is in none."""
        return self._keys[self._batch[row]] if row < len(self._batch) else ""

    def left(self, key: str) -> int:
        """The rows of a batch that are not settled."""
        return self._members[self._keys.index(key)]

    @property
    def unplanned(self) -> int:
        """Rows that wait and are in no batch."""
        return self.count - sum(self._members[1:])

    @property
    def last_row(self) -> int:
        """The last row that waits; -1 without one."""
        return next((row for row in range(len(self._offsets) - 1, -1, -1) if self._offsets[row]), -1)

    def _leave(self, row: int) -> None:
        self._members[self._batch[row]] -= bool(self._batch[row])
        self._batch[row] = 0
