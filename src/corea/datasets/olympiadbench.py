"""OlympiadBench: olympiad problems; here the open-ended English ones on mathematics, text only."""

from dataclasses import dataclass
from typing import ClassVar

from corea.datasets.source import HubSource, Row, text_question
from corea.types import Question

HINTS = ("answer_type", "unit", "error", "is_multiple_answer")


@dataclass(frozen=True, slots=True)
class OlympiadBench:
    """Split test (674; the hub calls it train). Several answers are joined by ", ".

    Source: He et al. 2024, arXiv:2402.14008.
    """

    path: str | None = None
    source: ClassVar[HubSource] = HubSource(
        hub="Hothan/OlympiadBench",
        config="OE_TO_maths_en_COMP",
        revision="91184b52131e7fc9455fef848035173aea8cc01a",
        licence="MIT (OpenBMB/OlympiadBench)",
        grader="olympiad",
        splits={"test": "train"},
        columns=("id", "question", "final_answer", "subfield", *HINTS),
    )

    def load(self, split: str) -> list[Question]:
        """Split "test"."""
        return self.source.load(self.path, split, _question)


def _question(row: Row, default_id: str) -> Question:
    answers = row["final_answer"]
    answers = [answers] if isinstance(answers, str) else answers
    return text_question(
        id=f"olympiadbench-{row['id']}" if row.get("id") is not None else default_id,
        text=row["question"],
        reference=", ".join(str(answer).strip().strip("$") for answer in answers),
        category=row.get("subfield"),
        meta={key: row[key] for key in HINTS if row.get(key)},
    )
