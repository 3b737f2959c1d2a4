"""Datasets of local files: one's own questions, those of recorded answers, and those that ship with the package."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corea.datasets.hub import file_of, questions_of
from corea.datasets.rows import question_from_row
from corea.demo import RECORDED, bundled_questions
from corea.errors import ConfigError, DataError
from corea.files.rows import read_rows
from corea.types import Question


@dataclass(frozen=True, slots=True)
class JsonLines:
    """One file, or a folder with a file for each split ("train.jsonl", "test.csv").

    Its rows are those that `corea run` reads: see `question_from_row`. `grader` or `answer_type` in a row says how it
    is graded; a row that names a registered dataset (`"dataset": "math500"`) is graded as that dataset is.

    Args:
        grader: One for all rows, whatever they state.
        labelled: Every row must have a reference.
    """

    path: str | None = None
    grader: str | None = None
    labelled: bool = False

    def load(self, split: str) -> list[Question]:
        """The split of a folder; a single file is its own split."""
        if self.path is None:
            raise ConfigError("dataset jsonl: path is not set, expected a file of questions; give path=FILE")
        place = Path(self.path)
        file = file_of(self.path, split, ("train", "validation", "test"))
        label = split if place.is_dir() else place.name.partition(".")[0]
        return questions_of(
            str(file), read_rows(file), question_from_row, label, named=self.grader, labelled=self.labelled
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledQuestions:
    """The first `n` questions of a split of `corea.demo`; None: all of them.

    Source: this project, Apache-2.0 (`recipes/bundled_pair`). Each question states its type of answer.
    """

    n: int | None = None

    def load(self, split: str) -> list[Question]:
        """Split "test", "validation", "examples" or "export"."""
        return bundled_questions(split, self.n)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedQuestions:
    """The questions of recorded answers (fields id, question, gold), each once, so that a replay needs no other file.

    Args:
        path: A `.jsonl` or `.jsonl.gz`; None: the GSM8K recording that comes with the package.
        questions: A file of the questions in this project's recorded form, where choices are needed; only questions
            in both files are asked.
    """

    path: str | None = None
    questions: str | None = None

    def load(self, split: str) -> list[Question]:
        """Split "test", the only one."""
        if split != "test":
            raise ConfigError(f"dataset recorded: got the split {split!r}, expected test")
        path = Path(self.path) if self.path is not None else RECORDED / "gsm8k_small.jsonl.gz"
        known = {str(row.get("id")): row for _, row in read_rows(Path(self.questions))} if self.questions else None
        rows: dict[str, tuple[int, Mapping[str, Any]]] = {}
        for line, row in read_rows(path):
            if "id" not in row:
                raise DataError("the row has no 'id'", path=str(path), line=line)
            name = str(row["id"])
            if row.get("gold") is None or (known is not None and name not in known):
                continue
            own = {"question": row.get("question"), "answer": row["gold"], "id": name, "dataset": row.get("dataset")}
            rows.setdefault(name, (line, known[name] if known else own))
        return questions_of(str(path), rows.values(), question_from_row, "recorded", labelled=True)
