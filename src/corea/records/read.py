"""One reader of answers: recorded rows, runs of `corea run`, and live answers, as an outcome table.

    table = read_table([RowSource(paths=["small.jsonl"]), RowSource(paths=["large.jsonl"], option="--llm")])

A recording is JSON lines (`.jsonl` or `.jsonl.gz`), one row for a question, model and variant, with at least `id` and
`correct`; `question` (its text) or `cluster` (a name that repetitions of one question share), `model`, `variant`,
`answer`, `confidence`, `cost_usd`, `prompt_tokens`, `completion_tokens`, `category` and further signals where they were
recorded. A run is graded here, with its questions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from corea.errors import ConfigError, DataError
from corea.files.rows import FileFormat, read_rows
from corea.metrics.score_map import SECOND_OPINION
from corea.records.answer import AnswerSet, RecordedAnswer, answering_model, answers_of_traces, cluster_of
from corea.records.join import join_answers, with_second_opinion
from corea.records.table import OutcomeTable
from corea.run.recorded import traces_beside
from corea.trace_io import decode
from corea.types import Question, Trace

NUMBERS = ("confidence", "cost_usd", "prompt_tokens", "completion_tokens", "plain_cost_usd", "plain_correct")
FLAT = (".csv", ".tsv", ".parquet")  # outputs of a run whose traces are in the journal beside them


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSource:
    """One model's rows in one or more files.

    Args:
        model: Its name in the field `model`; may be empty where the files hold one model.
        variant: Likewise in the field `variant`.
        option, variant_option: The options of the command line that give these two, for messages.
    """

    paths: Sequence[str | Path]
    model: str = ""
    variant: str = ""
    option: str = "--slm"
    variant_option: str = "--variant"

    @property
    def where(self) -> str:
        """The files, for messages."""
        return ", ".join(map(str, self.paths))

    def matches(self, row: Mapping[str, Any]) -> bool:
        """True where a row is of this model and variant."""
        return all(not wanted or _text(row, name) == wanted for name, wanted, _ in self.selectors())

    def selectors(self) -> tuple[tuple[str, str, str], ...]:
        """(field, wanted value, option) of each selection."""
        return ("model", self.model, self.option), ("variant", self.variant, self.variant_option)


def read_table(
    sources: Sequence[RowSource],
    *,
    prices: Mapping[str, tuple[float, float]] | None = None,
    signals: Sequence[str] | None = None,
    group: str = "category",
    labelled: bool = True,
    questions: Mapping[str, Question] | None = None,
    grader: str | None = None,
    second_opinion: RowSource | None = None,
) -> OutcomeTable:
    """The table of several models' answers, joined by question id.

    Args:
        sources: By model, from small to large; the last model's confidence is not read.
        prices: By model, USD per million prompt and completion tokens. A count that is not recorded is 0.
        signals: Columns to use, the main one first, also those that no cascade measures live. None: `MEASURED_LIVE`.
        group: The column that holds a row's category.
        labelled: False admits rows without a label, for few-label calibration: their correctness is NaN.
        questions: By id, with references, to grade runs.
        grader: One for all questions of runs, by name; by default each question's own.
        second_opinion: Another model's answers, with which the first model's are compared.

    Raises:
        ConfigError: A file is missing, or the model or variant must be chosen.
        DataError: Rows that cannot be used: unlabelled, twice, that do not join, without a cost, or a run whose server
            stated several models.
    """
    sets = [
        read_answers(source, group=group, labelled=labelled, questions=questions, grader=grader) for source in sources
    ]
    for source, each in zip(sources, sets, strict=True):
        if len(each.reported) > 1:
            raise DataError(
                f"{source.where}: the first stage answered as {' and '.join(map(repr, each.reported[:3]))}, expected "
                "one model; name one version in the stage's backend.model, and run it again"
            )
    if second_opinion is not None:
        other = read_answers(second_opinion, group=group, labelled=False, questions=questions, grader=grader)
        sets[0] = with_second_opinion(sets[0], other, prices=prices, questions=questions)
        if signals is not None and SECOND_OPINION not in signals:
            signals = [*signals, SECOND_OPINION]
    table = join_answers(sets, prices=prices, signals=signals, category_column=group)
    if labelled:
        table.check()
    return table


def read_answers(
    source: RowSource,
    *,
    group: str = "category",
    labelled: bool = True,
    questions: Mapping[str, Question] | None = None,
    grader: str | None = None,
) -> AnswerSet:
    """One model's answers; the arguments are those of `read_table`.

    Raises:
        ConfigError: A file is missing, the model or variant must be chosen, or a grader is given for a recording.
        DataError: A line cannot be read, an id is missing or comes twice, a label is missing, or no row is left.
    """
    lines = _lines(source.paths)
    first = next(lines, None)
    if first is None:
        raise DataError("holds no rows, expected traces of `corea run` or recorded rows", path=source.where)
    if "steps" in first.row and "correct" not in first.row:
        return _from_run(source, [first, *lines], questions, grader, labelled=labelled)
    if grader is not None:
        raise ConfigError(
            f"--grader: {source.where} is a recording, which brings its own grades; expected a run of `corea run`"
        )
    return _from_recording(source, first, lines, group, labelled=labelled)


# --- lines ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _RowLine:
    row: Mapping[str, Any]
    path: str
    number: int


def _lines(paths: Sequence[str | Path]) -> Iterator[_RowLine]:
    for path in map(Path, paths):
        if not path.exists():
            raise ConfigError(f"{path}: no such file, expected answers or recorded rows; name others")
        flat = path.name.removesuffix(".gz").endswith(FLAT)
        rows = (
            enumerate(map(msgspec.json.decode, traces_beside(path)), 1) if flat else read_rows(path, FileFormat.JSONL)
        )
        yield from (_RowLine(row, str(path), number) for number, row in rows)


# --- recordings -----------------------------------------------------------------------------------------------------


def _from_recording(
    source: RowSource, first: _RowLine, rest: Iterator[_RowLine], group: str, *, labelled: bool
) -> AnswerSet:
    found: dict[str, RecordedAnswer] = {}
    seen: dict[str, dict[str, None]] = {"model": {}, "variant": {}}
    for line in _chain(first, rest):
        seen["model"].setdefault(_text(line.row, "model"))
        if not source.model or _text(line.row, "model") == source.model:
            seen["variant"].setdefault(_text(line.row, "variant"))
        if not source.matches(line.row):
            continue
        answer = _recorded(line, group, labelled=labelled)
        if answer.id in found:
            _refuse_mixture(source, seen)
            raise DataError(
                f"question {answer.id!r} comes twice, expected once; drop one", path=line.path, line=line.number
            )
        found[answer.id] = answer
    if not found:
        raise _nothing(source, seen)
    used = {answer.model for answer in found.values()}
    if len(used) > 1:
        _refuse_mixture(source, {"model": dict.fromkeys(used), "variant": {}})
    model = used.pop() or "model"
    disputed = sum(answer.disputed for answer in found.values())
    notes = (f"{disputed} labels of {model} are marked as disputed by their source",) if disputed else ()
    return AnswerSet(answers=found, model=model, notes=notes)


def _chain(first: _RowLine, rest: Iterator[_RowLine]) -> Iterator[_RowLine]:
    yield first
    yield from rest


def _recorded(line: _RowLine, group: str, *, labelled: bool) -> RecordedAnswer:
    row = line.row
    key = row.get("id", row.get("question_id"))
    if key is None:
        raise DataError("a row has no id, expected one a question; add the field id", path=line.path, line=line.number)
    if not isinstance(key, str | int | float):
        raise DataError(f"got id = {key!r:.40}, expected text or a number", path=line.path, line=line.number)
    correct = row.get("correct")
    if correct not in ((0, 1) if labelled else (0, 1, None)):  # True and 1.0 are such too
        raise DataError(
            f"question {key!r}: got correct = {correct!r}, expected 0 or 1; label it", path=line.path, line=line.number
        )
    _check_numbers(line, key)
    category = row.get(group, row.get("subject") if group == "category" else None)
    answer = row.get("answer")
    return RecordedAnswer(
        id=str(key),
        correct=None if correct is None else float(correct),
        model=_text(row, "model"),
        answer=None if answer is None else str(answer),
        category=None if category is None else str(category),
        numbers={name: float(value) for name, value in row.items() if type(value) in (int, float)},
        confidence_kind=_text(row, "confidence_kind"),
        cluster=_text(row, "cluster") or (cluster_of(_text(row, "question")) if row.get("question") else None),
        text=_text(row, "question") or None,
        disputed=bool(row.get("disputed")),
        estimated=row.get("prompt_tokens") is None or row.get("completion_tokens") is None,
    )


def _check_numbers(line: _RowLine, key: Any) -> None:
    """Refuses fields of a known meaning that hold something else than numbers.

    Raises:
        DataError: One is text, true or false, or a negative cost or count.
    """
    for name in NUMBERS:
        value = line.row.get(name)
        kind = "a number in [0, 1]" if name == "confidence" else "a number of at least 0"
        wrong = value is not None and type(value) not in (int, float)
        if wrong or (name != "confidence" and value is not None and value < 0):
            raise DataError(
                f"question {key!r}: got {name} = {value!r:.40}{', text' if isinstance(value, str) else ''}, expected "
                f"{kind} or null; correct it",
                path=line.path, line=line.number,
            )  # fmt: skip


def _text(row: Mapping[str, Any], name: str) -> str:
    """A field as text, "" where there is none."""
    return str(row.get(name) or "")


def _refuse_mixture(source: RowSource, seen: Mapping[str, Mapping[str, None]]) -> None:
    """Refuses rows of several models or variants taken as one."""
    for name, wanted, option in source.selectors():
        if not wanted and len(seen[name]) > 1:
            there = ", ".join(sorted(seen[name]))
            raise ConfigError(f"{source.where}: holds the {name}s {there}; choose one with {option}")


def _nothing(source: RowSource, seen: Mapping[str, Mapping[str, None]]) -> ConfigError:
    """The error where no row matched."""
    asked = ", ".join(f"{option} {wanted!r}" for _, wanted, option in source.selectors() if wanted)
    there = sorted(seen["variant"] if source.model and seen["variant"] else seen["model"])
    return ConfigError(f"{source.where}: no row of {asked}, expected one of {', '.join(map(repr, there))}")


# --- runs -----------------------------------------------------------------------------------------------------------


def _from_run(
    source: RowSource,
    lines: Sequence[_RowLine],
    questions: Mapping[str, Question] | None,
    grader: str | None,
    *,
    labelled: bool,
) -> AnswerSet:
    if questions is None:
        raise ConfigError(
            f"{source.where}: is a run, which is not graded; give --questions FILE with the reference answers"
        )
    if len(source.paths) > 1:
        raise ConfigError(f"{source.where}: got several runs of one model, expected one; join them first")
    traces: list[Trace] = []
    seen: set[str] = set()
    for line in lines:
        trace = decode(msgspec.json.encode(line.row), path=line.path, number=line.number)
        key, question = trace.question_id, questions.get(trace.question_id)
        if question is None or (labelled and question.reference is None):
            problem = "is not among the questions" if question is None else "has no reference answer"
            raise DataError(
                f"question {key!r} {problem}; expected every one labelled", path=line.path, line=line.number
            )
        if key in seen:
            raise DataError(f"question {key!r} comes twice", path=line.path, line=line.number)
        seen.add(key)
        traces.append(trace)
    answers = answers_of_traces(questions, traces, grader)
    names = tuple(sorted({name for trace in traces if (name := answering_model(trace)) is not None}))
    return AnswerSet(answers=answers, model=source.model or next(iter(names), "model"), reported=names)
