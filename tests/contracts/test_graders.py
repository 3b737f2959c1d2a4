"""What every grader promises; to register one is to test it here."""

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from tests.fuzzing import examples

from corea.errors import ConfigError
from corea.graders import GRADERS, grade_all, grader_for, grader_name, load_grader
from corea.types import Message, Question

REFERENCES = {
    "number": "42",
    "choice": "B",
    "text": "blue",
    "text_f1": "blue",
    "maths": "\\frac{1}{2}",
    "yes_no": "Yes",
}
WITH_WORKERS = ("maths", "olympiad")  # whose first hard row starts a process


def asked(name: str) -> Question:
    options = ("red", "blue") if name == "choice" else ()
    return Question(id="q", messages=(Message("user", "?"),), reference=REFERENCES.get(name, "42"), choices=options)


@pytest.mark.parametrize("name", GRADERS)
def test_the_reference_itself_is_right(name: str) -> None:
    question = asked(name)
    verdict = load_grader(name).grade(question, f"<think>so</think><answer>{question.reference}</answer>")
    assert verdict.correct
    assert verdict.extracted == question.reference


@pytest.mark.parametrize("name", GRADERS)
def test_no_answer_is_wrong_and_extracts_nothing(name: str) -> None:
    verdict = load_grader(name).grade(asked(name), "")
    assert (verdict.correct, verdict.extracted) == (False, None)
    assert verdict.reason


@pytest.mark.parametrize("name", GRADERS)
def test_a_missing_reference_makes_nothing_right(name: str) -> None:
    question = Question(id="q", messages=(Message("user", "?"),))
    assert not load_grader(name).grade(question, "<answer>B</answer>").correct


@pytest.mark.parametrize("name", GRADERS)
def test_many_rows_come_back_in_order(name: str) -> None:
    question = asked(name)
    texts = [f"<answer>{question.reference}</answer>", "", f"<answer>{question.reference}</answer>"]
    verdicts = grade_all(load_grader(name), [(question, text) for text in texts])
    assert [v.correct for v in verdicts] == [True, False, True]


@pytest.mark.parametrize("name", [name for name in GRADERS if name not in WITH_WORKERS])
@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=300))
def test_no_text_breaks_a_grader(name: str, text: str) -> None:
    verdict = load_grader(name).grade(asked(name), text)
    assert verdict.extracted is not None or not verdict.correct


@pytest.mark.parametrize(
    ("reference", "choices", "answer_type", "name"),
    [
        ("18", (), None, "number"),
        ("$1,234.50", (), None, "number"),
        ("B", ("red", "blue"), None, "choice"),
        ("\\frac{1}{2}x", (), None, "maths"),
        ("Paris", (), None, "text"),
        ("18", (), "latex", "maths"),
        ("18", (), "text_f1", "text_f1"),
        ("18", (), "number", "number"),
        ("52_8", (), "number", "maths"),
        ("1,3,5", (), "number", "maths"),
    ],
)
def test_the_grader_suits_the_question(
    reference: str, choices: tuple[str, ...], answer_type: str | None, name: str
) -> None:
    question = Question(id="q", messages=(Message("user", "?"),), reference=reference, choices=choices)
    assert grader_name(question, answer_type) == name
    assert type(grader_for(question, answer_type)) is type(load_grader(name))


def test_a_misspelt_grader_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'number'"):
        load_grader("numbr")
