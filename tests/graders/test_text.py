import pytest

from corea.errors import ConfigError
from corea.graders.text import ExactTextGrader, TextF1Grader, normalise, word_f1
from corea.types import Question


def test_case_punctuation_articles_and_spaces_do_not_count() -> None:
    assert normalise("  The  Eiffel-Tower, (Paris)! ") == "eiffel tower paris"
    assert normalise("The") == "the"
    assert normalise("ﬁne Café") == "fine café"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(
            ("C++", "C"),
            ("C#", "C"),
            (".NET", "NET"),
            ("x+y", "x-y"),
            ("x > y", "x < y"),
            ("a ≤ b", "a < b"),
            ("x²", "x2"),
        ),
        *(
            ("10%", "10"),
            ("1/2", "1 2"),
            ("3.5", "35"),
            ("1.5", "1,5"),
            ("3:2", "3 2"),
            ("-5", "5"),
            ("$5", "5"),
            ("#1", "1"),
        ),
        *(
            ("5!", "5"),
            ("10°", "10"),
            ("√2", "2"),
            ("Na+", "Na-"),
            ("A+", "A"),
            ("~5", "5"),
            ("x*y", "xy"),
            ("@home", "home"),
        ),
        *(
            ("e-mail", "email"),
            ("co-op", "coop"),
            ("naïve", "naive"),
            ("Vitamin A", "vitamin"),
            ("()", "[]"),
            ("US", "us"),
        ),
    ],
)
def test_signs_that_carry_meaning_stay(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)
    assert word_f1(one, other) < 0.8


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(("U.S.", "USA"), ("U. S. A.", "US"), ("U.K.", "UK"), ("D.C.", "DC"), ("J. K. Rowling", "JK Rowling")),
        *(
            ("x + y", "x+y"),
            ("p < 0.05", "p<0.05"),
            ("10 %", "10%"),
            ("2²", "2^2"),
            ("H₂O", "H2O"),
            ("Na⁺", "Na+"),
            ("①", "1"),
        ),
        *(("1939–1945", "1939-1945"), ("O’Brien", "OBrien"), ("“Hamlet”", "Hamlet"), ("½", "1/2"), ("1,000", "1000")),
        *(
            ("rock & roll", "rock and roll"),
            ("Mother-in-law", "mother in law"),
            ("St. Louis", "St Louis"),
            ("Yes!", "yes"),
        ),
    ],
)
def test_another_notation_of_the_same_text_is_the_same(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


def test_f1_of_three_words_against_four_sharing_two() -> None:
    assert word_f1("red green blue", "red green black white") == pytest.approx(4 / 7)
    assert word_f1("", "") == 1
    assert word_f1("", "red") == 0


@pytest.mark.parametrize(
    ("reference", "text", "correct"),
    [
        ("Marie Curie", "<answer>marie curie.</answer>", True),
        ("Marie Curie", "<answer>Pierre Curie</answer>", False),
        ("yes", "Answer: Yes", True),
        ("%", "<answer>%</answer>", True),
        ("%", "<answer>+</answer>", False),
        ("yes", "", False),
        ("[]", "<answer>()</answer>", False),
        ("U.S.A.", "<answer>the USA</answer>", True),
        ("USA", "<answer>U.S.</answer>", True),
        ("J. R. R. Tolkien", "<answer>J.R.R. Tolkien</answer>", True),
        ("10", "<answer>$10</answer>", False),
        ("$10", "<answer>$10</answer>", True),
        ("$10", "<answer>€10</answer>", False),
        ("George Washington", "<answer>Washington, George</answer>", False),
    ],
)
def test_exact_text(reference: str, text: str, correct: bool) -> None:
    assert ExactTextGrader().grade(Question.of("?", reference=reference), text).correct is correct


def test_f1_needs_its_threshold() -> None:
    asked = Question.of("?", reference="the red green house")
    assert TextF1Grader(0.8).grade(asked, "<answer>red green house</answer>").correct
    assert not TextF1Grader(0.8).grade(asked, "<answer>red house by the sea</answer>").correct
    assert TextF1Grader(0.5).grade(asked, "<answer>red house by the sea</answer>").correct


def test_a_threshold_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="threshold is 0"):
        TextF1Grader(0)
