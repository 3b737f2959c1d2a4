"""GSM8K: grade-school word problems; the answer is the number after "####" of the worked solution."""

from dataclasses import dataclass
from typing import ClassVar

from corea.datasets.source import HubSource, Row, text_question
from corea.types import Question


@dataclass(frozen=True, slots=True)
class Gsm8k:
    """Splits train (7,473) and test (1,319). Source: Cobbe et al. 2021, arXiv:2110.14168."""

    path: str | None = None
    source: ClassVar[HubSource] = HubSource(
        hub="openai/gsm8k",
        config="main",
        revision="e53f048856ff4f594e959d75785d2c2d37b678ee",
        licence="MIT",
        grader="number",
        splits={"train": "train", "test": "test"},
    )

    def load(self, split: str) -> list[Question]:
        """Split "train" or "test"."""
        return self.source.load(self.path, split, _question)


def _question(row: Row, default_id: str) -> Question:
    solution, mark, answer = row["answer"].rpartition("####")
    if not mark:
        raise ValueError("the answer has no '####'")
    meta = {"steps": solution.count("<<")}
    return text_question(id=default_id, text=row["question"], reference=answer.strip().replace(",", ""), meta=meta)
