"""What is certified on recorded pairs, judged on rows that neither fit nor calibration saw.

    python experiments/calibrate/targets.py --data FOLDER     (FOLDER holds traces/; or COREA_DATA)

Two ways to split, each repeated: halves (calibrate on one, judge on the other) and fifths (calibrate on four, judge on
the fifth), each with the signals that a cascade measures live ("blend"), with the first of them alone ("stated"), with
the questions' subjects too ("category"), and with the recorded judge's reading and the subjects ("recorded"), which no
cascade has. `--develop` measures the pairs that the map and the split were chosen on instead. Writes
experiments/results/calibrate/targets.json (developed_on.json).
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
from populations import DEVELOPED_ON, TARGETS, mmlu_pro

from corea.calibrate.certify import certify
from corea.calibrate.prepare import FitOptions
from corea.calibrate.rules import ScoredTable
from corea.calibrate.targets import Targets
from corea.metrics import oracle_point
from corea.metrics.score_map import apply_map
from corea.records.table import OutcomeTable
from recipes.paper.measured_code import stamped
from recipes.paper.provenance import commit

RESULTS = Path(__file__).parents[1] / "results" / "calibrate"
WANTED = Targets(max_drop=0.02)


def splits(n: int, repeats: int) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    orders = [np.random.default_rng(seed).permutation(n) for seed in range(repeats)]
    halves = [(o[: n // 2], o[n // 2 :]) for o in orders]
    fifths = [(np.setdiff1d(o, o[k::5]), o[k::5]) for o in orders[: (repeats + 4) // 5] for k in range(5)]
    return {"halves": halves, "fifths": fifths}


def judge(pairs: OutcomeTable, seen: np.ndarray, unseen: np.ndarray, options: FitOptions) -> dict[str, float]:
    """Saving and drop on the unseen rows; 0 and 0 where nothing was certified."""
    found = certify(pairs.take(seen), WANTED, options)
    if found.rules is None:
        return {"certified": 0.0, "saving": 0.0, "drop": 0.0, "said": 0.0}
    rows = pairs.take(unseen)
    answers = ScoredTable.of(rows, apply_map(found.prepared.maps[0], rows.columns(0))).outcome(found.rules)
    said = 1 - found.test.outcome(found.rules).cost_usd.mean() / found.test.table.last.cost_usd.mean()
    return {
        "certified": 1.0,
        "saving": float(1 - answers.cost_usd.mean() / rows.last.cost_usd.mean()),
        "drop": float((rows.last.correct - answers.correct).mean()),
        "said": float(said),
    }


def summary(each: list[dict[str, float]]) -> dict[str, float]:
    saving, drop = (np.array([one[name] for one in each]) for name in ("saving", "drop"))
    return {
        "splits": len(each), "certified": float(np.mean([one["certified"] for one in each])),
        "saving_median": float(np.median(saving)), "saving_low": float(saving.min()),
        "saving_high": float(saving.max()), "saving_mean": float(saving.mean()),
        "drop_mean": float(drop.mean()), "drop_high": float(drop.max()),
        "said_mean": float(np.mean([one["said"] for one in each])),
    }  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--data", type=Path, default=os.environ.get("COREA_DATA"), required="COREA_DATA" not in os.environ
    )
    options.add_argument("--repeats", type=int, default=10)
    options.add_argument("--develop", action="store_true")
    options.add_argument("--out", type=Path)
    chosen = options.parse_args()
    began, made, found = time.process_time(), commit(), []
    for name in DEVELOPED_ON if chosen.develop else TARGETS:
        pairs, with_recorded = (mmlu_pro(chosen.data, name, recorded=recorded) for recorded in (False, True))
        oracle = oracle_point(pairs.first.correct, pairs.last.correct, pairs.first.cost_usd, pairs.last.cost_usd)
        found.append({"pair": name, "oracle_saving": 1 - oracle.cost_usd / float(pairs.last.cost_usd.mean())})
        for way, cut in splits(len(pairs), chosen.repeats).items():
            ways = (
                ("blend", pairs, FitOptions()), ("stated", pairs, FitOptions(map="identity")),
                ("category", pairs, FitOptions(use_category=True)),
                ("recorded", with_recorded, FitOptions(use_category=True)),
            )  # fmt: skip
            for label, table, how in ways:
                found[-1][f"{way}_{label}"] = each = summary([judge(table, *rows, how) for rows in cut])
                print(
                    f"{name:36}{way:8}{label:8} saving {each['saving_median']:.3f} "
                    f"({each['saving_low']:.3f} to {each['saving_high']:.3f}), drop {each['drop_mean']:.4f} "
                    f"(at most {each['drop_high']:.4f}), certified in {each['certified']:.0%} of {each['splits']}",
                    flush=True,
                )
    out = chosen.out or RESULTS / ("developed_on.json" if chosen.develop else "targets.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    spent = round(time.process_time() - began)
    text = stamped({"commit": made, "cpu_seconds": spent, "pairs": found}, __file__)
    out.write_text(json.dumps(text, indent=1) + "\n")


if __name__ == "__main__":
    main()
