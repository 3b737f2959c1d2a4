"""Questions with reference answers.

In the order in which a row meets them: `question_source` (files and pipes, a row at a time), `rows` (a row becomes a
question), `names` (the table of datasets), `local` and `published` (the datasets), `hub` (what these share).

To add one: a class with `load(split)`, and a line in the table of `corea.datasets.names`.
"""

from dataclasses import fields, is_dataclass
from typing import Any

from corea.datasets.local import JsonLines
from corea.datasets.names import DATASETS, declared_grader, graded_by, with_grader
from corea.datasets.overlap import Overlap, overlap
from corea.errors import ConfigError, DataError
from corea.graders import check_reference
from corea.protocols import Dataset
from corea.registry import resolve
from corea.types import Question


def make_dataset(name: str, **options: Any) -> Dataset:
    """The dataset called `name`: a key of `DATASETS` or "package.module:Name", with its options.

    Raises:
        ConfigError: No such dataset, or it has no such option.
    """
    kind: Any = resolve("dataset", name, DATASETS)
    known = _option_names(kind)
    for option in options:
        if option not in known:
            raise ConfigError(
                f"dataset {name}: got the option {option!r}, expected one of {', '.join(known) or 'none'}"
            )
    dataset: Dataset = kind(**options)
    return dataset


def _option_names(kind: Any) -> list[str]:
    return [field.name for field in fields(kind)] if is_dataclass(kind) else []


def load_dataset(
    name: str,
    *,
    split: str = "test",
    path: str | None = None,
    grader: str | None = None,
    labelled: bool = False,
    **options: Any,
) -> list[Question]:
    """The questions of one split, their ids unique, each with its grader in `meta["grader"]` where one is stated.

    Args:
        path: A local file of the source's own shape, or a folder with one for each split. None: the Hugging Face
            hub, at the stated revision (needs the package `datasets` and a network).
        grader: One for all questions, whatever they or the dataset state.
        labelled: Every question must have a reference.

    Raises:
        ConfigError: The name, an option, the grader or the split is not known.
        DataError: A file or row is not what it should be, two questions have one id, or a grader cannot read a
            reference.
    """
    dataset = make_dataset(name, **options, **({"path": path} if path is not None else {}))
    if isinstance(dataset, JsonLines):  # it checks each row, and can name the line
        dataset = JsonLines(dataset.path, grader or dataset.grader, labelled or dataset.labelled)
    questions = dataset.load(split)
    if grader is not None:
        questions = [graded_by(question, grader) for question in questions]
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise DataError(f"dataset {name}, split {split}: two questions have the id {question.id!r}", path=path)
        seen.add(question.id)
        if labelled or question.reference is not None:
            _check(question, grader, f"dataset {name}, split {split}", path)
    return questions


def _check(question: Question, grader: str | None, where: str, path: str | None) -> None:
    try:
        check_reference(question, grader)
    except DataError as error:
        raise DataError(f"{where}: {error}", path=path) from error


__all__ = ["DATASETS", "Overlap", "declared_grader", "load_dataset", "make_dataset", "overlap", "with_grader"]
