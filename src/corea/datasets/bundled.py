"""The questions that ship with the package, as a dataset."""

from dataclasses import dataclass

from corea.demo import bundled_questions
from corea.types import Question


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledQuestions:
    """The first `n` questions of a split of `corea.demo`; None: all of them.

    Source: this project, Apache-2.0 (`recipes/bundled_pair`). Each question states its type of answer.
    """

    n: int | None = None

    def load(self, split: str) -> list[Question]:
        """Split "test", "validation", "examples" or "export"."""
        return bundled_questions(split, self.n)
