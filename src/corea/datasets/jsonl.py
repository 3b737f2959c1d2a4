"""Questions of one's own: JSON lines (or a JSON array, CSV, Parquet) with `question` and, for grading, `answer`."""

from dataclasses import dataclass
from pathlib import Path

from corea.datasets.files import file_of, read_rows
from corea.datasets.rows import question_from_row
from corea.datasets.source import questions_of
from corea.errors import ConfigError
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
