"""Maps from a score to the probability of a right answer: their error on rows that they have not seen.

    python experiments/calibrate/probability.py [--draws 12]

Prints, by population and number of fitting rows, for each map: ECE, Brier score, log loss, and the share of rows with
exactly 0 or 1.
"""

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn.isotonic import IsotonicRegression

from corea.calibrate.maps import beta, fit_probability, fit_score, isotonic, platt
from corea.metrics import brier_score, expected_calibration_error
from corea.metrics.score_map import IsotonicMap, apply_map
from recipes.guarantee.simulated import simulated_pairs

JUDGED = 20_000


def uncorrected(s: Any, y: Any) -> IsotonicMap:
    """Isotonic steps as they are."""
    model = IsotonicRegression(out_of_bounds="clip", y_min=0.0, y_max=1.0).fit(s, y)
    return IsotonicMap(x=model.X_thresholds_.tolist(), y=model.y_thresholds_.tolist())


MAPS: dict[str, Callable[[Any, Any], Any]] = {
    "isotonic, uncorrected": uncorrected, "isotonic": isotonic, "platt": platt, "beta": beta,
    "auto": lambda s, y: fit_probability(s, y)[0],
}  # fmt: skip


def stated(n: int, seed: int) -> Any:
    pairs = simulated_pairs(n + JUDGED, seed=seed)
    return pairs.first.confidence[:n], pairs.first.correct[:n], pairs.first.confidence[n:], pairs.first.correct[n:]


def blended(n: int, seed: int) -> Any:
    fitting, judged = (simulated_pairs(k, seed=s, columns=True) for k, s in ((n, seed), (JUDGED, 1000 + seed)))
    stored, crossed = fit_score(fitting, kind="trees" if n >= 100 else "linear")
    return crossed, fitting.first.correct, apply_map(stored, judged.columns(0)), judged.first.correct


def steep(n: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    s = rng.beta(5, 1.2, n + JUDGED)
    y = (rng.random(len(s)) < np.where(s < 0.9, 0.97 - 0.9 * np.sqrt(1 - s), 0.97).clip(0.02)).astype(float)
    return s[:n], y[:n], s[n:], y[n:]


def measured(draws: int) -> Iterator[str]:
    for name, population in (("stated confidence", stated), ("blend", blended), ("steep near 1", steep)):
        for n in (60, 200, 1000):
            found: dict[str, list[Any]] = {}
            for seed in range(draws):
                s, y, new, right = population(n, seed)
                s, y, new, right = s[~np.isnan(s)], y[~np.isnan(s)], new[~np.isnan(new)], right[~np.isnan(new)]
                for kind, make in MAPS.items():
                    p = apply_map(make(s, y), {"confidence": new})
                    sure = np.clip(p, 1e-6, 1 - 1e-6)
                    loss = -np.where(right > 0.5, np.log(sure), np.log1p(-sure)).mean()
                    extreme = ((p <= 0) | (p >= 1)).mean()
                    each = [expected_calibration_error(p, right), brier_score(p, right), loss, extreme]
                    found.setdefault(kind, []).append(each)
            for kind, rows in found.items():
                yield f"{name:18} n = {n:<5} {kind:22} " + "  ".join(f"{x:.3f}" for x in np.mean(rows, axis=0))


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--draws", type=int, default=12)
    for line in measured(options.parse_args().draws):
        print(line, flush=True)
