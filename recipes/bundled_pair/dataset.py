"""Generated reasoning problems, and the matching ones of reasoning-gym, as a dataset."""

from dataclasses import dataclass

from corea.errors import ConfigError
from corea.types import Question
from recipes.bundled_pair.problems import WORLDS, sample
from recipes.bundled_pair.problems.reasoning_gym_problems import sample_gym


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """So many problems of one world of `recipes.bundled_pair.problems`, the same for the same seed.

    Source: this project, Apache-2.0. Each question states its kind of answer. `gym` of them come from reasoning-gym
    (Apache-2.0; in requirements-dev.txt) instead. `unique`: no text comes twice.
    """

    world: str = "slm"
    n: int = 1000
    gym: int = 0
    seed: int = 2026
    unique: bool = True

    def __post_init__(self) -> None:
        if self.world not in WORLDS:
            raise ConfigError(f"dataset.world: got {self.world!r}, expected one of {', '.join(WORLDS)}")
        if not 0 <= self.gym <= self.n:
            raise ConfigError(f"dataset.gym: got {self.gym}, expected 0 to n ({self.n}); it is a part of n")

    def load(self, split: str) -> list[Question]:
        """Split "train", "validation" or "test"."""
        ours = sample(self.world, self.n - self.gym, self.seed, split=split, unique=self.unique)
        return ours + (sample_gym(self.gym, self.seed, split=split) if self.gym else [])
