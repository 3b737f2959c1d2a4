import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corea.datasets.question_source import QuestionSource, SourceRow
from corea.errors import DataError
from corea.run.row_checks import OnBadRow, RowChecks, fingerprint_of
from corea.types import Message, Question, replace


def _lines(ids: list[str]) -> bytes:
    return "".join(json.dumps({"id": each, "question": "Why?"}) + "\n" for each in ids).encode()


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=20))
def test_a_repeated_id_is_reported_with_its_first_line(ids: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("io.FileIO", lambda path: io.BytesIO(_lines(ids)))  # no file for every example
        checks = RowChecks(QuestionSource("questions.jsonl"), OnBadRow.SKIP)
        checks.survey()
    assert (checks.total, checks.rows) == (len(set(ids)), len(ids))
    assert checks.messages == [
        f"questions.jsonl:{n + 1}: id {each!r} was on line {ids.index(each) + 1} already, expected an id of its own"
        for n, each in enumerate(ids)
        if each in ids[:n]
    ]


def test_a_pipe_is_checked_row_by_row() -> None:
    source = QuestionSource("-", pipe=io.BytesIO(_lines(["a", "b", "a"])))
    checks = RowChecks(source, OnBadRow.SKIP)
    checks.survey()
    assert [row.question.id for row in map(checks.good, source.rows()) if row is not None] == ["a", "b"]
    assert checks.messages == ["<stdin>:3: id 'a' was on line 1 already, expected an id of its own"]


def test_a_file_is_read_twice_and_each_repeated_id_is_reported_once(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_bytes(_lines(["a", "b", "a"]))
    checks = RowChecks(QuestionSource(str(path)), OnBadRow.SKIP)
    checks.survey()
    rows = [checks.good(row) for row in QuestionSource(str(path)).rows()]
    assert [row.number for row in rows if isinstance(row, SourceRow)] == [0, 1]
    assert checks.bad_rows == 1


def test_two_rows_of_one_line_may_not_share_an_id(tmp_path: Path) -> None:
    path = tmp_path / "questions.json"
    path.write_text('[{"id": "a", "question": "Why?"}, {"id": "a", "question": "How?"}]')
    with pytest.raises(DataError, match="id 'a' was on line 1 already"):
        RowChecks(QuestionSource(str(path)), OnBadRow.STOP).survey()


def test_a_repeated_id_ends_the_check_where_bad_rows_do(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_bytes(_lines(["a", "b", "b", "a"]))
    with pytest.raises(DataError, match="id 'b' was on line 2 already"):
        RowChecks(QuestionSource(str(path)), OnBadRow.STOP).survey()


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
