"""The counts and costs of a run: while it goes on, and as its summary at the end."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from corea.ledger import Ledger
from corea.money import usd_text
from corea.prices import EXACT
from corea.run.shortcomings import Shortcomings
from corea.types import ZERO_USD, Status, Trace


class RunOutcome(StrEnum):
    """The reason why a run ended."""

    COMPLETE = "complete"  # every question has an answer or an error
    BUDGET = "budget"  # the next question could have cost more than what was left
    INTERRUPTED = "interrupted"  # it was asked to stop
    WAITING = "waiting"  # batches are under way; the next start goes on with their results
    GAVE_UP = "gave up"  # too many questions failed in a row


@dataclass(slots=True)
class Tally:
    """Costs and counts of all traces of a run, those of earlier starts included."""

    ledger: Ledger = field(default_factory=Ledger)
    shortcomings: Shortcomings = field(default_factory=Shortcomings)
    repeated_usd: Decimal = ZERO_USD
    last_error: str | None = None
    failed_usd: dict[int, Decimal] = field(default_factory=dict[int, Decimal])

    def add(self, row: int, trace: Trace, rows: int | None) -> None:
        """Adds the trace of a row; of `rows` rows now in the source, None for a pipe that goes on."""
        self.ledger.add(trace)
        if rows is None or row < rows:
            self.shortcomings.add(trace)
        if row in self.failed_usd:
            self.repeated_usd = EXACT.add(self.repeated_usd, self.failed_usd.pop(row))  # an earlier attempt
        if trace.status is Status.FAILED:
            self.failed_usd[row] = trace.cost_usd or ZERO_USD
            self.last_error = trace.error

    def failed(self, rows: int | None) -> int:
        """Rows whose newest trace is an error, of those still in the source."""
        return sum(rows is None or row < rows for row in self.failed_usd)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """The progress of a run.

    Args:
        done: Questions with a trace, those of earlier starts included; `total` is None for a pipe.
        ledger: Everything paid so far; it goes on changing, so do not keep it.
        rate: Questions per second in this start.
        seconds_left: None while unknown.
        waiting: Questions that wait for a batch.
    """

    done: int
    total: int | None
    ledger: Ledger
    rate: float
    seconds_left: float | None
    waiting: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """The result of a run, over all its starts.

    Args:
        done: Questions with a trace in the output; `failed` of them have an error instead of an answer.
        total: Questions in the source; None if it was a pipe that was not read to its end.
        resumed: Those of `done` that earlier starts had finished.
        lost: Questions in flight when an earlier start was killed: they may have been paid for and were asked
            again.
        lost_usd_at_most: Their worst-case cost, known where a budget was set.
        ledger: Everything paid, failed attempts that were asked again included.
        shortcomings: Problems of answers that did not fail.
        removed: Rows of the source at an earlier start that are now missing; `removed_answered` of them have an
            answer, which is left out of the output.
        unused: Settings of rows in OpenAI's batch format that were not used, each with its number of rows.
        next_usd_at_most: Worst-case cost of the first question that did not fit in the budget; None where all did.
        left_usd: The rest of the budget then.
        waiting: Questions that wait for a batch; their earlier stages are in no cost yet. `batches` are under way.
        ignored_results: Lines of results that this start could not use.
        repeated_usd: The part of the cost spent on failed attempts that a later start repeated.
        tokens_per_second: Completion tokens by stage and second of this start: the throughput for a machine-hour
            price.
    """

    outcome: RunOutcome
    output: str
    journal: str | None
    done: int
    total: int | None
    resumed: int
    failed: int
    bad_rows: int
    bad_row_messages: tuple[str, ...]
    lost: int
    lost_usd_at_most: Decimal
    ledger: Ledger
    repeated_usd: Decimal
    budget_usd: Decimal | None
    seconds: float
    rate: float
    tokens_per_second: dict[str, float]
    last_error: str | None = None
    shortcomings: Shortcomings = field(default_factory=Shortcomings)
    removed: int = 0
    removed_answered: int = 0
    unused: dict[str, int] = field(default_factory=dict[str, int])
    next_usd_at_most: Decimal | None = None
    left_usd: Decimal | None = None
    waiting: int = 0
    batches: int = 0
    ignored_results: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; money as strings, exact."""
        return {
            "outcome": self.outcome.value,
            "output": self.output,
            "journal": self.journal,
            "done": self.done,
            "total": self.total,
            "resumed": self.resumed,
            "failed": self.failed,
            **self.shortcomings.as_dict(),
            "rows_removed": self.removed,
            "rows_removed_answered": self.removed_answered,
            "unused_request_settings": self.unused,
            "bad_rows": self.bad_rows,
            "bad_row_messages": list(self.bad_row_messages),
            "in_flight_at_kills": self.lost,
            "in_flight_at_kills_usd_at_most": usd_text(self.lost_usd_at_most),
            "waiting": self.waiting,
            "batches": self.batches,
            "ignored_results": self.ignored_results,
            "repeated_usd": usd_text(self.repeated_usd),
            "budget_usd": usd_text(self.budget_usd),
            "next_question_usd_at_most": usd_text(self.next_usd_at_most),
            "seconds": round(self.seconds, 3),
            "questions_per_second": round(self.rate, 3),
            "completion_tokens_per_second": {k: round(v, 1) for k, v in self.tokens_per_second.items()},
            "last_error": self.last_error,
            "ledger": self.ledger.as_dict(),
        }
