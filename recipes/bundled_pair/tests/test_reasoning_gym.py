"""Problems that we did not write. Skipped where reasoning-gym is not installed."""

import re

import pytest

from recipes.bundled_pair.problems import split_of
from recipes.bundled_pair.problems.reasoning_gym_problems import GYM_KINDS, sample_gym

pytest.importorskip("reasoning_gym")


def test_gym_questions_are_of_the_matching_kinds_with_right_answers() -> None:
    questions = sample_gym(40, 7)
    assert {q.category for q in questions} == set(GYM_KINDS)
    for q in questions:
        written = re.search(r"[\d][\d +*-]*\d", q.text)
        if q.category in ("chain", "product") and written:
            assert str(eval(written[0])) == q.reference


def test_gym_questions_are_unique_reproducible_and_of_one_split() -> None:
    questions = sample_gym(60, 7)
    assert questions == sample_gym(60, 7)
    assert len({q.text for q in questions}) == 60
    assert {split_of(q.text) for q in questions} == {"test"}
