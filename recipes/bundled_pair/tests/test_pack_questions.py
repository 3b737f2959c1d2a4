"""The questions in the package are those that the recipe generates."""

import gzip

import pytest

from corea.demo import FILE, SPLITS, bundled_questions
from corea.errors import ConfigError
from recipes.bundled_pair.pack_questions import PARTS, lines
from recipes.bundled_pair.problems import sample


def test_the_packed_file_is_what_the_recipe_generates() -> None:
    assert gzip.decompress(FILE.read_bytes()).decode() == "".join(lines())


@pytest.mark.parametrize("split", SPLITS)
def test_a_packed_question_equals_the_generated_one_but_for_its_steps(split: str) -> None:
    world, count, seed, world_split = PARTS[split]
    packed, made = bundled_questions(split), sample(world, count, seed, split=world_split)
    assert len(packed) == count
    for ours, theirs in zip(packed, made, strict=True):
        assert (ours.id, ours.text, ours.reference, ours.category) == (
            theirs.id, theirs.text, theirs.reference, theirs.category,
        )  # fmt: skip
        assert {**ours.meta, "steps": theirs.meta["steps"]} == theirs.meta


def test_the_demo_asks_nothing_that_the_calibration_asked() -> None:
    asked = {split: {q.text for q in bundled_questions(split)} for split in SPLITS}
    assert asked["test"].isdisjoint(asked["validation"] | asked["examples"] | asked["export"])


def test_an_unknown_split_and_too_many_questions_are_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'test'"):
        bundled_questions("tset")
    with pytest.raises(ConfigError, match="got 2001 of split 'test', expected 0 to 2000"):
        bundled_questions("test", 2001)
