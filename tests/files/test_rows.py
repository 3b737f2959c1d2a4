"""Rows of files of any format: one reader for datasets, recordings and questions."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from corea.errors import ConfigError, DataError
from corea.files.rows import FileFormat, read_rows

ROWS: list[dict[str, Any]] = [{"id": "a", "question": "1 + 1?"}, {"id": "b", "Correct": "x, y", "n": "2"}]


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("rows.jsonl", "\n".join(map(json.dumps, ROWS)), [1, 2]),
        ("rows.json", json.dumps(ROWS, indent=1), [2, 6]),
        ("rows.csv", 'id,question,Correct,n\na,1 + 1?,,\n\nb,,"x, y",2\n', [2, 4]),
        ("rows.tsv", "id\tquestion\tCorrect\tn\na\t1 + 1?\t\t\nb\t\tx, y\t2\n", [2, 3]),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_rows_of_any_format_are_the_same_and_empty_values_are_absent(
    tmp_path: Path, name: str, text: str, lines: list[int], *, packed: bool
) -> None:
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    assert [(line, dict(row)) for line, row in read_rows(path)] == list(zip(lines, ROWS, strict=True))


def test_a_csv_without_known_columns_keeps_its_delimiter(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("Record;ID,Question\n1;2,Why?\n")
    assert [dict(row) for _, row in read_rows(tmp_path / "rows.csv")] == [{"Record;ID": "1;2", "Question": "Why?"}]


def test_a_stated_format_wins_over_the_name_and_a_bad_row_ends_the_reading(tmp_path: Path) -> None:
    path = tmp_path / "rows.log"
    path.write_text('{"id": "a"}\n{"id": \n')
    with pytest.raises(ConfigError, match=r"rows.log: got the suffix '.log', expected a name in .jsonl"):
        next(read_rows(path))
    rows = read_rows(path, FileFormat.JSONL)
    assert next(rows) == (1, {"id": "a"})
    with pytest.raises(DataError, match=r"rows.log:2: not JSON \(Input data was truncated\)"):
        next(rows)


def test_a_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder, expected a file of rows"):
        next(read_rows(tmp_path, FileFormat.JSONL))
    with pytest.raises(DataError, match=r"none.csv: no such file, expected a file of rows"):
        next(read_rows(tmp_path / "none.csv"))
