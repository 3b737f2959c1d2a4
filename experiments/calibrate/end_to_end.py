"""Fresh questions through the library, `corea run` and the gateway: what a calibration promises, and what each loses.

    python experiments/calibrate/end_to_end.py [--count 3000]

The scripted pair of tests/cli/test_promise_end_to_end.py. Writes
experiments/results/calibrate/end_to_end.json, which docs/guarantee.md quotes.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from tests.cli import test_promise_end_to_end as pair

from corea.cli.main import main as corea
from recipes.paper.provenance import commit

OUT = Path(__file__).parents[1] / "results" / "calibrate" / "end_to_end.json"


def run(*arguments: str) -> SimpleNamespace:
    return SimpleNamespace(code=corea(list(arguments)), err="see above")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=3000)
    options.add_argument("--out", type=Path, default=OUT)
    chosen = options.parse_args()
    out, measured, head = chosen.out.absolute(), [], commit()
    rows = pair.world(chosen.count, 0)
    large = np.array([row["large"] for row in rows], dtype=float)
    for router in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            path = Path(folder) / "calibration.json"
            truth = pair.calibrated(path, router=router)
            library = pair.by_library(rows, path)
            ways = {"library": library, "corea run": pair.by_batch(rows, path, run)}
            ways |= {"gateway": pair.by_gateway(rows, path), "corea serve": pair.by_process(rows, path)}
            os.chdir(out.parent)
        for name, found in ways.items():
            lost = large - pair.right(found)
            measured.append({
                "router": router, "way": name, "max_drop": pair.DROP, "true_drop": truth, "drop": lost.mean(),
                "standard_error": lost.std() / chosen.count**0.5,
                "kept": sum(stage == "small" for stage, _ in found.values()) / chosen.count,
                "decided_otherwise": sum((found[n][0], pair.text_of(found[n][1])) != library[n] for n in library),
            })  # fmt: skip
            print(json.dumps(measured[-1]), flush=True)
    out.write_text(json.dumps({"commit": head, "count": chosen.count, "ways": measured}, indent=1) + "\n")


if __name__ == "__main__":
    main()
