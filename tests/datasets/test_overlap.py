import pytest
from hypothesis import given
from hypothesis import strategies as st

from corea.datasets import Overlap, overlap
from corea.types import Question


def asked(id: str, text: str) -> Question:
    return Question.of(text, id=id)


def test_the_same_question_in_other_dress_is_found() -> None:
    train = [
        asked("t1", "something else entirely, with quite a few words in it"),
        asked("t2", "Tom has 3 apples and buys 4 more at the shop."),
    ]
    evaluation = [asked("e1", "TOM has 3 apples,  and buys 4 more at the shop!")]
    assert overlap([asked("h", "a well-known sum")], [asked("e", "A well known sum")])[0].share == 1.0
    assert overlap(train, evaluation) == [Overlap("e1", "t2", 1.0)]


def test_other_numbers_make_another_question() -> None:
    train = [asked("t", "Tom has 3 apples and buys 4 more at the shop.")]
    assert overlap(train, [asked("e", "Tom has 5 apples and buys 6 more at the shop.")]) == []


@pytest.mark.parametrize("other", ["What is 12 * 5?", "What is 12 - 5?", "What is 12 / 5?", "What is -12 + 5?"])
def test_another_operator_makes_another_question(other: str) -> None:
    assert overlap([asked("t", "What is 12 + 5?")], [asked("e", other)]) == []


def test_a_question_shared_in_part_is_flagged_from_the_share_on() -> None:
    # 12 words are five 8-grams; the first ten words are shared: three of them
    train = [asked("t", "a b c d e f g h i j and on it goes")]
    evaluation = [asked("e", "a b c d e f g h i j x y")]
    assert overlap(train, evaluation) == []
    found = overlap(train, evaluation, share=0.6)
    assert (found[0].id, found[0].share) == ("e", pytest.approx(0.6))


def test_a_short_question_must_be_there_whole() -> None:
    train = [asked("t", "What is 2 plus 3?"), asked("u", "Tell me now: what is 2 plus 4, and why so?")]
    evaluation = [asked("e1", "what is 2 plus 3"), asked("e2", "What is 2 plus 4"), asked("e3", "?!")]
    assert [o.id for o in overlap(train, evaluation)] == ["e1"]


@given(st.lists(st.text(alphabet="abc ", min_size=1, max_size=60), max_size=8))
def test_every_question_with_words_overlaps_with_itself(texts: list[str]) -> None:
    questions = [asked(str(i), text) for i, text in enumerate(texts)]
    assert [o.id for o in overlap(questions, questions)] == [q.id for q in questions if q.text.split()]
