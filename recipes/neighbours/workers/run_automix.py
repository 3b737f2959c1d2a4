"""AutoMix on each split: reads and writes JSON; run by the Python of AutoMix's own environment.

As shipped its parameter is the one with the highest gain for its cost, which knows no target; "within the target" takes
the cheapest of the same candidates that meets the target on the labelled rows.
"""

import contextlib
import json
import sys
import time
import warnings

import numpy as np
import pandas as pd
from automix import POMDP, Automix, Threshold  # pyright: ignore[reportMissingImports]

warnings.simplefilter("ignore")
BINS = 8


def frame(score, small, large):
    return pd.DataFrame({"p_ver_13b": score, "llama13b_f1": small, "llama70b_f1": large})


def decide(split, method, *, within):
    rows, costs = frame(split["score"], split["small"], split["large"]), split["costs"]
    mixer = Automix(method(num_bins=BINS), costs=costs, verifier_cost=0)
    if within:
        points = {}
        for point in mixer.method.generate_points(rows, verifier_column="p_ver_13b"):
            deferred = np.asarray(mixer.method.run(rows, point)).astype(bool)
            mean, cost = mixer.compute_performance_cost(rows, pd.Series(deferred))
            if rows.llama70b_f1.mean() - mean <= split["max_drop"] and cost < costs[1]:
                points[cost] = point
        if not points:
            return None, 0.0
        mixer.best_param = points[min(points)]
    else:
        mixer.train(rows)
    unseen = frame(split["unseen"], 0.0, 0.0)
    start = time.perf_counter()
    deferred = np.asarray(mixer.infer(unseen)).astype(bool)
    return (~deferred).astype(int).tolist(), 1000 * (time.perf_counter() - start) / len(unseen)


given = json.load(sys.stdin)
ways = {
    "AutoMix, threshold": (Threshold, False), "AutoMix, POMDP": (POMDP, False),
    "AutoMix, threshold within the target": (Threshold, True), "AutoMix, POMDP within the target": (POMDP, True),
}  # fmt: skip
with contextlib.redirect_stdout(sys.stderr), np.errstate(all="ignore"):
    found = {
        name: [decide(split, method, within=within) for split in given["splits"]]
        for name, (method, within) in ways.items()
    }
json.dump(found, sys.stdout)
