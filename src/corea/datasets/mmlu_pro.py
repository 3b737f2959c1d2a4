"""MMLU-Pro: questions of fourteen subjects with up to ten options."""

from dataclasses import dataclass
from typing import ClassVar

from corea.datasets.source import HubSource, Row, choice_question
from corea.types import Question


@dataclass(frozen=True, slots=True)
class MmluPro:
    """Splits validation (70) and test (12,032). Source: Wang et al. 2024, arXiv:2406.01574."""

    path: str | None = None
    source: ClassVar[HubSource] = HubSource(
        hub="TIGER-Lab/MMLU-Pro",
        revision="b189ec765aa7ed75c8acfea42df31fdae71f97be",
        licence="MIT",
        grader="choice",
        splits={"validation": "validation", "test": "test"},
        columns=("question_id", "question", "options", "answer", "category"),
    )

    def load(self, split: str) -> list[Question]:
        """Split "validation" or "test"."""
        return self.source.load(self.path, split, _question)


def _question(row: Row, default_id: str) -> Question:
    right = ord(row["answer"]) - ord("A")
    name = f"mmlu-pro-{row['question_id']}" if row.get("question_id") is not None else default_id
    return choice_question(
        id=name, text=row["question"], options=row["options"], right=right, category=row.get("category")
    )
