"""The visible part of a text, and the check of its required form."""

import pytest

from corea.parsing import is_well_formed, visible_text, without_thinking

GOOD = "<think>2 + 2 is 4</think>\n<answer>4</answer>\n<confidence>0.9</confidence>"


def test_the_asked_for_form_is_well_formed() -> None:
    assert is_well_formed(GOOD)
    assert is_well_formed("<confidence>.5</confidence><think>a</think><answer>b</answer>")


@pytest.mark.parametrize(
    "text",
    [
        "",
        GOOD.replace("<think>2 + 2 is 4</think>", ""),
        GOOD.replace("2 + 2 is 4", " "),
        GOOD.replace(">4<", "><"),
        GOOD.replace("0.9", "90%"),
        GOOD.replace("0.9", "1.5"),
        GOOD.replace("0.9", ""),
        GOOD.replace("0.9", "high"),
        GOOD + "<confidence>0.9</confidence>",
        GOOD.replace("</think>", ""),
        GOOD.replace("\n<answer>", " so <answer>"),
        GOOD + " I hope this helps",
        "<answer>4</answer><think>2 + 2 is 4</think><confidence>0.9</confidence>",
        "<think>2 <answer>4</answer></think><confidence>0.9</confidence>",
        "<answer>4</answer> <confidence>0.9",
    ],
)
def test_anything_else_is_not(text: str) -> None:
    assert not is_well_formed(text)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (GOOD, "4"),
        (
            "<think>hm</think>The capital is <answer>Paris</answer>.\n<confidence>0.9</confidence>",
            "The capital is Paris.",
        ),
        ("hm, so</think>\nParis", "Paris"),
        ("Paris <think>cut off in", "Paris"),
        ("<think>a</think>one<think>b</think> two", "one two"),
        ("So it is 42.\n#### 42\nCONF: 0.80", "So it is 42.\n#### 42"),
        ("**Answer:** B\n\n**Confidence:** 9/10\n", "**Answer:** B"),
        ("A *plain* text with $x < 3$ and <b>tags</b>", "A *plain* text with $x < 3$ and <b>tags</b>"),
        ("My confidence in this is 0.7, by the way.", "My confidence in this is 0.7, by the way."),
        ("<think>all of it <answer>3</answer></think>", "3"),
        ("<think>cut off in", ""),
        ("42<confidence>0.", "42"),
    ],
)
def test_a_user_sees_no_reasoning_and_no_confidence(text: str, seen: str) -> None:
    assert visible_text(text) == seen


def test_text_without_thinking_keeps_all_else() -> None:
    assert without_thinking("a <think>b</think> c <THINK>d") == "a  c "
