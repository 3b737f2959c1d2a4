"""Fresh questions through the library, `corea run` and the gateway: what a calibration promises, and what each gives.

    python experiments/calibrate/end_to_end.py [--count 3000]

The scripted models and the cases of tests/cli/scripted.py. Writes experiments/results/calibrate/end_to_end.json, which
docs/guarantee.md quotes.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from tests.cli import scripted

from corea.cli.main import main as corea
from recipes.paper.provenance import commit

OUT = Path(__file__).parents[1] / "results" / "calibrate" / "end_to_end.json"


def run(*arguments: str) -> SimpleNamespace:
    return SimpleNamespace(code=corea(list(arguments)), err="see above")


def measured(rows: list[dict[str, Any]], case: scripted.Case) -> dict[str, Any]:
    """The true figures, those on these rows, and how many questions each way decides otherwise than the library."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        path = Path(folder) / "calibration.json"
        found = scripted.calibrated(path, case)
        true = scripted.truth(found, case)
        traces = scripted.by_library(rows, path, case)
        library = {n: (str(trace.stage), trace.answer) for n, trace in traces.items()}
        ways = {"corea run": scripted.by_batch(rows, path, case, run)}
        ways |= {"gateway": scripted.by_gateway(rows, path, case), "corea serve": scripted.by_process(rows, path)}
        os.chdir(OUT.parent)
    large = np.array([row["large"] for row in rows], dtype=float)
    right = scripted.right(library).astype(float)
    kept = np.array([library[row["n"]][0] != "large" for row in rows])
    costs = np.array([float(traces[row["n"]].cost_usd or 0) for row in rows])
    value, n = case.targets.value_usd or 0.0, len(rows)
    alone = scripted.PRICES["large"] / 1e6
    figures = {
        "max_drop": large - right, "max_risk": 1 - right[kept], "max_cost_usd": costs,
        "value_usd": costs - alone + value * (large - right),
    }  # fmt: skip
    promised = {name: getattr(case.targets, name) for name in figures if getattr(case.targets, name) is not None}
    return {
        "case": case.name, "kept": float(kept.mean()), "missed": true["missed"], "n": n,
        "goals": [
            {
                "goal": name, "promised": 0.0 if name == "value_usd" else limit, "true": true[name],
                "here": float(figures[name].mean()),
                "standard_error": float(figures[name].std() / len(figures[name]) ** 0.5),
            }
            for name, limit in promised.items()
        ],
        "decided_otherwise": {
            way: sum((said[0], scripted.text_of(said[1])) != library[n] for n, said in answers.items())
            for way, answers in ways.items()
        },
    }  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=3000)
    options.add_argument("--out", type=Path, default=OUT)
    chosen = options.parse_args()
    out, head, cases = chosen.out.absolute(), commit(), list[dict[str, Any]]()
    rows = scripted.world(chosen.count, 0)
    for case in scripted.CASES:
        cases.append(measured(rows, case))
        print(json.dumps(cases[-1]), flush=True)
        out.write_text(json.dumps({"commit": head, "count": chosen.count, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
