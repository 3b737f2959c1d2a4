from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corea.graders.number import Number, read_number
from corea.types import Question


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("18", 18),
        ("$4.00", 4),
        ("\\$4.00", 4),
        ("$ 1,234.50", Fraction(2469, 2)),
        ("1.234,50 €", Fraction(2469, 2)),
        ("1 234 567", 1234567),
        ("1'234'567", 1234567),
        ("12,34,567", 1234567),
        ("10{,}080", 10080),
        ("11,\\! 111", 11111),
        ("12,5", Fraction(25, 2)),
        ("0,850", Fraction(17, 20)),
        ("1.234.567", 1234567),
        (".5", Fraction(1, 2)),
        ("-7", -7),
        ("−7", -7),
        ("-$5", -5),
        ("$-5", -5),
        ("3/4", Fraction(3, 4)),
        ("3 1/2", Fraction(7, 2)),
        ("3\\frac{1}{2}", Fraction(7, 2)),
        ("\\dfrac{7}{2}", Fraction(7, 2)),
        ("\\frac72", Fraction(7, 2)),
        ("-\\frac{1}{3}", Fraction(-1, 3)),
        ("½", Fraction(1, 2)),
        ("3½", Fraction(7, 2)),
        ("1.2e5", 120000),
        ("1.2 \\times 10^{5}", 120000),
        ("3 × 10^-2", Fraction(3, 100)),
        ("2.5 million dollars", 2500000),
        ("20k", 20000),
        ("two dozen eggs", 24),
        ("twenty-one days", 21),
        ("three hundred and five", 305),
        ("１８", 18),
        ("18 dollars per week", 18),
        ("18 cups in 3 days", 18),
        ("about 40 miles", 40),
        ("She earns 126 over", 126),
        ("In 7 days she makes $126", 126),
        ("640 + 540 + 30 = 1210", 1210),
        ("x = 5", 5),
        ("5 cm^2", 5),
        ("3:2", None),
        ("3 * 4", 12),
        ("2^10", 1024),
        ("1/0", None),
        ("1,23,4", None),
        ("the blue one", None),
        ("", None),
        ("9" * 500, None),
    ],
)
def test_numbers_are_read_as_people_write_them(written: str, value: Fraction | int | None) -> None:
    amount = read_number(written)
    assert (amount.value if amount else None) == value


@pytest.mark.parametrize("written", ["5 apples", "5x", "x = 5", "3, 4", "3,4", "five", "1 and 2"])
def test_a_whole_text_is_no_number_when_something_stands_beside_it(written: str) -> None:
    assert read_number(written, whole=True) is None


@pytest.mark.parametrize(
    ("reference", "text", "correct"),
    [
        ("4", "#### $4.00", True),
        ("1234", "The answer is 1,234 apples.", True),
        ("50", "<answer>50%</answer>", True),
        ("0.5", "<answer>50%</answer>", True),
        ("50%", "<answer>0.5</answer>", True),
        ("50", "<answer>0.5</answer>", False),
        ("1/3", "<answer>0.333</answer>", False),
        ("1/3", "<answer>0.333333</answer>", True),
        ("1000000000", "<answer>1000000001</answer>", False),
        ("36", "<answer>-36</answer>", False),
        ("17", "<answer>17</answer><confidence>0.85</confidence>", True),
        ("17", "The answer is 17 and confidence 0.85", True),
        ("17", "I cannot tell.", False),
        ("17", "", False),
    ],
)
def test_equal_numbers_are_right(reference: str, text: str, correct: bool) -> None:
    assert Number().grade(Question.of("?", reference=reference), text).correct is correct


def test_tolerance_is_relative_and_for_fractions_only() -> None:
    lenient = Number(tolerance=0.01)
    assert lenient.grade(Question.of("?", reference="3.14159"), "<answer>3.14</answer>").correct
    assert not lenient.grade(Question.of("?", reference="1000"), "<answer>1001</answer>").correct


def test_a_reference_that_is_no_number_is_said() -> None:
    assert "the reference 'blue'" in Number().grade(Question.of("?", reference="blue"), "<answer>3</answer>").reason


@given(st.integers(-(10**12), 10**12))
def test_any_grouped_integer_is_read_back(number: int) -> None:
    amount = read_number(f"{number:,}")
    assert amount is not None
    assert amount.value == number


@given(st.text(max_size=500))
def test_no_text_breaks_the_reader(text: str) -> None:
    read_number(text)
    read_number(text, whole=True)


@given(st.text(alphabet="0123456789.,'- /$%{}\\frac^=e×k", max_size=120))
def test_no_arrangement_of_signs_and_digits_breaks_the_reader(text: str) -> None:
    read_number(text)
    read_number(text, whole=True)
