"""Where a dataset comes from, and how its rows are had: from local files of the hub's own shape, or from the hub."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from corea.datasets.names import with_grader
from corea.errors import ConfigError, DataError
from corea.graders import check_reference
from corea.registry import install_hint
from corea.types import Message, Question, replace

Row = Mapping[str, Any]
ToQuestion = Callable[[Row, str], Question]
RECORDED = ("id", "question", "answer", "answer_type", "dataset", "grader", "choices", "category", "meta")
BATCH = 4096  # rows of a Parquet file in memory at once
SUFFIXES = (".jsonl", ".json", ".csv", ".parquet", ".jsonl.gz", ".json.gz", ".csv.gz")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The facts about a published dataset.

    Args:
        hub: Its name on the Hugging Face hub, and `config` the part of it.
        revision: The commit that is loaded.
        licence: As its authors state it.
        grader: The default grader, a key of `corea.graders.GRADERS`.
        splits: The splits we offer, each with the hub's split that holds it.
        columns: The columns that its questions are made of; no other is read where the format allows it.
        publishable: False where the authors ask that the text never be published: it must not reach a report.
    """

    hub: str
    revision: str
    licence: str
    grader: str
    config: str | None = None
    splits: Mapping[str, str] = field(default_factory=dict[str, str])
    columns: tuple[str, ...] = ()
    publishable: bool = True

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.hub.partition("/")[2]

    def load(self, path: str | None, split: str, to_question: ToQuestion) -> list[Question]:
        """The questions of a split.

        Args:
            to_question: Makes a question of a row of the hub's shape, given an id for rows that have none. Rows in
                this project's own recorded form (id, question, answer, answer_type) need no such help.
        """
        if split not in self.splits:
            raise ConfigError(f"dataset {self.name}: got the split {split!r}, expected one of {', '.join(self.splits)}")
        if path is None:
            where, rows = f"{self.hub}@{self.revision[:12]}", self._hub_rows(split)
        else:
            file = file_of(path, split, tuple(self.splits))
            where, rows = str(file), read_rows(file, columns=self.columns)
        return questions(where, rows, to_question, self._label(split), grader=self.grader)

    def _label(self, split: str) -> str:
        return f"{self.name.lower()}-{split}"

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


def questions(
    where: str,
    rows: Iterable[tuple[int, Row]],
    to_question: ToQuestion,
    label: str,
    *,
    grader: str | None = None,
    named: str | None = None,
    labelled: bool = False,
) -> list[Question]:
    """Questions of numbered rows, each with its grader in `meta["grader"]` where one is stated.

    Args:
        grader: The dataset's default grader, for questions that state none.
        named: One grader for all questions, whatever they state.
        labelled: Whether every question must have a reference.

    Raises:
        ConfigError: There is no grader of that name.
        DataError: A row lacks something, or its grader cannot read its reference, with path and line; or there is no
            row.
    """
    made: list[Question] = []
    for line, row in rows:
        try:
            is_recorded = "answer_type" in row and "question" in row and "dataset" in row
            question = (recorded if is_recorded else to_question)(row, f"{label}-{len(made):05d}")
            made.append(_gradable(question, grader, named, labelled=labelled))
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


def _gradable(question: Question, grader: str | None, named: str | None, *, labelled: bool) -> Question:
    if named is not None:
        question = replace(question, meta={**question.meta, "grader": named})
    else:
        question = with_grader(question, grader)
    if labelled or question.reference is not None:
        check_reference(question, named)
    return question


def recorded(row: Row, default_id: str) -> Question:
    """A question in this project's recorded form: id, question, answer, answer_type, choices, meta."""
    answer = row.get("answer")
    question = Question(
        id=str(row.get("id") or default_id),
        messages=(Message("user", str(row["question"])),),
        reference=None if answer is None else str(answer),
        choices=tuple(map(str, row.get("choices") or ())),
        category=row.get("category"),
        meta={**(row.get("meta") or {}), **{k: row[k] for k in ("answer_type", "dataset", "grader") if k in row}},
    )
    return with_grader(question)


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


def bucket(text: str, buckets: int) -> int:
    """A number in [0, buckets) that depends on the text alone: the same row is always in the same split."""
    return int.from_bytes(sha256(" ".join(text.split()).encode()).digest()[:8]) % buckets


# ---- local files


def file_of(path: str, split: str, splits: tuple[str, ...] = ()) -> Path:
    """The file itself, or the one of a split in a folder ("test.jsonl", "main/test-00000-of-00001.parquet").

    Raises:
        DataError: There is none, there are several, or its name says that it holds another split.
    """
    place = Path(path)
    if place.is_dir():
        found = sorted(p for p in place.rglob("*") if p.name.startswith(split) and p.name.endswith(SUFFIXES))
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


def read_rows(file: Path, *, columns: tuple[str, ...] = ()) -> Iterator[tuple[int, Row]]:
    """(line, row) of each row of a JSON lines, JSON array, CSV or Parquet file, all but the last also packed with gzip.

    Args:
        columns: The columns of a Parquet file that are read, beside those of the recorded form; none: all.

    Raises:
        DataError: It cannot be read, or a row is no object.
    """
    if not file.name.endswith(SUFFIXES):
        raise DataError(f"got the suffix {file.suffix!r}, expected one of {', '.join(SUFFIXES)}", path=str(file))
    if file.suffix == ".parquet":
        yield from _parquet_rows(file, columns)
        return
    try:
        packed = file.name.endswith(".gz")
        data = gzip.decompress(file.read_bytes()) if packed else file.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read ({error})", path=str(file)) from error
    if file.name.removesuffix(".gz").endswith(".csv"):
        reader = csv.DictReader(io.StringIO(text, newline=""))
        yield from ((reader.line_num, row) for row in reader)
        return
    yield from _json_rows(file, text)


def _json_rows(file: Path, text: str) -> Iterator[tuple[int, Row]]:
    if text.lstrip().startswith("["):
        lines: Iterable[tuple[int, str | Any]] = enumerate(_json(file, 1, text), 1)
    else:
        lines = ((n, _json(file, n, line)) for n, line in enumerate(text.split("\n"), 1) if line.strip())
    for number, row in lines:
        if not isinstance(row, dict):
            raise DataError(f"got {type(row).__name__}, expected an object", path=str(file), line=number)
        yield number, cast(dict[str, Any], row)


def _json(file: Path, line: int, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"not JSON ({error})", path=str(file), line=line) from error


def _parquet_rows(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, Row]]:
    try:
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError as error:
        hint = install_hint("pyarrow")
        raise ConfigError(f"{file}: a Parquet file needs pyarrow, which is not installed; {hint}") from error
    try:
        with parquet.ParquetFile(file) as opened:
            there: list[str] = opened.schema_arrow.names
            wanted = [name for name in there if not columns or name in (*columns, *RECORDED)]
            batches: Iterator[Any] = opened.iter_batches(BATCH, columns=wanted)
            yield from enumerate((row for batch in batches for row in batch.to_pylist()), 1)
    except (OSError, ValueError) as error:  # pyarrow's own errors are kinds of these
        raise DataError(f"cannot be read ({error})", path=str(file)) from error
