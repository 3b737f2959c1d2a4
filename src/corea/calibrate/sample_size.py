"""Sample size: the labels that would certify given rules."""

import math
from statistics import NormalDist

from corea.calibrate.exact_tests import exact_drop_pvalue

FIT_SHARE = 0.3


def labels_for_rules(loss: float, gain: float, *, drop: float, delta: float = 0.05, power: float = 0.8) -> int | None:
    """Rows that the exact test needs to certify rules with probability `power`, if losses and gains have these.

    Normal approximation, checked against the exact test on the expected counts; None where the rules miss the target or
    are within 0.1 points of it.
    """
    gap = drop - (loss - gain)
    if gap <= 0.001:
        return None
    spread = math.sqrt(max(loss + gain - (loss - gain) ** 2, drop * (1 - drop)))
    z = NormalDist().inv_cdf(1 - delta) + NormalDist().inv_cdf(power)
    n = max(20, math.ceil((z * spread / gap) ** 2))
    reserve = NormalDist().inv_cdf(power) * spread
    while n < 5_000_000:
        shift = reserve * math.sqrt(n) / 2  # a draw as unlucky as `power` allows for, half on each kind
        x, y = math.ceil(n * loss + shift), max(0, math.floor(n * gain - shift))
        if x + y <= n and exact_drop_pvalue(x, y, n, drop) <= delta:
            return n
        n = math.ceil(n * 1.06) + 1
    return None


def labels_for_risk(risk: float, *, limit: float, kept: float, delta: float = 0.05, power: float = 0.8) -> int | None:
    """Rows that the binomial test needs to certify a share of wrong kept answers, if it is `risk` and `kept` are kept.

    Normal approximation; None where the limit is broken or within 0.1 points.
    """
    gap = limit - risk
    if gap <= 0.001 or kept <= 0:
        return None
    normal = NormalDist()
    spread = normal.inv_cdf(1 - delta) * math.sqrt(limit * (1 - limit))
    spread += normal.inv_cdf(power) * math.sqrt(max(risk * (1 - risk), 0.0))
    return math.ceil(max((spread / gap) ** 2, math.log(delta) / math.log1p(-limit)) / kept)
