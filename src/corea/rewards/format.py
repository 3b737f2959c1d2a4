"""Pays for writing reasoning, answer and confidence, well formed and once each."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FormatReward:
    """1 for a text with all its parts, 0 for any other (see `corea.parsing.is_well_formed`)."""

    def __call__(
        self, correct_G: Sequence[float], stated_G: Sequence[float | None], formed_G: Sequence[bool]
    ) -> list[float]:
        """Rewards (G,): 1.0 where a text is well formed."""
        return [float(formed) for formed in formed_G]
