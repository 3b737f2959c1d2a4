"""Refusals ("I don't know"), as against answers that can be right ("cannot be determined")."""

import pytest

from corea.parsing import find_answer, is_refusal, read_answer
from corea.parsing.discourse import refuses

DECLINING = [
    "I don't know",
    "I don’t know.",
    "I really do not know the answer.",
    "I'm sorry, but I don't know the answer to that question.",
    "I'm sorry. I don't know.",
    "I don't know. Sorry!",
    "Not sure",
    "I'm not sure.",
    "I am not entirely certain",
    "No idea",
    "idk",
    "I cannot answer this question.",
    "Sorry, I can't help with that.",
    "As an AI language model, I cannot answer that",
    "I don't have enough information to answer this question.",
    "Unfortunately, I cannot determine the total, as the price is not given.",
    "I am unable to solve this.",
    "The answer is unclear",
    "The final answer is not clear.",
    "The answer is not known.",
    "The answer is don't know.",
    "Answer: I don't know",
    "**Answer:** I don't know.\nCONF: 0.1",
    "<answer>I don't know</answer>",
    "<think>Is it 7? Maybe the answer is 7.</think><answer>I don't know</answer><confidence>0.9</confidence>",
    "\\boxed{\\text{I don't know}}",
    '{"answer": "I don\'t know", "confidence": 0.1}',
    "<answer>N/A</answer>",
    "One crate holds 12 eggs and another holds 30, and nothing is said of the rest.\n"
    "I cannot tell how 12 and 30 add up.",
    "Je ne sais pas.",
    "Ich weiß es nicht",
    "No lo sé.",
    "我不知道。",
    "Не знаю",
    "わかりません。",
]  # fmt: skip

ANSWERS = [
    ("<answer>unknown</answer>", "unknown"),  # a label of some tasks, and the author of many a song
    ("Answer: cannot be determined", "cannot be determined"),
    ("<answer>None</answer>", "None"),
    ("<answer>null</answer>", "null"),  # what a program gives
    ("\\boxed{\\text{no solution}}", "no solution"),
    ("<answer>uncertain</answer>", "uncertain"),
    ("Answer: D) cannot be determined", "D"),
    ("C) I don't know", "C"),
    ("I don't know, but I think the answer is 42.", "42"),
    ("I'm not sure. The answer is 42.", "42"),
    ("<answer>I don't know, maybe 5</answer>", "I don't know, maybe 5"),
    ("<answer>I do not like green eggs and ham</answer>", "I do not like green eggs and ham"),
    ("<answer>I do not have any apples</answer>", "I do not have any apples"),
    ("<answer>No</answer>", "No"),
    ("<answer>Na</answer>", "Na"),
    ("I know. <answer>9</answer>", "9"),
    ("<answer>...</answer> I mean <answer>8</answer>", "8"),
    ("So it is \\boxed{8}. <answer>...</answer>", "8"),
]


@pytest.mark.parametrize("text", DECLINING)
def test_a_writer_who_does_not_know_gives_no_answer(text: str) -> None:
    assert read_answer(text) is None
    assert find_answer(text) is None
    assert is_refusal(text)


@pytest.mark.parametrize(("text", "answer"), ANSWERS)
def test_what_can_be_right_is_an_answer(text: str, answer: str) -> None:
    assert read_answer(text) == answer
    assert not is_refusal(text)


@pytest.mark.parametrize(
    "text", ["", "<answer></answer>", "<answer>...</answer>", "<answer>?</answer>", '{"answer": null}']
)
def test_nothing_is_neither_an_answer_nor_a_refusal(text: str) -> None:
    assert read_answer(text) is None
    assert not is_refusal(text)


@pytest.mark.parametrize(
    "piece", ["I ", "I don't know, ", "really ", "sorry, I am not ", "have a ", "i don't really really "]
)
def test_hostile_texts_take_no_time(piece: str) -> None:
    """A backtracking pattern would take minutes here."""
    assert not any(refuses((piece * 300)[:length] + "?") for length in range(1, 300))
