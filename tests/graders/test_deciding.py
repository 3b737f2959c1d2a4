"""Which grader grades a question: one function decides for training, compare, eval and calibrate."""

from typing import Any

import pytest

from corea.errors import ConfigError, DataError
from corea.graders import (
    GRADERS,
    AutoGrader,
    check_reference,
    count_graders,
    grade_each,
    grader_for,
    grader_name,
    graders_in_words,
    load_grader,
)
from corea.types import Message, Question, replace


def asked(reference: str | None, text: str = "?", choices: tuple[str, ...] = (), **meta: Any) -> Question:
    return Question(id="q1", messages=(Message("user", text),), reference=reference, choices=choices, meta=meta)


def test_the_one_that_is_named_goes_before_the_questions_own_before_its_kind_of_answer() -> None:
    question = asked("18", grader="text", answer_type="latex")
    assert grader_name(question, "number") == "number"
    assert grader_name(question) == "text"
    assert grader_name(asked("18", answer_type="latex")) == "maths"
    assert grader_name(asked("18")) == "number"
    assert type(grader_for(question)) is type(load_grader("text"))


@pytest.mark.parametrize(
    ("answer_type", "name"),
    [
        *(("Numerical", "maths"), ("Tuple", "maths"), ("Equation", "maths"), ("Interval", "maths")),
        *(
            ("Expression", "maths"),
            ("latex", "maths"),
            ("LaTeX", "maths"),
            ("numeric", "number"),
            ("Integer", "number"),
        ),
        *(("exact", "text"), ("String", "text"), ("Multiple Choice", "choice"), ("Boolean", "yes_no")),
        *((name, name) for name in GRADERS),
    ],
)
def test_kinds_of_answers_that_published_files_state_have_a_grader(answer_type: str, name: str) -> None:
    assert grader_name(asked("18", answer_type=answer_type)) == name


def test_a_grader_of_ones_own_is_named_by_its_module() -> None:
    assert grader_name(asked("18", grader="corea.graders.number:NumberGrader")) == "corea.graders.number:NumberGrader"


@pytest.mark.parametrize("key", ["grader", "answer_type"])
def test_a_grader_that_does_not_exist_is_named_with_its_question(key: str) -> None:
    with pytest.raises(DataError, match=rf"question 'q1': {key}: got 'maht', expected one of .* Did you mean 'math'"):
        grader_name(replace(asked("18"), meta={key: "maht"}))
    with pytest.raises(ConfigError, match=r"grader: got 'numbr'.*Did you mean 'number'"):
        grader_name(asked("18"), "numbr")


@pytest.mark.parametrize("reference", ["52_8", "1,3,5", "2516_8", "3 \\sqrt{2}"])
def test_a_number_that_is_none_is_mathematics(reference: str) -> None:
    assert grader_name(asked(reference, answer_type="number")) == "maths"
    assert grader_name(asked("word", answer_type="number")) == "number"  # which says that it cannot read it


@pytest.mark.parametrize("reference", ["Yes", "no", "TRUE", "\\text{False}", "$\\mathrm{No}$", "yes."])
def test_yes_and_no_are_no_mathematics(reference: str) -> None:
    assert grader_name(asked(reference, grader="maths")) == "yes_no"
    assert grader_name(asked(reference)) == "yes_no"
    assert grader_name(asked(reference, grader="text")) == "text"
    assert grader_name(asked(reference, choices=("True", "False"))) == "choice"


@pytest.mark.parametrize(
    "reference",
    [
        *("6+9i", "-2 + 7i", "(3,4]", "1,-2", "x+y", "5x - 7y", "x^2", "\\frac12", "2\\pi", "3√5", "x = 5", "y=-2x"),
        *("f(x)=x", "{1, 2}", "sqrt(2)", "2sin(x)", "pi/4", "π", "∞", "a_1", "n!", "4!", "3/x", "(-∞, 0]", "[0, 1]"),
        *("x<5", "x ≤ 5", "2^10", "1/2 + x", "$x$", "30^\\circ", "2n+1", "k(k+1)", "-x", "3R^2", "0.5x"),
    ],
)
def test_a_formula_of_unknown_origin_is_mathematics(reference: str) -> None:
    assert grader_name(asked(reference)) == "maths"


@pytest.mark.parametrize(
    "reference",
    [
        *("Paris", "C++", "C#", "A+", "Na+", "Ca2+", "H2O", "B12", "R2-D2", "B-52", "COVID-19", "Boeing 747", "x-ray"),
        *("2023-01-05", "01/05/2023", "12:30", "N/A", "AT&T", "and/or", "user_id", "Jean-Luc", "1990s", "3D", "5G"),
        *("e=mc2", "4x4", "1st", "2 apples", "7 or 8", "5 m", "5m", "3 pm", "x, y, z", "No. 5", "東京", "Москва", "+"),
    ],
)
def test_a_name_or_date_of_unknown_origin_is_text(reference: str) -> None:
    assert grader_name(asked(reference)) == "text"


@pytest.mark.parametrize("reference", ["18", "-5", "1,234", "3.5", "$18.90", "50%", "1/2", "3 1/2", "1e5", "½"])
def test_a_number_of_unknown_origin_is_a_number_unless_its_question_is_written_in_latex(reference: str) -> None:
    assert grader_name(asked(reference, "She pays $2 an egg and $3 a day. How much?")) == "number"
    assert grader_name(asked(reference, "Find $x^2$ when $x=3$.")) == "maths"
    assert grader_name(asked(reference, "Compute \\frac{10}{2}.")) == "maths"


def test_a_long_text_is_looked_at_quickly() -> None:
    assert grader_name(asked("18", "$" + "_" * 200_000)) == "number"
    assert grader_name(asked("a-" * 200_000)) == "text"


@pytest.mark.parametrize(
    ("question", "named", "why"),
    [
        (asked("banana"), "number", "'banana' is no number, as grader number expects; correct it, or state another"),
        (asked("52_8"), "number", "'52_8' is no number"),
        (asked("banana", answer_type="number"), None, "'banana' is no number"),
        (asked("F", choices=("red", "blue")), None, "'F' names none of the options A to B"),
        (asked("green", choices=("red", "blue")), None, "'green' names none of the options A to B"),
        (asked("banana"), "choice", "'banana' is no letter of an option"),
        (asked("  "), None, "is empty"),
        (asked("$$", grader="maths"), None, "has no number or symbol"),
        (asked("maybe", grader="yes_no"), None, "is none of yes, no, true and false"),
        (asked("3", grader="olympiad", error="small"), None, "the tolerance 'small' is no number"),
        (asked(None), None, "question 'q1' has no reference"),
    ],
)
def test_a_reference_that_its_grader_cannot_read_is_an_error(question: Question, named: str | None, why: str) -> None:
    with pytest.raises(DataError) as caught:
        check_reference(question, named)
    assert why in str(caught.value)
    assert "question 'q1'" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("question", "name"),
    [
        (asked("18"), "number"),
        (asked("b", choices=("red", "blue")), "choice"),
        (asked("blue", choices=("red", "blue")), "choice"),
        (asked("%"), "text"),
        (asked("∞"), "maths"),
        (asked("\\text{Evelyn}", grader="maths"), "maths"),
        (asked("4.2", grader="olympiad", error="1e-1", unit="%"), "olympiad"),
        (asked("anything", grader="corea.graders.number:NumberGrader"), "corea.graders.number:NumberGrader"),
    ],
)
def test_a_reference_that_its_grader_can_read_names_that_grader(question: Question, name: str) -> None:
    assert check_reference(question) == name


def test_each_question_is_graded_by_its_own_and_the_verdicts_are_in_order() -> None:
    rows = [
        (asked("Paris"), "<answer>paris</answer>"),
        (asked("B", choices=("red", "blue")), "<answer>(b)</answer>"),
        (asked("18"), "<answer>18.0</answer>"),
        (asked("Yes", grader="maths"), "<answer>True</answer>"),
        (asked("18"), "<answer>19</answer>"),
    ]
    expected = [True, True, True, True, False]
    assert [verdict.correct for verdict in grade_each(rows)] == expected
    assert [verdict.correct for verdict in AutoGrader().grade_many(rows)] == expected
    assert not grade_each([rows[2]], "text")[0].correct


def test_how_many_questions_each_grader_graded_is_said_in_words() -> None:
    counts = count_graders(["maths", "yes_no", *["maths"] * 1233])
    assert counts == {"maths": 1234, "yes_no": 1}
    assert graders_in_words(counts) == "maths 1,234, yes_no 1"


@pytest.mark.parametrize(
    "style", ["text", "textbf", "textsf", "mathrm", "mathit", "mbox", "hbox", "boxed", "emph", "boldsymbol"]
)
@pytest.mark.parametrize(
    ("grader", "reference", "options"),
    [
        ("number", "5", ()),
        ("text", "Paris", ()),
        ("yes_no", "Yes", ()),
        ("maths", "x+1", ()),
        ("choice", "B", ("red", "blue")),
    ],
)
def test_every_grader_reads_an_answer_in_any_style(
    style: str, grader: str, reference: str, options: tuple[str, ...]
) -> None:
    question = Question(id="q", messages=(), reference=reference, choices=options)
    assert load_grader(grader).grade(question, f"<answer>\\{style}{{{reference}}}</answer>").correct
    assert not load_grader(grader).grade(question, f"<answer>\\{style}{{7{reference}}}</answer>").correct
