"""Figures of a confidence with their intervals, by the rule of `corea.evaluate.figures`."""

import math

import numpy as np

from corea.metrics import Interval, aurc, auroc, auroc_interval, brier_score, cost_interval, expected_calibration_error
from corea.metrics.arrays import Floats
from corea.metrics.intervals import Z_95

NAN = float("nan")


def score_quality(confidence: Floats, correct: Floats) -> dict[str, Interval]:
    """ECE, AUROC, Brier and AURC over the questions with a confidence; NaN where one is undefined.

    ECE and AURC have no interval: of both estimates the bootstrap's covers too little.
    """
    stated = ~np.isnan(confidence)
    c, y = confidence[stated], correct[stated]
    if not len(c):
        return dict.fromkeys(("ece", "auroc", "brier", "aurc"), Interval(NAN, NAN, NAN))
    return {
        "ece": Interval(expected_calibration_error(c, y), NAN, NAN),
        "auroc": Interval(auroc(c, y), *auroc_interval(c, y)),
        "brier": Interval(brier_score(c, y), *_ends(cost_interval((c - y) ** 2))),
        "aurc": Interval(aurc(c, y), NAN, NAN),
    }


def _ends(found: Interval) -> tuple[float, float]:
    return found.low, found.high


def auroc_difference_interval(first: tuple[Floats, Floats], second: tuple[Floats, Floats]) -> Interval:
    """Difference of two AUROCs over the same N questions, each of a (confidence, correct) for its own model's answers.

    The variance is that of the difference of DeLong's placements, question by question. A question without a
    confidence counts in its own AUROC alone, as 0 in the placements.

    Source: DeLong et al. 1988, Biometrics 44(3).
    """
    areas, placements = zip(*(_placements(confidence, correct) for confidence, correct in (first, second)), strict=True)
    half = Z_95 * float((placements[0] - placements[1]).std(ddof=1)) / math.sqrt(len(first[0]))
    value = areas[0] - areas[1]
    return Interval(value, max(-1.0, value - half), min(1.0, value + half))


def _placements(confidence: Floats, correct: Floats) -> tuple[float, Floats]:
    """The AUROC, and (N,) each question's first-order share in its error."""
    stated = ~np.isnan(confidence)
    c, y = confidence[stated], correct[stated] > 0.5
    out = np.zeros(len(confidence))
    area = auroc(c, y)
    if np.isnan(area):
        return area, np.full(len(out), np.nan)
    right, wrong = np.sort(c[y]), np.sort(c[~y])
    beaten = (np.searchsorted(wrong, c, "left") + np.searchsorted(wrong, c, "right")) / (2 * len(wrong))
    beating = 1 - (np.searchsorted(right, c, "left") + np.searchsorted(right, c, "right")) / (2 * len(right))
    share = len(out) / np.where(y, len(right), len(wrong))
    out[stated] = share * (np.where(y, beaten, beating) - area)
    return area, out
