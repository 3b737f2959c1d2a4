"""GPQA: graduate questions of biology, physics and chemistry with four options.

Its authors ask that no question be published in plain text: this project holds none, and its reports print none.
"""

from dataclasses import dataclass
from typing import ClassVar

from corea.datasets.source import HubSource, Row, bucket, choice_question
from corea.types import Question


@dataclass(frozen=True, slots=True)
class Gpqa:
    """Split test (198, the diamond set; the hub calls it train). A record's id decides the place of the right option.

    Source: Rein et al. 2023, arXiv:2311.12022. The hub asks for a log-in and a promise before it gives the file.
    """

    path: str | None = None
    source: ClassVar[HubSource] = HubSource(
        hub="Idavidrein/gpqa",
        config="gpqa_diamond",
        revision="633f5ee89ab8ad4522a9f850766b73f62147ffdd",
        licence="CC-BY-4.0; not to be published in plain text",
        grader="choice",
        splits={"test": "train"},
        columns=(
            "Record ID",
            "Question",
            "Correct Answer",
            "High-level domain",
            "Incorrect Answer 1",
            "Incorrect Answer 2",
            "Incorrect Answer 3",
        ),
        publishable=False,
    )

    def load(self, split: str) -> list[Question]:
        """Split "test"."""
        return self.source.load(self.path, split, _question)


def _question(row: Row, default_id: str) -> Question:
    right_text = row["Correct Answer"].strip()
    options = [row[f"Incorrect Answer {n}"].strip() for n in (1, 2, 3)]
    name = str(row.get("Record ID") or default_id)
    right = bucket(name + right_text, 4)
    options.insert(right, right_text)
    return choice_question(
        id=f"gpqa-{name}",
        text=row["Question"],
        options=options,
        right=right,
        category=row.get("High-level domain"),
        meta={"private": True},
    )
