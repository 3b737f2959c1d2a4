"""Generated reasoning problems of graded difficulty, with short written reasoning and checked answers."""

from recipes.bundled_pair.problems.mixtures import WORLDS, sample, split_of
from recipes.bundled_pair.problems.problem import Problem

__all__ = ["WORLDS", "Problem", "sample", "split_of"]
