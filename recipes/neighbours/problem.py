"""The arrays that every way gets, its choice on the unseen rows, and what that choice saves and loses."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from corea.calibrate import OutcomeTable, Targets
from corea.metrics.arrays import Floats
from corea.metrics.intervals import Interval, saving_interval

TARGET = Targets(max_drop=0.02)
MAX_DROP = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """N questions answered by a small and a large model.

    Args:
        drafts: (N,) the small model's answers in full; None where not recorded.
        opinions: The same questions with a second model's opinion as a further column; None where there is none.
    """

    table: OutcomeTable
    drafts: Any = None
    opinions: OutcomeTable | None = None

    def __len__(self) -> int:
        return len(self.table)

    @property
    def texts(self) -> list[str]:
        """The questions; empty where not recorded."""
        return [] if self.table.texts is None else [str(text) for text in self.table.texts]

    @property
    def lost(self) -> Floats:
        """(N,) what keeping the small model's answer loses: 1, 0 or -1."""
        return self.table.last.correct - self.table.first.correct

    def take(self, at: Any) -> "Rows":
        """The rows at these indices."""
        return replace(
            self, table=self.table.take(at), drafts=None if self.drafts is None else self.drafts[at],
            opinions=None if self.opinions is None else self.opinions.take(at),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Decisions of a way on N questions.

    Args:
        asked: (N,) True where the small model is asked. `kept`: where its answer is returned.
        extra_usd: (N,) USD spent on a second opinion.
    """

    asked: Any
    kept: Any
    extra_usd: Any = 0.0

    @classmethod
    def cascade(cls, kept: Any) -> "Choice":
        """The small model is asked first, always."""
        return cls(asked=np.ones(len(kept), dtype=bool), kept=np.asarray(kept, dtype=bool))

    @classmethod
    def route(cls, small: Any) -> "Choice":
        """One model is asked, before any answer exists."""
        return cls(asked=np.asarray(small, dtype=bool), kept=np.asarray(small, dtype=bool))


Decide = Callable[[Rows], Choice]
Fit = Callable[[Rows, int], Decide | None]
"""From labelled rows and a seed to the rule that decides; None: the large model answers everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A choice on rows that nothing has seen: shares, with the 95 % interval of the saving on these rows."""

    saving: float
    drop: float
    interval: Interval


def outcome(rows: Rows, choice: Choice | None) -> Outcome:
    """Saving and accuracy loss against the large model alone; without a choice it answers everything."""
    if choice is None:
        return Outcome(saving=0.0, drop=0.0, interval=Interval(0.0, 0.0, 0.0))
    first, last = rows.table.first, rows.table.last
    cost = np.where(choice.asked, first.cost_usd, 0.0) + np.where(choice.kept, 0.0, last.cost_usd) + choice.extra_usd
    return Outcome(
        saving=float(1 - cost.mean() / last.cost_usd.mean()),
        drop=float(np.where(choice.kept, rows.lost, 0.0).mean()),
        interval=saving_interval(cost, last.cost_usd),
    )


def cheapest_threshold(score: Floats, rows: Rows, *, before: bool = False, max_drop: float = MAX_DROP) -> float | None:
    """The cheapest threshold, keep at or above it, that loses at most `max_drop` on these very rows; None: none does.

    Args:
        before: The score is known before the small model is asked, so that a deferred question does not pay for it.
    """
    score = np.where(np.isnan(score), -np.inf, score)
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.append(score[order][1:] != score[order][:-1], True) & np.isfinite(score[order]))
    small, large = rows.table.first.cost_usd[order], rows.table.last.cost_usd[order]
    asked = np.cumsum(small)[ends] if before else small.sum()
    cost = asked + large.sum() - np.cumsum(large)[ends]
    good = (np.cumsum(rows.lost[order])[ends] <= max_drop * len(rows)) & (cost < large.sum())
    if not good.any():
        return None
    return float(score[order][ends[np.argmin(np.where(good, cost, np.inf))]])
