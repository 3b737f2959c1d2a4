from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corea.graders.number import NumberGrader, read_number
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


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("minus 5", -5),
        ("negative twelve", -12),
        ("minus three quarters", Fraction(-3, 4)),
        ("-(7)", -7),
        ("|-5|", 5),
        ("6*7", 42),
        ("10 minus 4", 6),
        ("12 divided by 4", 3),
        ("5 times 6", 30),
        ("(2+3)*4", 20),
        ("2**10", 1024),
        ("5²", 25),
        ("5 squared", 25),
        ("(-2)^3", -8),
        ("-2^2", -4),
        ("5!", 120),
        ("√49", 7),
        ("\\sqrt{16}", 4),
        ("10⁻²", Fraction(1, 100)),
        ("6*7 = 42", 42),
        ("42 = 6*7", 42),
        ("3 + 4 = 8", 8),
        ("P(A) = 0.5", Fraction(1, 2)),
        ("2 hours 30 minutes", Fraction(5, 2)),
        ("5'6\"", Fraction(11, 2)),
        ("half of 18", 9),
        ("two thirds of 18 eggs", 12),
        ("20% of 150", 30),
        ("3 and 3/4", Fraction(15, 4)),
        ("36 sq ft", 36),
    ],
)
def test_what_multiplies_negates_or_adds_is_evaluated(written: str, value: Fraction | int) -> None:
    amount = read_number(written)
    assert amount is not None
    assert amount.value == value


@pytest.mark.parametrize(
    "written",
    [
        *(
            "7 or 8",
            "7 and 8",
            "7, 8",
            "7;8",
            "7\n8",
            "7 to 8",
            "7-8",
            "7 - 8",
            "7~8",
            "7 apples and 8 pears",
            "x = 7, y = 8",
        ),
        *(
            "at least 7",
            "at most 7",
            "more than 7",
            "no fewer than 7",
            "7 or more",
            "7+",
            "up to 7",
            "under 7",
            "7 max",
        ),
        *(
            "> 7",
            "≥7",
            "\\geq 7",
            ">= 7",
            "x ≠ 7",
            "between 7 and 8",
            "[7, 8]",
            "7 ± 1",
            "nearly 7",
            "mindestens 7",
            "至少7",
        ),
        *("not 7", "isn't 7", "7 is wrong", "neither 7 nor 8", "nicht 7"),
        *(
            "7x",
            "7y",
            "7i",
            "7π",
            "7 pi",
            "7√2",
            "√7",
            "\\sqrt{7}",
            "log 7",
            "ln(7)",
            "sin 7",
            "7e",
            "x^7",
            "2x = 7",
            "x + 2 = 7",
        ),
        *("|x| = 7", "7n", "θ7", "x7", "7 mod 3", "7 choose 2", "\\binom{7}{2}"),
        *(
            "double 7",
            "twice 7",
            "anything but 7",
            "7 (or 8, or 9)",
            "7 (maybe 8)",
            "7 less than 10",
            "7 (in thousands)",
            "7 mil",
            "7 plus",
        ),
        *(
            "7:30",
            "7:30 PM",
            "7:1",
            "7 in 10",
            "7 out of 10",
            "07/04/1776",
            "2023-10-05",
            "5h30",
            "5//2",
            "5.6.7",
            "7_000",
        ),
        *("7/0", "∞", "NaN", "no", "none", "first", "twice", "0.333...", "0.\\overline{3}", "the 7-", "9^9^9^9", "5!!"),
        *("1,2,3", "12,345,67", "1 2", "7 (or 8)", "1/4 or 30%", "7 = 3 + 5"),
    ],
)
def test_what_leaves_anything_beside_the_value_and_its_unit_is_no_number(written: str) -> None:
    assert read_number(written) is None


@pytest.mark.parametrize(
    "written",
    [
        *(
            "7 apples",
            "7 red apples in total",
            "$7",
            "7 €",
            "USD 7",
            "CHF 7",
            "7 cents",
            "7€/kg",
            "$7/hour",
            "7 dollars a day",
        ),
        *(
            "7%",
            "7 percent",
            "7 percentage points",
            "7°",
            "7 °C",
            "7^\\circ\\text{C}",
            "7 km/h",
            "7 m/s^2",
            "7 cm²",
            "7kg",
            "7-day",
        ),
        *(
            "x = 7",
            "x: 7",
            "n=7",
            "x₁ = 7",
            "about 7",
            "~7",
            "≈ 7",
            "\\approx 7",
            "exactly 7",
            "7 approximately",
            "7?",
            "7.",
            "+7",
        ),
        *(
            "She has 7 eggs left",
            "There are 7 of them",
            "The sum of 3 and 4 is 7",
            "7 is the answer",
            "In 3 days she makes $7",
        ),
        *(
            "7 (not 8)",
            "7, not 8",
            "7 (seven)",
            "seven (7)",
            "7 (rounded up)",
            "7 gallons (about 26 liters)",
            "7 or 7.0",
            "7 (3+4)",
        ),
        *(
            "7, because 3 + 4 = 7",
            "7 days for the 12 workers",
            "7 of the 12 students",
            "7 mph over the 3-hour trip",
            "7th",
        ),
        *(
            "７",
            "٧",
            "7个",
            "答案是7",
            "7 Äpfel",
            "ungefähr 7",
            "environ 7",
            "No. 7",
            "#7",
            "7 😊",
            "\\text{seven}",
            "7 \\mathrm{~kg}",
        ),
    ],
)
def test_a_unit_a_name_or_a_remark_leaves_a_number_as_it_is(written: str) -> None:
    amount = read_number(written)
    assert amount is not None
    assert amount.value == 7


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1'234.50", Fraction(2469, 2)),
        ("1 234,50", Fraction(2469, 2)),
        ("70,00,000", 7000000),
        ("3{,}5", Fraction(7, 2)),
        ("7\\,000", 7000),
        ("$5M", 5000000),
        ("5M", 5000000),
        ("$7k", 7000),
        ("7 bn", 7 * 10**9),
        ("5 lakh", 500000),
        ("5万", 50000),
        ("3 hundred", 300),
        ("5 m", 5),
        ("half a million", 500000),
        ("a dozen", 12),
        ("fifteen hundred", 1500),
        ("two and three quarters", Fraction(11, 4)),
        ("a third", Fraction(1, 3)),
        ("36 quarters", 36),
        ("1e400", 10**400),
    ],
)
def test_separators_magnitudes_and_number_words(written: str, value: Fraction | int) -> None:
    amount = read_number(written)
    assert amount is not None
    assert amount.value == value


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
        ("1000000", "<answer>1000000.4</answer>", False),
        ("1000000", "<answer>999999.6</answer>", False),
        ("2", "<answer>2.0000001</answer>", False),
        ("1234567.89", "<answer>1234567.80</answer>", False),
        ("33333.33", "<answer>33333.333333</answer>", True),
        ("3.14159", "<answer>3.14160</answer>", False),
        ("2/3", "<answer>0.666666</answer>", True),
        ("150%", "<answer>1.5</answer>", True),
        ("0.5%", "<answer>0.005</answer>", True),
        ("50", "<answer>0.5%</answer>", False),
        ("5%", "<answer>0.5</answer>", False),
        ("5 km", "<answer>5 miles</answer>", False),
        ("5 km", "<answer>5 kilometers</answer>", True),
        ("5 km", "<answer>5</answer>", True),
        ("$5", "<answer>5 €</answer>", False),
        ("0.5", "<answer>50 cents</answer>", False),
        ("1e400", "<answer>1e401</answer>", False),
        ("17", "I cannot tell.", False),
        ("17", "", False),
    ],
)
def test_equal_numbers_are_right(reference: str, text: str, correct: bool) -> None:
    assert NumberGrader().grade(Question.of("?", reference=reference), text).correct is correct


def test_tolerance_is_relative_and_for_fractions_only() -> None:
    lenient = NumberGrader(tolerance=0.01)
    assert lenient.grade(Question.of("?", reference="3.14159"), "<answer>3.14</answer>").correct
    assert not lenient.grade(Question.of("?", reference="1000"), "<answer>1001</answer>").correct


def test_a_reference_that_is_no_number_is_said() -> None:
    assert (
        "the reference 'blue'" in NumberGrader().grade(Question.of("?", reference="blue"), "<answer>3</answer>").reason
    )


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
