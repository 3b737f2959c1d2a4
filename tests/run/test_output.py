import csv
import gzip
from decimal import Decimal
from pathlib import Path

import pytest

from corea.errors import DataError
from corea.run import output as outputs
from corea.run.output import COLUMNS, write_output
from corea.trace_io import encode
from corea.types import Completion, Confidence, Decision, Status, Step, Trace, Usage

STEP = Step(
    stage="small",
    completion=Completion(text='say "hi",\nthere', model="m", usage=Usage(prompt_tokens=3, completion_tokens=2)),
    answer="hi",
    confidence=Confidence(value=0.75, signal="stated"),
    decision=Decision.KEEP,
    cost_usd=Decimal("0.0000012"),
)
TRACE = Trace(
    question_id="q1",
    steps=(STEP,),
    status=Status.ANSWERED,
    answer="hi",
    text='say "hi",\nthere',
    stage="small",
    cost_usd=Decimal("0.0000012"),
    trace_id="t",
)
FAILED = Trace(question_id="q2", steps=(), status=Status.FAILED, error="down", cost_usd=None)
LINES = [encode(TRACE), encode(FAILED)]


def test_json_lines_hold_whole_traces_packed_or_not(tmp_path: Path) -> None:
    write_output(str(tmp_path / "a.jsonl"), LINES)
    assert (tmp_path / "a.jsonl").read_bytes() == LINES[0] + b"\n" + LINES[1] + b"\n"
    write_output(str(tmp_path / "a.jsonl.gz"), LINES)
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()) == (tmp_path / "a.jsonl").read_bytes()


def test_csv_has_one_flat_row_a_question(tmp_path: Path) -> None:
    write_output(str(tmp_path / "a.csv.gz"), LINES)
    with gzip.open(tmp_path / "a.csv.gz", "rt", newline="") as stream:
        first, second = csv.DictReader(stream)
    assert tuple(first) == COLUMNS
    assert (first["id"], first["answer"], first["confidence"], first["deferred"]) == ("q1", "hi", "0.75", "false")
    assert (first["text"], first["cost_usd"], first["prompt_tokens"]) == ('say "hi",\nthere', "0.0000012", "3")
    assert (second["status"], second["error"], second["cost_usd"]) == ("failed", "down", "")


def test_parquet_keeps_money_exact(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write_output(str(tmp_path / "a.parquet"), LINES)
    first, second = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    assert first["cost_usd"] == Decimal("0.0000012")
    assert (first["confidence"], first["deferred"], first["completion_tokens"]) == (0.75, False, 2)
    assert (second["cost_usd"], second["error"]) == (None, "down")


def test_a_full_disk_leaves_the_file_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jsonl").write_text("before\n")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outputs.os, "fsync", full)
    with pytest.raises(
        DataError, match=r"a.jsonl: cannot be written \(No space left on device\); the answers are safe"
    ):
        write_output(str(tmp_path / "a.jsonl"), LINES)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.jsonl", "before\n")]
