"""Pays for a right answer."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Correctness:
    """1 for a right answer, 0 for a wrong one: RLVR's reward. Source: arXiv:2603.03752, its RLCC section."""

    def __call__(
        self, correct_G: Sequence[float], stated_G: Sequence[float | None], formed_G: Sequence[bool]
    ) -> list[float]:
        """Rewards (G,): each rollout's outcome as a number."""
        return [float(correct) for correct in correct_G]
