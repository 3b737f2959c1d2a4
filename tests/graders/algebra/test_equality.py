import pytest

from corea.graders.algebra.equality import expressions_equal, proportional
from corea.graders.algebra.expression import Node, parse_expression
from corea.graders.algebra.notation import tokenize


def node(text: str) -> Node:
    return parse_expression(tokenize(text))


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        ("x^2+2x", "x(x+2)", True),
        ("x^2+2x", "x(x-2)", False),
        ("\\frac{1}{2^{98}}", "\\frac{1}{2^{99}}", False),
        ("\\frac{1}{2006!}", "\\frac{1}{2004!}", False),
        ("10^{40}+1", "10^{40}", False),
        ("x", "y", False),
        ("\\max(x, 42)", "42", False),
        ("|x|", "x", False),
        ("\\sqrt{2}", "1.41421", False),
        ("\\infty", "-\\infty", False),
        ("\\sin x", "\\cos x", False),
    ],
)
def test_fractions_decide_and_floating_point_refutes(a: str, b: str, equal: bool) -> None:
    assert expressions_equal(node(a), node(b)) is equal
    assert expressions_equal(node(a), node(b), precise=True) is equal


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        ("\\sqrt{8}", "2\\sqrt{2}", True),
        ("\\sin^2 x + \\cos^2 x", "1", True),
        ("\\log 100", "2", True),
        ("\\log 2", "\\ln 2", True),
        ("\\sqrt{x^2}", "|x|", True),
        ("n!", "n(n-1)!", True),
        ("\\sqrt{2}", "1.4142135623730950488016887242", True),
        ("\\sqrt{2}", "\\sqrt{2} + 10^{-20}", False),
        ("\\sqrt{2}\\sqrt{2} - 2", "0", True),
        ("e^{i\\pi}", "-1", True),
    ],
)
def test_fifty_digits_decide_what_floating_point_cannot(a: str, b: str, equal: bool) -> None:
    assert expressions_equal(node(a), node(b)) in (None, equal)
    assert expressions_equal(node(a), node(b), precise=True) is equal


@pytest.mark.parametrize(
    ("exact", "decimal", "equal"),
    [
        ("\\frac{1}{3}", "0.333333", True),
        ("\\frac{1}{3}", "0.33333", False),
        ("\\frac{2}{3}", "0.666666", True),
        ("\\frac{2}{3}", "0.666667", True),
        ("\\frac{2}{3}", "0.666668", False),
        ("\\frac{1234567}{1000}", "1234.568", False),
        ("e", "2.718281828", True),
        ("\\pi", "3.14159", False),
        ("4", "4.000001", False),
        ("0.3", "0.30000000000000004", True),
        ("0.333", "0.3333", False),
    ],
)
def test_a_decimal_counts_as_a_number_that_it_rounds_only_where_it_is_long(
    exact: str, decimal: str, equal: bool
) -> None:
    assert expressions_equal(node(exact), node(decimal), precise=True) is equal


def test_equations_are_compared_but_for_a_factor_and_inequalities_but_for_a_positive_one() -> None:
    a, b = node("2x + 3y - 6"), node("12 - 4x - 6y")
    assert proportional(a, b) is True
    assert proportional(a, b, positive=True) is False
    assert proportional(a, node("2x + 3y - 5")) is False


@pytest.mark.parametrize("tower", ["9^{9^{9^{9}}}", "2^{10^{12}}+1", "\\sin(10^{10^{6}})", "x^{x^{x^{x^x}}}"])
def test_a_number_too_long_for_its_digits_is_left_undecided_at_once(tower: str) -> None:
    assert expressions_equal(node(tower), node("5"), precise=True) in (None, False)
