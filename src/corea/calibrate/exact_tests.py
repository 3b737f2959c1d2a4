"""p-values that hold at every sample size: for paired differences in {-1, 0, 1}, for shares, and for bounded means.

Each tests "the target is missed" from independent rows; a small p-value speaks for the guarantee. For paired
differences a row is a *loss* (kept, and only the last model is right), a *gain* (kept, and only the small one is right)
or neither, and the target is: P(loss) - P(gain) < drop.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np

from corea.errors import ConfigError, DataError
from corea.metrics.arrays import Floats
from corea.registry import import_extra

NUISANCE_RISK = 1e-3
STEPS_PER_SD = 2.0  # grid of the nuisance parameter; tests compare it with a 20 times finer one
GRID_MARGIN = 1.005  # multiplies the largest value on that grid
NORMAL = NormalDist()
STAKE_CHANGES = 64  # over the rows; a stake may be kept for some
FEW_VALUES = 16  # between two changes of the stake
BOLDEST, BOLDEST_AT_THE_TOP = 0.98, 50.0  # of the stake that could lose all; at c = 1 none can


# --- paired differences: the exact test -----------------------------------------------------------------------------


@lru_cache(maxsize=65536)
def exact_drop_pvalue(losses: int, gains: int, n: int, drop: float) -> float:
    """Exact p-value of "the probability of a loss exceeds that of a gain by at least `drop`".

    Rows are multinomial: loss, gain, neither. Outcomes are ordered by the signed root of the likelihood ratio; the
    p-value is the probability of an outcome at least as good as the one seen, at its largest over the unknown share s
    of discordant rows (losses + gains), on the boundary of the target. Given the number m of discordant rows, losses
    are binomial (m, (s + drop) / 2s), so the probability is a sum over m alone. s is searched within its exact
    1 - `NUISANCE_RISK` interval, and that risk is added.

    Source: the unconditional test of Barnard 1947 (Biometrika 34), for paired proportions Suissa and Shuster 1991
    (Biometrics 47), here with a margin; the interval for the nuisance is Berger and Boos 1994 (JASA 89(427)).
    """
    _check_counts(losses, gains, n, drop)
    m = losses + gains
    t = float(_signed_root(np.array([losses]), np.array([m]), n, drop)[0])
    if t >= 0:
        return 1.0
    low = max(share_lower(m, n, NUISANCE_RISK / 2), abs(drop), 1e-9)
    high = max(share_upper(m, n, NUISANCE_RISK / 2), low)
    return min(1.0, _largest_tail(t, n, drop, low, high) * GRID_MARGIN + NUISANCE_RISK)


def _largest_tail(t: float, n: int, d: float, low: float, high: float) -> float:
    """Largest probability of {signed root <= t} over shares of discordant rows from low to high, on the boundary."""
    special = _scipy_special()
    ends = [math.asin(math.sqrt(s)) for s in (low, high)]
    steps = max(2, math.ceil((ends[1] - ends[0]) * 2 * math.sqrt(n) * STEPS_PER_SD))
    share_S = np.clip(np.sin(np.linspace(ends[0], ends[1], steps)) ** 2, low, high)
    reach = [6.0 * math.sqrt(n * s * (1 - s)) + 14 for s in (low, high)]
    m_M = np.arange(max(0, math.floor(n * low - reach[0])), min(n, math.ceil(n * high + reach[1])) + 1)
    most_M = _allowed_losses(t, m_M, n, d)
    m_M, most_M = m_M[most_M >= 0], most_M[most_M >= 0]
    s, m = share_S[:, None], m_M[None, :]
    log_mass_SM = (
        special.gammaln(n + 1) - special.gammaln(m + 1) - special.gammaln(n - m + 1)
        + special.xlogy(m, s) + special.xlog1py(n - m, -s)
    )  # fmt: skip
    given_m_SM = special.bdtr(most_M[None, :].astype(np.float64), m, np.clip((s + d) / (2 * s), 0.0, 1.0))
    return float((np.exp(log_mass_SM) * given_m_SM).sum(axis=1).max(initial=0.0)) + 1e-8  # mass beyond 6 sd


def _allowed_losses(t: float, m: Any, n: int, d: float) -> Any:
    """For each number m of discordant rows the most losses whose signed root is at most t; -1 if none."""
    low, high = np.full(len(m), -1), m.copy()  # low is allowed (or -1); the root rises with the losses
    while (low < high).any():
        middle = (low + high + 1) // 2
        fits = _signed_root(middle, m, n, d) <= t + 1e-12
        low, high = np.where(fits, middle, low), np.where(fits, high, middle - 1)
    return low


def _signed_root(x: Any, m: Any, n: int, d: float) -> Floats:
    """Signed root of the likelihood ratio against the boundary; negative where the drop seen is under `d`."""
    x, m = np.asarray(x, dtype=np.float64), np.asarray(m, dtype=np.float64)
    y, z = m - x, n - m
    s = _boundary_mle(x, y, z, n, d)
    free = _xlogy(x, x / n) + _xlogy(y, y / n) + _xlogy(z, z / n)
    bound = _xlogy(x, (s + d) / 2) + _xlogy(y, (s - d) / 2) + _xlogy(z, 1 - s)
    return np.sign(x - y - n * d) * np.sqrt(np.maximum(0.0, 2 * (free - bound)))


def _boundary_mle(x: Floats, y: Floats, z: Floats, n: int, d: float) -> Floats:
    """Most likely share s of discordant rows where P(loss) - P(gain) is d.

    The larger root of n s^2 - (x + y + d (x - y)) s + d (x - y) - z d^2 = 0, which is the score equation
    x/(s+d) + y/(s-d) = z/(1-s) cleared of its fractions.
    """
    b = x + y + d * (x - y)
    c = d * (x - y) - z * d * d
    return np.clip((b + np.sqrt(np.maximum(b * b - 4 * n * c, 0.0))) / (2 * n), abs(d), 1.0)


def _xlogy(x: Floats, p: Floats) -> Floats:
    """x log p, 0 where x is 0, and far below any likelihood (finite, to be subtracted) where p is 0."""
    return np.where(x == 0, 0.0, x * np.log(np.maximum(p, 1e-300)))


# --- shares ---------------------------------------------------------------------------------------------------------


def share_pvalue(events: int, n: int, share: float) -> float:
    """Exact p-value of "the probability of an event is at least `share`": the binomial's lower tail.

    Source: Clopper and Pearson 1934, Biometrika 26(4).
    """
    if not 0 <= events <= n:
        raise DataError(f"share_pvalue: got {events} events of {n}, expected 0 <= events <= n")
    return float(_scipy_special().bdtr(float(events), n, share)) if n else 1.0


def share_lower(events: int, n: int, delta: float) -> float:
    """Lower confidence bound at level 1 - delta for a probability, exact. Source: Clopper and Pearson 1934."""
    return 0.0 if events <= 0 else float(_scipy_special().betaincinv(events, n - events + 1, delta))


def share_upper(events: int, n: int, delta: float) -> float:
    """Upper confidence bound at level 1 - delta for a probability, exact. Source: Clopper and Pearson 1934."""
    return 1.0 if events >= n else float(_scipy_special().betaincinv(events + 1, n - events, 1 - delta))


# --- bounded means --------------------------------------------------------------------------------------------------


def mean_pvalue(values: Any, bound: float, *, low: float, high: float, delta: float = 0.05) -> float:
    """p-value of "the mean is at least `bound`", for independent values in [low, high] of any shape, by betting.

    A stake s, fixed before a value x is seen, earns 1 + s (bound - x): under the null the wealth is a supermartingale
    whatever the stakes, and 1 / its largest value a p-value (Ville's inequality). Here the stakes are those that would
    bring the wealth to 1 / delta with the best probability if values were normal with the variance seen so far, so that
    about as many standard errors are paid as by a normal test, without its assumption. Values outside the range are
    clipped: the test is then about the mean of the clipped values. Their order must not depend on them.

    Args:
        delta: The level aimed at; the p-value is valid at every level.

    Source: Waudby-Smith and Ramdas 2024, arXiv:2010.09686, sec. 4; stakes that look at the target and the rows left
    as Voracek and Orabona 2025, arXiv:2505.22422, in the normal limit (Kulldorff 1993, SIAM J. Control Optim. 31(1)).
    """
    x = np.clip(np.asarray(values, dtype=np.float64), low, high)
    if not len(x) or high <= low:
        raise DataError(f"mean_pvalue: got {len(x)} values in [{low}, {high}], expected some and low < high")
    if bound <= low:
        return 1.0
    if bound > high:
        return 0.0
    x, c = (x - low) / (high - low), (bound - low) / (high - low)
    if x.mean() >= c:
        return 1.0
    most = BOLDEST / (1 - c) if c < 1 else BOLDEST_AT_THE_TOP
    n, target = len(x), math.log(1 / delta)
    edges = np.linspace(0, n, min(n, STAKE_CHANGES) + 1).astype(int)
    parts = _parts(c - x, edges.tolist())
    wealth = best = 0.0  # logarithms
    for part, error in zip(parts, _errors_ahead(x, c, edges[:-1]), strict=True):
        stake = min(_stake(wealth - target) / error, most)
        wealth += _log_growth(stake, part)
        best, target = max(best, wealth), 2 * target if wealth >= target else target
    return math.exp(-best)


def _parts(x: Floats, edges: Sequence[int]) -> list[Any]:
    """The values between the edges; as lists where they are few, which are faster then than arrays."""
    values: Any = x.tolist() if len(x) < FEW_VALUES * len(edges) else x
    return [values[start:end] for start, end in pairwise(edges)]


def _log_growth(stake: float, part: Any) -> float:
    if isinstance(part, list):
        return math.fsum([math.log1p(stake * each) for each in part])
    return float(np.log1p(stake * part).sum())


def _errors_ahead(x: Floats, c: float, starts: Any) -> list[float]:
    """At each start the spread of the sum of the values from there on, guessed from those before; all in [0, 1].

    The guess begins with one value that is spread as widely as a mean of c allows.
    """
    count, left = 1.0 + starts, len(x) - starts
    total = c + np.concatenate([[0.0], np.cumsum(x)])[starts]
    squares = c + np.concatenate([[0.0], np.cumsum(x * x)])[starts]
    return np.sqrt(np.maximum(squares / count - (total / count) ** 2, 1e-12) * left).tolist()


def _stake(log_share: float) -> float:
    """Share of the wealth to stake, a standard error of what is left, to go from this share of a target to the target.

    The hedge of a payment of the target where a normal sum ends above z: density over chance at z.
    """
    chance = min(max(math.exp(log_share), 1e-12), 1 - 1e-9)
    z = NORMAL.inv_cdf(chance)
    return math.exp(-z * z / 2) / (math.sqrt(2 * math.pi) * chance)


def _check_counts(losses: int, gains: int, n: int, drop: float) -> None:
    if n < 1 or losses < 0 or gains < 0 or losses + gains > n:
        raise DataError(
            f"drop test: got {losses} losses and {gains} gains of {n} rows, expected counts that fit in n >= 1"
        )
    if not -1 < drop < 1:
        raise ConfigError(f"max-drop: got {drop}, expected a share between -1 and 1; 2 points are 0.02")


def _scipy_special() -> Any:
    return import_extra("calibrate:", "scipy.special")
