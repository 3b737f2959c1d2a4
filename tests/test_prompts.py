"""Prompts are files: what they render, and what is wrong with one."""

from pathlib import Path

import pytest

from corea.errors import ConfigError
from corea.parsing import is_well_formed
from corea.prompts import BUILT_IN, Prompt, characters_of, load_prompt, parse_prompt, with_draft
from corea.types import Message, Question


def test_choices_are_lettered_behind_the_question() -> None:
    question = Question(id="q", messages=(Message("user", "Which?"),), choices=("bank", "mall"))
    assert load_prompt("plain").render(question).text == "Which?\nA. bank\nB. mall"


def test_the_example_in_the_default_prompt_is_what_the_reader_calls_well_formed() -> None:
    assert is_well_formed(load_prompt("default").system.split("form:\n")[1])


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize("parts", [False, True])
def test_a_conversations_own_instructions_stay_first_in_its_one_system_message(role: str, parts: bool) -> None:
    own = {"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}
    raw = {"role": role, "content": [own] if parts else "Be kind.", "name": "app"}
    question = Question(id="q", messages=(Message(role, "Be kind.", raw=raw), Message("user", "Hi")))
    rendered = Prompt("p", user="{question}", system="Be brief.").render(question)
    assert [message.role for message in rendered.messages] == [role, "user"]
    content = [own, {"type": "text", "text": "\n\nBe brief."}] if parts else "Be kind.\n\nBe brief."
    assert rendered.messages[0] == Message(role, "Be kind.\n\nBe brief.", raw={**raw, "content": content})


def test_the_tags_that_a_prompt_asks_for_are_read_from_its_words() -> None:
    asked = {path.stem: load_prompt(path.stem).tags for path in BUILT_IN.glob("*.txt")}
    assert asked == {
        "answer_only": {"<answer>"},
        "confidence_first": {"<think>", "<answer>", "<confidence>"},
        "default": {"<think>", "<answer>", "<confidence>"},
        "plain": set(),
    }


def test_a_question_in_text_parts_is_wrapped_like_a_text() -> None:
    raw = {"role": "user", "content": [{"type": "text", "text": "12 + 7?"}]}
    question = Question(id="q", messages=(Message("user", "12 + 7?", raw=raw),))
    assert Prompt("p", user="Q: {question}").render(question).messages == (Message("user", "Q: 12 + 7?"),)
    assert Prompt("p").render(question).messages == question.messages


def test_a_message_of_parts_is_sent_as_it_came() -> None:
    parts = Message("user", "what?", raw={"role": "user", "content": [{"type": "image_url"}]})
    assert Prompt("p", user="Q: {question}").render(Question(id="q", messages=(parts,))).messages == (parts,)


def test_braces_in_a_question_and_a_prompt_are_left_alone() -> None:
    prompt = Prompt("p", user='{"a": {}} {question}')
    assert prompt.render(Question.of("{x} {question}")).text == '{"a": {}} {x} {question}'


def test_the_hash_is_of_the_wording() -> None:
    assert Prompt("a", user="{question}").sha256 == Prompt("b", user="{question}").sha256
    assert Prompt("a", user="{question}").sha256 != Prompt("a", user="{question}", system="x").sha256


SYSTEM, USER = Message("system", "Be brief."), Message("user", "How many?")
IMAGE = Message("user", "", raw={"role": "user", "content": [{"type": "image_url"}]})


@pytest.mark.parametrize(
    "prompt", [Prompt("bare"), Prompt("own", user="Q: {question}\n", system="Think."), load_prompt("default")]
)
@pytest.mark.parametrize(
    "question",
    [
        Question(id="q", messages=(USER,)),
        Question(id="q", messages=(USER,), choices=("ä", "two")),
        Question(id="q", messages=(SYSTEM, USER)),
        Question(id="q", messages=(SYSTEM, USER, Message("assistant", "Two"), USER), choices=("1", "2")),
        Question(id="q", messages=(IMAGE,)),
        Question(id="q", messages=(Message("system", "No question"),)),
    ],
)  # fmt: skip
def test_characters_are_those_of_the_rendered_messages(prompt: Prompt, question: Question) -> None:
    assert prompt.characters(question) == characters_of(prompt.render(question))


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
