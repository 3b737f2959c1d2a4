"""Rewards for stating the probability of being right: minus a distance d(c, p) from stated c to estimated p.

| distance | d(c, p) | its best c, given right and wrong outcomes | range |
|---|---|---|---|
| l1 | abs(c - p) | the median of p | [0, 1] |
| l2 | (c - p)^2 | the mean of p | [0, 1] |
| kl | Bernoulli p against Bernoulli c | the mean of p | [0, 4.6], c clipped to [0.01, 0.99] |

The estimate p is sample-level (this rollout is right: 1, or wrong: 0), group-level (the share of the question's
G rollouts that are right), or hybrid (the mean of both). So sample-level l1 is not a proper score: it pays most for
stating 0 or 1.

Sources: arXiv:2603.03752 (RLCC: l1, group-level); arXiv:2507.16806 (RLCR: l2, sample-level, the Brier score);
arXiv:2603.09117 (DCPO: l2, hybrid with gamma 0.5).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import log

from corea.errors import unknown_name

CLIP = 0.01  # the stated numbers have two decimals


def l1(stated: float, chance: float) -> float:
    """Absolute difference."""
    return abs(stated - chance)


def l2(stated: float, chance: float) -> float:
    """Squared difference."""
    return (stated - chance) ** 2


def kl(stated: float, chance: float) -> float:
    """Divergence of Bernoulli(stated) from Bernoulli(chance), in nats.

    Only `stated` is clipped: clipping `chance` too would move the best `stated` away from the true chance.
    """
    c = min(max(stated, CLIP), 1 - CLIP)
    right = chance * log(chance / c) if chance > 0 else 0.0
    wrong = (1 - chance) * log((1 - chance) / (1 - c)) if chance < 1 else 0.0
    return right + wrong


def sample_level(correct_G: Sequence[float]) -> list[float]:
    """Each rollout's own outcome."""
    return [float(correct) for correct in correct_G]


def group_level(correct_G: Sequence[float]) -> list[float]:
    """For every rollout, the share of the whole group that is right."""
    return [sum(correct_G) / len(correct_G)] * len(correct_G)


def hybrid(correct_G: Sequence[float]) -> list[float]:
    """The mean of each rollout's own outcome and its group's share."""
    return [(own + share) / 2 for own, share in zip(sample_level(correct_G), group_level(correct_G), strict=True)]


DISTANCES: dict[str, Callable[[float, float], float]] = {"l1": l1, "l2": l2, "kl": kl}
ESTIMATES: dict[str, Callable[[Sequence[float]], list[float]]] = {
    "sample": sample_level,
    "group": group_level,
    "hybrid": hybrid,
}


@dataclass(frozen=True, slots=True)
class CalibrationReward:
    """Minus the distance from the stated confidence to the estimated chance of being right; at most 0.

    A confidence that is missing earns the worst that could have been stated, being certain and wrong: else
    leaving it out would pay.
    """

    distance: str = "l1"
    estimate: str = "group"

    def __post_init__(self) -> None:
        if self.distance not in DISTANCES:
            raise unknown_name("train.distance", self.distance, list(DISTANCES))
        if self.estimate not in ESTIMATES:
            raise unknown_name("train.estimate", self.estimate, list(ESTIMATES))

    @property
    def worst(self) -> float:
        """The lowest reward."""
        return -DISTANCES[self.distance](0.0, 1.0)

    def __call__(
        self, correct_G: Sequence[float], stated_G: Sequence[float | None], formed_G: Sequence[bool]
    ) -> list[float]:
        """Rewards (G,) of one group; see `corea.protocols.Reward`."""
        distance, worst = DISTANCES[self.distance], self.worst
        chance_G = ESTIMATES[self.estimate](correct_G)
        return [
            worst if stated is None else -distance(stated, chance)
            for stated, chance in zip(stated_G, chance_G, strict=True)
        ]

    def of_one(self, correct_G: Sequence[float], member: int, stated_K: Sequence[float]) -> list[float]:
        """Rewards (K,) of rollout `member` for each of K numbers: `__call__` for it alone, G times as fast."""
        distance, chance = DISTANCES[self.distance], ESTIMATES[self.estimate](correct_G)[member]
        return [-distance(stated, chance) for stated in stated_K]


@dataclass(frozen=True, slots=True)
class NoConfidenceReward:
    """Pays nothing for confidence: RLVR, correctness and format alone."""

    def __call__(
        self, correct_G: Sequence[float], stated_G: Sequence[float | None], formed_G: Sequence[bool]
    ) -> list[float]:
        """0 for every rollout."""
        return [0.0] * len(correct_G)


# the published combination
l1_group: partial[CalibrationReward] = partial(CalibrationReward, "l1", "group")
# in expectation, the highest reward for the true chance
l2_group: partial[CalibrationReward] = partial(CalibrationReward, "l2", "group")
# between the last and `brier`
l2_hybrid: partial[CalibrationReward] = partial(CalibrationReward, "l2", "hybrid")
# as l2, and severe near 0 and 1
kl_group: partial[CalibrationReward] = partial(CalibrationReward, "kl", "group")
# not a proper score: the highest reward for 0 or 1
l1_sample: partial[CalibrationReward] = partial(CalibrationReward, "l1", "sample")
# Brier's score of one rollout: RLCR's reward
l2_sample: partial[CalibrationReward] = partial(CalibrationReward, "l2", "sample")
# the log score of one rollout, with the stated number clipped
kl_sample: partial[CalibrationReward] = partial(CalibrationReward, "kl", "sample")

rlcc: partial[CalibrationReward] = l1_group
brier: partial[CalibrationReward] = l2_sample
