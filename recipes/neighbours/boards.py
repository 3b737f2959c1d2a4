"""File formats of the router boards: rows of RouterBench and RouterArena, and RouterArena's entry."""

import ast
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from corea.calibrate import OutcomeTable
from corea.errors import ConfigError, DataError
from corea.policies.router import QuestionModel, router_scores

Row = Mapping[str, Any]


def routerbench(path: Path, small: str, large: str) -> OutcomeTable:
    """Two models of a RouterBench file: one row a question; columns `sample_id`, `prompt`, `eval_name`, and for each
    model M its score `M` and USD `M|total_cost`.

    Args:
        path: .pkl as published (needs pandas; opening a pickle runs the code in it), .csv, .parquet or .jsonl.

    Raises:
        ConfigError: A model is not in the file. DataError: No row can be read.
    """
    rows = _frame(path)
    named = [name for name in rows[0] if f"{name}|total_cost" in rows[0]] if rows else []
    for model in (small, large):
        if model not in named:
            raise ConfigError(f"{path}: got the model {model!r}, expected one of {', '.join(named) or 'none'}")
    return _table(
        path,
        (
            {
                "id": str(row["sample_id"]), "text": _prompt(row["prompt"]), "category": str(row["eval_name"]),
                "correct": [row[small], row[large]],
                "cost": [row[f"{small}|total_cost"], row[f"{large}|total_cost"]],
            }
            for row in rows
        ),
        (small, large),
    )  # fmt: skip


def routerarena(small: Path, large: Path) -> OutcomeTable:
    """Two models' answers in RouterArena's `cached_results/MODEL.jsonl`, joined by `global_index`."""
    first, last = ({row["global_index"]: row for row in _lines(path)} for path in (small, large))

    def graded(row: Row, name: str) -> float | None:
        return (row.get("evaluation_result") or {}).get(name)

    return _table(
        small,
        (
            {
                "id": key, "text": row["question"], "category": str(key).rpartition("_")[0],
                "correct": [graded(each, "score") for each in (row, last[key])],
                "cost": [graded(each, "inference_cost") for each in (row, last[key])],
            }
            for key, row in first.items()
            if key in last
        ),
        [next(iter(rows.values()))["llm_selected"] if rows else "none" for rows in (first, last)],
    )  # fmt: skip


def arena_entry(
    dataset: Path, folder: Path, name: str, models: tuple[str, str], router: QuestionModel, ask_above: float
) -> int:
    """Writes RouterArena's config and prediction file for a router; gives the number of predictions.

    Args:
        dataset: `dataset/router_data.json`, or that of the splits sub_10 and robustness.
        folder: RouterArena's `router_inference`. `models`: small and large, as RouterArena names them.
        ask_above: The small model answers where the router's score is at least this.
    """
    entries = json.loads(dataset.read_text())
    prompts = [entry.get("prompt_formatted") or entry["prompt"] for entry in entries]
    small = router_scores(router, prompts) >= ask_above
    predictions = [
        {
            "global index": entry["global index"], "prompt": prompt, "prediction": models[0] if cheap else models[1],
            "generated_result": None, "cost": None, "accuracy": None,
        }
        for entry, prompt, cheap in zip(entries, prompts, small, strict=True)
    ]  # fmt: skip
    config = {"pipeline_params": {"router_name": name, "models": list(models)}}
    for kind, text in (("config", config), ("predictions", predictions)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        (folder / kind / f"{name}.json").write_text(json.dumps(text, ensure_ascii=False, indent=2) + "\n")
    return len(predictions)


def _table(path: Path, rows: Iterable[Row], names: Sequence[str]) -> OutcomeTable:
    """The rows whose scores are 0 or 1 and whose costs are known; boards also hold graded scores."""
    every = list(rows)
    kept = [
        row
        for row in every
        if all(score in (0, 1) for score in row["correct"]) and all(_number(cost) for cost in row["cost"])
    ]
    if not kept:
        raise DataError(f"{path}: got {len(every)} rows, none scored 0 or 1 with a cost by both models; name others")
    table = OutcomeTable.from_arrays(
        correct=[row["correct"] for row in kept], cost_usd=[row["cost"] for row in kept],
        confidence=np.full(len(kept), np.nan), ids=[row["id"] for row in kept], names=list(names),
        categories=[row["category"] for row in kept], texts=[row["text"] for row in kept],
    )  # fmt: skip
    table.check_ids()
    return table


def _number(value: object) -> bool:
    return isinstance(value, int | float) and np.isfinite(value) and value >= 0


def _prompt(text: object) -> str:
    """RouterBench stores a list of messages as Python's text of it."""
    if isinstance(text, str) and text.startswith("["):
        try:
            return "\n".join(map(str, ast.literal_eval(text)))
        except (ValueError, SyntaxError):
            return text
    return str(text)


def _lines(path: Path) -> list[Row]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; name a file of the board") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: got {error}, expected one JSON object a line") from error


def _frame(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return [dict(row) for row in _lines(path)]
    try:
        import pandas
    except ImportError as error:
        raise ConfigError(f"{path}: pandas is not installed, expected it to read a {path.suffix} file") from error
    readers = {".csv": pandas.read_csv, ".parquet": pandas.read_parquet, ".pkl": pandas.read_pickle}
    if path.suffix not in readers:
        raise ConfigError(f"{path}: got {path.suffix!r}, expected .pkl, .csv, .parquet or .jsonl")
    try:
        return readers[path.suffix](path).to_dict("records")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; name a file of RouterBench") from error
