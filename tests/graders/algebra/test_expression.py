from fractions import Fraction

import pytest

from corea.graders.algebra.evaluation import Exact, Undefined
from corea.graders.algebra.expression import Unreadable, parse_expression
from corea.graders.algebra.notation import tokenize


def value(text: str) -> Fraction:
    return Fraction(Exact().value(parse_expression(tokenize(text)), {"x": Fraction(5), "y": Fraction(2)}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 \\cdot 3", Fraction(7)),
        ("-2^2", Fraction(-4)),
        ("2^{3^2}", Fraction(512)),
        ("2^-1", Fraction(1, 2)),
        ("1/2x", Fraction(5, 2)),
        ("\\frac{1}{2x}", Fraction(1, 10)),
        ("\\frac12", Fraction(1, 2)),
        ("3\\frac{1}{2}", Fraction(7, 2)),
        ("-1\\frac12", Fraction(-3, 2)),
        ("1 1/2", Fraction(3, 2)),
        ("2 \\cdot \\frac12", Fraction(1)),
        ("2\\frac{x}{5}", Fraction(2)),
        ("x²y", Fraction(50)),
        ("2(x+y)", Fraction(14)),
        ("xy", Fraction(10)),
        ("|−3|", Fraction(3)),
        ("\\sqrt[3]{-8}", Fraction(-2)),
        ("√49", Fraction(7)),
        ("4!/2!", Fraction(12)),
        ("\\binom{5}{2}", Fraction(10)),
        ("\\lfloor 7/2 \\rfloor", Fraction(3)),
        ("7 \\bmod 3", Fraction(1)),
        ("\\gcd(12, 18)", Fraction(6)),
        ("1,234.5", Fraction(2469, 2)),
        ("11,\\! 111", Fraction(11111)),
        ("10 000", Fraction(10000)),
        ("0.1\\overline{6}", Fraction(1, 6)),
        ("0.333...", Fraction(1, 3)),
        ("6.02e3", Fraction(6020)),
        ("½", Fraction(1, 2)),
        ("５", Fraction(5)),
    ],
)
def test_an_expression_has_the_value_that_it_writes(text: str, expected: Fraction) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "5 6", "5 apples", "3 +", "(1", "1)", "5//2", "5.6.7", "f(5)", "x'", "{", "\\foo", "(" * 200 + "1", "!" * 9],
)
def test_what_is_not_one_whole_expression_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_expression(tokenize(text))


@pytest.mark.parametrize("text", ["1/0", "0/0", "0^0", "\\sqrt{-4}"])
def test_an_expression_without_a_value_has_none(text: str) -> None:
    with pytest.raises(Undefined):
        value(text)


@pytest.mark.parametrize("text", ["-" * 900 + "5", "^".join("2" * 400), "5" + "!" * 900, "sin " * 240 + "x", "|" * 900])
def test_a_chain_of_any_length_is_refused_without_a_recursion_error(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_expression(tokenize(text))
