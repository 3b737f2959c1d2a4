"""Compares signals and ways to choose a threshold on one's own rows: chosen on one half, judged on the other.

Every row of the comparison is one signal (or the blend of all) with one way to choose a threshold for the same largest
drop. Thresholds and blends see the fit split only; every figure is of the test split.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from corea.calibrate import FitOptions, Targets, fit
from corea.calibrate.maps import fit_probability, fit_score
from corea.errors import ConfigError, CoreaError, DataError
from corea.evaluate.figures import (
    CascadeOutcome,
    FiguresRow,
    SignalQuality,
    baselines,
    figures_of,
    quality,
    single_model,
)
from corea.evaluate.thresholds import cheapest_threshold, filled, kept_by, published_threshold
from corea.metrics import Bin, Frontier, cascade_frontier, mcnemar_test, permutation_test, reliability_bins
from corea.metrics.arrays import Floats
from corea.metrics.score_map import apply_map
from corea.policies.threshold import Threshold, uniform_of
from corea.records.table import OutcomeTable

BLEND = "blend"
CERTIFIED = "certified"
CHOOSERS: Mapping[str, Callable[[OutcomeTable, float], Threshold]] = {
    "cheapest": cheapest_threshold,
    "published rule": lambda table, max_drop: published_threshold(table),
}
"""Ways to choose a threshold without a guarantee; `corea.calibrate.fit` is the one with it."""
LEAST_ROWS = 40  # 20 in each split
RESAMPLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareSettings:
    """Settings of a comparison.

    Args:
        max_drop: The largest accuracy loss that thresholds are chosen for; .02 is 2 points.
        delta: Failure probability of the certified thresholds.
        fit_share: Share of the questions, by a hash of the id, that thresholds and blends are fitted on.
        seed: Random seed of the calibrations' own splits.
    """

    max_drop: float = 0.02
    delta: float = 0.05
    fit_share: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.fit_share < 1:
            raise ConfigError(f"fit-share: got {self.fit_share}, expected a share between 0 and 1, such as 0.5")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """One signal with one way to choose a threshold, on the test split.

    Args:
        chooser: A name of `CHOOSERS`, or "certified".
        tau: None where the last model answers every question.
        figures: None where the row could not be computed; `reason` says why, or why nothing is certified.
        p_accuracy, p_cost: Of the paired tests against the first row: McNemar's exact test, and sign-flip permutation
            of the cost. Not corrected for the number of rows.
    """

    signal: str
    chooser: str
    tau: float | None = None
    figures: FiguresRow | None = None
    p_accuracy: float | None = None
    p_cost: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedSignal:
    """One signal on the test split: its quality, its reliability, and the frontier of its thresholds."""

    quality: SignalQuality
    bins: list[Bin]
    frontier: Frontier


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalComparison:
    """A whole comparison.

    Args:
        models: Their names, small to large.
        baselines: Both models alone; random deferral at the first row's rate, the model that was better on the fit
            split, and the oracle.
    """

    settings: CompareSettings
    models: tuple[str, str]
    n_fit: int
    n_test: int
    rows: list[ComparisonRow]
    baselines: list[FiguresRow]
    signals: dict[str, ComparedSignal]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "models": list(self.models), "n_fit": self.n_fit, "n_test": self.n_test,
            "max_drop": self.settings.max_drop, "delta": self.settings.delta,
            "rows": [_row_dict(row) for row in self.rows],
            "baselines": [row.as_dict() for row in self.baselines],
            "signals": {name: each.quality.as_dict() for name, each in self.signals.items()},
            "notes": list(self.notes),
        }  # fmt: skip


def _row_dict(row: ComparisonRow) -> dict[str, Any]:
    figures = {} if row.figures is None else row.figures.as_dict()
    tau = "inf" if row.tau == float("inf") else row.tau
    return {
        **figures, "name": f"{row.signal}, {row.chooser}", "signal": row.signal, "threshold": row.chooser, "tau": tau,
        "p_accuracy": row.p_accuracy, "p_cost": row.p_cost, "reason": row.reason,
    }  # fmt: skip


def compare(table: OutcomeTable, settings: CompareSettings = CompareSettings()) -> SignalComparison:
    """Every signal with every way to choose a threshold.

    Args:
        table: Labelled questions of two models; the first one's signals are compared.

    Raises:
        DataError: There are too few questions.
    """
    if len(table) < LEAST_ROWS:
        raise DataError(f"compare: got {len(table)} questions, expected at least {LEAST_ROWS}; label more")
    fit_half = np.array([uniform_of(str(key), "compare") < settings.fit_share for key in table.ids])
    fitting, judged = table.take(np.flatnonzero(fit_half)), table.take(np.flatnonzero(~fit_half))
    scores, notes = _scores(fitting, judged, settings)
    rows: list[ComparisonRow] = []
    reference: CascadeOutcome | None = None
    for name, score in scores.items():
        for chooser in (*CHOOSERS, CERTIFIED):
            try:
                tau, outcome, reason = _chosen(score, chooser, settings)
            except CoreaError as error:
                rows.append(ComparisonRow(signal=name, chooser=chooser, reason=str(error)))
                continue
            reference = reference or outcome
            row = ComparisonRow(
                signal=name, chooser=chooser, tau=tau, figures=figures_of(outcome, judged), reason=reason
            )
            rows.append(row if outcome is reference else _tested(row, outcome, reference))
    share = 1.0 if reference is None else float(reference.deferred.mean())
    alone = [single_model(judged, last=last) for last in (False, True)]
    return SignalComparison(
        settings=settings,
        models=(table.first.name, table.last.name),
        n_fit=len(fitting),
        n_test=len(judged),
        rows=rows,
        baselines=[figures_of(each, judged) for each in (*alone, *baselines(judged, share, chosen_on=fitting))],
        signals={name: _report(score.judged) for name, score in scores.items()},
        notes=(*table.notes, *notes),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Score:
    """A score on both splits, and what a calibration of it reads: a column alone, or all that a blend may read."""

    fitting: OutcomeTable
    judged: OutcomeTable
    whole: tuple[OutcomeTable, OutcomeTable]
    map: str


def _scores(
    fitting: OutcomeTable, judged: OutcomeTable, settings: CompareSettings
) -> tuple[dict[str, _Score], list[str]]:
    """Each signal alone, and the blend of all columns, as a probability, where there are several; with a note
    where it cannot be computed.

    A blend's scores on the fit split are cross-fitted, so that no threshold is chosen on answers it has learnt from.
    """
    found: dict[str, _Score] = {}
    for name, values in fitting.first.signals.items():
        halves = _with_score(fitting, values), _with_score(judged, judged.first.signals[name])
        found[name] = _Score(fitting=halves[0], judged=halves[1], whole=halves, map="identity")
    if len(fitting.columns(0)) < 2:
        return found, []
    try:
        stored, crossed = fit_score(fitting, kind="linear", seed=settings.seed)
        probability, chance = fit_probability(crossed, fitting.first.correct, seed=settings.seed)
    except CoreaError as error:
        return found, [f"{BLEND}: not computed: {error}"]
    found[BLEND] = _Score(
        fitting=_with_score(fitting, chance),
        judged=_with_score(judged, apply_map(probability, {"confidence": apply_map(stored, judged.columns(0))})),
        whole=(fitting, judged),
        map="linear",
    )
    return found, []


def _with_score(table: OutcomeTable, score: Floats) -> OutcomeTable:
    """The table with one score as the only column of its first model."""
    return replace(table.change(0, signals={"score": score}, completion_tokens=None), categories=None)


def _chosen(score: _Score, chooser: str, settings: CompareSettings) -> tuple[float | None, CascadeOutcome, str]:
    """The threshold chosen on the fit split, its outcome on the test split, and the reason why it defers everything."""
    if chooser != CERTIFIED:
        threshold = CHOOSERS[chooser](score.fitting, settings.max_drop)
        return threshold.tau, CascadeOutcome.keeping(score.judged, kept_by(threshold, score.judged)), ""
    fitting, judged = score.whole
    options = FitOptions(map=score.map, pre_policy=False, seed=settings.seed)
    found = fit(fitting, Targets(max_drop=settings.max_drop, delta=settings.delta), options)
    answers, rule = found.apply(judged), found.stages[0].threshold
    outcome = CascadeOutcome(
        name="cascade", correct=answers.correct, cost_usd=answers.cost_usd, deferred=1.0 - answers.kept
    )
    return None if rule is None else rule.tau, outcome, "" if found.certified else found.sentence


def _tested(row: ComparisonRow, outcome: CascadeOutcome, reference: CascadeOutcome) -> ComparisonRow:
    return replace(
        row,
        p_accuracy=mcnemar_test(outcome.correct, reference.correct),
        p_cost=permutation_test(outcome.cost_usd, reference.cost_usd, resamples=RESAMPLES),
    )


def _report(judged: OutcomeTable) -> ComparedSignal:
    first, last = judged.first, judged.last
    stated = ~np.isnan(first.confidence)
    return ComparedSignal(
        quality=quality(first.confidence, first.correct),
        bins=reliability_bins(np.clip(first.confidence[stated], 0, 1), first.correct[stated]) if stated.any() else [],
        frontier=cascade_frontier(
            filled(first.confidence), first.correct, last.correct, first.cost_usd, last.cost_usd
        ),
    )  # fmt: skip
