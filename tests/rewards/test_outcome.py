"""Correctness and format."""

from corea.rewards.outcome import Correctness, FormatReward


def test_correctness_pays_for_right_answers_alone() -> None:
    assert Correctness()([1, 0, 1], [0.1, None, 0.9], [False, True, True]) == [1.0, 0.0, 1.0]


def test_format_pays_for_form_alone() -> None:
    assert FormatReward()([1, 0, 1], [0.1, None, 0.9], [False, True, True]) == [0.0, 1.0, 1.0]
