"""RouterBench's and RouterArena's file formats, by small files made by hand in their form."""

import json
from pathlib import Path

import pytest

from corea.errors import ConfigError, DataError
from corea.policies.router import BITS, QuestionModel
from recipes.neighbours.__main__ import main
from recipes.neighbours.boards import arena_entry, routerarena, routerbench

COSTS = {"a|total_cost": 0.001, "b|total_cost": 0.02}


def bench_row(number: int, a: float, b: float) -> dict[str, object]:
    return {
        "sample_id": f"mmlu.{number}", "prompt": f"['Q{number}?\\nA) x']", "eval_name": "mmlu", "a": a, "b": b,
        "a|model_response": "['A']", "b|model_response": "['B']", "oracle_model_to_route_to": "a", **COSTS,
    }  # fmt: skip


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_routerbench(tmp_path: Path):
    path = write(tmp_path / "bench.jsonl", [bench_row(1, 0.0, 1.0), bench_row(2, 1.0, 1.0), bench_row(3, 0.35, 1.0)])
    table = routerbench(path, "a", "b")
    assert table.ids.tolist() == ["mmlu.1", "mmlu.2"]  # a graded score is not right or wrong
    assert table.texts is not None
    assert table.texts[0] == "Q1?\nA) x"
    assert table.first.correct.tolist() == [0, 1]
    assert table.last.cost_usd.tolist() == [0.02, 0.02]
    with pytest.raises(ConfigError, match="got the model 'c', expected one of a, b"):
        routerbench(path, "a", "c")


def test_routerbench_as_published(tmp_path: Path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([bench_row(1, 0.0, 1.0), bench_row(2, 1.0, 0.0)])
    frame.to_pickle(tmp_path / "bench.pkl")
    frame.to_csv(tmp_path / "bench.csv", index=False)
    for name in ("bench.pkl", "bench.csv"):
        assert routerbench(tmp_path / name, "a", "b").last.correct.tolist() == [1, 0]
    with pytest.raises(ConfigError, match=r"expected \.pkl, \.csv, \.parquet or \.jsonl"):
        routerbench(tmp_path / "bench.txt", "a", "b")


def arena_row(key: str, model: str, score: float | None) -> dict[str, object]:
    graded = {"extracted_answer": "4", "ground_truth": "4", "score": score, "metric": "m", "inference_cost": 1e-4}
    return {
        "global_index": key, "question": f"Question {key}", "llm_selected": model, "generated_answer": "4",
        "token_usage": {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12}, "success": score is not None,
        "evaluation_result": None if score is None else graded,
    }  # fmt: skip


def test_routerarena(tmp_path: Path):
    small = write(tmp_path / "s.jsonl", [arena_row("AIME_1", "s", 0.0), arena_row("AIME_2", "s", 1.0)])
    large = write(tmp_path / "l.jsonl", [arena_row("AIME_2", "l", 0.0), arena_row("AIME_1", "l", 1.0)])
    table = routerarena(small, large)
    assert (table.first.name, table.last.name) == ("s", "l")
    assert table.last.correct.tolist() == [1, 0]
    assert table.categories is not None
    assert set(table.categories) == {"AIME"}
    failed = write(tmp_path / "f.jsonl", [arena_row("AIME_1", "l", None)])
    with pytest.raises(DataError, match="none scored 0 or 1"):
        routerarena(small, failed)


def test_the_entry_names_a_model_for_each_prompt_of_the_data_set(tmp_path: Path):
    entries = [
        {"global index": "AIME_1", "prompt": "x", "prompt_formatted": "short"},
        {"global index": "AIME_2", "prompt": "a much longer question than the other one"},
    ]
    dataset = tmp_path / "router_data.json"
    dataset.write_text(json.dumps(entries))
    router = QuestionModel(weights=[0.0] * 2**BITS, bias=3.0, length=-1.0)  # the longer, the less is kept
    assert arena_entry(dataset, tmp_path, "corea", ("s", "l"), router, 0.6) == 2
    found = json.loads((tmp_path / "predictions" / "corea.json").read_text())
    assert [each["prediction"] for each in found] == ["s", "l"]
    assert [each["prompt"] for each in found] == ["short", "a much longer question than the other one"]
    assert set(found[0]) == {"global index", "prompt", "prediction", "generated_result", "cost", "accuracy"}
    config = json.loads((tmp_path / "config" / "corea.json").read_text())
    assert config == {"pipeline_params": {"router_name": "corea", "models": ["s", "l"]}}


def test_a_missing_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["compare", str(tmp_path / "none.jsonl"), "--small", "a", "--large", "b"]) == 3
    assert "none.jsonl" in capsys.readouterr().err
