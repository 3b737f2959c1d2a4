"""Blocks of thinking are recognised by one table of marks, in a whole text and in a stream."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corea.gateway.chat.tag_filter import TagFilter
from corea.parsing import visible_text, without_thinking
from corea.parsing.text import fold
from corea.parsing.thinking import MOST_BLOCKS, THINKING, TOKENS, outside_thinking

PAIRS = [(opening, mark.closes[0]) for mark in THINKING for opening in mark.opens]

VISIBLE = [
    ("<think>a</think>one<think>b</think> two", "one two"),
    ("<think>a <think>b</think> c</think> d", "d"),
    ("a</think>b</think> c", "c"),
    ("<THINKING>a <reflection>b</reflection> c</Thinking>d", "d"),
    ("<think>a</think>8</think>", "8"),
    ("[THINK]a[/THINK]8", "8"),
    ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>391<|return|>", "391"),
    ("<|start|>assistant<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary<|message|>b<|end|>"
     "<|start|>assistant<|channel|>final<|message|>391", "391"),
    ("<|channel|>final<|message|>391", "391"),
    ("analysisWe need four.assistantfinalfour", "four"),
    ("analysisWe need four. The answer is", ""),
    ("analysis of the data: it is flat", "analysis of the data: it is flat"),
    ("<|begin_of_thought|>a<|end_of_thought|>\n\n<|begin_of_solution|>\n8\n<|end_of_solution|>", "8"),
    ("<|begin_of_thought|>a\n<|begin_of_solution|>8", "8"),
    ("◁think▷a◁/think▷8", "8"),
    ("<|channel>thought\na<channel|>8<turn|>", "8"),
    ("<seed:think>a<seed:cot_budget_reflect>b</seed:cot_budget_reflect></seed:think>8", "8"),
    ("if a < b then [think] is no tag of HTML[/think]", "if a < b then"),
]  # fmt: skip


def shown(pieces: list[str]) -> str:
    stream = TagFilter()
    return "".join([stream.feed(piece) for piece in pieces] + [stream.end()])


@pytest.mark.parametrize(("opening", "closing"), PAIRS)
def test_every_mark_hides_its_block_whether_closed_unclosed_or_unopened(opening: str, closing: str) -> None:
    assert without_thinking(f"{opening}7{closing}8") == "8"
    assert without_thinking(f"8{opening}7") == "8"
    assert without_thinking(f"7{closing}8") == "8"
    assert shown(list(f"{opening.upper()} 7 {closing} 8")) == "8"


@pytest.mark.parametrize(("text", "seen"), VISIBLE)
def test_what_stands_outside_thinking_is_seen(text: str, seen: str) -> None:
    assert without_thinking(text).strip() == seen


NOT_LEADING = ("a<", "<think>a <think", "<think>a</think>one", "<think>a</think>8</", "if a < b then [think]")


@pytest.mark.parametrize(("text", "seen"), [row for row in VISIBLE if not row[0].startswith(NOT_LEADING)])
def test_a_stream_shows_the_same(text: str, seen: str) -> None:
    assert shown([text]) == shown(list(text)) == seen


@pytest.mark.parametrize(
    "text",
    ["one<think>b</think> two", "if a < b then [think] is no tag of HTML[/think]", "8</think>", "`<think>` is a tag"],
)
def test_a_stream_removes_reasoning_only_where_the_text_begins_with_it(text: str) -> None:
    text = f"<think>a</think>{text}"
    assert shown([text]) == shown(list(text)) == text.removeprefix("<think>a</think>")


@pytest.mark.parametrize("token", TOKENS)
def test_special_tokens_are_not_seen(token: str) -> None:
    text = f"{token}42{token}" if "begin" in token or "start" in token else f"42{token}"
    assert visible_text(text) == shown(list(text)) == "42"


@given(st.lists(st.sampled_from(["<think>", "</think>", "[THINK]", "<|channel|>", "final", "<|message|>", "<|end|>",
                                 "analysis", "assistantfinal", "<|start|>", "assistant", "a", " ", "◁"])))  # fmt: skip
def test_the_pieces_of_a_stream_do_not_matter(pieces: list[str]) -> None:
    assert shown(pieces) == shown(["".join(pieces)]) == shown(list("".join(pieces)))


def test_of_very_many_blocks_the_text_after_the_last_is_outside() -> None:
    text = "<think>a</think>b" * (3 * MOST_BLOCKS) + "end"
    spans = outside_thinking(fold(text))
    assert len(spans) == MOST_BLOCKS
    assert text[slice(*spans[-1])] == "bend"
    assert without_thinking(text) == "b" * (3 * MOST_BLOCKS) + "end"
