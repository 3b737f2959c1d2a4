import gzip
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corea.errors import ConfigError, DataError
from corea.run.inputs import Format, Row, Source
from corea.types import Message, Question


def _rows(path: Path, text: str | bytes) -> list[Row | DataError]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(Source(str(path)).rows())


def _questions(path: Path, text: str | bytes) -> list[Question]:
    rows = _rows(path, text)
    assert all(isinstance(row, Row) for row in rows), rows
    return [row.question for row in rows if isinstance(row, Row)]


def test_a_row_of_json_becomes_a_question(tmp_path: Path) -> None:
    row = {
        "id": 7,
        "question": "Why?",
        "answer": 4,
        "choices": ["a", "b"],
        "category": "x",
        "level": 2,
        "meta": {"s": 1},
    }
    (question,) = _questions(tmp_path / "q.jsonl", json.dumps(row))
    assert question == Question(
        id="7",
        messages=(Message("user", "Why?"),),
        reference="4",
        choices=("a", "b"),
        category="x",
        meta={"level": 2, "s": 1},
    )


def test_chat_messages_keep_what_is_more_than_text(tmp_path: Path) -> None:
    image = {
        "role": "user",
        "content": [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": "u"}],
    }
    row = {"messages": [{"role": "system", "content": "Be brief."}, image]}
    (question,) = _questions(tmp_path / "q.jsonl", json.dumps(row))
    assert question.messages == (Message("system", "Be brief."), Message("user", "What is it?", raw=image))
    assert question.id == "line-1"


def test_lines_are_counted_with_the_empty_ones(tmp_path: Path) -> None:
    rows = _rows(tmp_path / "q.jsonl", '\ufeff{"question": "a"}\n\n{"question": "b"}')
    assert [(row.number, row.line, row.question.id) for row in rows if isinstance(row, Row)] == [
        (0, 1, "line-1"),
        (1, 3, "line-3"),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question": "a"', "not JSON"),
        ("[1]", "got list, expected a JSON object"),
        ('{"qestion": "a"}', "is 'qestion' meant as 'question'"),
        ('{"question": ""}', "question: is empty"),
        ('{"question": 3}', "question: got int"),
        ('{"question": "a", "id": [1]}', "id: got"),
        ('{"messages": [{"content": "a"}]}', r"messages\[0\].role: got None"),
        ('{"question": "a", "choices": 3}', "choices: got 3"),
        (b'{"question": "\xff"}', "not JSON"),
    ],
)
def test_a_bad_row_says_where_and_the_next_is_read(tmp_path: Path, line: str | bytes, message: str) -> None:
    data = line.encode() if isinstance(line, str) else line
    bad, good = _rows(tmp_path / "q.jsonl", data + b'\n{"question": "fine"}\n')
    assert isinstance(bad, DataError)
    assert bad.line == 1
    with pytest.raises(DataError, match=message):
        raise bad
    assert str(bad).startswith(f"{tmp_path / 'q.jsonl'}:1: ")
    assert isinstance(good, Row)


def test_csv_with_quoted_newlines_and_choices(tmp_path: Path) -> None:
    text = 'id,question,choices\na,"two\nlines","[""x"", ""y""]"\nb,plain,\n'
    rows = _rows(tmp_path / "q.csv", text)
    assert [(row.line, row.question.text, row.question.choices) for row in rows if isinstance(row, Row)] == [
        (2, "two\nlines", ("x", "y")),
        (4, "plain", ()),
    ]


@pytest.mark.parametrize(
    ("row", "message"), [("a,b,c", "got 3 fields, expected 2"), ('a,"b"c', "not CSV"), (b"a,\xff", "not UTF-8")]
)
def test_a_bad_csv_row_says_where_and_the_next_is_read(tmp_path: Path, row: str | bytes, message: str) -> None:
    data = row.encode() if isinstance(row, str) else row
    bad, good = _rows(tmp_path / "q.csv", b"id,question\n" + data + b"\nc,fine\n")
    assert isinstance(bad, DataError)
    assert message in str(bad)
    assert bad.line == 2
    assert isinstance(good, Row)


def test_tsv_and_packed_files(tmp_path: Path) -> None:
    assert _questions(tmp_path / "q.tsv", "question\tid\nWhy?\tx\n")[0].id == "x"
    assert _questions(tmp_path / "q.jsonl.gz", gzip.compress(b'{"question": "a"}'))[0].text == "a"
    assert _questions(tmp_path / "q.csv.gz", gzip.compress(b"question\nb\n"))[0].text == "b"


def test_a_packed_file_that_was_cut_short_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        _rows(tmp_path / "q.jsonl.gz", gzip.compress(b'{"question": "a"}\n' * 1000)[:60])


def test_parquet(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"id": ["a", "b"], "question": ["x", "y"], "choices": [["p", "q"], None]})
    parquet.write_table(table, tmp_path / "q.parquet")
    rows = list(Source(str(tmp_path / "q.parquet")).rows())
    assert [(r.line, r.question.id, r.question.choices) for r in rows if isinstance(r, Row)] == [
        (1, "a", ("p", "q")),
        (2, "b", ()),
    ]
    with pytest.raises(DataError, match="not Parquet"):
        _rows(tmp_path / "no.parquet", "nothing of the kind")


def test_a_pipe_is_read_once_and_left_open(tmp_path: Path) -> None:
    pipe = io.BytesIO(b'{"question": "a"}\n{"question": "b"}\n')
    assert len(list(Source("-", pipe=pipe).rows())) == 2
    assert not pipe.closed
    csv = Source("-", format=Format.CSV, pipe=io.BytesIO(b"question\nb\n"))
    assert [row.question.text for row in csv.rows() if isinstance(row, Row)] == ["b"]


def test_a_file_that_cannot_be_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        list(Source(str(tmp_path / "none.jsonl")).rows())
    with pytest.raises(DataError, match="has no rows"):
        _rows(tmp_path / "q.jsonl", "\n\n")
    with pytest.raises(ConfigError, match=r"got the suffix '.txt'"):
        Source("q.txt")


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_a_data_error(data: bytes) -> None:
    for kind in (Format.JSONL, Format.CSV, Format.TSV):
        try:
            rows = list(Source("-", format=kind, pipe=io.BytesIO(data)).rows())
        except DataError as error:  # the first line, which names the columns, is no CSV
            rows = [error]
        assert all(isinstance(row, Row) or "\n" not in str(row) for row in rows)


def test_a_first_look_tells_the_same_rows_and_errors_as_reading(tmp_path: Path) -> None:
    lines = [
        '{"id": "a", "question": "plain"}', '{"id": "", "question": "no id"}', '{"id": "c", "question": ""}', "[1]",
        '{"id": 7, "question": "a number"}', '{"question": "no id at all"}', '{"id": "g", "question": "more", "x": 1}',
        "broken", '{"id": "i", "question": "plain again"}',
        '{"id": "j", "messages": [{"role": "user", "content": "m"}]}',
    ]  # fmt: skip
    for count in range(1, len(lines) + 1):  # the row that ends the quick way is another one each time
        path = tmp_path / "q.jsonl"
        path.write_text("\n".join(lines[-count:]))
        source = Source(str(path))
        read = [(row.number, row.line, row.question.id) if isinstance(row, Row) else str(row) for row in source.rows()]
        assert [found if isinstance(found, tuple) else str(found) for found in source.ids()] == read
    assert len(read) == 10
