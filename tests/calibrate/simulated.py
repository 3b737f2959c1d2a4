"""Simulated pairs of models with known truth."""

import numpy as np

from corea.records.table import OutcomeTable
from recipes.guarantee.simulated import simulated_pairs


def compared(n: int, *, seed: int = 0, start: int = 0) -> OutcomeTable:
    """A world in which two wrong answers are the same in 2 of 5 cases."""
    pairs = simulated_pairs(n, seed=seed, slm=0.5, llm=0.9, sharp=2.0, columns=True, start=start)
    both_wrong = (pairs.first.correct < 0.5) & (pairs.last.correct < 0.5)
    same = np.random.default_rng([seed, 1]).random(n) < 0.4
    both_right = (pairs.first.correct > 0.5) & (pairs.last.correct > 0.5)
    return pairs.change(0, agreement=(both_right | (both_wrong & same)).astype(float))


__all__ = ["compared", "simulated_pairs"]
