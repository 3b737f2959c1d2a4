"""Does a pre-policy pay on real pairs? `corea calibrate` with and without leave to skip whole subjects of MMLU-Pro.

    COREA_DATA=FOLDER python experiments/compare/pre_policy.py

Ten small and eleven large models' recorded outputs; one half of the questions fits and certifies (2 points, 95 %, the
stated number alone), the other half judges. A subject is skipped where asking the small model costs more than its kept
answers save, which is decided on the fitting half.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
from pairs import all_pairs, pairs_of

from corea.calibrate.prepare import FitOptions
from corea.policies.threshold import uniform_of
from corea.prices import PriceTable
from recipes.paper.pair_map import certify_and_judge
from recipes.paper.provenance import provenance

OUT = Path(__file__).parents[1] / "results/compare/pre_policy.json"


def main() -> None:
    folder = os.environ.get("COREA_DATA") or sys.exit("COREA_DATA must name the folder of recorded outputs")
    table, rows = PriceTable(), []
    for dataset, small, large, names in all_pairs(Path(folder)):
        if dataset != "mmlu_pro":
            continue
        pairs, _ = pairs_of(dataset, small, large, names, table)
        first = np.array([uniform_of(str(key), "pair map") < 0.5 for key in pairs.ids])
        fit, judged = pairs.take(np.flatnonzero(first)), pairs.take(np.flatnonzero(~first))
        found = [
            certify_and_judge(fit, judged, 0.02, 0.05, FitOptions(map="identity", use_category=True, pre_policy=skip))
            for skip in (False, True)
        ]
        row = {"small": names[0], "large": names[1]}
        for name, kept in zip(("without", "with"), found, strict=True):
            row |= {f"{name}_saving": 0.0 if kept is None else max(0.0, kept.saving.value)}
            row |= {f"{name}_drop": None if kept is None else kept.drop.value}
        rows.append(row)
        print(row, flush=True)
    without, with_it = (np.array([float(r[f"{n}_saving"]) for r in rows]) for n in ("without", "with"))
    summary = {
        "pairs": len(rows),
        "saved_without": int((without > 0).sum()),
        "saved_with": int((with_it > 0).sum()),
        "above_10_percent_without": int((without > 0.1).sum()),
        "above_10_percent_with": int((with_it > 0.1).sum()),
        "mean_saving_without": float(without.mean()),
        "mean_saving_with": float(with_it.mean()),
        "better_by_a_point": int((with_it > without + 0.01).sum()),
        "worse_by_a_point": int((with_it < without - 0.01).sum()),
        "drop_above_2_points_with": sum(r["with_drop"] is not None and float(r["with_drop"]) > 0.02 for r in rows),
        "certified_with": sum(r["with_drop"] is not None for r in rows),
    }
    made_by = provenance(
        command="COREA_DATA=FOLDER python experiments/compare/pre_policy.py", config="", config_sha256=""
    )
    del made_by["config"], made_by["config_sha256"]
    OUT.write_text(json.dumps({"summary": summary, "pairs": rows, "provenance": made_by}, indent=1) + "\n")
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
