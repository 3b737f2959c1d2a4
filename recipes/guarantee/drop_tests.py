"""Looser tests of a drop in accuracy than `corea.calibrate.exact_tests`, for comparison.

They use the data only through a moment inequality and pay about sqrt(2 ln(1/delta)) = 2.45 standard errors at delta .05
where the exact test pays about 1.66 (experiments/log.d). Losses, gains, rows and drop are those of `exact_drop_pvalue`.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy import special

from corea.calibrate.exact_tests import exact_drop_pvalue


def hoeffding_drop_pvalue(losses: int, gains: int, n: int, drop: float) -> float:
    """Hoeffding's inequality for values in [-1, 1]. Source: Hoeffding 1963, JASA 58(301)."""
    gap = drop - (losses - gains) / n
    return math.exp(-n * gap * gap / 2) if gap > 0 else 1.0


def hoeffding_bentkus_drop_pvalue(losses: int, gains: int, n: int, drop: float) -> float:
    """The lesser of Hoeffding's relative-entropy form and Bentkus', on (difference + 1) / 2.

    Source: Bates et al. 2021, arXiv:2101.02703, prop. 6; Bentkus 2004, Annals of Probability 32(2).
    """
    seen, bound = ((losses - gains) / n + 1) / 2, (drop + 1) / 2
    if seen >= bound:
        return 1.0
    entropy = special.xlogy(seen, seen / bound) + special.xlogy(1 - seen, (1 - seen) / (1 - bound))
    bentkus = math.e * float(special.bdtr(math.ceil(n * seen - 1e-9), n, bound))
    return min(1.0, math.exp(-n * float(entropy)), bentkus)


def betting_drop_pvalue(losses: int, gains: int, n: int, drop: float) -> float:
    """Betting against the missed target with a mixture of fixed stakes; only the counts matter.

    A stake eta earns 1 + eta (drop - difference) a row; the mean over stakes is a wealth whose expectation is at most 1
    under a missed target, so 1 / wealth is a p-value.

    Source: Waudby-Smith and Ramdas 2024, JRSS-B 86(1), arXiv:2010.09686, sec. 4 (a mixture in place of the plug-in).
    """
    stakes = np.geomspace(1e-3, 0.98, 60) / (1 - drop)
    log_wealth = (
        losses * np.log1p(stakes * (drop - 1))
        + gains * np.log1p(stakes * (drop + 1))
        + (n - losses - gains) * np.log1p(stakes * drop)
    )
    top = float(log_wealth.max())
    return min(1.0, math.exp(-(top + math.log(float(np.mean(np.exp(log_wealth - top)))))))


DROP_TESTS: dict[str, Callable[..., float]] = {
    "exact": exact_drop_pvalue,
    "betting": betting_drop_pvalue,
    "hoeffding-bentkus": hoeffding_bentkus_drop_pvalue,
    "hoeffding": hoeffding_drop_pvalue,
}
