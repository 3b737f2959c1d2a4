"""CommonsenseQA: everyday questions with five options, in the hub's shape or the authors' own."""

from dataclasses import dataclass
from typing import ClassVar

from corea.datasets.source import HubSource, Row, choice_question
from corea.types import Question


@dataclass(frozen=True, slots=True)
class CommonsenseQA:
    """Splits train (9,741) and test (1,221: the hub's validation, since the answers of its test set are not public).

    Source: Talmor et al. 2019, arXiv:1811.00937.
    """

    path: str | None = None
    source: ClassVar[HubSource] = HubSource(
        hub="tau/commonsense_qa",
        revision="94630fe30dad47192a8546eb75f094926d47e155",
        licence="MIT",
        grader="choice",
        splits={"train": "train", "test": "validation"},
    )

    def load(self, split: str) -> list[Question]:
        """Split "train" or "test"."""
        return self.source.load(self.path, split, _question)


def _question(row: Row, default_id: str) -> Question:
    asked = row["question"]
    if isinstance(asked, str):
        text, concept = asked, row.get("question_concept")
        labels, options = row["choices"]["label"], row["choices"]["text"]
    else:  # the authors' own files
        text, concept = asked["stem"], asked.get("question_concept")
        labels = [choice["label"] for choice in asked["choices"]]
        options = [choice["text"] for choice in asked["choices"]]
    if row["answerKey"] not in labels:
        raise ValueError(f"the answer {row['answerKey']!r} is none of {', '.join(labels)}")
    right = list(labels).index(row["answerKey"])
    name = f"commonsenseqa-{row['id']}" if row.get("id") else default_id
    return choice_question(id=name, text=text, options=options, right=right, meta={"concept": concept})
