"""The streamed text shows what the whole text would, whatever the pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corea.gateway.chat.tag_filter import TagFilter


def shown(pieces: list[str]) -> str:
    stream = TagFilter()
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
    ],
)
def test_tags_are_hidden_and_text_is_not(text: str, expected: str) -> None:
    assert shown([text]) == expected
    assert shown(list(text)) == expected


@given(
    st.lists(
        st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "<", "a", " b", "<con", "fidence>", "</"])
    )
)
def test_the_pieces_do_not_matter(pieces: list[str]) -> None:
    assert shown(pieces) == shown(["".join(pieces)]) == shown(list("".join(pieces)))


def test_text_is_shown_as_soon_as_it_is_certain() -> None:
    stream = TagFilter()
    assert [stream.feed(p) for p in ("Hel", "lo <", "answer", ">19", "</ans")] == ["Hel", "lo", "", " 19", ""]
