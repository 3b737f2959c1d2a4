"""Validity and worth of label-poor calibration: how often its promise breaks, and what it saves for how many labels.

    python experiments/calibrate/ppi.py --traces FOLDER --draws 1000 [--world PART] [--gold N]

Each recorded pair is a population; a draw is 2,000 rows of it with replacement, of which some get their labels. The
simulated world has answers that agree by chance when both are wrong. Writes experiments/results/calibrate/ppi.json.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from populations import mmlu_pro_table

from corea.calibrate.rules import ScoredTable
from corea.calibrate.targets import Targets
from corea.records.table import OutcomeTable
from recipes.guarantee.few_label_trials import few_label_trial
from recipes.guarantee.simulated import simulated_pairs
from recipes.paper.provenance import commit

ROOT = Path(__file__).parents[2]
OUT = ROOT / "experiments" / "results" / "calibrate" / "ppi.json"
PAIRS = (("gpt-4.1-nano", "gpt-4.1", (1.0, 20.0)), ("Qwen3-8B", "deepseek-reasoner", (1.0, 10.0)))
FIRST_SEED = 1000  # the design was chosen on draws of lower seeds
N, GOLDS, WANTED = 2000, (100, 300), Targets(max_drop=0.02)


def simulated(n: int = 8000, seed: int = 0) -> OutcomeTable:
    """A pair with known truth: stated values are few, and both wrong means the same answer in 2 of 5 cases."""
    pairs = simulated_pairs(n, seed=seed, slm=0.5, llm=0.9, sharp=2.0, columns=True)
    both_wrong = (pairs.first.correct < 0.5) & (pairs.last.correct < 0.5)
    same = np.random.default_rng([seed, 1]).random(n) < 0.4
    both_right = (pairs.first.correct > 0.5) & (pairs.last.correct > 0.5)
    return pairs.change(0, agreement=(both_right | (both_wrong & same)).astype(float))


def recorded(folder: Path, slm: str, llm: str, prices: tuple[float, float]) -> OutcomeTable:
    small, large = (folder / f"mmlu_pro_verbalized_{size}.jsonl.gz" for size in ("small", "large"))
    return mmlu_pro_table([small, large], {slm: prices[0], llm: prices[1]})


def summary(trials: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for way in trials[0]:
        rows = [trial[way] for trial in trials]
        found[way.replace(" ", "_")] = {
            "certified": float(np.mean([row.certified for row in rows])),
            "broken": float(np.mean([row.broken for row in rows])),
            "mean_saving": float(np.mean([row.saving for row in rows])),
            "mean_drop": float(np.mean([row.drop for row in rows])),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--traces", type=Path)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--world", default="", help="only those whose name has this in it; the others' results stay")
    parser.add_argument("--gold", type=int, default=0, help="only this number of labels")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    names = {"simulated": (), **{f"{pair[0]} -> {pair[1]}": pair for pair in (PAIRS if given.traces else ())}}
    for name, pair in names.items():
        if given.world not in name:
            continue
        rows = ScoredTable.of(recorded(given.traces, *pair) if pair else simulated())
        for gold in (given.gold,) if given.gold else GOLDS:
            seeds = range(FIRST_SEED, FIRST_SEED + given.draws)
            trials = [few_label_trial(rows, WANTED, n=N, gold=gold, seed=seed) for seed in seeds]
            store(given.out, name, gold, {"draws": given.draws, "commit": commit(), **summary(trials)})


def store(path: Path, name: str, gold: int, found: dict[str, Any]) -> None:
    """Puts one result beside those that are there."""
    out: dict[str, Any] = {"rows": N, "max_drop": 0.02, "delta": 0.05, "trials": []}
    if path.exists():
        out = json.loads(path.read_text())
    others = [each for each in out["trials"] if (each["population"], each["gold"]) != (name, gold)]
    out["trials"] = [*others, {"population": name, "gold": gold, **found}]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(out, indent=1) + "\n")
    print(name, gold, json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
