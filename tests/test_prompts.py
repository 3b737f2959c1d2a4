"""Prompts are files: what they render, and what is wrong with one."""

from pathlib import Path

import pytest

from corea.errors import ConfigError
from corea.parsing import is_well_formed
from corea.prompts import BUILT_IN, Prompt, load_prompt, parse_prompt, with_draft
from corea.types import Message, Question


def test_choices_are_lettered_behind_the_question() -> None:
    question = Question(id="q", messages=(Message("user", "Which?"),), choices=("bank", "mall"))
    assert load_prompt("plain").render(question).text == "Which?\nA. bank\nB. mall"


def test_the_example_in_the_default_prompt_is_what_the_reader_calls_well_formed() -> None:
    assert is_well_formed(load_prompt("default").system.split("form:\n")[1])


def test_a_conversation_with_a_system_message_keeps_it() -> None:
    question = Question(id="q", messages=(Message("system", "Be kind."), Message("user", "Hi")))
    rendered = Prompt("p", user="{question}", system="Be brief.").render(question)
    assert rendered.messages[0] == Message("system", "Be brief.\n\nBe kind.")


def test_a_message_of_parts_is_sent_as_it_came() -> None:
    parts = Message("user", "what?", raw={"role": "user", "content": [{"type": "image_url"}]})
    assert Prompt("p", user="Q: {question}").render(Question(id="q", messages=(parts,))).messages == (parts,)


def test_braces_in_a_question_and_a_prompt_are_left_alone() -> None:
    prompt = Prompt("p", user='{"a": {}} {question}')
    assert prompt.render(Question.of("{x} {question}")).text == '{"a": {}} {x} {question}'


def test_the_hash_is_of_the_wording() -> None:
    assert Prompt("a", user="{question}").sha256 == Prompt("b", user="{question}").sha256
    assert Prompt("a", user="{question}").sha256 != Prompt("a", user="{question}", system="x").sha256


def test_a_draft_is_named_as_one_that_may_be_wrong() -> None:
    text = with_draft(Question.of("12 + 7?"), "18").text
    assert text.startswith("12 + 7?\n\n")
    assert "may well be wrong" in text
    assert text.endswith("<draft>\n18\n</draft>\n")


@pytest.mark.parametrize("path", sorted(BUILT_IN.glob("*.txt")), ids=lambda path: path.stem)
def test_every_built_in_prompt_renders(path: Path) -> None:
    assert "12 + 7?" in load_prompt(path.stem).render(Question.of("12 + 7?")).text


@pytest.mark.parametrize("text", ["no place", "{question} and {question}"])
def test_a_prompt_needs_one_place_for_the_question(text: str) -> None:
    with pytest.raises(ConfigError, match="expected exactly one"):
        parse_prompt("p", text)
