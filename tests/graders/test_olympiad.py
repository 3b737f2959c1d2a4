"""OlympiadBench's grading: tolerance, unit and several answers, as the question states them."""

from typing import Any

import pytest

from corea.graders import grade_all, load_grader
from corea.graders.olympiad import GradingHints, answers_of, value_of
from corea.graders.units import unit_name, without_unit
from corea.types import Question

SEVERAL: dict[str, Any] = {"is_multiple_answer": True}
PERCENT = {"unit": "%", "error": "1e-1"}
MINUTES = {"unit": "minutes"}
DEGREES = {"unit": "^{\\circ}"}
TRIPLES = "(1,8,19), (2,7,13), (4,5,7)"
CASES: list[tuple[str, dict[str, Any], str, bool]] = [
    ("4.2", PERCENT, "4.15", True),
    ("4.2", PERCENT, "4.3\\%", True),
    ("4.2", PERCENT, "\\frac{25}{6}\\%", True),
    ("4.2", PERCENT, "0.042", True),
    ("4.2", PERCENT, "4.4", False),
    ("4.2", PERCENT, "0.1", False),
    ("4.2", PERCENT, "420%", False),
    ("4.2", PERCENT, "0.042%", False),
    ("4.2", PERCENT, "-4.2", False),
    ("4.123", {"tolerance": "1e-3"}, "\\sqrt{17}", True),
    ("1.234", {"error": "1e-3"}, "x \\approx 1.2345", True),
    ("1.234", {"error": "1e-3"}, "1.236", False),
    ("1.234", {}, "1.235", False),
    ("45", MINUTES, "45 min", True),
    ("45", MINUTES, "45\\ \\text{minutes}", True),
    ("45", MINUTES, "45", True),
    ("45", MINUTES, "45 hours", False),
    ("45", MINUTES, "45 seconds", False),
    ("45", MINUTES, "46 minutes", False),
    ("90", DEGREES, "90^\\circ", True),
    ("90", DEGREES, "90 degrees", True),
    ("90", DEGREES, "90 rad", False),
    ("1,3,5", SEVERAL, "5, 3, 1", True),
    ("1,3,5", SEVERAL, "1, 3 and 5", True),
    ("1,3,5", SEVERAL, "\\{5, 1, 3\\}", True),
    ("1,3,5", SEVERAL, "1,3", False),
    ("1,3,5", SEVERAL, "1,3,5,7", False),
    ("1,3,5", SEVERAL, "1,1,5", False),
    ("1,3,5", SEVERAL, "-1,3,5", False),
    ("1,3,5", SEVERAL, "135", False),
    ("69$,$84", SEVERAL, "84 and 69", True),
    ("3,-3", SEVERAL, "\\pm 3", True),
    ("1,2", SEVERAL, "x = 1 or x = 2", True),
    ("1,2", {"multiple_answers": True}, "$2$, $1$", True),
    ("2400, 1350, 864", SEVERAL, "864, 1,350 and 2,400", True),
    (TRIPLES, SEVERAL, "(4,5,7), (1,8,19), (2,7,13)", True),
    (TRIPLES, SEVERAL, "(4,7,5), (1,8,19), (2,7,13)", False),
    ("\\frac{32}{9}$,$\\frac{1}{2}", SEVERAL, "0.5 and 32/9", True),
    ("f(x)=x,f(x)=-x", SEVERAL, "f(x) = -x or f(x) = x", True),
    ("f(x)=a x+b$, where $b$ is an integer", SEVERAL, "$f(x)=a x+b$, where $b$ is an integer", True),
    ("1.68,0.45", {**SEVERAL, "error": "1e-2,1e-1"}, "0.5, 1.68", True),
    ("1.68,0.45", {**SEVERAL, "error": "1e-2,1e-1"}, "0.45, 1.75", False),
    ("(3,4]", {}, "(3,4]", True),
]


def test_tolerance_unit_and_several_answers_decide() -> None:
    rows = [
        (Question(id=str(i), messages=(), reference=reference, meta=meta), f"<answer>{answer}</answer>")
        for i, (reference, meta, answer, _) in enumerate(CASES)
    ]
    verdicts = grade_all(load_grader("olympiad"), rows)
    wrong = [(case, v) for case, v in zip(CASES, verdicts, strict=True) if v.correct != case[3]]
    assert wrong == []


def test_a_wrong_row_says_which_answer_is_missing() -> None:
    question = Question(id="q", messages=(), reference="1,3", meta=SEVERAL)
    grader = load_grader("olympiad")
    assert grader.grade(question, "<answer>1, 4</answer>").reason == "'3' is not among the answers"
    assert grader.grade(question, "<answer>1, 3, 4</answer>").reason == "expected 2 answers, got 3"


@pytest.mark.parametrize(
    ("stated", "tolerances"),
    [
        *((None, ()), ("", ()), ("1e-1", (0.1,)), (0.001, (0.001,)), ("1e-3,1e-2", (0.001, 0.01)), ("0", ())),
        *((",1e-2", (0.0, 0.01)), ("[1e-3, 1e-2]", (0.001, 0.01)), (["1e-3"], (0.001,)), ("10^{-2}", (0.01,))),
    ],
)
def test_tolerances_are_read_as_they_are_written(stated: Any, tolerances: tuple[float, ...]) -> None:
    assert GradingHints.of({"error": stated}).tolerances == tolerances


@pytest.mark.parametrize("stated", ["small", "-1", "nan", "inf", "1e-3,x"])
def test_a_tolerance_that_is_none_is_refused(stated: str) -> None:
    with pytest.raises(ValueError, match="is no number of at least 0"):
        GradingHints.of({"error": stated})


@pytest.mark.parametrize(
    ("answer", "value", "unit"),
    [
        *(("45 minutes", "45", "minute"), ("45\\,\\mathrm{min}", "45", "minute"), ("0.75 h", "0.75", "hour")),
        *(("4.2\\%", "4.2", "percent"), ("90^{\\circ}", "90", "degree"), ("90°", "90", "degree")),
        *(("50 cm^2", "50", "centimetre^2"), ("50", "50", None), ("x min", "x min", None), ("2k", "2k", None)),
    ],
)
def test_a_unit_is_told_from_the_value_before_it(answer: str, value: str, unit: str | None) -> None:
    assert without_unit(answer) == (value, unit)


def test_spellings_of_a_unit_are_one_unit() -> None:
    assert len({unit_name(written) for written in ("min", "minute", "minutes", "\\text{min}", "$\\mathrm{min}$")}) == 1
    assert unit_name("furlongs") == unit_name("furlong") != unit_name("mile")


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        *(("\\sqrt{17}", 17**0.5), ("25\\pi", 78.539816), ("\\frac{\\sqrt{3}}{2}", 0.75**0.5), ("2^{10}", 1024)),
        *(("1,000", 1000), ("x = -3.5", -3.5), ("3\\times 10^{-4}", 3e-4), ("\\sqrt[3]{8}", 2), ("2\\pi^2", 19.739209)),
        *((text, None) for text in ("x+1", "(1,2)", "9^9^9^9", "5%", "", "3\\frac{1}{2}", "1_0", "2 3", "1/0")),
        *((text, None) for text in ("a.b", "exit()", "[1]", "(" * 150, "x" * 500, "\\pm 3")),
    ],
)  # fmt: skip
def test_the_value_of_a_formula_without_variables(formula: str, value: float | None) -> None:
    assert value_of(formula) == (None if value is None else pytest.approx(value))


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("-2 \\text{ and } 5", ["-2", "5"]),
        ("1 \\pm \\sqrt{19}", ["1 + \\sqrt{19}", "1 - \\sqrt{19}"]),
        ("$x \\in \\{1,2\\}$", ["1", "2"]),
        ("(1,2); (3,4)", ["(1,2)", "(3,4)"]),
        ("\\frac{1}{2}, \\sqrt{x}", ["\\frac{1}{2}", "\\sqrt{x}"]),
        ("", []),
    ],
)
def test_answers_stand_between_commas_and_words(text: str, answers: list[str]) -> None:
    assert answers_of(text) == answers


@pytest.mark.parametrize(
    ("formula", "value"), [("1e-3", 0.001), ("0.1\\overline{6}", 1 / 6), ("10{,}080", 10080), ("90°", None)]
)
def test_the_value_of_a_number_is_that_of_its_notation(formula: str, value: float | None) -> None:
    assert value_of(formula) == (None if value is None else pytest.approx(value))
