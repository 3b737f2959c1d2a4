"""The questions of the SmolLM2 recipe, its prompt and its two configurations."""

import re
import tomllib
from pathlib import Path

import pytest

from corea.config import settings
from corea.datasets import load_dataset
from corea.errors import ConfigError
from corea.graders import AutoGrader
from corea.parsing import is_well_formed
from corea.prompts import load_prompt
from corea.train.cold_start import ColdStartSettings, taught_texts
from corea.train.data import DataSettings
from corea.train.settings import RlccSettings
from recipes.smollm2.questions import KINDS, SPLITS, EasyMaths, multiplication

HERE = Path(__file__).parents[1]
MATERIAL = ("questions", "held_out", "prompt")
EQUATION = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")


def test_no_text_is_in_two_splits_whatever_the_seed() -> None:
    texts = {split: {q.text for seed in (1, 2) for q in EasyMaths(n=300, seed=seed).load(split)} for split in SPLITS}
    assert not texts["train"] & texts["validation"]
    assert not texts["train"] & texts["test"]
    assert not texts["validation"] & texts["test"]


def test_a_seed_gives_the_same_questions_of_every_kind() -> None:
    first, again, other = (EasyMaths(n=200, seed=seed).load("test") for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert {question.category for question in first} == {kind.__name__ for kind in KINDS}


def test_every_step_is_right_and_the_last_one_gives_the_answer() -> None:
    operations = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__, "/": int.__floordiv__}
    for question in EasyMaths(n=400).load("train"):
        steps = EQUATION.findall(question.meta["steps"])
        assert steps
        for left, sign, right, result in steps:
            assert operations[sign](int(left), int(right)) == int(result)
        assert steps[-1][3] == question.reference
        assert AutoGrader().grade(question, f"<answer>{question.reference}</answer>").correct


def test_too_many_questions_and_another_split_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="expected one of train, validation, test"):
        EasyMaths().load("dev")
    monkeypatch.setattr("recipes.smollm2.questions.KINDS", (multiplication,))
    with pytest.raises(ConfigError, match="got n = 200, expected at most"):
        EasyMaths(n=200).load("test")


def test_the_lesson_teaches_well_formed_texts_of_the_recipes_prompt() -> None:
    table = tomllib.loads((HERE / "cold_start.toml").read_text())
    material = {key: table.pop(key) for key in MATERIAL if key in table}
    run = settings("cold_start.toml", ColdStartSettings, table, out=Path("out"))
    assert material["prompt"] == "recipes/smollm2/prompt.txt"
    questions = load_dataset(material["questions"]["name"], split="train", n=20)
    assert all(is_well_formed(taught.text) for taught in taught_texts(run, questions, AutoGrader()))


def test_rlcc_has_the_lessons_prompt_and_other_questions_to_measure_on() -> None:
    table = tomllib.loads((HERE / "rlcc.toml").read_text())
    material = {key: table.pop(key) for key in MATERIAL if key in table}
    run = settings("rlcc.toml", RlccSettings, table, out=Path("out"))
    assert run.credit == "all-values"
    assert run.steps % run.evaluate_every == 0
    material["prompt"] = str(HERE / "prompt.txt")
    learn, held_out, _, prompt = settings("rlcc.toml", DataSettings, material).load()
    assert not {q.text for q in learn} & {q.text for q in held_out}
    assert prompt.sha256 == load_prompt(str(HERE / "prompt.txt")).sha256
    assert prompt.tags == {"<think>", "<answer>", "<confidence>"}
