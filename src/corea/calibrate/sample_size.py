"""Sample size: the labels that a guarantee needs, from a few assumptions, or from uncertified rules."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from corea.calibrate.exact_tests import exact_drop_pvalue
from corea.errors import ConfigError

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


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPlan:
    """A number of labels, and the threshold that they would probably certify.

    Args:
        labels: In all, those that fit the map included; None: no number does.
        coverage: The share of answers kept at the threshold.
        loss, gain: The probabilities that were assumed there.
    """

    labels: int | None
    coverage: float
    loss: float
    gain: float


def labels_needed(
    *,
    slm_accuracy: float,
    llm_accuracy: float,
    auroc: float,
    drop: float = 0.02,
    delta: float = 0.05,
    power: float = 0.8,
    coverage: float | None = None,
    agreement: float = 0.5,
    fit_share: float = FIT_SHARE,
) -> LabelPlan:
    """An estimate before any label: how many questions to label for a drop to be certified.

    Model: the score is normal with equal spread for right and wrong answers, at a distance that gives the AUROC; given
    that the small model is right, the large one's correctness does not depend on the score.

    Args:
        coverage: The share to be kept; None: three quarters of the most that the drop allows under the model.
        agreement: Where the last model errs, from 0 (only where the first one is wrong too) to 1 (independently of it).
        fit_share: Share of the labels that fit the map; 0 for a plain signal.

    Raises:
        ConfigError: A number is out of its range.
    """
    inside = {
        "slm-accuracy": slm_accuracy, "llm-accuracy": llm_accuracy, "auroc": auroc, "delta": delta, "power": power,
    }  # fmt: skip
    for name, value in inside.items():
        if not 0 < value < 1:
            raise ConfigError(f"--{name}: got {value}, expected a number between 0 and 1")
    if not -1 < drop < 1:
        raise ConfigError(f"--max-drop: got {drop}, expected a share such as 0.02 for 2 points")
    if coverage is not None and not 0 < coverage <= 1:
        raise ConfigError(f"--coverage: got {coverage}, expected a share above 0, at most 1")
    if not 0 <= agreement <= 1 or not 0 <= fit_share < 1:
        raise ConfigError(f"got agreement {agreement} and fit-share {fit_share}, expected shares in [0, 1]")
    a, b = slm_accuracy, llm_accuracy
    miss_right = agreement * (1 - b)  # probability that the large model errs where the small one is right
    miss_wrong = min(1.0, max(0.0, (1 - b - a * miss_right) / (1 - a)))
    normal, apart = NormalDist(), math.sqrt(2) * NormalDist().inv_cdf(auroc)
    taus = np.linspace(apart + 5, -5, 801)
    right = np.array([1 - normal.cdf(t - apart) for t in taus]) * a
    wrong = np.array([1 - normal.cdf(t) for t in taus]) * (1 - a)
    losses, gains, kept = wrong * (1 - miss_wrong), right * miss_right, right + wrong
    allowed = np.flatnonzero(losses - gains <= drop)
    most = float(kept[allowed].max()) if len(allowed) else 0.0
    target = coverage if coverage is not None else 0.75 * most
    k = int(np.argmin(np.abs(kept - target)))
    needed = labels_for_rules(float(losses[k]), float(gains[k]), drop=drop, delta=delta, power=power)
    total = None if needed is None else math.ceil(needed / (1 - fit_share))
    return LabelPlan(labels=total, coverage=float(kept[k]), loss=float(losses[k]), gain=float(gains[k]))
