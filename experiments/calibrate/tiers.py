"""Three tiers on recorded answers: what joint thresholds save beside each pair alone, and how often the promise breaks.

    python experiments/calibrate/tiers.py --traces FOLDER --draws 1000 [--trio N]

Every trio's rows are halved: one half calibrates, the other judges. For validity the rows are the population and a draw
is 2,000 of them with replacement, with linear maps. Writes experiments/results/calibrate/tiers.json.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from populations import mmlu_pro_table

from corea.calibrate import FitOptions, OutcomeTable, Targets, fit
from corea.calibrate.certify import certify
from corea.calibrate.rules import ScoredTable
from corea.evaluate.apply import apply_calibration
from recipes.paper.provenance import commit

ROOT = Path(__file__).parents[2]
OUT = ROOT / "experiments" / "results" / "calibrate" / "tiers.json"
TRIOS = (
    (("gpt-4.1-nano", 1.0), ("gpt-4o-mini-2024-07-18", 2.0), ("gpt-4.1", 20.0)),
    (("Qwen3-4B", 0.2), ("gpt-4.1-nano", 1.0), ("gpt-4.1", 20.0)),
    (("Qwen3-1.7B", 1.0), ("Qwen3-8B", 4.0), ("deepseek-reasoner", 40.0)),
)
WANTED = Targets(max_drop=0.02)
Trio = tuple[tuple[str, float], ...]


def table_of(folder: Path, trio: Trio) -> OutcomeTable:
    files = [folder / f"mmlu_pro_verbalized_{size}.jsonl.gz" for size in ("small", "large")]
    return mmlu_pro_table(files, dict(trio))


def example(table: OutcomeTable) -> dict[str, Any]:
    """Calibrated on one half, judged on the other: the trio, and each of its pairs."""
    order = np.random.default_rng(0).permutation(len(table))
    half = len(order) // 2
    ours, fresh = table.take(order[:half]), table.take(order[half:])
    found = fit(ours, WANTED)
    names = ("saving", "drop", "pass_at_1", "llm_pass_at_1")
    seen = apply_calibration(found, fresh)
    stages = msgspec.to_builtins(found.stages)
    out: dict[str, Any] = {
        "sentence": found.sentence, "verdict": found.verdict, "judged": {name: seen[name] for name in names},
        "thresholds": [{"model": stage["model"], "threshold": stage["threshold"]} for stage in stages],
        "pairs": [],
    }  # fmt: skip
    for stage in table.stages:
        pair = stage.name, table.last.name
        two = fit(ours.of(*pair), WANTED)
        seen = apply_calibration(two, fresh.of(*pair))
        out["pairs"].append({"small": stage.name, "verdict": two.verdict, **{name: seen[name] for name in names}})
    return out


def validity(table: OutcomeTable, draws: int, n: int = 2000) -> dict[str, Any]:
    """How often rules certified on a draw lose more than the target over all rows."""
    rows: list[tuple[bool, float, float]] = []
    whole = ScoredTable.of(table)
    for seed in range(draws):
        at = np.random.default_rng([seed, 7]).integers(len(table), size=n)
        ids = np.array([f"d{seed}-{i}" for i in range(n)], dtype=object)
        found = certify(replace(table.take(at), ids=ids), WANTED, FitOptions(map="linear", seed=seed))
        if found.rules is None:
            rows.append((False, 0.0, 0.0))
            continue
        answers = whole.with_maps(found.prepared.maps).outcome(found.rules)
        drop = float((table.last.correct - answers.correct).mean())
        rows.append((True, 1 - float(answers.cost_usd.mean() / table.last.cost_usd.mean()), drop))
    return {
        "draws": draws, "n": n, "certified": float(np.mean([r[0] for r in rows])),
        "broken": float(np.mean([r[2] > (WANTED.max_drop or 0) for r in rows])),
        "mean_saving": float(np.mean([r[1] for r in rows])),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--trio", type=int, help="only this one, from 0; the others' results stay")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    for number, trio in enumerate(TRIOS):
        if given.trio in (None, number):
            table = table_of(given.traces, trio)
            found = {"models": dict(trio), "commit": commit(), **example(table)}
            store(given.out, number, {**found, "validity": validity(table, given.draws)})


def store(path: Path, number: int, found: dict[str, Any]) -> None:
    """Puts one result beside those that are there."""
    out: dict[str, Any] = {"max_drop": 0.02, "delta": 0.05, "trios": {}}
    if path.exists():
        out = json.loads(path.read_text())
    out["trios"][str(number)] = found
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(out, indent=1) + "\n")
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
