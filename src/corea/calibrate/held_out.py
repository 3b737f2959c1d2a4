"""Figures of a certification on the rows of the test: estimates with intervals, baselines, reliability, categories."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from corea.calibrate.rules import CascadeAnswers, ScoredTable
from corea.calibrate.signal_quality import SignalReport, signal_quality
from corea.calibrate.targets import Targets
from corea.metrics import (
    Interval,
    best_single,
    cascade_frontier,
    cost_interval,
    oracle_point,
    paired_share_interval,
    saving_interval,
    share_interval,
)
from corea.metrics.arrays import Floats
from corea.metrics.calibration import expected_calibration_error, reliability_bins
from corea.metrics.score_map import ScoreMap, apply_map
from corea.policies.calibrated import GroupRule, ThresholdRule
from corea.records.table import OutcomeTable

POINTS = 101  # of the stored frontier


class BaselinePoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Accuracy and mean USD a question of another way to answer; `model` or `tau` where there is one."""

    accuracy: float
    cost_usd: float | None = None
    model: str | None = None
    tau: float | None = None


class FrontierCurve(msgspec.Struct, frozen=True, kw_only=True):
    """Every threshold of the first stage's score against the last model; equally long lists."""

    coverage: list[float]
    accuracy: list[float]
    cost_usd: list[float]


class ReliabilityBar(msgspec.Struct, frozen=True, kw_only=True):
    """Answers of about one confidence: its mean, the share that is right, and how many there are."""

    confidence: float
    accuracy: float
    count: int


class CategoryFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One category: accuracies, share deferred, saving, drop with its 95 % interval, and its own threshold if any.

    Args:
        skipped: The first model is not asked there.
    """

    category: str
    n: int
    pass_at_1: float
    llm_pass_at_1: float
    slm_pass_at_1: float
    llm_share: float
    saving: float
    drop: Interval
    skipped: bool
    threshold: ThresholdRule | None = None


class HeldOutReport(msgspec.Struct, frozen=True, kw_only=True):
    """Figures for the report, all on the rows of the test unless it says so.

    Args:
        reliability_before, ece_before: Of the first stage's signal. `..._after`: of its calibrated probability.
        ece_crossfitted: Of the probability on the rows that fitted it, cross-fitted.
        score_quality: Of the first stage's score.
        published_rule: Keep where the signal is at least the last model's accuracy.
        random_at_same_share: Random deferral of as many questions.
    """

    reliability_before: list[ReliabilityBar]
    reliability_after: list[ReliabilityBar]
    ece_before: float | None
    ece_after: float | None
    ece_crossfitted: float | None
    score_quality: SignalReport
    frontier: FrontierCurve
    oracle: BaselinePoint
    best_single: BaselinePoint
    published_rule: BaselinePoint
    random_at_same_share: BaselinePoint
    categories: list[CategoryFigures]


def estimates(table: OutcomeTable, answers: CascadeAnswers, targets: Targets) -> dict[str, Interval]:
    """Estimates of a cascade on these rows, at 95 % (intervals as in `corea.evaluate.figures`).

    The names are those of `Calibration.expected`. A question left to a person counts as right, and as none of the last
    model's.
    """
    first, last, left = table.first, table.last, np.asarray(answers.abstained, dtype=np.float64)
    shares = {
        "pass_at_1": answers.correct, "llm_pass_at_1": last.correct, "slm_pass_at_1": first.correct,
        "llm_share": 1.0 - np.asarray(answers.kept, dtype=np.float64) - left,
    }  # fmt: skip
    costs = {
        "mean_cost_usd": answers.cost_usd, "llm_mean_cost_usd": last.cost_usd, "slm_mean_cost_usd": first.cost_usd,
    }  # fmt: skip
    if targets.abstain_usd is not None:
        shares["abstained_share"] = left
    ratios = {"saving": (answers.cost_usd, last.cost_usd)}
    if targets.value_usd is not None:
        total, alone = targets.total_usd(answers), last.cost_usd + targets.value_usd * (1 - last.correct)
        costs |= {"total_usd": total, "llm_total_usd": alone}
        ratios["total_saving"] = (total, alone)
    found = {name: share_interval(values) for name, values in shares.items()}
    found |= {name: cost_interval(values) for name, values in costs.items()}
    found |= {name: saving_interval(ours, theirs) for name, (ours, theirs) in ratios.items()}
    return found | {"drop": paired_share_interval(last.correct, answers.correct)}


def held_out_report(
    fit: ScoredTable,
    test: ScoredTable,
    answers: CascadeAnswers,
    probability: ScoreMap,
    crossed: Floats,
    *,
    threshold: ThresholdRule | None,
    groups: Mapping[str, GroupRule],
) -> HeldOutReport:
    """The report of a certification.

    Args:
        answers: Of the cascade on the rows of the test.
        probability: The first stage's map to a probability. `crossed`: cross-fitted probabilities of the fitting rows.
        threshold: The first stage's, where two models are calibrated.
    """
    first, last, score = test.table.first, test.table.last, test.scores[0]
    raw, after = first.confidence, apply_map(probability, {"confidence": score})
    arrays = (first.correct, last.correct, first.cost_usd, last.cost_usd)
    frontier = cascade_frontier(np.where(np.isnan(score), -1.0, score), *arrays)
    thin = np.unique(np.linspace(0, len(frontier.tau) - 1, POINTS).astype(int))
    oracle, single = oracle_point(*arrays), best_single(*arrays)
    return HeldOutReport(
        reliability_before=_bars(raw, first.correct),
        reliability_after=_bars(after, first.correct),
        ece_before=_ece(raw, first.correct),
        ece_after=_ece(after, first.correct),
        ece_crossfitted=_ece(crossed, fit.table.first.correct),
        score_quality=signal_quality(score, first.correct, probability=False),
        frontier=FrontierCurve(
            coverage=frontier.coverage[thin].tolist(), accuracy=frontier.accuracy[thin].tolist(),
            cost_usd=frontier.cost_usd[thin].tolist(),
        ),
        oracle=BaselinePoint(accuracy=oracle.accuracy, cost_usd=oracle.cost_usd),
        best_single=BaselinePoint(
            model=first.name if single.coverage == 1 else last.name, accuracy=single.accuracy, cost_usd=single.cost_usd
        ),
        published_rule=_published_rule(test.table),
        random_at_same_share=BaselinePoint(
            accuracy=float(last.correct.mean() + np.mean(answers.kept) * (first.correct - last.correct).mean())
        ),
        categories=_categories(test.table, answers, threshold, groups),
    )  # fmt: skip


def _published_rule(table: OutcomeTable) -> BaselinePoint:
    first, last = table.first, table.last
    tau = float(last.correct.mean())
    with np.errstate(invalid="ignore"):
        kept = np.asarray(first.confidence >= tau)
    return BaselinePoint(
        tau=tau, accuracy=float(np.where(kept, first.correct, last.correct).mean()),
        cost_usd=float((first.cost_usd + last.cost_usd * ~kept).mean()),
    )  # fmt: skip


def _categories(
    table: OutcomeTable, answers: CascadeAnswers, threshold: ThresholdRule | None, groups: Mapping[str, GroupRule]
) -> list[CategoryFigures]:
    if table.categories is None:
        return []
    names = table.categories.astype(str)
    first, last = table.first, table.last
    rows: list[CategoryFigures] = []
    for name in sorted(set(names.tolist())):
        at = names == name
        alone = float(last.cost_usd[at].sum())
        rows.append(
            CategoryFigures(
                category=name, n=int(at.sum()), pass_at_1=float(answers.correct[at].mean()),
                llm_pass_at_1=float(last.correct[at].mean()), slm_pass_at_1=float(first.correct[at].mean()),
                llm_share=float(1 - np.mean(answers.kept[at])),
                saving=float(1 - answers.cost_usd[at].sum() / alone) if alone > 0 else 0.0,
                drop=paired_share_interval(last.correct[at], answers.correct[at]),
                skipped=threshold is not None and name in threshold.skip_categories,
                threshold=groups[name].threshold if name in groups else None,
            )
        )  # fmt: skip
    return rows


def _bars(confidence: Floats, correct: Floats) -> list[ReliabilityBar]:
    there = ~np.isnan(confidence)
    if not there.any():
        return []
    bars: Any = reliability_bins(np.clip(confidence[there], 0, 1), correct[there])
    return [ReliabilityBar(confidence=b.confidence, accuracy=b.accuracy, count=b.count) for b in bars]


def _ece(confidence: Floats, correct: Floats) -> float | None:
    there = ~np.isnan(confidence)
    return expected_calibration_error(np.clip(confidence[there], 0, 1), correct[there]) if there.any() else None
