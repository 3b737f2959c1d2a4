"""Gold labels that are no random sample: refused, or the guarantee holds all the same?

    python experiments/calibrate/gold_labels.py [--draws 1000]

The simulated pair of ppi.py; a draw is 2,000 rows with replacement, of which 300 get their labels in one of these ways.
Writes experiments/results/calibrate/gold_labels.json, which docs/guarantee.md quotes.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ppi import simulated

from corea.calibrate.certify import certify, select_for_labelling
from corea.calibrate.rules import ScoredTable
from corea.calibrate.targets import Targets
from corea.errors import DataError
from corea.records.table import OutcomeTable
from recipes.guarantee.few_label_trials import LINEAR, hidden_labels, judge
from recipes.paper.provenance import commit

OUT = Path(__file__).parents[1] / "results" / "calibrate" / "gold_labels.json"
N, GOLD = 2000, 300
Labelled = Callable[[OutcomeTable, np.random.Generator, int], Any]


def weighted(weight: Callable[[OutcomeTable], Any]) -> Labelled:
    """Labels drawn with chances in proportion to a weight of each row."""

    def labelled(rows: OutcomeTable, rng: np.random.Generator, seed: int) -> Any:
        w = np.asarray(weight(rows), dtype=float)
        count = min(GOLD, int((w > 0).sum()))
        return np.isin(np.arange(len(rows)), rng.choice(len(rows), count, replace=False, p=w / w.sum()))

    return labelled


def selected(max_drop: float) -> Labelled:
    """The labels that `--select-for-labelling` asks for at this goal."""

    def labelled(rows: OutcomeTable, rng: np.random.Generator, seed: int) -> Any:
        options = replace(LINEAR, seed=seed)
        return np.isin(rows.ids, select_for_labelling(rows, Targets(max_drop=max_drop), GOLD, options))

    return labelled


def sure(rows: OutcomeTable) -> Any:
    return np.nan_to_num(rows.first.confidence, nan=0.1)


def both_right(rows: OutcomeTable) -> Any:
    return (rows.first.correct > 0.5) & (rows.last.correct > 0.5)


WAYS: dict[str, tuple[float, Labelled]] = {
    "drawn from all rows": (0.02, weighted(lambda rows: np.ones(len(rows)))),
    "--select-for-labelling": (0.02, selected(0.02)),
    "only where both models agree": (0.02, weighted(lambda rows: rows.first.agreement == 1)),
    "surer answers preferred (confidence cubed)": (0.02, weighted(lambda rows: sure(rows) ** 3)),
    "surer answers slightly preferred (confidence)": (0.02, weighted(sure)),
    "of the differing ones surer answers preferred": (
        0.02, weighted(lambda rows: sure(rows) ** 3 * (rows.first.agreement == 0)),
    ),
    "easy rows preferred (twice where both are right)": (0.02, weighted(lambda rows: 1 + both_right(rows))),
    "shortest answers first": (0.02, weighted(lambda rows: 1e-9 + (rows.first.completion_tokens < 110))),
    "selected for 0.5 points, calibrated at 2": (0.02, selected(0.005)),
    "selected for 0.5 points, calibrated at 10": (0.1, selected(0.005)),
}  # fmt: skip


def trial(population: ScoredTable, max_drop: float, labelled: Labelled, seed: int) -> tuple[bool, bool, bool, float]:
    """Refused, certified and broken, and the saving."""
    rng = np.random.default_rng([seed, 5])
    at = rng.integers(len(population), size=N)
    rows = replace(population.table.take(at), ids=np.array([f"d{seed}-{i}" for i in range(N)], dtype=object))
    targets = Targets(max_drop=max_drop)
    try:
        found = certify(hidden_labels(rows, labelled(rows, rng, seed)), targets, replace(LINEAR, seed=seed))
    except DataError:
        return True, False, False, 0.0
    judged = judge(population, targets, found.rules, found.prepared.maps[0])
    return False, judged.certified, judged.broken, judged.saving


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--draws", type=int, default=1000)
    options.add_argument("--out", type=Path, default=OUT)
    chosen = options.parse_args()
    made = commit()
    population, ways = ScoredTable.of(simulated()), []
    for name, (max_drop, labelled) in WAYS.items():
        refused, certified, broken, saving = np.array(
            [trial(population, max_drop, labelled, seed) for seed in range(chosen.draws)]
        ).T
        ways.append({
            "labels": name, "max_drop": max_drop, "draws": chosen.draws, "refused": refused.mean(),
            "certified": certified.mean(), "broken": broken.mean(), "saving": saving.mean(),
        })  # fmt: skip
        print(json.dumps(ways[-1]), flush=True)
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(json.dumps({"commit": made, "rows": N, "gold": GOLD, "ways": ways}, indent=1) + "\n")


if __name__ == "__main__":
    main()
