"""Each reference of cases.txt, with answers that are right ("=") and wrong ("/") for it, judged by hand."""

from pathlib import Path

import pytest

from corea.graders.algebra.comparison import answers_equal
from corea.graders.maths import MathsGrader
from corea.graders.pool import WorkerLimits
from corea.types import Question

QUICK = WorkerLimits(seconds=20, workers=1)


def cases() -> list[tuple[str, str, bool]]:
    found: list[tuple[str, str, bool]] = []
    reference = ""
    for line in Path(__file__).with_name("cases.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith(("  = ", "  / ")):
            found.append((reference, line[4:], line[2] == "="))
        else:
            reference = line
    return found


@pytest.mark.parametrize(("reference", "answer", "right"), cases())
def test_an_answer_is_graded_as_by_hand(reference: str, answer: str, right: bool) -> None:
    verdict = MathsGrader(QUICK).grade(Question.of("?", reference=reference), f"<answer>{answer}</answer>")
    assert verdict.correct is right


HOSTILE = [
    "\\sqrt{R}", "R\\pi", "Rx", "R!", "-R", "R+1", "\\{R, R+1\\}", "R, R+1", "R or R+1", "R-1 < x < R+1", "> R",
    "at least R", "not R", "(R, R)", "\\pm R", "R = R+1", "R million", "f(R)", "R, \\ldots", "Ri", "Re", "\\log R",
    "1/R", "R^2", "R:00", "|x| + R", "Rn + 1", "R \\text{ or } 0", "[R, R]", "\\frac{R}{2}", "half of R", "R_7",
]  # fmt: skip


@pytest.mark.parametrize("made", HOSTILE)
@pytest.mark.parametrize("reference", ["3", "12", "27", "144", "2520", "70001"])
def test_no_expression_about_the_reference_is_paid_for_the_reference(reference: str, made: str) -> None:
    """The answers of a policy that games its reward; R stands for the reference."""
    answer = made.replace("R", reference)
    verdict = MathsGrader(QUICK).grade(Question.of("?", reference=reference), f"<answer>{answer}</answer>")
    assert not verdict.correct


@pytest.mark.parametrize(
    ("reference", "answer"),
    [("\\sqrt{2}+\\sqrt{3}", "\\sqrt{5+2\\sqrt{6}}"), ("1+2i", "2i+1"), ("\\ln x^2", "2\\ln x")],
)
def test_what_is_equal_only_by_algebra_is_left_to_a_worker(reference: str, answer: str) -> None:
    assert answers_equal(reference, answer) is None
    assert answers_equal(reference, answer, precise=True) is True
