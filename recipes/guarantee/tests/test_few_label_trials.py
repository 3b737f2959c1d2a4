"""Calibration from few labels, on many draws of a population with known truth."""

import numpy as np
from tests.calibrate.simulated import compared

from corea.calibrate.rules import ScoredTable
from corea.calibrate.targets import Targets
from recipes.guarantee.few_label_trials import few_label_trial


def test_the_promise_is_kept_over_draws_and_few_labels_do() -> None:
    population = compared(10_000)
    goals = Targets(max_drop=0.02)
    trials = [few_label_trial(ScoredTable.of(population), goals, n=600, gold=60, seed=seed) for seed in range(20)]
    for way in ("ppi", "ppi random", "gold alone"):
        assert sum(trial[way].broken for trial in trials) <= 4  # 1 expected at most; 5 has a chance of 0.3 %
    saved = {way: np.mean([trial[way].saving for trial in trials]) for way in ("ppi", "gold alone")}
    assert saved["ppi"] > saved["gold alone"] + 0.1  # 60 labels can show no drop of 2 points by themselves
