"""The confidence reward: hand-worked values, and what it pays most for."""

from itertools import product
from math import comb, isfinite, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corea.errors import ConfigError
from corea.registry import resolve
from corea.rewards import REWARDS
from corea.rewards.calibration import DISTANCES, ESTIMATES, CalibrationReward, NoConfidenceReward

GRID = [i / 100 for i in range(101)]
ALL = [CalibrationReward(d, e) for d, e in product(DISTANCES, ESTIMATES)]


def pays(reward: CalibrationReward, correct: list[float], stated: list[float | None]) -> list[float]:
    return reward(correct, stated, [True] * len(correct))


def expected(reward: CalibrationReward, stated: float, chance: float, group: int) -> float:
    """Mean pay of a rollout that states `stated`, in groups whose rollouts are each right with `chance`."""
    total = 0.0
    for right in range(group + 1):
        weight = comb(group, right) * chance**right * (1 - chance) ** (group - right)
        paid = pays(reward, [1.0] * right + [0.0] * (group - right), [stated] * group)
        total += weight * sum(paid) / group
    return total


@pytest.mark.parametrize(
    ("distance", "estimate", "worked"),
    [
        ("l1", "group", [-0.25, -0.45, -0.25, -0.25]),  # share right: 3 of 4
        ("l1", "sample", [0.0, -0.7, -1.0, -0.5]),
        ("l2", "group", [-0.0625, -0.2025, -0.0625, -0.0625]),
        ("l2", "sample", [0.0, -0.49, -1.0, -0.25]),
        ("l2", "hybrid", [-0.015625, -0.330625, -0.390625, -0.140625]),  # targets .875, .875, .375, .875
    ],
)
def test_a_group_of_four_by_hand(distance: str, estimate: str, worked: list[float]) -> None:
    paid = pays(CalibrationReward(distance, estimate), [1, 1, 0, 1], [1.0, 0.3, 1.0, 0.5])
    assert paid == pytest.approx(worked)


def test_kl_by_hand() -> None:
    paid = pays(CalibrationReward("kl", "group"), [1, 1, 0, 1], [0.75, 0.5, 0.5, 0.5])
    apart = 0.75 * log(0.75 / 0.5) + 0.25 * log(0.25 / 0.5)
    assert paid == pytest.approx([0.0, -apart, -apart, -apart])
    assert pays(CalibrationReward("kl", "sample"), [1.0, 0.0], [0.8, 0.8]) == pytest.approx([log(0.8), log(0.2)])


@pytest.mark.parametrize("reward", ALL, ids=str)
@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_a_group_all_right_or_all_wrong_pays_most_for_saying_so(reward: CalibrationReward, outcome: float) -> None:
    paid = [pays(reward, [outcome] * 4, [stated] * 4)[0] for stated in GRID]
    assert abs(GRID[paid.index(max(paid))] - outcome) <= 0.011  # kl is flat from 0.99 to 1
    assert max(paid) == pytest.approx(0, abs=0.011)


@pytest.mark.parametrize("chance", [0.1, 0.25, 0.5, 0.63, 0.9])
@pytest.mark.parametrize("reward", [r for r in ALL if r.distance != "l1"], ids=str)
def test_l2_and_kl_pay_most_for_the_true_chance(reward: CalibrationReward, chance: float) -> None:
    assert max(GRID, key=lambda c: expected(reward, c, chance, 8)) == pytest.approx(chance)


@pytest.mark.parametrize("chance", [0.1, 0.25, 0.5, 0.63, 0.9])
def test_group_l1_pays_most_within_half_a_rollout_of_the_true_chance(chance: float) -> None:
    best = max(GRID, key=lambda c: expected(CalibrationReward("l1", "group"), c, chance, 16))
    assert abs(best - chance) <= 0.5 / 16 + 0.005  # the median of the share, and the grid


@pytest.mark.parametrize(("chance", "best"), [(0.1, 0.0), (0.3, 0.0), (0.63, 1.0), (0.9, 1.0)])
def test_sample_l1_pays_most_for_certainty_one_way_or_the_other(chance: float, best: float) -> None:
    assert max(GRID, key=lambda c: expected(CalibrationReward("l1", "sample"), c, chance, 8)) == best


@pytest.mark.parametrize("reward", [r for r in ALL if r.distance != "l1"], ids=str)
@given(chance=st.floats(0.02, 0.98), other=st.floats(0, 1))
def test_no_other_number_is_expected_to_pay_more_than_the_true_chance(
    reward: CalibrationReward, chance: float, other: float
) -> None:
    assert expected(reward, chance, chance, 4) >= expected(reward, other, chance, 4) - 1e-9


@given(chance=st.floats(0, 1), stated=st.floats(0, 1))
def test_sample_l1_never_pays_doubt_more_than_the_likelier_outcome(chance: float, stated: float) -> None:
    sure = expected(CalibrationReward("l1", "sample"), float(chance > 0.5), chance, 4)
    assert sure >= expected(CalibrationReward("l1", "sample"), stated, chance, 4) - 1e-9


@pytest.mark.parametrize("reward", ALL, ids=str)
@given(correct=st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=8), stated=st.floats(0, 1), data=st.data())
def test_what_one_rollout_earns_is_what_it_earns_in_its_group(
    reward: CalibrationReward, correct: list[float], stated: float, data: st.DataObject
) -> None:
    member = data.draw(st.integers(0, len(correct) - 1))
    assert reward.of_one(correct, member, [stated]) == [pays(reward, correct, [stated] * len(correct))[member]]


@pytest.mark.parametrize("reward", ALL, ids=str)
def test_leaving_the_confidence_out_never_pays(reward: CalibrationReward) -> None:
    for right in range(5):
        correct = [1.0] * right + [0.0] * (4 - right)
        missing = pays(reward, correct, [None] * 4)
        assert all(pays(reward, correct, [c] * 4)[i] >= missing[i] for c in GRID for i in range(4))


@given(st.floats(0, 1), st.floats(0, 1))
def test_kl_is_finite_and_never_negative(stated: float, chance: float) -> None:
    apart = DISTANCES["kl"](stated, chance)
    assert isfinite(apart)
    assert -1e-12 <= apart <= log(100) + 1e-9


def test_the_names_of_recipes_stand_for_their_combinations() -> None:
    assert resolve("t", "rlcc", REWARDS)() == CalibrationReward("l1", "group")
    assert resolve("t", "brier", REWARDS)() == CalibrationReward("l2", "sample")
    assert resolve("t", "rlvr", REWARDS)() == NoConfidenceReward()


def test_an_unknown_distance_is_named() -> None:
    with pytest.raises(ConfigError, match=r"train\.distance: got 'L1', expected one of kl, l1, l2"):
        CalibrationReward("L1")
