import pytest

from corea.graders.algebra.notation import tokenize
from corea.graders.units import parts_of_larger, read_unit, same_unit


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


@pytest.mark.parametrize(
    ("larger", "smaller", "count"),
    [
        *(("hours", "minutes", 60), ("'", '"', 12), ("lbs", "oz", 16), ("euros", "cents", 100), ("year", "months", 12)),
        *(("minutes", "hours", None), ("kg", "lb", None), ("hours", "metres", None), ("apples", "pears", None)),
    ],
)
def test_a_larger_unit_has_a_whole_number_of_smaller_ones(larger: str, smaller: str, count: int | None) -> None:
    assert parts_of_larger(larger, smaller) == count


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("km", "kilometres", True), ("km", "miles", False), ("apples", "pears", True), ("degrees", "celsius", True)],
)
def test_only_two_known_units_in_prose_differ(one: str, other: str, same: bool) -> None:
    assert same_unit(one, other) is same
