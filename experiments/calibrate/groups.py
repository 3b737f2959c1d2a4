"""One threshold a slice: in how many calibration sets does any slice's certified threshold break its promise?

    python experiments/calibrate/groups.py --data FOLDER     (FOLDER holds traces/; or COREA_DATA)

As in validity.py the population is known, and a set is n of its rows with replacement. Writes
experiments/results/calibrate/groups.json, which docs/guarantee.md quotes.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from populations import TARGETS, mmlu_pro

from corea.calibrate.certify import certify
from corea.calibrate.prepare import FitOptions
from corea.calibrate.rules import ScoredTable
from corea.calibrate.targets import Targets
from corea.records.table import OutcomeTable
from recipes.guarantee.simulated import simulated_pairs
from recipes.paper.provenance import commit

OUT = Path(__file__).parents[1] / "results" / "calibrate" / "groups.json"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    data = os.environ.get("COREA_DATA")
    options.add_argument("--data", type=Path, default=data, required=data is None)
    options.add_argument("--draws", type=int, default=1000)
    options.add_argument("--out", type=Path, default=OUT)
    chosen = options.parse_args()
    populations = {
        "simulated: several signals": (simulated_pairs(8000, columns=True), 1000, 0.05),
        **{name: (mmlu_pro(chosen.data, name), 4000, 0.03) for name in TARGETS[:2]},
    }
    found, made = list[dict[str, Any]](), commit()
    for name, how in populations.items():
        found.append({"population": name, **tried(*how, chosen.draws)})
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(json.dumps({"commit": made, "populations": found}, indent=1) + "\n")


def tried(population: OutcomeTable, n: int, max_drop: float, draws: int) -> dict[str, Any]:
    """Shares of the sets with a promise to some slice, and with a broken one; `slices` promised on average."""
    targets, each = Targets(max_drop=max_drop), list[tuple[int, int]]()
    whole = ScoredTable.of(population, population.first.confidence)
    gap = population.last.correct - population.first.correct
    places = {name: np.flatnonzero(whole.slice_of == at) for at, name in enumerate(whole.slices)}
    for draw in range(draws):
        rows = population.take(np.random.default_rng([draw, 3]).integers(len(population), size=n))
        found = certify(rows, targets, FitOptions(by_group=True, seed=draw))
        scored = whole.with_maps(found.prepared.maps)
        drops = [
            float((gap * scored.kept(0, found.groups[name].threshold))[at].mean())
            for name, at in places.items()
            if name in found.groups and found.groups[name].threshold is not None
        ]
        each.append((len(drops), sum(drop > max_drop + 1e-12 for drop in drops)))
    promised, broken = np.array(each).T
    out = {
        "slices": len(places), "n": n, "max_drop": max_drop, "draws": draws, "promised": float(promised.mean()),
        "certified_share": float((promised > 0).mean()), "broken_share": float((broken > 0).mean()),
    }  # fmt: skip
    print(json.dumps(out), flush=True)
    return out


if __name__ == "__main__":
    main()
