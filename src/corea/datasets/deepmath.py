"""DeepMath-103K: hard mathematics with checkable answers, decontaminated; made for training."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from corea.datasets.source import HubSource, Row, bucket, text_question
from corea.types import Question

_BUCKETS = 206  # about 500 of 103,022 questions each


@dataclass(frozen=True, slots=True)
class DeepMath:
    """Splits train, validation and test: the hub has train alone, so about 500 questions each are set aside for the
    others by a hash of their text. (The DeepMath500 of arXiv:2603.03752 is not public; this is not it.)

    A question that repeats an earlier one but for spaces and case is dropped, whatever its split; a warning of the
    logger `corea.datasets` says how many were.

    Source: He et al. 2025, arXiv:2504.11456.
    """

    path: str | None = None
    source: ClassVar[HubSource] = HubSource(
        hub="zwhe99/DeepMath-103K",
        revision="5cf055d1fe3d7a2eb19719ac020211469736ae44",
        licence="MIT",
        grader="maths",
        splits={"train": "train", "validation": "train", "test": "train"},
        columns=("question", "final_answer", "difficulty", "topic"),
    )

    def load(self, split: str) -> list[Question]:
        """Split "train", "validation" or "test"."""
        return [q for q in _distinct(self.source.load(self.path, split, _question)) if split_of(q.text) == split]


def split_of(text: str) -> str:
    """The split that a question belongs to, by its text alone."""
    return {0: "test", 1: "validation"}.get(bucket(text, _BUCKETS), "train")


def _distinct(questions: Sequence[Question]) -> list[Question]:
    """The first of the questions that have one text; says how many others there were."""
    first: dict[str, Question] = {}
    for question in questions:
        first.setdefault("".join(question.text.split()).casefold(), question)
    if dropped := len(questions) - len(first):
        logging.getLogger("corea.datasets").warning(
            "dataset DeepMath-103K: %s of %s questions repeat an earlier one and were dropped",
            f"{dropped:,}", f"{len(questions):,}",
        )  # fmt: skip
    return list(first.values())


def _question(row: Row, default_id: str) -> Question:
    text = row["question"].strip()
    return text_question(
        id=f"deepmath-{bucket(text, 1 << 48):012x}",
        text=text,
        reference=str(row["final_answer"]),
        category=row.get("topic"),
        meta={"difficulty": row.get("difficulty")},
    )
