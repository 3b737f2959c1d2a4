"""Figures of ways to answer N questions: accuracy, cost, share deferred, drop and saving, by one rule for intervals.

Shares have Wilson intervals, costs and savings those of the delta method on the logarithm, and a drop, as a difference
of shares on the same questions, Bonett and Price's: none leaves its range, and none is a point where little is known
(see `corea.metrics`). All are at 95 %, and none accounts for the choice of a threshold on the same questions.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from corea.metrics import (
    Interval,
    aurc,
    auroc,
    auroc_interval,
    best_single,
    brier_score,
    cost_interval,
    expected_calibration_error,
    paired_share_interval,
    saving_interval,
    share_interval,
)
from corea.metrics.arrays import Floats
from corea.records.table import OutcomeTable


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeOutcome:
    """One way to answer, question by question; arrays are (N,).

    Args:
        correct: 1 right, 0 wrong; between them where only the chance is known.
        cost_usd: USD a question.
        deferred: 1 where the last model answers, 0 where it is not asked.
    """

    name: str
    correct: Floats
    cost_usd: Floats
    deferred: Floats

    @classmethod
    def keeping(cls, table: OutcomeTable, kept: Any, *, name: str = "cascade") -> "CascadeOutcome":
        """The first model's answer where `kept` (N,) is 1, else the last one's; between them their mixture."""
        first, last, kept = table.first, table.last, np.asarray(kept, dtype=np.float64)
        return cls(
            name=name,
            correct=kept * first.correct + (1 - kept) * last.correct,
            cost_usd=first.cost_usd + (1 - kept) * last.cost_usd,
            deferred=1 - kept,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FiguresRow:
    """The figures of one way to answer.

    Args:
        cost_usd: Mean USD a question.
        llm_share: Share of the questions that the last model answers.
        drop: Accuracy of the last model alone, less this one's.
        saving: 1 - cost / the last model's cost.
    """

    name: str
    accuracy: Interval
    cost_usd: Interval
    llm_share: Interval
    drop: Interval
    saving: Interval

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "accuracy": self.accuracy.value,
            "low": self.accuracy.low,
            "high": self.accuracy.high,
            "cost_usd": self.cost_usd.value,
            "cost_low": self.cost_usd.low,
            "cost_high": self.cost_usd.high,
            "llm_share": self.llm_share.value,
            "drop": self.drop.value,
            "drop_low": self.drop.low,
            "drop_high": self.drop.high,
            "saving": self.saving.value,
            "saving_low": self.saving.low,
            "saving_high": self.saving.high,
        }


def figures_of(outcome: CascadeOutcome, table: OutcomeTable) -> FiguresRow:
    """The figures of one way to answer the questions of a table."""
    return FiguresRow(
        name=outcome.name,
        accuracy=share_interval(outcome.correct),
        cost_usd=cost_interval(outcome.cost_usd),
        llm_share=share_interval(outcome.deferred),
        drop=paired_share_interval(table.last.correct, outcome.correct),
        saving=saving_interval(outcome.cost_usd, table.last.cost_usd),
    )


def baselines(table: OutcomeTable, llm_share: float, *, chosen_on: OutcomeTable | None = None) -> list[CascadeOutcome]:
    """Random deferral at this rate, the better of the two models alone, and the oracle, which knows all answers.

    Args:
        chosen_on: The questions on which the better model is chosen; by default these very ones.

    Source: the baselines of the paper, arXiv:2603.03752, sec. 4.
    """
    first, last = (chosen_on or table).first, (chosen_on or table).last
    better = best_single(first.correct, last.correct, first.cost_usd, last.cost_usd)
    single = single_model(table, last=better.coverage == 0)
    return [
        CascadeOutcome.keeping(table, np.full(len(table), 1 - llm_share), name="random, same rate"),
        replace(single, name="best single"),
        CascadeOutcome.keeping(table, table.first.correct >= table.last.correct, name="oracle"),
    ]


def single_model(table: OutcomeTable, *, last: bool) -> CascadeOutcome:
    """One model alone: the first, or the last."""
    model, n = table.last if last else table.first, len(table)
    return CascadeOutcome(
        name="large alone" if last else "small alone",
        correct=model.correct,
        cost_usd=model.cost_usd,
        deferred=np.full(n, float(last)),
    )


def cascade_rows(table: OutcomeTable, kept: Any, *, cascade: CascadeOutcome | None = None) -> list[FiguresRow]:
    """Figures of both models alone, the cascade, and its baselines.

    Args:
        kept: (N,) 1 where the first model's answer is kept.
        cascade: As a run answered, where its deferred questions have other answers than the table's last model.
    """
    cascade = cascade or CascadeOutcome.keeping(table, kept)
    alone = [single_model(table, last=last) for last in (False, True)]
    others = baselines(table, float(cascade.deferred.mean()))
    return [figures_of(each, table) for each in (*alone, cascade, *others)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalQuality:
    """How well a signal tells right from wrong answers, over the questions where it has a value."""

    n: int
    unstated: int
    distinct: int
    ece: float
    brier: float
    auroc: float
    auroc_low: float
    auroc_high: float
    aurc: float

    @property
    def auroc_words(self) -> str:
        """The AUROC and its interval, as far as they are defined."""
        if np.isnan(self.auroc):
            return "undefined (all right or all wrong)"
        if np.isnan(self.auroc_low):
            return f"{self.auroc:.3f} (too few for an interval)"
        return f"{self.auroc:.3f} ({self.auroc_low:.3f} - {self.auroc_high:.3f})"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def quality(confidence: Floats, correct: Floats, *, probability: bool = True) -> SignalQuality:
    """The quality of a signal; NaN where it is not defined (nothing stated, or all right, or all wrong).

    Args:
        confidence: (N,), NaN where the signal has no value. `correct`: (N,) 1 right, 0 wrong.
        probability: False for a score that states no probability: it has no ECE and Brier score.
    """
    stated = ~np.isnan(confidence)
    c, right = confidence[stated], correct[stated]
    two_sided = 0 < right.sum() < len(right)
    nan = float("nan")
    low, high = auroc_interval(c, right) if two_sided else (nan, nan)
    return SignalQuality(
        n=len(c),
        unstated=int((~stated).sum()),
        distinct=len(np.unique(c)),
        ece=expected_calibration_error(c, right) if len(c) and probability else nan,
        brier=brier_score(c, right) if len(c) and probability else nan,
        auroc=auroc(c, right) if two_sided else nan,
        auroc_low=low,
        auroc_high=high,
        aurc=aurc(c, right) if len(c) else nan,
    )
