"""MAPIE's controller on each split: reads and writes JSON; run by the Python of MAPIE's own environment."""

import json
import sys
import time
import warnings

import numpy as np
from mapie.risk_control import BinaryClassificationController, BinaryRisk  # pyright: ignore[reportMissingImports]

warnings.simplefilter("ignore")
LOST = BinaryRisk(
    lambda true, kept: (true == 1) & (kept == 1), lambda true, kept: np.ones(len(true), dtype=bool), False
)
KEPT = BinaryRisk(lambda true, kept: kept == 1, lambda true, kept: np.ones(len(true), dtype=bool), True)


def probabilities(x):
    return np.column_stack([1 - x[:, 0], x[:, 0]])


def decide(split, how):
    grid = np.linspace(0.99, 0, 100) if how == "fixed_sequence" else np.linspace(0, 0.99, 100)
    controller = BinaryClassificationController(
        probabilities,
        LOST,
        target_level=split["max_drop"],
        confidence_level=0.95,
        best_predict_param_choice=KEPT,
        list_predict_params=grid,
        fwer_method=how,
    )
    lost = (np.array(split["large"]) > np.array(split["small"])).astype(int)
    controller.calibrate(np.array(split["score"])[:, None], lost)
    unseen = np.array(split["unseen"])[:, None]
    if controller.best_predict_param is None:
        return None, 0.0
    start = time.perf_counter()
    kept = controller.predict(unseen)
    return np.asarray(kept).astype(int).tolist(), 1000 * (time.perf_counter() - start) / len(unseen)


given = json.load(sys.stdin)
found = {"MAPIE": "bonferroni_holm", "MAPIE, fixed sequence": "fixed_sequence"}
json.dump({name: [decide(split, how) for split in given["splits"]] for name, how in found.items()}, sys.stdout)
