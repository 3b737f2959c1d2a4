"""Rows that are no JSON or no CSV say what to do, and where lines end with a bare carriage return they are read."""

import csv
import gzip
import io
import json
from pathlib import Path

import pytest

from corea.datasets.question_source import QuestionSource, SourceRow
from corea.errors import DataError
from corea.files.readers import OBJECT, QUOTES, WORDS, not_csv


def read(path: Path, data: bytes) -> list[SourceRow | DataError]:
    path.write_bytes(data)
    return list(QuestionSource(str(path)).rows())


@pytest.mark.parametrize(
    ("line", "found", "advice"),
    [
        ("{'question': 'a'}", "object keys must be strings", QUOTES),
        ("{question: 'a'}", "object keys must be strings", QUOTES),
        ("{\"question\": 'a'}", "invalid character", QUOTES),
        ('{"question": “a”}', "invalid character", QUOTES),
        ('{"question": "a",}', "trailing comma in object", "expected none; remove the comma"),
        ('{"question": "a", "choices": ["b",]}', "trailing comma in array", "expected none; remove the comma"),
        ('{"question": "a"},', "trailing characters", "expected none; remove the comma, or put all rows into an array"),
        ('{"question": "a"} {"question": "b"}', "trailing characters", "expected one object on a line; put what"),
        ('{"question": "a", "n": NaN}', "invalid character", WORDS),
        ('{"question": "a", "n": -Infinity}', "invalid character", WORDS),
        ('{"question": "a", "n": None}', "invalid character", WORDS),
        ('{"question": "a", "n": True}', "invalid character", WORDS),
        ('{"question": "is it True: None', "Input data was truncated", "expected a whole object on one line; is the"),
        ('{"question": "a"', "Input data was truncated", "expected a whole object on one line; is the line cut off?"),
        ('{"question": "say "a""}', "expected ',' or '}'", 'write a quotation mark inside of a text as \\"'),
        ('{"question": "C:\\q"}', "invalid escape character in string", "write it twice"),
        ('{"question": "a\tb"}', "invalid character", "expected no control character inside of a text; write \\n or"),
        ('{"question" "a"}', "expected ':'", "expected JSON; correct it at '\"a\"}'"),
        ("What is 2 + 2?", "invalid character", OBJECT),
        ("12 apples", "trailing characters", OBJECT),
        ("// a comment", "invalid character", OBJECT),
        ("question,id", "invalid character", OBJECT),
    ],
)
def test_a_line_that_is_no_json_says_what_to_write(tmp_path: Path, line: str, found: str, advice: str) -> None:
    bad, good = read(tmp_path / "q.jsonl", f'{line}\n{{"question": "fine"}}\n'.encode())
    assert isinstance(bad, DataError)
    assert str(bad).startswith(f"{tmp_path / 'q.jsonl'}:1: not JSON ({found}")
    assert advice in str(bad)
    assert "\n" not in str(bad)
    assert isinstance(good, SourceRow)


@pytest.mark.parametrize("line", ["Où est Zoë?", "Größe", "¿Qué?", "10 °C"])
def test_another_encoding_is_told_to_be_saved_as_utf_8(tmp_path: Path, line: str) -> None:
    for name, text in (("q.jsonl", json.dumps({"question": line}, ensure_ascii=False)), ("q.csv", f"question\n{line}")):
        (bad,) = read(tmp_path / name, text.encode("latin-1"))
        assert isinstance(bad, DataError)
        assert ": not UTF-8" in str(bad)
        assert str(bad).endswith("; save the file as UTF-8")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('a,"b"c', "not CSV (',' expected after '\"'), expected a row; write a quotation mark inside of quotes twice"),
        ('a,"b', "not CSV (unexpected end of data), expected a row; close the quotation mark that this row opens"),
    ],
)
def test_a_row_that_is_no_csv_says_what_to_write(tmp_path: Path, row: str, message: str) -> None:
    bad = read(tmp_path / "q.csv", f"id,question\n{row}\n".encode())[0]
    assert message in str(bad)
    assert not_csv(csv.Error("anything new")) == "not CSV (anything new), expected a row; correct the row"


ROWS = [{"id": f"q{n}", "question": f"Wie groß ist {n}?"} for n in range(3)]


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\r\r\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_lines_may_end_in_any_way(tmp_path: Path, end: str, *, packed: bool) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
    files = {
        "q.jsonl": end.join([*lines, ""]),
        "p.jsonl": end.join(lines),
        "q.json": "[" + end + f",{end}".join(lines) + end + "]",
        "p.json": end.join(["{" + end + line[1:-1] + end + "}" for line in lines]),
        "q.csv": end.join(["id,question", *(f"{row['id']},{row['question']}" for row in ROWS)]),
    }
    for name, text in files.items():
        data = text.encode()
        rows = read(tmp_path / f"{name}.gz", gzip.compress(data)) if packed else read(tmp_path / name, data)
        assert [row.question.text for row in rows if isinstance(row, SourceRow)] == [row["question"] for row in ROWS], (
            name
        )


def test_lines_of_a_carriage_return_are_counted_and_read_by_pieces(tmp_path: Path) -> None:
    lines = [json.dumps({"question": "x" * (n * 37 % 5000), "id": str(n)}) for n in range(1, 200)]
    rows = read(tmp_path / "q.jsonl", "\r".join(lines).encode())
    assert [(row.line, row.question.id) for row in rows if isinstance(row, SourceRow)] == [
        (n, str(n)) for n in range(1, 200)
    ]
    piped = QuestionSource("-", pipe=io.BytesIO("\r".join(lines).encode()))
    assert len(list(piped.rows())) == 199
