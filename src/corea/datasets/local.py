"""Datasets of local files: one's own questions, those of recorded answers, and those that ship with the package."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corea.datasets.hub import file_of, questions_of
from corea.datasets.names import graded_by, with_grader
from corea.datasets.question_source import QuestionSource, SourceRow
from corea.datasets.rows import question_from_row
from corea.demo import RECORDED, bundled_questions
from corea.errors import ConfigError, DataError
from corea.files.rows import read_rows
from corea.graders import check_reference, load_grader
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
        file = file_of(self.path, split, ("train", "validation", "test"))
        return list(read_labelled(str(file), labelled=self.labelled, grader=self.grader).values())


def read_labelled(
    path: str, *, labelled: bool = True, grader: str | None = None, hint: str = "", category: str = "category"
) -> dict[str, Question]:
    """Questions by id, in the order of the file, each with its grader in `meta["grader"]` where one is stated.

    Args:
        labelled: True if every one must have a reference.
        grader: One for all, whatever they state; by default each question's own, or that of the dataset its row names.
        hint: Another remedy for a missing reference, for the message.
        category: The column that holds a question's category.

    Raises:
        ConfigError: There is no grader of that name.
        DataError: A row that is not a question, comes twice, has no reference, or one that its grader cannot read;
            with path and line.
    """
    if grader is not None:
        load_grader(grader)
    found: dict[str, Question] = {}
    for row in QuestionSource(path, category=category).rows():
        if not isinstance(row, SourceRow):
            raise row
        if row.question.id in found:
            raise DataError(f"question {row.question.id!r} comes twice, expected once", path=path, line=row.line)
        question = with_grader(row.question) if grader is None else graded_by(row.question, grader)
        if labelled or question.reference is not None:
            _check(question, grader, path, row.line, hint)
        found[question.id] = question
    return found


def _check(question: Question, grader: str | None, path: str, line: int, hint: str) -> None:
    try:
        check_reference(question, grader)
    except DataError as error:
        more = f", or {hint}" if hint and question.reference is None else ""
        raise DataError(f"{error}{more}", path=path, line=line) from error


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
        return questions_of(str(path), rows.values(), question_from_row, "recorded")
