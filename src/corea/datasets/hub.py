"""Published datasets of the Hugging Face hub, and questions made of numbered rows."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, cast

from corea.datasets.names import with_grader
from corea.datasets.rows import question_from_row
from corea.errors import ConfigError, DataError
from corea.files.rows import SUFFIXES, read_rows
from corea.graders import check_reference
from corea.types import Message, Question

Row = Mapping[str, Any]
RECORDED = ("id", "question", "answer", "answer_type", "dataset", "grader", "choices", "category", "meta")
ToQuestion = Callable[[Row, str], Question]


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSource:
    """The facts about a published dataset.

    Args:
        hub: Its name on the Hugging Face hub, and `config` the part of it.
        revision: The commit that is loaded.
        licence: As its authors state it.
        grader: The default grader, a key of `corea.graders.GRADERS`.
        to_question: Makes a question of a row of the hub's shape, given an id for rows that have none. Rows in this
            project's recorded form (id, question, answer, answer_type, dataset) need no such function.
        splits: The splits we offer, each with the hub's split that holds it.
        columns: The columns that its questions are made of; no other is read where the format allows it.
        publishable: False where the authors ask that the text never be published: it must not reach a report.
    """

    hub: str
    revision: str
    licence: str
    grader: str
    to_question: ToQuestion
    config: str | None = None
    splits: Mapping[str, str] = field(default_factory=dict[str, str])
    columns: tuple[str, ...] = ()
    publishable: bool = True

    @property
    def name(self) -> str:
        """The name in messages."""
        return self.hub.partition("/")[2]

    def load(self, path: str | None, split: str) -> list[Question]:
        """The questions of a split, from a local file of the hub's shape or from the hub."""
        if split not in self.splits:
            raise ConfigError(f"dataset {self.name}: got the split {split!r}, expected one of {', '.join(self.splits)}")
        if path is None:
            where, rows = f"{self.hub}@{self.revision[:12]}", self._hub_rows(split)
        else:
            file = file_of(path, split, tuple(self.splits))
            where, rows = str(file), read_rows(file, columns=(*self.columns, *RECORDED) if self.columns else ())
        return questions_of(where, rows, self.to_question, f"{self.name.lower()}-{split}", grader=self.grader)

    def _hub_rows(self, split: str) -> Iterable[tuple[int, Row]]:
        try:
            hub: Any = import_module("datasets")
        except ImportError as error:
            raise ConfigError(
                f"dataset {self.name}: loading {self.hub} needs the package 'datasets', which is not installed; "
                "pip install datasets, or give the path of a local file"
            ) from error
        try:
            rows = hub.load_dataset(self.hub, self.config, split=self.splits[split], revision=self.revision)
        except Exception as error:  # the hub's client raises many kinds: no network, no access, no such revision
            raise DataError(
                f"{self.hub}@{self.revision[:12]} could not be loaded ({type(error).__name__}: {error}); "
                "give the path of a local file"
            ) from error
        there = set(getattr(rows, "column_names", ())) & set(self.columns)
        return enumerate(cast(Iterable[Row], rows.select_columns(sorted(there)) if there else rows), 1)


@dataclass(frozen=True, slots=True)
class PublishedDataset:
    """A dataset with a `HubSource`; a subclass sets `source`.

    Args:
        path: A local file of the hub's shape, or a folder with one for each split; None: the hub.
    """

    path: str | None = None
    source: ClassVar[HubSource]

    def load(self, split: str) -> list[Question]:
        """The questions of one of `source.splits`."""
        return self.source.load(self.path, split)


def file_of(path: str, split: str, splits: tuple[str, ...] = ()) -> Path:
    """The file itself, or the one of a split in a folder ("test.jsonl", "main/test-00000-of-00001.parquet").

    Raises:
        DataError: There is none, there are several, or its name says that it holds another split.
    """
    place = Path(path)
    if place.is_dir():
        files = (p for p in place.rglob(f"{split}*") if p.name.removesuffix(".gz").endswith(tuple(SUFFIXES)))
        found = sorted(files)
        if len(found) != 1:
            names = ", ".join(p.name for p in found) or "none"
            raise DataError(f"expected one file whose name begins with {split!r}, got {names}; name it", path=path)
        return found[0]
    if not place.exists():
        raise DataError("no such file or folder", path=path)
    other = next((name for name in splits if name != split and name in _words(place.name)), None)
    if other and split not in _words(place.name):
        raise DataError(f"the split {split!r} was asked for, the name says {other!r}; give the right file", path=path)
    return place


def _words(name: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in name.lower()).split()


def questions_of(
    where: str,
    rows: Iterable[tuple[int, Row]],
    to_question: ToQuestion,
    label: str,
    *,
    grader: str | None = None,
) -> list[Question]:
    """Questions of numbered rows, each with its grader in `meta["grader"]` where one is stated.

    Args:
        where: The file or source, for messages.
        label: The beginning of ids that rows do not state.
        grader: The dataset's default grader, for questions that state none.

    Raises:
        ConfigError: There is no grader of that name.
        DataError: A row lacks something, or its grader cannot read its reference, with path and line; or there is no
            row.
    """
    made: list[Question] = []
    for line, row in rows:
        try:
            is_recorded = "answer_type" in row and "question" in row and "dataset" in row
            question = (question_from_row if is_recorded else to_question)(row, f"{label}-{len(made):05d}")
            made.append(with_grader(question, grader))
            if question.reference is not None:
                check_reference(made[-1])
        except KeyError as error:
            has = ", ".join(map(str, row))
            raise DataError(f"the row has no {error.args[0]!r} but {has}", path=where, line=line) from error
        except ConfigError:
            raise
        except DataError as error:
            raise DataError(str(error), path=where, line=line) from error
        except (TypeError, ValueError, AttributeError) as error:
            raise DataError(f"the row is not of the expected shape ({error})", path=where, line=line) from error
    if not made:
        raise DataError("has no questions", path=where)
    return made


def choice_question(
    *, id: str, text: str, options: Iterable[str], right: int, category: str | None = None, meta: Row | None = None
) -> Question:
    """A multiple-choice question; `right` is the index of the right option."""
    choices = tuple(options)
    if not 0 <= right < len(choices):
        raise ValueError(f"the right option is number {right + 1} of {len(choices)}")
    reference = chr(ord("A") + right)
    asked = (Message("user", text.strip()),)
    return Question(id=id, messages=asked, reference=reference, choices=choices, category=category, meta=meta or {})


def text_question(
    *, id: str, text: str, reference: str, category: str | None = None, meta: Row | None = None
) -> Question:
    """A question whose answer is written out."""
    if not text.strip() or not reference.strip():
        raise ValueError("the question or its answer is empty")
    asked = (Message("user", text.strip()),)
    return Question(id=id, messages=asked, reference=reference.strip(), category=category, meta=meta or {})


def stable_bucket(text: str, buckets: int) -> int:
    """A number in [0, buckets) that depends on the text alone, up to spaces: a row is always in the same split."""
    return int.from_bytes(sha256(" ".join(text.split()).encode()).digest()[:8]) % buckets
