"""Checks of the rows of a source: each is a question, with an id of its own. A file is checked before it is asked."""

from enum import StrEnum

from corea.errors import DataError
from corea.run.seen_ids import Identities
from corea.run.source import QuestionSource, SourceRow

MESSAGES_KEPT = 20  # reported one by one; the rest are counted


class OnBadRow(StrEnum):
    """What follows on a row that is no question, or whose id was there before."""

    STOP = "stop"  # the run ends with an error, before anything is asked where the source can be read twice
    SKIP = "skip"  # it is counted, reported and left out


class RowChecks:
    """Finds bad rows and repeated ids, once.

    Attributes:
        total: Questions of the source; None for a pipe.
        rows: Rows of the source, bad ones included; None while a pipe goes on.
        bad_rows: How many were left out; `messages` says why of the first few.
    """

    def __init__(self, source: QuestionSource, on_bad_row: OnBadRow) -> None:
        self.total: int | None = None
        self.rows: int | None = None
        self.bad_rows: int = 0
        self.messages: list[str] = []
        self._source, self._on_bad_row = source, on_bad_row
        self._repeated: set[int] = set()
        self._identities: Identities | None = Identities()
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
        self._identities, self._surveyed = None, True  # the second reading need not look again

    def good(self, row: SourceRow | DataError) -> SourceRow | None:
        """The row if it is a question with an id of its own; else it is reported, or raised, as asked."""
        if isinstance(row, DataError):
            self._refused(row)
            return None
        if self._identities is None:
            return None if row.number in self._repeated else row
        return row if self._is_new(row.number, row.line, row.question.id) else None

    def _is_new(self, number: int, line: int, identity: str) -> bool:
        assert self._identities is not None
        before = self._identities.add(identity, line)
        if before is None:
            return True
        self._repeated.add(number)
        why = f"id {identity!r} was on line {before} already, expected an id of its own"
        return self._refused(DataError(why, path=self._source.name, line=line))

    def _refused(self, why: DataError) -> bool:
        """Reports a bad row, or raises it, as asked; False."""
        if self._on_bad_row is OnBadRow.STOP:
            raise why
        if not self._surveyed:
            self.bad_rows += 1
            if len(self.messages) < MESSAGES_KEPT:
                self.messages.append(str(why))
        return False
