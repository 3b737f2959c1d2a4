"""Calibration and discrimination of confidences. Arrays in, floats out; (N,) examples."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from corea.errors import DataError
from corea.metrics.arrays import Floats, as_floats
from corea.metrics.intervals import Z_95


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """One bar of a reliability diagram: confidences in [low, high), the last one closed."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def expected_calibration_error(confidence: Any, correct: Any, *, bins: int = 10) -> float:
    """Mean gap between stated confidence and observed accuracy, over equal-width bins.

    Args:
        confidence: (N,), each in [0, 1].
        correct: (N,), 1 or True where the grader accepted the answer.
        bins: Empty bins count for nothing.

    Returns:
        A fraction in [0, 1]; 0 is calibrated. It depends on `bins`: quote both.

    Raises:
        DataError: The arrays differ in length, are empty, or a confidence is outside [0, 1].

    Source: Guo et al. 2017, arXiv:1706.04599, sec. 2.
    """
    bars = reliability_bins(confidence, correct, bins=bins)
    return sum(bar.count * abs(bar.confidence - bar.accuracy) for bar in bars) / sum(bar.count for bar in bars)


def reliability_bins(confidence: Any, correct: Any, *, bins: int = 10) -> list[Bin]:
    """The non-empty bins of a reliability diagram, low to high.

    Args:
        bins: The number of bins of equal width, the empty ones included.

    Raises:
        DataError: As `expected_calibration_error`.
    """
    if bins < 1:
        raise DataError(f"reliability_bins: got bins={bins}, expected at least 1; use 10 or 15")
    p, y = _checked("reliability_bins", confidence, correct)
    edges = np.arange(bins + 1) / bins  # not `linspace`, whose third edge of ten is above 0.3
    at = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, len(edges) - 2)
    count = np.bincount(at, minlength=len(edges) - 1)
    p_sum = np.bincount(at, weights=p, minlength=len(edges) - 1)
    y_sum = np.bincount(at, weights=y, minlength=len(edges) - 1)
    return [
        Bin(
            low=float(edges[k]),
            high=float(edges[k + 1]),
            count=int(count[k]),
            confidence=float(p_sum[k] / count[k]),
            accuracy=float(y_sum[k] / count[k]),
        )
        for k in range(len(edges) - 1)
        if count[k]
    ]


def brier_score(confidence: Any, correct: Any) -> float:
    """Mean squared distance of confidence from correctness; in [0, 1], 0 is perfect, .25 is always saying .5.

    Source: Brier 1950, Monthly Weather Review 78(1).
    """
    p, y = _checked("brier_score", confidence, correct)
    return float(np.mean((p - y) ** 2))


def auroc(score: Any, correct: Any) -> float:
    """Probability that a right answer scores higher than a wrong one; a tie counts one half.

    Args:
        score: (N,), any finite numbers: only their order counts.
        correct: (N,), 1 or True where the answer is right.

    Returns:
        In [0, 1]; .5 is no better than chance. NaN where all are right or all are wrong: undefined.

    Source: Hanley and McNeil 1982, Radiology 143(1); the Mann-Whitney U over its maximum.
    """
    s, y = as_floats("auroc", score=score, correct=correct)
    positive = y > 0.5
    n_right, n_wrong = int(positive.sum()), int((~positive).sum())
    if not n_right or not n_wrong:
        return float("nan")
    return float((_midranks(s)[positive].sum() - n_right * (n_right + 1) / 2) / (n_right * n_wrong))


def auroc_interval(score: Any, correct: Any) -> tuple[float, float]:
    """95 % interval of the AUROC: the wider ends of two; (NaN, NaN) with fewer than two right or two wrong answers.

    DeLong's variance, on the log-odds, is too narrow near 1 and with few wrong answers; Newcombe's, which solves for
    the areas whose own variance allows the estimate, with many ties.

    Source: DeLong et al. 1988, Biometrics 44(3), fast form Sun and Xu 2014, IEEE SPL 21(11); Newcombe 2006, Statistics
    in Medicine 25(4), method 5.
    """
    s, y = as_floats("auroc_interval", score=score, correct=correct)
    positive = y > 0.5
    m, n = int(positive.sum()), int((~positive).sum())
    area = auroc(s, y)
    if m < 2 or n < 2:
        return (float("nan"), float("nan"))
    ranks = _midranks(s)
    of_right = (ranks[positive] - _midranks(s[positive])) / n
    of_wrong = 1 - (ranks[~positive] - _midranks(s[~positive])) / m
    spread = float(np.sqrt(of_right.var(ddof=1) / m + of_wrong.var(ddof=1) / n))
    ends = [_furthest(area, end, m, n) for end in (0.0, 1.0)]
    if 0 < area < 1:
        at, half = math.log(area / (1 - area)), Z_95 * spread / (area * (1 - area))
        ends = [min(ends[0], _expit(at - half)), max(ends[1], _expit(at + half))]
    return (ends[0], ends[1])


def _furthest(area: float, end: float, m: int, n: int) -> float:
    """The area furthest towards `end` whose standard error, with m right and n wrong answers, allows the estimate."""
    near, far = area, end
    for _ in range(50):
        t = (near + far) / 2
        scaled = 1 + ((m + n) / 2 - 1) * ((1 - t) / (2 - t) + t / (1 + t))
        if abs(area - t) <= Z_95 * math.sqrt(t * (1 - t) * scaled / (m * n)):
            near = t
        else:
            far = t
    return near


def _expit(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z > -700 else 0.0


def aurc(confidence: Any, correct: Any) -> float:
    """Area under the risk-coverage curve: mean error among the kept over all coverages; lower is better.

    Within a tie the order is unknown, so each place in it gets the tie's own error rate (the expectation over random
    orders of its cumulated errors).

    Source: Geifman et al. 2019, arXiv:1805.08206, sec. 2.
    """
    s, y = as_floats("aurc", confidence=confidence, correct=correct)
    values, at = np.unique(-s, return_inverse=True)
    wrong_rate = np.bincount(at, weights=1 - y, minlength=len(values)) / np.bincount(at, minlength=len(values))
    errors = np.cumsum(wrong_rate[np.sort(at)])
    return float(np.mean(errors / np.arange(1, len(s) + 1)))


def _midranks(s: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of theirs."""
    _, at, counts = np.unique(s, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[at].astype(np.float64)


def _checked(where: str, confidence: Any, correct: Any) -> tuple[Floats, Floats]:
    p, y = as_floats(where, confidence=confidence, correct=correct)
    if p.min() < 0 or p.max() > 1:
        raise DataError(
            f"{where}: got confidences from {p.min():g} to {p.max():g}, expected [0, 1]; divide percentages by 100"
        )
    return p, y
