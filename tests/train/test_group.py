"""Rewards of whole groups, and the refusal of split ones."""

from collections.abc import Sequence
from math import isnan, nan

import pytest

from corea.errors import TrainError
from corea.rewards.calibration import CalibrationReward
from corea.rewards.outcome import Correctness, FormatReward
from corea.train.group import RewardPart, RolloutFact, counterfactual_reward, facts_of, group_rewards
from corea.types import Verdict

PARTS = (
    RewardPart("correctness", Correctness(), 1.0),
    RewardPart("format", FormatReward(), 0.5),
    RewardPart("confidence", CalibrationReward("l1", "group"), 3.0),
)


def facts(correct: float, stated: float, question: int) -> list[float]:
    return [correct, 1.0, stated, float(question)]


def test_facts_are_read_from_one_rollout() -> None:
    text = "<think>so</think><answer>7</answer><confidence>0.85</confidence>"
    assert facts_of(Verdict(True, "7"), 3, text) == [1.0, 1.0, 0.85, 3.0]


def test_a_confidence_that_is_not_stated_is_nan_and_ill_formed() -> None:
    read = facts_of(Verdict(False, "7"), 3, "<think>so</think><answer>7</answer>")
    assert read[:2] == [0.0, 0.0]
    assert isnan(read[RolloutFact.STATED])


def test_each_group_is_judged_by_its_own_share() -> None:
    two_groups = [facts(1, 0.5, 0), facts(1, 0.5, 0), facts(1, 0.5, 1), facts(0, 0.5, 1)]
    confidence = [paid[2] for paid in group_rewards(PARTS, two_groups, 2)]
    assert confidence == [-0.5, -0.5, 0.0, 0.0]


def test_all_parts_of_a_rollout_stand_side_by_side() -> None:
    group = [facts(1, 0.75, 0), facts(0, nan, 0), facts(1, 1.0, 0), facts(1, 0.5, 0)]
    assert group_rewards(PARTS, group, 4) == [[1, 1, 0], [0, 1, -1], [1, 1, -0.25], [1, 1, -0.25]]


@pytest.mark.parametrize("questions", [[0, 0, 0, 1], [0, 0, 1]])
def test_a_split_group_is_refused(questions: list[int]) -> None:
    with pytest.raises(TrainError, match="expected whole groups of 2"):
        group_rewards(PARTS, [facts(1, 0.5, q) for q in questions], 2)


def test_another_number_is_paid_the_same_whether_the_reward_is_ours_or_ones_own() -> None:
    ours = CalibrationReward("kl", "group")
    group = [facts(1, 0.75, 0), facts(0, nan, 0), facts(1, 1.0, 0)]

    def ones_own(correct_G: Sequence[float], stated_G: Sequence[float | None], formed_G: Sequence[bool]) -> list[float]:
        return ours(correct_G, stated_G, formed_G)

    for member in range(3):
        paid = counterfactual_reward(ours, group, member, [0.0, 0.5, 0.9])
        assert paid == counterfactual_reward(ones_own, group, member, [0.0, 0.5, 0.9])
    assert counterfactual_reward(CalibrationReward("l2", "group"), group, 1, [0.5]) == [-((0.5 - 2 / 3) ** 2)]
