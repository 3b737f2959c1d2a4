"""The expected confidence against the stated number: python experiments/rl/frontier.py OUT.json NAME=ANSWERS.npz [...]

`ANSWERS.npz` is of `recipes/bundled_pair/scripts/evaluate.py collect`. Smoothness is what a threshold can be set to:
the number of distinct values, and the largest share of questions that one step of the threshold sends to the large
model at once.
"""

import json
import sys
from pathlib import Path

import numpy as np

from corea.metrics import auroc, brier_score, expected_calibration_error

SIGNALS = ("stated", "expected")


def figures(confidence: np.ndarray, correct: np.ndarray) -> dict[str, float]:
    """Of one signal; a missing value counts as 0."""
    filled = np.nan_to_num(confidence)
    values, counts = np.unique(filled.round(6), return_counts=True)
    found = {
        "ece": expected_calibration_error(filled, correct),
        "brier": brier_score(filled, correct),
        "auroc": auroc(filled, correct) if 0 < correct.mean() < 1 else float("nan"),
        "distinct_values": len(values),
        "largest_step": counts.max() / len(filled),
    }
    return {name: round(float(value), 4) for name, value in found.items()}


def main(out: str, *named: str) -> None:
    rows = {}
    for item in named:
        name, _, path = item.partition("=")
        held = np.load(path)
        rows[name] = {
            world: {
                "accuracy": round(float(held[f"{world}/correct"].mean()), 4),
                **{signal: figures(held[f"{world}/{signal}"], held[f"{world}/correct"] > 0) for signal in SIGNALS},
            }
            for world in ("in domain", "out of domain")
        }
    Path(out).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
