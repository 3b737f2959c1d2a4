"""Files of questions with references, checked before any model is asked: each reference can be graded."""

from corea.datasets import with_grader
from corea.errors import DataError
from corea.graders import check_reference, load_grader
from corea.run.inputs import Row, Source
from corea.types import Question


def read_labelled(
    path: str, *, labelled: bool = True, grader: str | None = None, hint: str = ""
) -> dict[str, Question]:
    """Questions by id, in the order of the file, each with its grader in `meta["grader"]` where one is stated.

    Args:
        labelled: Whether every one must have a reference.
        grader: One for all; by default each question's own, or that of the dataset its row names.
        hint: What else a user may do about a missing reference.

    Raises:
        ConfigError: There is no grader of that name.
        DataError: A row is no question, comes twice, has no reference, or one that its grader cannot read; with path
            and line.
    """
    if grader is not None:
        load_grader(grader)
    found: dict[str, Question] = {}
    for row in Source(path).rows():
        if not isinstance(row, Row):
            raise row
        if row.question.id in found:
            raise DataError(f"question {row.question.id!r} comes twice, expected once", path=path, line=row.line)
        question = with_grader(row.question)
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
