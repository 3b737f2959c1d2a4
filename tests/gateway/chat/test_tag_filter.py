"""The streamed text shows what the whole text would, whatever the pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corea.gateway.chat.tag_filter import TagFilter
from corea.prompts import PROMPT_TAGS


def shown(pieces: list[str], tags: frozenset[str] = PROMPT_TAGS) -> str:
    stream = TagFilter(tags)
    return "".join([stream.feed(piece) for piece in pieces] + [stream.end()])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text", "plain text"),
        ("<think>12 + 7</think><answer>19</answer><confidence>0.9</confidence>", "19"),
        ("<think>a < b</think> So: <answer>a < b</answer>", "So: a < b"),
        ("  \n leading space goes", "leading space goes"),
        ("if a <b> then </b>", "if a <b> then </b>"),
        ("ends with <thin", "ends with <thin"),
        ("<think>never closed", ""),
        ("a <", "a <"),
        ("<confidence>0.5</confidence>the answer", "the answer"),
        ("reasoning of a template that opens it</think><answer>19</answer>", "19"),
        ("`<answer>` holds it: <answer>19</answer>", "`<answer>` holds it: 19"),
        ("<answer>```html\n<think><answer>x</answer>\n```</answer>", "```html\n<think><answer>x</answer>\n```"),
        ("<answer>first</answer> and <answer>second</answer>", "first and <answer>second</answer>"),
        ("The answer: <think>is shown", "The answer: <think>is shown"),
        ("A <confidence> of 0.5 is stated", "A <confidence> of 0.5 is stated"),
        ("<answer>19</answer>\n<confidence>0.9", "19"),
        ("<CONFIDENCE>very high</CONFIDENCE> 19", "19"),
        ("19 <confidence>\n</confidence>", "19 <confidence>\n</confidence>"),
        ("19 <confidence>\n", "19"),
    ],
)
def test_tags_are_hidden_and_text_is_not(text: str, expected: str) -> None:
    assert shown([text]) == expected
    assert shown(list(text)) == expected


@given(
    st.lists(
        st.sampled_from(
            [
                "<think>",
                "</think>",
                "<answer>",
                "</answer>",
                "<",
                "a",
                " b",
                "<con",
                "fidence>",
                "</",
                "`",
                "```",
                "\n",
                "0.9",
            ]
        )
    )
)
def test_the_pieces_do_not_matter(pieces: list[str]) -> None:
    assert shown(pieces) == shown(["".join(pieces)]) == shown(list("".join(pieces)))
    assert TagFilter().whole("".join(pieces)) == shown(pieces)


@given(st.lists(st.sampled_from(["", " ", "a", "\n", "[", "`", "<b>", "17", "0.9"]), min_size=7, max_size=7))
def test_the_form_that_the_prompt_asks_for_is_read_at_once(gaps: list[str]) -> None:
    a, b, c, d, e, f, g = gaps
    text = f"{a}<think>{b}</think>{c}<answer>{d}</answer>{e}<confidence>{f}</confidence>{g}"
    assert TagFilter().whole(text) == shown(list(text))


def test_text_is_shown_as_soon_as_it_is_certain() -> None:
    stream = TagFilter(PROMPT_TAGS - {"<think>"})
    assert [stream.feed(p) for p in ("Hel", "lo <", "answer", ">19", "</ans")] == ["Hel", "lo", "", " 19", ""]


def test_text_that_may_be_reasoning_waits_for_its_closing_mark_or_the_answer() -> None:
    stream = TagFilter()
    assert [stream.feed(p) for p in ("So ", "it is <answer>", "19", " 20")] == ["", "So it is", " 19", " 20"]


def test_only_tags_that_were_asked_for_are_removed() -> None:
    text = "<think>hm</think><answer>19</answer><confidence>0.9</confidence>"
    assert shown([text], frozenset({"<answer>"})) == "<think>hm</think>19<confidence>0.9</confidence>"
    assert shown([text], frozenset({"<confidence>"})) == "<think>hm</think><answer>19</answer>"
