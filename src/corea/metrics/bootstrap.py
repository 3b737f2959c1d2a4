"""Intervals and paired tests, with numpy alone. Promises that hold at every sample size: `corea.calibrate.bounds`."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from corea.errors import DataError
from corea.metrics.arrays import Floats, as_floats


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the ends of its interval."""

    value: float
    low: float
    high: float


def bootstrap_interval(
    statistic: Callable[..., float], *arrays: Any, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Percentile bootstrap of `statistic(*arrays)`; the examples of all arrays are drawn together.

    Args:
        statistic: Takes arrays of the same kind and order; resamples where it gives NaN are left out.
        arrays: Each (N, ...), equal N.

    Returns:
        The statistic on all examples, and an approximate interval at `level` (too narrow for small N).

    Raises:
        DataError: The arrays differ in length or are empty.

    Source: Efron 1979, Annals of Statistics 7(1).
    """
    data = [np.asarray(a) for a in arrays]
    if len({len(a) for a in data}) != 1 or not len(data[0]):
        raise DataError(f"bootstrap_interval: got lengths {[len(a) for a in data]}, expected one equal, above 0")
    rng = np.random.default_rng(seed)
    n = len(data[0])
    draws = [float(statistic(*(a[at] for a in data))) for at in (rng.integers(0, n, n) for _ in range(resamples))]
    usable = np.array([d for d in draws if not math.isnan(d)])
    value = float(statistic(*data))
    if not len(usable):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(usable, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def mean_interval(values: Any, *, level: float = 0.95) -> Interval:
    """Mean with its normal interval; for many examples of no heavy skew."""
    (x,) = as_floats("mean_interval", values=values)
    half = NormalDist().inv_cdf(0.5 + level / 2) * float(x.std(ddof=1)) / math.sqrt(len(x)) if len(x) > 1 else math.inf
    return Interval(float(x.mean()), float(x.mean()) - half, float(x.mean()) + half)


def wilson_interval(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """Interval of a share; honest near 0 and 1, where the normal one is not.

    Source: Wilson 1927, JASA 22(158).
    """
    if n < 1 or not 0 <= successes <= n:
        raise DataError(f"wilson_interval: got {successes} of {n}, expected 0 <= successes <= n and n >= 1")
    z, p = NormalDist().inv_cdf(0.5 + level / 2), successes / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Interval(p, max(0.0, middle - half), min(1.0, middle + half))


def ratio_interval(numerator: Any, denominator: Any, *, level: float = 0.95) -> Interval:
    """Ratio of two means over the same examples, by the delta method (a saving is 1 minus such a ratio)."""
    a, b = as_floats("ratio_interval", numerator=numerator, denominator=denominator)
    if b.mean() == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    ratio = float(a.mean() / b.mean())
    spread = float((a - ratio * b).std(ddof=1) / abs(b.mean()) / math.sqrt(len(a))) if len(a) > 1 else math.inf
    half = NormalDist().inv_cdf(0.5 + level / 2) * spread
    return Interval(ratio, ratio - half, ratio + half)


def paired_difference(
    first: Any, second: Any, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Mean of first - second over the same examples, with its bootstrap interval."""
    a, b = as_floats("paired_difference", first=first, second=second)

    def mean(x: Floats) -> float:
        return float(x.mean())

    return bootstrap_interval(mean, a - b, level=level, resamples=resamples, seed=seed)


def mcnemar_test(first: Any, second: Any) -> float:
    """Exact two-sided p-value that two models are right equally often on the same questions.

    Only the questions where exactly one is right tell; under the null each is as likely to be either's.

    Source: McNemar 1947, Psychometrika 12(2); exact binomial form.
    """
    a, b = as_floats("mcnemar_test", first=first, second=second)
    only_a, only_b = int(((a > 0.5) & (b <= 0.5)).sum()), int(((b > 0.5) & (a <= 0.5)).sum())
    n = only_a + only_b
    return min(1.0, 2 * binomial_cdf(min(only_a, only_b), n, 0.5)) if n else 1.0


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
