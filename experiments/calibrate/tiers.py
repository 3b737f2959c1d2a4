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

import numpy as np

from corea.calibrate.certify import Options, calibrate
from corea.calibrate.paths import Tiered, calibrate_tiers, certify_tiers, common_rows
from corea.calibrate.rules import Sample
from corea.calibrate.tables import Pairs, load_pairs
from corea.calibrate.targets import Goals
from corea.evaluate.apply import apply_calibration
from corea.metrics.score_map import apply_map
from recipes.paper.provenance import commit

ROOT = Path(__file__).parents[2]
OUT = ROOT / "experiments" / "results" / "calibrate" / "tiers.json"
TRIOS = (
    (("gpt-4.1-nano", 1.0), ("gpt-4o-mini-2024-07-18", 2.0), ("gpt-4.1", 20.0)),
    (("Qwen3-4B", 0.2), ("gpt-4.1-nano", 1.0), ("gpt-4.1", 20.0)),
    (("Qwen3-1.7B", 1.0), ("Qwen3-8B", 4.0), ("deepseek-reasoner", 40.0)),
)
GOALS = Goals(max_drop=0.02)
Trio = tuple[tuple[str, float], ...]


def tables(folder: Path, trio: Trio) -> list[Pairs]:
    files = [folder / f"mmlu_pro_verbalized_{size}.jsonl.gz" for size in ("small", "large")]
    prices = {name: (0.0, price) for name, price in trio}
    last = trio[-1][0]
    return common_rows([load_pairs(files, files, slm=name, llm=last, prices=prices) for name, _ in trio[:-1]])


def example(tiers: list[Pairs]) -> dict[str, Any]:
    """Calibrated on one half, judged on the other: the trio, and each of its pairs."""
    order = np.random.default_rng(0).permutation(len(tiers[0]))
    half = len(order) // 2
    ours, fresh = ([pairs.take(at) for pairs in tiers] for at in (order[:half], order[half:]))
    found = calibrate_tiers(ours, GOALS)
    names = ("saving", "drop", "pass_at_1", "llm_pass_at_1")
    seen = apply_calibration(found, fresh)
    out: dict[str, Any] = {
        "sentence": found.sentence, "verdict": found.verdict, "judged": {name: seen[name] for name in names},
        "thresholds": [{"model": part["model"], "threshold": part["threshold"]} for part in found.tiers],
        "pairs": [],
    }  # fmt: skip
    for a, b in zip(ours, fresh, strict=True):
        two = calibrate(a, GOALS)
        seen = apply_calibration(two, b)
        out["pairs"].append({"small": a.slm, "verdict": two.verdict, **{name: seen[name] for name in names}})
    return out


def validity(tiers: list[Pairs], draws: int, n: int = 2000) -> dict[str, Any]:
    """How often what is certified on a draw loses more than promised over all rows."""
    rows: list[tuple[bool, float, float]] = []
    for seed in range(draws):
        at = np.random.default_rng([seed, 7]).integers(len(tiers[0]), size=n)
        ids = np.array([f"d{seed}-{i}" for i in range(n)], dtype=object)
        drawn = [replace(pairs.take(at), ids=ids) for pairs in tiers]
        found = certify_tiers(drawn, GOALS, Options(map="linear", seed=seed))
        if found.cuts is None:
            rows.append((False, 0.0, 0.0))
            continue
        samples = [Sample.of(p, apply_map(m, p.inputs())) for p, m in zip(tiers, found.maps, strict=True)]
        every = Tiered(samples=tuple(samples))
        drop = float((every.pairs.llm_correct - every.correct(found.cuts)).mean())
        rows.append((True, 1 - float(every.cost(found.cuts).mean() / every.pairs.llm_cost.mean()), drop))
    return {
        "draws": draws, "n": n, "certified": float(np.mean([r[0] for r in rows])),
        "broken": float(np.mean([r[2] > (GOALS.max_drop or 0) for r in rows])),
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
            tiers = tables(given.traces, trio)
            found = {"models": dict(trio), "commit": commit(), **example(tiers)}
            store(given.out, number, {**found, "validity": validity(tiers, given.draws)})


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
