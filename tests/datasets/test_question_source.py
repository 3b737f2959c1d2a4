import gzip
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corea.datasets.question_source import QuestionSource, SourceRow
from corea.errors import ConfigError, DataError
from corea.files.rows import FileFormat
from corea.types import Message, Question


def _rows(path: Path, text: str | bytes) -> list[SourceRow | DataError]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(QuestionSource(str(path)).rows())


def _questions(path: Path, text: str | bytes) -> list[Question]:
    rows = _rows(path, text)
    assert all(isinstance(row, SourceRow) for row in rows), rows
    return [row.question for row in rows if isinstance(row, SourceRow)]


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
    assert [(row.number, row.line, row.question.id) for row in rows if isinstance(row, SourceRow)] == [
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
        (b'{"question": "\xff"}', "not UTF-8"),
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
    assert isinstance(good, SourceRow)


def test_csv_with_quoted_newlines_and_choices(tmp_path: Path) -> None:
    text = 'id,question,choices\na,"two\nlines","[""x"", ""y""]"\nb,plain,\n'
    rows = _rows(tmp_path / "q.csv", text)
    assert [(row.line, row.question.text, row.question.choices) for row in rows if isinstance(row, SourceRow)] == [
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
    assert isinstance(good, SourceRow)


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
    rows = list(QuestionSource(str(tmp_path / "q.parquet")).rows())
    assert [(r.line, r.question.id, r.question.choices) for r in rows if isinstance(r, SourceRow)] == [
        (1, "a", ("p", "q")),
        (2, "b", ()),
    ]
    with pytest.raises(DataError, match="not Parquet"):
        _rows(tmp_path / "no.parquet", "nothing of the kind")


def test_a_pipe_is_read_once_and_left_open(tmp_path: Path) -> None:
    pipe = io.BytesIO(b'{"question": "a"}\n{"question": "b"}\n')
    assert len(list(QuestionSource("-", pipe=pipe).rows())) == 2
    assert not pipe.closed
    csv = QuestionSource("-", format=FileFormat.CSV, pipe=io.BytesIO(b"question\nb\n"))
    assert [row.question.text for row in csv.rows() if isinstance(row, SourceRow)] == ["b"]


def test_a_file_that_cannot_be_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        list(QuestionSource(str(tmp_path / "none.jsonl")).rows())
    with pytest.raises(DataError, match="has no rows"):
        _rows(tmp_path / "q.jsonl", "\n\n")
    with pytest.raises(ConfigError, match=r"got the suffix '.txt'"):
        QuestionSource("q.txt")


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_a_data_error(data: bytes) -> None:
    for kind in (FileFormat.JSONL, FileFormat.CSV, FileFormat.TSV):
        try:
            rows = list(QuestionSource("-", format=kind, pipe=io.BytesIO(data)).rows())
        except DataError as error:  # the first line, which names the columns, is no CSV
            rows = [error]
        assert all(isinstance(row, SourceRow) or "\n" not in str(row) for row in rows)


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
        source = QuestionSource(str(path))
        read = [
            (row.number, row.line, row.question.id) if isinstance(row, SourceRow) else str(row) for row in source.rows()
        ]
        assert [found if isinstance(found, tuple) else str(found) for found in source.ids()] == read
    assert len(read) == 10


ROWS = [{"id": f"q{n}", "question": f"What is number {n}?"} for n in range(3)]
IDS = ["q0", "q1", "q2"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("q.json", json.dumps(ROWS)),
        ("q.jsonl", json.dumps(ROWS)),
        ("q.json", json.dumps(ROWS, indent=2)),
        ("q.json", "\n\n " + json.dumps(ROWS) + "\n"),
        ("q.json", "".join(json.dumps(row, indent=2) + "\n" for row in ROWS)),
        ("q.jsonl", "".join(json.dumps(row) + "\r\n" for row in ROWS)),
        ("q.csv", "id,question\n" + "".join(f"{row['id']},{row['question']}\n" for row in ROWS)),
        ("q.csv", "id;question\n" + "".join(f"{row['id']};{row['question']}\n" for row in ROWS)),
        ("q.csv", "id\tquestion\n" + "".join(f"{row['id']}\t{row['question']}\n" for row in ROWS)),
        ("q.csv", "sep=;\nid;question\n" + "".join(f"{row['id']};{row['question']}\n" for row in ROWS)),
        ("q.tsv", "id,question\n" + "".join(f"{row['id']},{row['question']}\n" for row in ROWS)),
    ],
)
def test_questions_are_read_as_they_are_usually_saved(tmp_path: Path, name: str, text: str, encoding: str) -> None:
    questions = _questions(tmp_path / name, text.encode(encoding))
    assert [(q.id, q.text) for q in questions] == [(row["id"], row["question"]) for row in ROWS]
    packed = _questions(tmp_path / f"{name}.gz", gzip.compress(text.encode(encoding)))
    assert packed == questions


def test_big_endian_utf_16_is_read(tmp_path: Path) -> None:
    data = b"\xfe\xff" + "question\nÄ?\n".encode("utf-16-be")
    assert _questions(tmp_path / "q.csv", data)[0].text == "Ä?"


def test_an_array_is_read_by_pieces_however_they_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"id": str(n), "question": 'ä "]}, \\" [{' * n + "?", "n": [n, {"deep": n}]} for n in range(40)]
    for size in (1, 2, 3, 17, 100):
        monkeypatch.setattr("corea.files.readers.CHUNK", size)
        read = _rows(tmp_path / "q.json", json.dumps(rows, indent=1, ensure_ascii=False))
        assert [
            (row.line, row.question.text, row.question.meta["n"]) for row in read if isinstance(row, SourceRow)
        ] == [(2 + 10 * n, row["question"], row["n"]) for n, row in enumerate(rows)]


def test_csv_keeps_delimiters_inside_of_quotes(tmp_path: Path) -> None:
    assert _questions(tmp_path / "q.csv", 'id;question\na;"b; c, d?"\n')[0].text == "b; c, d?"
    assert _questions(tmp_path / "q.csv", "question\na; b\n")[0].text == "a; b"


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("q.json", b'[{"question": "a"}, {"question": b}]', "q.json:1: not JSON (Expecting value)"),
        ("q.json", b'[{"question": "a"}\n,\n{"question": "b"', "q.json:3: not JSON"),
        ("q.json", b'[{"question": "a"}] x', "q.json:1: not JSON (got 'x' after the end of the array)"),
        ("q.json", b'[{"question": "a"} {"question": "b"}]', "q.json:1: not JSON (got '{', expected a comma or ']')"),
        ("q.json", b"[]", "q.json: has no rows"),
        ("q.json", b'[{"question": "\xff"}]', "q.json:1: not UTF-8"),
        ("q.json", b'[{"a":' * 5000, "q.json:1: is nested more than 100 levels deep"),
        ("q.csv", b"id,question,question\na,b,c\n", "q.csv:1: column 'question' comes 2 times, expected once"),
        ("q.csv", b"1,What is 2?\n", "q.csv:1: got the columns '1, What is 2?', expected one named question"),
        ("q.csv", b"ID,Question\na,b\n", "is 'Question' meant as 'question'?"),
        ("q.csv", b"PK\x03\x04...", "q.csv: is a zip archive or an Excel workbook (.xlsx); save the sheet as CSV"),
        ("q.jsonl", gzip.compress(b"{}", mtime=0), "q.jsonl: is packed by gzip; give it a name that ends in .gz"),
        ("q.jsonl", '{"question": "a"}'.encode("utf-16-le"), "q.jsonl: is not UTF-8 (zero bytes at its start"),
        ("q.csv", "question\na\n".encode("utf-16")[:-1], "q.csv: is not whole UTF-16"),
    ],
)
def test_a_file_that_is_something_else_is_one_clear_line(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    with pytest.raises(DataError) as caught:
        _rows(tmp_path / name, data)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("q.jsonl", b'{"question":' + b"[" * 9999, "is nested more than 100 levels deep"),
        ("q.jsonl", b'{"question": "a", "x": ' + b"[" * 101 + b"]" * 101 + b"}", "is nested more than 100 levels deep"),
        ("q.jsonl", b'{"id": "a", "question": "  \\t"}', "question: is blank"),
        ("q.jsonl", '{"id": "a", "question": "\u200b"}'.encode(), "question: is blank"),
        ("q.jsonl", b'{"id": "a", "question": "\xc2\xa0", "x": 1}', "question: is blank"),
        ("q.jsonl", b'{"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": " "}]}', "blank"),
        ("q.jsonl", b'{"data": [{"question": "a"}]}', "got an object around the rows"),
        ("q.csv", b"id,question\na,", "question: is empty"),
        ("q.csv", b"id,question\nid,question", "is the line of column names again"),
        ("q.csv", b"question,choices\na," + b"[" * 9999, "choices: got"),
    ],
)
def test_a_row_that_is_no_question_is_one_clear_line(tmp_path: Path, name: str, line: bytes, message: str) -> None:
    (bad,) = _rows(tmp_path / name, line + b"\n")
    assert isinstance(bad, DataError)
    assert message in str(bad)
    assert len(str(bad)) < 300
    (seen,) = QuestionSource(str(tmp_path / name)).ids()
    assert str(seen) == str(bad)


def test_a_text_or_excel_file_is_told_what_to_be(tmp_path: Path) -> None:
    for name, advice in (
        ("q.txt", "save it as .csv with a first line `question`"),
        ("q.xlsx", "save the sheet as CSV"),
    ):
        with pytest.raises(ConfigError) as caught:
            QuestionSource(name)
        assert advice in str(caught.value)


def request(**changed: object) -> dict[str, object]:
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Why?"}], "max_tokens": 9, "stream": False}
    return {"custom_id": "r1", "method": "POST", "url": "/v1/chat/completions", "body": body} | changed


def test_a_row_of_openais_batch_format_is_a_question_and_its_unused_settings_are_named(tmp_path: Path) -> None:
    (row,) = _rows(tmp_path / "q.jsonl", json.dumps(request()))
    assert isinstance(row, SourceRow)
    assert row.question == Question(id="r1", messages=(Message("user", "Why?"),))
    assert row.unused == ("max_tokens", "model")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"url": "/v1/embeddings"}, "url: got '/v1/embeddings', expected '/v1/chat/completions'"),
        ({"method": "GET"}, "method: got 'GET', expected 'POST'"),
        ({"body": {"input": "x"}}, "body.messages: is missing or empty"),
        ({"body": "x"}, "body: got str, expected an object with messages"),
    ],
)
def test_another_request_of_a_batch_is_one_clear_line(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    (bad,) = _rows(tmp_path / "q.jsonl", json.dumps(request(**changed)))
    assert isinstance(bad, DataError)
    assert message in str(bad)
