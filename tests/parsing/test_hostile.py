"""Arbitrary text: the readers return valid values, and do a bounded amount of work.

Time itself is not asserted. What makes it linear is: a text is folded once, words are sought with `str.rfind`, and
the windows around them are few and short. Here executed lines are counted, on a text and on one ten times as long.
"""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzzing import examples

from corea.parsing import find_answer, find_confidence, is_well_formed, read_answer, read_confidence, visible_text
from corea.parsing.text import LONGEST_TEXT, MOST_MENTIONS, fold, mentions
from corea.parsing.thinking import outside_thinking

PIECES = [
    *("<answer>", "</answer>", "<think>", "</think>", "<confidence>", "</confidence>", "\\boxed{", "{", "}", "$", "**"),
    *(
        "confidence ",
        "Confidence: ",
        "CONF: ",
        "conf",
        "probability ",
        "probability: ",
        "I am ",
        "95% ",
        "sure ",
        "chance ",
    ),
    *(
        "0.",
        "1",
        "9",
        ",",
        ".",
        " ",
        "\n",
        "(",
        ")",
        "####",
        "#### a\n",
        "The answer is ",
        "Answer: ",
        "option ",
        "A) ",
    ),
    *(
        "(A) ",
        "|",
        "confidence\n|-|\n",
        '"answer": "',
        "\\",
        "\\frac{",
        "/10",
        " out of ten",
        "N/A",
        "％",
        "８",
        "İ",
        "é",
    ),
    *(
        "=",
        "-",
        "<<",
        "nine ",
        "scale of 1 to 10 ",
        "(p=",
        "sicher zu ",
        "90%的把握",
        "| answer |",
        "antwort ist ",
        "```\n",
    ),
    *(
        "accuracy of my answer ",
        "p(correct) ",
        "0.9 * 0.8 = ",
        "10 to ",
        "\\text{",
        "我",
        '{"value": "',
        " in 10",
        "&lt;",
        "1e",
    ),
]
patterns = st.lists(st.sampled_from(PIECES), min_size=1, max_size=12).map("".join)


@given(st.one_of(st.text(), patterns))
@examples(150)
def test_any_text_gives_a_probability_or_none_and_a_span_within_it(text: str) -> None:
    stated = find_confidence(text)
    if stated is not None:
        assert 0 <= stated.value <= 1
        assert 0 <= stated.start < stated.end <= len(text)
    answer = find_answer(text)
    if answer is not None:
        assert answer.value.strip()
        assert 0 <= answer.start < answer.end <= len(text)
    assert isinstance(visible_text(text), str)
    assert is_well_formed(text) in (True, False)


@given(st.text(max_size=200))
@examples(200)
def test_folding_keeps_every_character_in_its_place(text: str) -> None:
    assert len(fold(text)) == len(text)


def test_folding_keeps_the_length_of_every_character_there_is() -> None:
    everything = "".join(chr(i) for i in range(sys.maxunicode + 1) if not 0xD800 <= i < 0xE000)
    assert len(fold(everything)) == len(everything)


@given(st.text(alphabet="<>/think ab", max_size=60))
@examples(200)
def test_spans_outside_thinking_are_ordered_and_within(text: str) -> None:
    at = 0
    for start, end in outside_thinking(text):
        assert at <= start <= end <= len(text)
        at = end


def test_mentions_come_last_first_and_are_few() -> None:
    found = mentions("ab" * 1000, "ab", 0, 2000)
    assert len(found) == MOST_MENTIONS
    assert found[:2] == [1998, 1996]


def operations(text: str) -> int:
    """Number of executed lines of the readers for a text."""
    steps = 0

    def count(frame, event, _argument):
        nonlocal steps
        if "corea/parsing" not in frame.f_code.co_filename.replace("\\", "/"):
            return None
        steps += event == "line"
        return count

    sys.settrace(count)
    try:
        read_confidence(text)
        read_answer(text)
    finally:
        sys.settrace(None)
    return steps


@pytest.mark.parametrize("piece", PIECES)
def test_python_steps_do_not_grow_with_a_hostile_text(piece: str) -> None:
    short = operations(piece * (20_000 // len(piece)))
    long = operations(piece * (LONGEST_TEXT // len(piece)))
    assert long < 2 * short + 20_000
    assert long < 250_000


@given(patterns)
@examples(15)
def test_python_steps_do_not_grow_with_a_hostile_pattern(pattern: str) -> None:
    assert operations(pattern * (60_000 // len(pattern))) < 250_000
