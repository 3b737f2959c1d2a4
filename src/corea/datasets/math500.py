"""MATH-500: five hundred competition problems of the MATH test set, answers in LaTeX."""

from dataclasses import dataclass
from typing import ClassVar

from corea.datasets.source import HubSource, Row, text_question
from corea.types import Question


@dataclass(frozen=True, slots=True)
class Math500:
    """Split test (500). Source: Lightman et al. 2023, arXiv:2305.20050; MATH: Hendrycks et al. 2021, arXiv:2103.03874.

    MATH was taken down at its publisher's request in 2025: measure with it, do not republish it.
    """

    path: str | None = None
    source: ClassVar[HubSource] = HubSource(
        hub="HuggingFaceH4/MATH-500",
        revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
        licence="MIT (MATH); not to be republished",
        grader="maths",
        splits={"test": "test"},
        columns=("problem", "answer", "subject", "level", "unique_id"),
        publishable=False,
    )

    def load(self, split: str) -> list[Question]:
        """Split "test"."""
        return self.source.load(self.path, split, _question)


def _question(row: Row, default_id: str) -> Question:
    name = str(row.get("unique_id") or default_id).removeprefix("test/").removesuffix(".json")
    return text_question(
        id=f"math500-{name.replace('/', '-')}" if row.get("unique_id") else default_id,
        text=row["problem"],
        reference=str(row["answer"]),
        category=row.get("subject"),
        meta={"level": row.get("level")},
    )
