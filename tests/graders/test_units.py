import pytest

from corea.graders.algebra.notation import tokenize
from corea.graders.units import read_unit


@pytest.mark.parametrize(
    ("a", "b", "agree"),
    [
        ("cm^2", "square centimetres", True),
        ("inches", "in", True),
        ("km/h", "km per hour", True),
        ("\\text{ m/s}", "m/s", True),
        ("apples", "red apples", True),
        ("apples", "oranges", False),
        ("cm", "cm^2", False),
        ("m/s", "m", False),
        ("min", "hours", True),
        ("dollars", "euros", False),
        ("am", "pm", False),
    ],
)
def test_units_agree_where_they_measure_the_same(a: str, b: str, agree: bool) -> None:
    one, other = read_unit(tokenize(a)), read_unit(tokenize(b))
    assert one is not None
    assert other is not None
    assert one.agrees(other) is agree


@pytest.mark.parametrize("words", ["million", "or more", "squared", "thirds", "less than", "x", "+ 3 m", "xyz", "not"])
def test_words_that_reckon_or_bound_are_no_unit(words: str) -> None:
    assert read_unit(tokenize(words)) is None
