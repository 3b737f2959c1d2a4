"""The dataset plug over the generated mixtures."""

import pytest

from corea.errors import ConfigError
from recipes.bundled_pair.dataset import Generated


def test_it_loads_so_many_different_questions_with_references() -> None:
    questions = Generated(world="slm", n=50).load("test")
    assert len({q.text for q in questions}) == 50
    assert all(q.reference and q.category for q in questions)


def test_a_part_may_come_from_reasoning_gym() -> None:
    pytest.importorskip("reasoning_gym")
    questions = Generated(world="ood", n=20, gym=8).load("test")
    assert [q.id.startswith("gym-") for q in questions] == [False] * 12 + [True] * 8


def test_an_unknown_world_and_too_many_gym_questions_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"dataset\.world"):
        Generated(world="moon")
    with pytest.raises(ConfigError, match=r"dataset\.gym"):
        Generated(n=5, gym=6)
