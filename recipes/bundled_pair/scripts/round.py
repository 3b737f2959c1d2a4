"""All candidates of a round in one file, and the one that is shipped: round.py FOLDER OUT.json

FOLDER holds `llm_validation.npz`, `llm_test.npz` and `NAME_validation.npz`, `NAME_test.npz` of each candidate, as
`evaluate.py collect` writes them, and those of `shipped`: the chosen one after rounding, measured again. The choice
rests on validation alone: among the candidates whose accuracy in domain is no lower than RLVR's best run minus a point,
the lowest mean of the stated number's Brier scores in and out of domain.
"""

import json
import sys
from pathlib import Path

import numpy as np

from recipes.bundled_pair.scripts.evaluate import SEED, report

Row = dict[str, float]


def named(rows: dict[str, Row]) -> dict[str, Row]:
    """Keys as the documentation quotes them."""
    return {
        name.replace(" ", "_"): {
            key.replace(",", "").replace("'", "").replace(" ", "_"): round(v, 4) for key, v in row.items()
        }
        for name, row in rows.items()
    }


def choose(validation: dict[str, dict[str, Row]]) -> dict[str, object]:
    """The candidate that the criterion ships, and what it was chosen by."""
    floor = max(v["in domain"]["SLM"] for name, v in validation.items() if name.startswith("rlvr")) - 0.01
    means = {
        name: (v["in domain"]["Brier stated"] + v["out of domain"]["Brier stated"]) / 2
        for name, v in validation.items()
        if name != "shipped" and v["in domain"]["SLM"] >= floor
    }
    ranked = sorted(means, key=means.__getitem__)
    return {"floor": round(floor, 4), "brier_mean": {n: round(means[n], 4) for n in ranked}, "shipped": ranked[0]}


def main(folder: str, out: str) -> None:
    def read(name: str, split: str):
        path = Path(folder) / f"{name}_{split}.npz"
        return np.load(path) if path.is_file() else None

    names = sorted(p.name.removesuffix("_validation.npz") for p in Path(folder).glob("*_validation.npz"))
    names.remove("llm")
    llm = {split: read("llm", split) for split in ("validation", "test")}
    validation = {name: report(read(name, "validation"), llm["validation"]) for name in names}
    tested = {
        name: report(there, llm["test"], (read(name, "validation"), llm["validation"]))
        for name in names
        if (there := read(name, "test")) is not None
    }
    found = {
        "seed": SEED,
        "choice_on_validation": choose(validation),
        "validation_thresholds_on_the_same": {name: named(rows) for name, rows in validation.items()},
        "test_thresholds_from_validation": {name: named(rows) for name, rows in tested.items()},
        "commands": [
            "python -m recipes.bundled_pair.scripts.evaluate collect FOLDER NAME_SPLIT.npz --split validation|test",
            "python -m recipes.bundled_pair.scripts.evaluate collect LLM_EXPORT llm_SPLIT.npz --split ... --embedded N",
            "python -m recipes.bundled_pair.scripts.round FOLDER OUT.json",
        ],
    }
    Path(out).write_text(json.dumps(found, indent=1) + "\n")
    for name, rows in (tested or validation).items():
        print(name)
        for key in rows["in domain"]:
            print(f"  {key:26}", *(f"{row[key]:10.3f}" for row in rows.values()))
    print(found["choice_on_validation"])


if __name__ == "__main__":
    main(*sys.argv[1:])
