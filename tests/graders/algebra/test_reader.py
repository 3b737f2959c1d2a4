import pytest

from corea.graders.algebra import forms
from corea.graders.algebra.forms import Answer, Assigned, Based, Items, Opaque, Value, Words
from corea.graders.algebra.reader import read_structure


def form(text: str) -> Answer:
    return read_structure(text)[0]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("5 cm", Value),
        ("25\\%", Value),
        ("Tuesday", Words),
        ("1, 2", Items),
        ("(1, 2)", Items),
        ("1:2", Items),
        ("1 < x < 2", forms.NumberInterval),
        ("x \\ne 2", forms.Union),
        ("x = 5", Assigned),
        ("2x + y = 5", forms.Relation),
        ("2x + y < 5", forms.Relation),
        ("\\begin{pmatrix} 1 & 2 \\end{pmatrix}", forms.Matrix),
        ("2516_8", Based),
        ("x \\equiv 3 \\pmod 7", forms.Congruence),
        ("5 h 30 min", Opaque),
        ("6 (or 7)", Opaque),
        ("5 or more", Items),
        ("p \\to q", Opaque),
    ],
)
def test_an_answer_has_the_form_that_it_is_written_in(text: str, kind: type[Answer]) -> None:
    assert isinstance(form(text), kind)


@pytest.mark.parametrize(
    ("text", "brackets", "count"),
    [
        ("1, 2 and 3", "", 3),
        ("1; 2", "", 2),
        ("\\{1, 2, 2\\}", "{", 3),
        ("[1, 2)", "[)", 2),
        ("\\langle 1, 2 \\rangle", "<", 2),
        ("(1,2), (3,4)", "", 2),
        ("1:30", "::", 2),
        ("1 \\pm \\sqrt{2}", "", 2),
    ],
)
def test_a_list_keeps_its_brackets_and_all_its_items(text: str, brackets: str, count: int) -> None:
    found = form(text)
    assert isinstance(found, Items)
    assert (found.brackets, len(found.items)) == (brackets, count)


def test_digits_with_a_comma_are_a_number_and_where_no_part_begins_with_zero_a_list_too() -> None:
    assert [type(reading) for reading in read_structure("100,200")] == [Value, Items]
    assert [type(reading) for reading in read_structure("1,000")] == [Value]


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("The degree of $f(x)$ is 3", "3"),
        ("They should have ordered 8 meals", "8 meals"),
        ("approximately 6", "6"),
        ("minus five", "-5"),
        ("two thirds", "2/3"),
        ("five and a half", "5 + 1/2"),
        ("5 million", "5 * 1000000"),
        ("a dozen", "12"),
        ("approximately half", "1/2"),
        ("one, half", "1, 1/2"),
        ("three and three-quarters", "3 + 3/4"),
        ("the square root of 2", "\\sqrt{2}"),
        ("2,00625 m", "2.00625 m"),
        ("2k\\pi, k \\in \\mathbb{Z}", "2k\\pi"),
        ("2k\\pi, where k is an integer", "2k\\pi"),
        ("\\$5", "5 dollars"),
        ("no real solutions", "\\emptyset"),
    ],
)
def test_words_around_an_answer_do_not_change_its_form(text: str, same_as: str) -> None:
    assert read_structure(text)[-1] == form(same_as)


@pytest.mark.parametrize("text", ["The answer is 5 if x is 3", "The price is 5 but it could be 7", "5 more than 3"])
def test_a_sentence_with_a_condition_is_not_cut(text: str) -> None:
    assert not isinstance(form(text), Value)


def test_a_text_nested_too_deeply_is_opaque() -> None:
    assert isinstance(form("(" * 300 + "1" + ")" * 300), Opaque)
