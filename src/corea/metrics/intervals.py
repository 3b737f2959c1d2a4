"""Intervals and paired tests, with numpy alone. Tests valid at every sample size: `corea.calibrate.exact_tests`."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from corea.errors import DataError
from corea.metrics.arrays import Floats, as_floats

Z_95 = NormalDist().inv_cdf(0.975)
"""Standard deviations on each side of a 95 % interval, the level of the intervals here unless said."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the ends of its interval."""

    value: float
    low: float
    high: float


def wilson_interval(successes: float, n: int) -> Interval:
    """Interval of a share; it stays in [0, 1] and keeps its coverage near 0 and 1, where the normal one does not.

    Source: Wilson 1927, JASA 22(158); recommended by Brown, Cai and DasGupta 2001, Statistical Science 16(2).
    """
    if n < 1 or not 0 <= successes <= n:
        raise DataError(f"wilson_interval: got {successes} of {n}, expected 0 <= successes <= n and n >= 1")
    z, p = Z_95, successes / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Interval(p, max(0.0, middle - half), min(1.0, middle + half))


def share_interval(values: Any) -> Interval:
    """Mean of N values in [0, 1], such as right answers, with its Wilson interval."""
    (x,) = as_floats("share_interval", values=values)
    return wilson_interval(float(x.sum()), len(x))


def cost_interval(values: Any) -> Interval:
    """Mean of N values of at least 0, with the delta-method interval of its logarithm: it never reaches below 0."""
    (x,) = as_floats("cost_interval", values=values)
    return ratio_interval(x, np.ones(len(x)))


def ratio_interval(numerator: Any, denominator: Any) -> Interval:
    """Ratio of two means of at least 0 over the same examples, with the delta-method interval of its logarithm.

    A saving is 1 minus such a ratio, and so never above 100 %. The quantile is Student's, with fewer degrees of freedom
    the more a few examples make up the variance: those of a variance estimate at this kurtosis, 2N / (kurtosis - 1).

    Source: Katz et al. 1978, Biometrics 34(3) (the logarithm); Deng, Knoblich and Lu 2018, arXiv:1803.06336;
    Satterthwaite 1946, Biometrics Bulletin 2(6) (degrees of freedom).
    """
    a, b = as_floats("ratio_interval", numerator=numerator, denominator=denominator)
    if b.mean() == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    ratio = float(a.mean() / b.mean())
    if ratio == 0:
        return Interval(0.0, 0.0, 0.0)
    if len(a) == 1:
        return Interval(ratio, 0.0, math.inf)
    half = _half_width(a / a.mean() - b / b.mean())
    return Interval(ratio, ratio * math.exp(-half), ratio * math.exp(half))


def mean_difference_interval(first: Any, second: Any) -> Interval:
    """Mean of first - second over the same N examples, such as two costs, with Student's interval as for a ratio."""
    a, b = as_floats("mean_difference_interval", first=first, second=second)
    value = float((a - b).mean())
    half = _half_width(a - b - value) if len(a) > 1 else math.inf
    return Interval(value, value - half, value + half)


def _half_width(centred: Floats) -> float:
    """Of the 95 % interval of a mean, from the N >= 2 values less their mean."""
    n, square = len(centred), float((centred**2).mean())
    if square == 0:
        return 0.0
    kurtosis = float(((centred / math.sqrt(square)) ** 4).mean())
    freedom = min(2 * n / max(kurtosis - 1, 1e-9), n - 1)
    return _student(max(freedom, 2.0)) * math.sqrt(square / (n - 1))


def _student(freedom: float) -> float:
    """The 97.5 % quantile of Student's distribution, within 3 % at 2 degrees of freedom and 0.1 % from 5.

    Source: Abramowitz and Stegun 1964, Handbook of Mathematical Functions, 26.7.5.
    """
    z, v = Z_95, freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )


def paired_share_interval(first: Any, second: Any, *, z: float = Z_95) -> Interval:
    """Difference of two shares over the same N examples; it is wider than 0 also where no example tells them apart.

    The interval is Wald's with one pseudo-example added to each kind of disagreement, `z` standard deviations wide.

    Source: Bonett and Price 2012, Journal of Educational and Behavioral Statistics 37(4); recommended by Fagerland,
    Lydersen and Laake 2014, Statistics in Medicine 33(16).
    """
    a, b = as_floats("paired_share_interval", first=first, second=second)
    gap, n = a - b, len(a) + 2
    only_a, only_b = (float(np.maximum(sign * gap, 0).sum() + 1) / n for sign in (1, -1))
    middle = only_a - only_b
    half = z * math.sqrt((only_a + only_b - middle**2) / n)
    return Interval(float(gap.mean()), max(-1.0, middle - half), min(1.0, middle + half))


def mcnemar_test(first: Any, second: Any) -> float:
    """Exact two-sided p-value that two models are right equally often on the same questions.

    Only the questions where exactly one is right tell; under the null each is as likely to be either's.

    Source: McNemar 1947, Psychometrika 12(2); exact binomial form.
    """
    a, b = as_floats("mcnemar_test", first=first, second=second)
    only_a, only_b = int(((a > 0.5) & (b <= 0.5)).sum()), int(((b > 0.5) & (a <= 0.5)).sum())
    n = only_a + only_b
    return min(1.0, 2 * binomial_cdf(min(only_a, only_b), n, 0.5)) if n else 1.0


def saving_interval(ours: Floats, theirs: Floats) -> Interval:
    """1 - the ratio of two mean costs over the same questions."""
    share = ratio_interval(ours, theirs)
    return Interval(1 - share.value, 1 - share.high, 1 - share.low)


def permutation_test(first: Any, second: Any, *, resamples: int = 10_000, seed: int = 0) -> float:
    """Two-sided p-value that the mean of first - second is 0, by flipping signs at random; at least 1/(resamples+1).

    Source: Phipson and Smyth 2010, arXiv:1603.05766 (why one is added).
    """
    a, b = as_floats("permutation_test", first=first, second=second)
    difference = a - b
    rng = np.random.default_rng(seed)
    observed = abs(difference.mean()) - 1e-12
    hits = 0
    for _ in range(resamples):
        hits += bool(abs((difference * rng.choice([-1.0, 1.0], len(difference))).mean()) >= observed)
    return (hits + 1) / (resamples + 1)


def binomial_cdf(k: int, n: int, p: float) -> float:
    """Chance of at most k successes in n trials of chance p."""
    if k >= n:
        return 1.0
    if k < 0:
        return 0.0
    if p <= 0 or p >= 1:
        return 1.0 if p <= 0 else 0.0
    i = np.arange(k + 1)
    log_choose = math.lgamma(n + 1) - _lgamma(i + 1) - _lgamma(n - i + 1)
    terms = log_choose + i * math.log(p) + (n - i) * math.log1p(-p)
    top = float(terms.max())
    return min(1.0, math.exp(top) * float(np.exp(terms - top).sum()))


def _lgamma(values: Any) -> Floats:
    return np.array([math.lgamma(v) for v in values])
