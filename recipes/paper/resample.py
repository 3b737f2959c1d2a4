"""Bootstrap intervals of a confidence's figures: B resamples of N questions are a (B, N) table of counts."""

from dataclasses import dataclass

import numpy as np

from corea.metrics import Interval, aurc, auroc, brier_score, expected_calibration_error
from corea.metrics.arrays import Floats

MEASURES = ("ece", "auroc", "brier", "aurc")


@dataclass(frozen=True, slots=True)
class Draws:
    """Counts (B, N) of B resamples of N questions; the same draws for every method make comparisons paired."""

    counts_BN: Floats

    @classmethod
    def of(cls, n: int, *, resamples: int, seed: int = 0) -> "Draws":
        """Draws of this many resamples."""
        return cls(np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64))

    def mean(self, values: Floats) -> Floats:
        """The mean in each resample, (B,)."""
        return self.counts_BN @ values / self.counts_BN.sum(axis=1)


def bootstrap_ci(value: float, draws_B: Floats, *, level: float = 0.95) -> Interval:
    """A value with the percentile interval of its draws; NaN draws are left out."""
    usable = draws_B[np.isfinite(draws_B)]
    if not len(usable):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(usable, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def score_quality(confidence: Floats, correct: Floats) -> dict[str, float]:
    """The four figures over the questions with a confidence; NaN where one is undefined."""
    stated = ~np.isnan(confidence)
    c, y = confidence[stated], correct[stated]
    if not len(c):
        return dict.fromkeys(MEASURES, float("nan"))
    return {
        "ece": expected_calibration_error(c, y),
        "auroc": auroc(c, y),
        "brier": brier_score(c, y),
        "aurc": aurc(c, y),
    }


def resampled_quality(confidence: Floats, correct: Floats, draws: Draws) -> dict[str, Floats]:
    """The same figures in each resample, (B,) each."""
    stated = ~np.isnan(confidence)
    if not stated.any():
        return {name: np.full(len(draws.counts_BN), np.nan) for name in MEASURES}
    c, y, counts_BN = confidence[stated], correct[stated], draws.counts_BN[:, stated]
    total_B = np.maximum(counts_BN.sum(axis=1), 1)
    return {
        "ece": _ece(c, y, counts_BN) / total_B,
        "auroc": _auroc(c, y, counts_BN),
        "brier": counts_BN @ (c - y) ** 2 / total_B,
        "aurc": _aurc(c, y, counts_BN),
    }


def _ece(c: Floats, y: Floats, counts_BN: Floats, bins: int = 10) -> Floats:
    edges = np.linspace(0, 1, bins + 1)
    at = np.clip(np.searchsorted(edges, c, side="right") - 1, 0, bins - 1)
    gap_NK = np.zeros((len(c), bins))
    gap_NK[np.arange(len(c)), at] = c - y
    return np.abs(counts_BN @ gap_NK).sum(axis=1)


def _groups(c: Floats, y: Floats, counts_BN: Floats) -> tuple[Floats, Floats]:
    """Right and wrong answers at each distinct confidence, from the most sure down: (B, U) each."""
    order = np.argsort(-c, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(c[order]) != 0]))
    right = np.add.reduceat(counts_BN[:, order] * y[order], starts, axis=1)
    return right, np.add.reduceat(counts_BN[:, order] * (1 - y[order]), starts, axis=1)


def _auroc(c: Floats, y: Floats, counts_BN: Floats) -> Floats:
    right_BU, wrong_BU = _groups(c, y, counts_BN)
    below_BU = wrong_BU.sum(axis=1, keepdims=True) - np.cumsum(wrong_BU, axis=1)
    pairs_B = right_BU.sum(axis=1) * wrong_BU.sum(axis=1)
    wins_B = (right_BU * (below_BU + wrong_BU / 2)).sum(axis=1)
    return np.divide(wins_B, pairs_B, out=np.full(len(pairs_B), np.nan), where=pairs_B > 0)


def _aurc(c: Floats, y: Floats, counts_BN: Floats) -> Floats:
    right_BU, wrong_BU = _groups(c, y, counts_BN)
    out = np.empty(len(counts_BN))
    for b, (right, wrong) in enumerate(zip(right_BU, wrong_BU, strict=True)):
        size = (right + wrong).astype(int)
        rate = np.divide(wrong, size, out=np.zeros(len(size)), where=size > 0)
        errors = np.cumsum(np.repeat(rate, size))
        out[b] = float(np.mean(errors / np.arange(1, len(errors) + 1))) if len(errors) else np.nan
    return out
