"""Texts cut off by the token limit: an announced answer counts, the unfinished end does not."""

import asyncio

import pytest

from corea import Cascade, Question, Stage
from corea.backends.fake import FakeBackend
from corea.cascade import CUT_BY_LIMIT
from corea.parsing import find_answer, read_answer
from corea.types import Completion

CUT = [
    ("<answer>42</answer>\n<confid", "42"),
    ("The answer is 42. To check, we", "42"),
    ("So \\boxed{7}. Let me also", "7"),
    ("The answer is 4", None),  # 4, or the beginning of 45
    ("<answer>4", None),
    ("So they have 12 apples. Then 12 + 30 = 42.", None),
    ("42", None),
    ("B", "B"),
    ("(C)", "C"),
]


@pytest.mark.parametrize(("text", "answer"), CUT)
def test_only_an_announced_answer_of_a_cut_text_counts(text: str, answer: str | None) -> None:
    assert read_answer(text, cut=True) == answer
    assert (find_answer(text, cut=True) is None) == (answer is None)
    assert read_answer(text) is not None  # uncut, each gives an answer


@pytest.mark.parametrize(("reason", "flags"), [("length", (CUT_BY_LIMIT,)), ("stop", ()), (None, ())])
def test_a_trace_says_that_the_token_limit_cut_its_text(reason: str | None, flags: tuple[str, ...]) -> None:
    class Cutting(FakeBackend):
        async def complete(self, *args: object, **options: object) -> Completion:
            return Completion(text="12 + 30 = 42.", model="m", finish_reason=reason)

    stage = Stage(name="only", backend=Cutting())
    trace = asyncio.run(Cascade(stages=(stage,)).ask(Question.of("how many?")))
    assert trace.flags == flags
    assert trace.answer == (None if reason == "length" else "42")
