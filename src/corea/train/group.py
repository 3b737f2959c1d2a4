"""Rewards of a group: the G rollouts of one question.

Axes: Q questions, G rollouts of each, R = Q*G rollouts side by side, F facts of a rollout, P parts of its reward.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import isnan, nan

from corea.errors import TrainError
from corea.graders import grade_all
from corea.parsing import is_well_formed, read_confidence
from corea.protocols import Grader, Reward
from corea.rewards.calibration import CalibrationReward
from corea.types import Question, Verdict


class RolloutFact(IntEnum):
    """Columns of a rollout's facts: numbers, so that processes can exchange them as one tensor."""

    CORRECT = 0
    FORMED = 1
    STATED = 2  # nan where no confidence was stated
    QUESTION = 3  # which question it answers


@dataclass(frozen=True, slots=True)
class RewardPart:
    """A reward and its weight in the sum."""

    name: str
    reward: Reward
    weight: float


def facts_of(verdict: Verdict, number: int, text: str) -> list[float]:
    """The facts of one rollout that answers question `number`, in the order of `RolloutFact`."""
    stated = read_confidence(text)
    return [float(verdict.correct), float(is_well_formed(text)), nan if stated is None else stated, float(number)]


def group_rewards(
    parts: Sequence[RewardPart], facts_RF: Sequence[Sequence[float]], generations: int
) -> list[list[float]]:
    """Rewards (R, P), unweighted, each group of `generations` rollouts judged as a whole.

    Raises:
        TrainError: Neighbours that should be one group answer different questions: a layout that splits groups.
    """
    rewards_RP: list[list[float]] = []
    for start in range(0, len(facts_RF), generations):
        group = facts_RF[start : start + generations]
        if len(group) < generations or len({facts[RolloutFact.QUESTION] for facts in group}) > 1:
            raise TrainError(
                f"train.group: rollouts {start} to {start + generations - 1} of {len(facts_RF)} do not answer one "
                f"question, expected whole groups of {generations}; this launcher's layout splits them, use another"
            )
        correct_G = [facts[RolloutFact.CORRECT] for facts in group]
        stated_G = [None if isnan(facts[RolloutFact.STATED]) else facts[RolloutFact.STATED] for facts in group]
        formed_G = [facts[RolloutFact.FORMED] > 0 for facts in group]
        paid_PG = [part.reward(correct_G, stated_G, formed_G) for part in parts]
        rewards_RP += [list(paid_P) for paid_P in zip(*paid_PG, strict=True)]
    return rewards_RP


def judged(
    parts: Sequence[RewardPart], question: Question, texts: Sequence[str], grader: Grader
) -> tuple[list[float], list[list[float]]]:
    """Rewards of a question's G replies as one group, for trainers that are not TRL: in all (G,) and by part (G, P).

    The sum has the parts' weights; the parts are unweighted.
    """
    verdicts = grade_all(grader, [(question, text) for text in texts])
    facts_GF = [facts_of(verdict, 0, text) for verdict, text in zip(verdicts, texts, strict=True)]
    paid_GP = group_rewards(parts, facts_GF, len(texts))
    total_G = [sum(part.weight * paid for part, paid in zip(parts, paid_P, strict=True)) for paid_P in paid_GP]
    return total_G, paid_GP


def counterfactual_reward(
    reward: Reward, group_GF: Sequence[Sequence[float]], member: int, numbers_K: Sequence[float]
) -> list[float]:
    """The reward of one rollout of a group for each of these stated numbers, all else being equal.

    A reward of another package is computed for the whole group each time; ours for the one rollout (`of_one`).
    """
    if isinstance(reward, CalibrationReward):
        return reward.of_one([facts[RolloutFact.CORRECT] for facts in group_GF], member, numbers_K)
    correct_G, formed_G = (
        [facts[RolloutFact.CORRECT] for facts in group_GF],
        [facts[RolloutFact.FORMED] > 0 for facts in group_GF],
    )
    stated_G = [None if isnan(facts[RolloutFact.STATED]) else facts[RolloutFact.STATED] for facts in group_GF]
    paid_K = []
    for number in numbers_K:
        stated_G[member] = number
        paid_K.append(reward(correct_G, stated_G, formed_G)[member])
    return paid_K
