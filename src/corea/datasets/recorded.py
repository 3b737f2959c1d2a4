"""Recorded answers as a dataset: their own questions and reference answers, so that a replay needs no other file."""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corea.datasets.names import with_grader
from corea.datasets.source import questions as as_questions
from corea.datasets.source import recorded
from corea.demo import RECORDED
from corea.errors import ConfigError
from corea.types import Message, Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The questions of a recording (fields id, question, gold), each once. One split, "test".

    Args:
        path: A `.jsonl` or `.jsonl.gz`; None: the GSM8K recording that comes with the package.
        questions: A file of the questions in this project's recorded form, where choices are needed; only questions
            in both are asked.
    """

    path: str | None = None
    questions: str | None = None

    def load(self, split: str) -> list[Question]:
        """Split "test"."""
        if split != "test":
            raise ConfigError(f"dataset recorded: got the split {split!r}, expected test")
        if self.path is None:
            return packed_questions()
        known = {row["id"]: row for _, row in _rows(self.questions)} if self.questions else None
        rows: dict[str, tuple[int, dict[str, Any]]] = {}
        for line, row in _rows(self.path):
            if (known is not None and row["id"] not in known) or row.get("gold") is None:
                continue
            own = {"question": row["question"], "answer": row["gold"], "id": row["id"], "dataset": row.get("dataset")}
            rows.setdefault(str(row["id"]), (line, known[row["id"]] if known else own))
        return as_questions(self.path, rows.values(), recorded, "recorded", labelled=True)


def packed_questions() -> list[Question]:
    """The GSM8K test questions of the recording in the package, in the order of their ids."""
    return [
        with_grader(
            Question(
                id=row["id"],
                messages=(Message("user", row["question"]),),
                reference=row["gold"],
                meta={"dataset": row["dataset"]},
            )
        )
        for _, row in _rows(str(RECORDED / "gsm8k_small.jsonl.gz"))
    ]


def _rows(path: str | None) -> list[tuple[int, dict[str, Any]]]:
    file = Path(str(path))
    try:
        with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
            return [(number, json.loads(line)) for number, line in enumerate(lines, 1) if line.strip()]
    except (OSError, ValueError) as error:
        raise ConfigError(f"dataset recorded: {file}: cannot be read ({error})") from error
