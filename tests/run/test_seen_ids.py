from hypothesis import given
from hypothesis import strategies as st

from corea.run.seen_ids import Identities, fingerprint_of
from corea.types import Message, Question, replace


@given(st.lists(st.text(max_size=3), max_size=200))
def test_a_repeated_id_is_told_with_its_first_line(ids: list[str]) -> None:
    seen, table = dict[str, int](), Identities()
    for line, identity in enumerate(ids, 1):
        assert table.add(identity, line) == seen.get(identity)
        seen.setdefault(identity, line)
    assert len(table) == len(seen)


def test_many_ids_are_all_found_again() -> None:
    table = Identities()
    assert all(table.add(f"q{n}", n) is None for n in range(5000))
    assert [table.add(f"q{n}", 0) for n in range(5000)] == list(range(5000))


def test_a_fingerprint_changes_with_what_is_asked() -> None:
    question = Question.of("Why?")
    others = [
        replace(question, id="other"),
        replace(question, choices=("a",)),
        replace(question, messages=(Message("user", "Why"),)),
        replace(question, messages=(Message("system", "x"), *question.messages)),
    ]
    assert len({fingerprint_of(q) for q in (question, *others)}) == 5
    assert fingerprint_of(question) == fingerprint_of(replace(question, reference="4"))
