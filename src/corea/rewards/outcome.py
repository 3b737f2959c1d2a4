"""Rewards for a right answer and for a well-formed text."""

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


@dataclass(frozen=True, slots=True)
class FormatReward:
    """1 for a text with reasoning, answer and confidence once each, else 0 (see `corea.parsing.is_well_formed`)."""

    def __call__(
        self, correct_G: Sequence[float], stated_G: Sequence[float | None], formed_G: Sequence[bool]
    ) -> list[float]:
        """Rewards (G,): 1.0 for a well-formed text."""
        return [float(formed) for formed in formed_G]
