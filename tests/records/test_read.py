"""The one reader of answers: recordings and runs become the same table, and a bad row is one clear line."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corea.errors import ConfigError, CoreaError, DataError
from corea.records.read import RowSource, read_answers, read_table
from corea.trace_io import encode
from corea.types import Completion, Confidence, Question, Status, Step, Trace, Usage

PRICES = {"s": (0.0, 1.0), "m": (0.0, 2.0), "l": (0.0, 20.0)}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def recorded(model: str, count: int = 30, **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "id": f"q{n}", "model": model, "correct": n % 3 != 0, "confidence": 0.5 + n / 100, "answer": str(n),
            "completion_tokens": 10 + n, "subject": "even" if n % 2 == 0 else "odd", **more,
        }
        for n in range(count)
    ]  # fmt: skip


def test_three_models_are_one_table_with_costs_agreement_and_categories(tmp_path: Path) -> None:
    large = recorded("l")
    large[4]["answer"] = "other"
    files = [write(tmp_path / f"{rows[0]['model']}.jsonl.gz", rows) for rows in (recorded("s"), recorded("m"), large)]
    table = read_table([RowSource(paths=[path]) for path in files], prices=PRICES)
    assert [model.name for model in table.models] == ["s", "m", "l"]
    assert table.categories is not None
    assert table.categories.tolist()[:2] == ["even", "odd"]
    assert table.last.cost_usd[0] == pytest.approx(20 * 10 / 1e6)
    assert table.first.agreement is not None
    assert np.flatnonzero(table.first.agreement == 0).tolist() == [4]
    assert (list(table.first.signals), dict(table.last.signals)) == (["confidence"], {})
    assert table.take(np.array([3, 1])).ids.tolist() == ["q3", "q1"]
    assert table.take(np.array([3, 1])).digest != table.digest == table.take(np.arange(30)).digest


def test_signals_of_the_completion_are_read_and_those_of_a_judge_where_they_are_named(tmp_path: Path) -> None:
    rows = [
        {**row, "mean_token_probability": n / 40, "linguistic_confidence": n / 50}
        for n, row in enumerate(recorded("s", confidence_kind="verbalized"))
    ]
    files = [write(tmp_path / "s.jsonl", rows), write(tmp_path / "l.jsonl", recorded("l"))]
    sources = [RowSource(paths=[path]) for path in files]
    table = read_table(sources, prices=PRICES)
    assert (list(table.first.signals), table.first.recorded_signals) == (["confidence", "mean_token_probability"], [])
    named = read_table(sources, prices=PRICES, signals=["confidence", "linguistic_confidence"])
    assert named.first.recorded_signals == ["linguistic_confidence"]


def test_a_confidence_of_a_kind_that_no_cascade_has_is_read_where_it_is_named(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{model}.jsonl", recorded(model, confidence_kind="classifier")) for model in ("s", "l")]
    sources = [RowSource(paths=[path]) for path in files]
    with pytest.raises(DataError, match=r"measured live .its confidence is of the kind 'classifier'.*--signals NAME"):
        read_table(sources, prices=PRICES)
    assert read_table(sources, prices=PRICES, signals=["confidence"]).first.recorded_signals == ["confidence"]


def test_models_in_one_file_are_chosen_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "all.jsonl", [*recorded("s"), *recorded("l")])
    table = read_table([RowSource(paths=[path], model=name) for name in ("s", "l")], prices=PRICES)
    assert [model.name for model in table.models] == ["s", "l"]
    with pytest.raises(ConfigError, match="holds the models l, s; choose one with --slm"):
        read_answers(RowSource(paths=[path]))
    with pytest.raises(ConfigError, match="no row of --llm 'x', expected one of 'l', 's'"):
        read_answers(RowSource(paths=[path], model="x", option="--llm"))


def test_answers_that_cannot_be_read_have_no_confidence(tmp_path: Path) -> None:
    rows = recorded("s")
    rows[7]["answer"] = None
    files = [write(tmp_path / "s.jsonl", rows), write(tmp_path / "l.jsonl", recorded("l"))]
    table = read_table([RowSource(paths=[path]) for path in files], prices=PRICES)
    assert table.first.needs_answer
    assert np.flatnonzero(np.isnan(table.first.confidence)).tolist() == [7]
    assert "1 answer of s could not be read: always deferred" in table.notes


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"correct": None}, DataError, "s.jsonl:30: question 'q29': got correct = None, expected 0 or 1; label it"),
        ({"id": "q0"}, DataError, "s.jsonl:30: question 'q0' comes twice"),
        ({"id": None}, DataError, "s.jsonl:30: a row has no id"),
        ({"cost_usd": 0.1}, DataError, "question 'q0' of s has no cost_usd; give --price s=IN/OUT"),
    ],
)
def test_a_bad_row_is_one_clear_line(
    tmp_path: Path, change: dict[str, Any], error: type[CoreaError], said: str
) -> None:
    rows = recorded("s")
    rows[-1] |= change
    files = [write(tmp_path / "s.jsonl", rows), write(tmp_path / "l.jsonl", recorded("l"))]
    with pytest.raises(error) as raised:
        read_table([RowSource(paths=[path]) for path in files], prices={"l": (0.0, 20.0)})
    assert said in str(raised.value)


def trace(number: int, text: str, *, failed: bool = False) -> Trace:
    completion = Completion(text=text, model="small", usage=Usage(prompt_tokens=5, completion_tokens=7))
    step = Step(stage="one", completion=completion, answer=text, confidence=Confidence(value=0.8, signal="verbalized"))
    if failed:
        return Trace(question_id=f"q{number}", steps=(Step(stage="one", error="slow"),), status=Status.FAILED)
    return Trace(question_id=f"q{number}", steps=(step,), status=Status.ANSWERED, text=text, answer=text)


def test_a_run_is_graded_with_its_questions(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(b"".join(encode(trace(n, str(n % 2), failed=n == 3)) + b"\n" for n in range(4)))
    questions = {f"q{n}": Question.of("?", id=f"q{n}", reference="1") for n in range(4)}
    with pytest.raises(ConfigError, match="is a run, which is not graded; give --questions FILE"):
        read_answers(RowSource(paths=[path]))
    found = read_answers(RowSource(paths=[path]), questions=questions)
    assert [answer.correct for answer in found.answers.values()] == [0, 1, 0, 0]
    assert [answer.failed for answer in found.answers.values()] == [False, False, False, True]
    assert (found.model, found.answers["q1"].confidence, found.answers["q3"].confidence) == ("small", 0.8, None)
    with pytest.raises(DataError, match="'q3' is not among the questions"):
        read_answers(RowSource(paths=[path]), questions={key: questions[key] for key in ("q0", "q1", "q2")})
