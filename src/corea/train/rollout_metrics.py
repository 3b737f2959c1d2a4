# pyright: basic
# (numpy arrays of facts)
"""Metrics of rollouts, at each step and on held-out questions: accuracy, and the value of the stated confidence."""

from collections.abc import Sequence
from math import nan

import numpy as np

from corea.metrics.calibration import auroc, brier_score, expected_calibration_error
from corea.metrics.intervals import Interval
from corea.train.group import RolloutFact

BARS = 10  # of the histogram
GAINS = ("accuracy", "brier", "ece", "auroc", "expected_brier", "expected_ece", "expected_auroc")


def calibration(facts_RF: Sequence[Sequence[float]]) -> dict[str, float]:
    """Figures of some rollouts, by name.

    ECE, AUROC and the histogram are of the rollouts that state a confidence; `brier` counts a missing one as certain
    and wrong (1), so that leaving it out improves nothing. A figure that cannot be computed is nan.
    """
    facts = np.asarray(facts_RF, dtype=float)
    there = ~np.isnan(facts[:, RolloutFact.STATED])
    correct, stated = facts[there, RolloutFact.CORRECT] > 0.5, facts[there, RolloutFact.STATED]
    figures = {
        "accuracy": float(facts[:, RolloutFact.CORRECT].mean()),
        "formed": float(facts[:, RolloutFact.FORMED].mean()),
        "unstated": float(1 - there.mean()),
        "ece": nan,
        "auroc": nan,
        "brier": 1.0,
        "stated_mean": nan,
        "stated_values": 0.0,
    }
    if there.any():
        figures["ece"] = float(expected_calibration_error(stated, correct))
        figures["brier"] = float(there.mean() * brier_score(stated, correct) + (1 - there.mean()))
        figures["stated_mean"] = float(stated.mean())
        figures["stated_values"] = float(len(np.unique(stated)))
    if correct.any() and not correct.all():
        figures["auroc"] = float(auroc(stated, correct))
    shares = np.histogram(stated, bins=BARS, range=(0, 1))[0] / max(1, len(stated))
    return figures | {f"stated/{bar / BARS:.1f}": float(share) for bar, share in enumerate(shares)}


def expectation(facts_RF: Sequence[Sequence[float]], expected_R: Sequence[float]) -> dict[str, float]:
    """The same for the confidence that the model's probabilities expect, of the rollouts that have one."""
    correct, expected = (
        np.asarray(facts_RF, dtype=float)[:, RolloutFact.CORRECT] > 0.5,
        np.asarray(expected_R, dtype=float),
    )
    correct, expected = correct[~np.isnan(expected)], expected[~np.isnan(expected)]
    if not len(expected):
        return {}
    return {
        "expected_ece": float(expected_calibration_error(expected, correct)),
        "expected_brier": float(brier_score(expected, correct)),
        "expected_auroc": float(auroc(expected, correct)) if correct.any() and not correct.all() else nan,
    }


def criterion(figures: dict[str, float], *, accuracy_floor: float, calibrates: bool = True) -> float:
    """The objective to minimise over checkpoints: held-out Brier score, but above 1 if accuracy is below the floor.

    So no checkpoint wins by hedging: by being calibrated about answers that got worse.

    Args:
        calibrates: False for a run that rewards no confidence (RLVR): the objective is the error rate.
    """
    if not calibrates:
        return 1 - figures["accuracy"]
    short = accuracy_floor - figures["accuracy"]
    return figures["brier"] if short <= 0 else 1 + short


Measured = tuple[Sequence[Sequence[float]], Sequence[float]]  # facts (R, F), expected confidences (R,)


def gains(start: Measured, end: Measured, *, resamples: int = 1000, seed: int = 0) -> dict[str, Interval]:
    """Differences end - start of the figures that say whether training helped, on the same held-out questions.

    Intervals are 95 % percentiles of a paired bootstrap over questions. A figure that either side lacks is left out.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, ch. 13.
    """
    sides = []
    for facts, expected in (start, end):
        rows = np.column_stack([np.asarray(facts, dtype=float), np.asarray(expected, dtype=float)])
        sides.append(rows[np.argsort(rows[:, RolloutFact.QUESTION], kind="stable")])

    def figures(rows: np.ndarray) -> dict[str, float]:
        facts = rows[:, :-1].tolist()
        return calibration(facts) | expectation(facts, rows[:, -1].tolist())

    def differences(at: np.ndarray) -> list[float]:
        before, after = (figures(rows[at]) for rows in sides)
        return [after.get(name, nan) - before.get(name, nan) for name in GAINS]

    rng, n = np.random.default_rng(seed), len(sides[0])
    drawn = np.array([differences(rng.integers(n, size=n)) for _ in range(resamples)])
    found: dict[str, Interval] = {}
    for name, value, column in zip(GAINS, differences(np.arange(n)), drawn.T, strict=True):
        if not np.isnan(value):
            low, high = np.nanpercentile(column, [2.5, 97.5])
            found[name] = Interval(value, float(low), float(high))
    return found
