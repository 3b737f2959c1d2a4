"""Yes and true are one answer, no and false the other; what is neither, or both, is not right."""

import pytest

from corea.graders.yes_no import YesNoGrader, meaning
from corea.types import Question


@pytest.mark.parametrize(
    ("answer", "means"),
    [
        *((text, True) for text in ("Yes", "**Yes**", "TRUE", "\\text{Yes}", "$\\mathrm{True}$", "Yes!", "It is true")),
        *(
            (text, True)
            for text in ("Yes, it converges", "Yes because f is odd", "The answer is yes", "Yes - the series")
        ),
        *((text, False) for text in ("No.", "false", "No, since f is odd", "The statement is false", "It is not true")),
        *((text, False) for text in ("that's false", "no—never", "False, the converse is true", "It is never true")),
        *((text, None) for text in ("yes or no", "Yes and no", "Yes, but only if n = 2", "sometimes true", "not true")),
        *((text, None) for text in ("No solution", "none", "true if n is even", "untrue", "notable", "yesterday", "5")),
    ],
)
def test_what_an_answer_means(answer: str, means: bool | None) -> None:
    assert meaning(answer) is means


@pytest.mark.parametrize(
    ("reference", "answer", "correct"),
    [
        *(("Yes", "True", True), ("True", "yes", True), ("No", "False", True), ("\\text{No}", "no", True)),
        *(("Yes", "No", False), ("True", "False", False), ("Yes", "not true", False), ("No", "0", False)),
    ],
)
def test_yes_agrees_with_true_and_no_with_false(reference: str, answer: str, correct: bool) -> None:
    verdict = YesNoGrader().grade(
        Question.of("?", reference=reference), f"<think>No? Yes?</think><answer>{answer}</answer>"
    )
    assert (verdict.correct, verdict.extracted) == (correct, answer)
