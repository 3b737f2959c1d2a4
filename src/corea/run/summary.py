"""What a run tells while it goes on, and when it ends."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from corea.ledger import Ledger, money
from corea.run.shortcomings import Shortcomings


class RunOutcome(StrEnum):
    """Why a run ended."""

    COMPLETE = "complete"  # every question has its answer, or failed and is told
    BUDGET = "budget"  # the next question could have cost more than what was left
    INTERRUPTED = "interrupted"  # it was asked to stop
    GAVE_UP = "gave up"  # so many questions failed in a row that going on would be in vain


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """Where a run stands.

    Args:
        done: Questions with a trace, those of earlier starts included; `total` is None for a pipe.
        ledger: Everything paid so far; read it, do not keep it: it goes on changing.
        rate: Questions per second in this start.
        seconds_left: None while not known.
    """

    done: int
    total: int | None
    ledger: Ledger
    rate: float
    seconds_left: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """What a run did, over all its starts.

    Args:
        done: Questions with a trace in the output; `failed` of them have an error in the place of an answer.
        total: Questions in the source; None if it was a pipe that was not read to its end.
        resumed: Those of `done` that earlier starts had finished.
        lost: Questions in flight when an earlier start was killed: they may have been paid for and were asked
            again.
        lost_usd_at_most: What they can have cost, known where a budget was set.
        ledger: Everything paid, failed attempts that were asked again included.
        shortcomings: What is wrong with answers that did not fail.
        removed: Rows that were in the source at an earlier start and are no more; `removed_answered` of them have an
            answer, which is left out of the output.
        unused: Settings of rows in OpenAI's batch format that were not used, each with its number of rows.
        next_usd_at_most: What the question may cost that no longer fitted in the budget; None where all fitted.
        left_usd: What was then left of the budget.
        repeated_usd: The part of it that went to failed attempts which a later start asked again.
        tokens_per_second: Completion tokens by stage and second of this start: the throughput a machine-hour
            price needs.
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
            "in_flight_at_kills_usd_at_most": money(self.lost_usd_at_most),
            "repeated_usd": money(self.repeated_usd),
            "budget_usd": money(self.budget_usd),
            "next_question_usd_at_most": money(self.next_usd_at_most),
            "seconds": round(self.seconds, 3),
            "questions_per_second": round(self.rate, 3),
            "completion_tokens_per_second": {k: round(v, 1) for k, v in self.tokens_per_second.items()},
            "last_error": self.last_error,
            "ledger": self.ledger.as_dict(),
        }
