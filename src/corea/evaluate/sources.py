"""Answers from files, whoever wrote them: what `corea run` put out, or rows that others recorded."""

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from corea.errors import ConfigError, DataError
from corea.evaluate.outcomes import grade_traces
from corea.graders import grader_name
from corea.prices import COUNTED_AS_FREE, PriceTable
from corea.run.journal import traces_beside
from corea.trace_io import decode
from corea.types import Question, Status, Trace, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one question's answer came to. None stands for what the file cannot tell.

    Args:
        correct: 1 right, 0 wrong: of the first stage's own answer.
        confidence: Of the first stage.
        cost_usd: Of the first stage.
        kept: Whether the first stage's answer was returned; None in a recording of one model.
        later_correct: Of the answer returned after deferring.
        later_cost_usd: Of all stages after the first.
        answer, completion_tokens, model: Of the first stage.
        counted_as_free: A line for each model that has no price and is counted as free.
        grader: Which grader graded it here; "" where the file brought its grade.
    """

    id: str
    correct: float
    confidence: float | None
    cost_usd: float | None
    category: str | None = None
    kept: bool | None = None
    later_correct: float | None = None
    later_cost_usd: float | None = None
    estimated: bool = False
    failed: bool = False
    answer: str | None = None
    completion_tokens: int | None = None
    model: str = ""
    counted_as_free: tuple[str, ...] = ()
    grader: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """Whose rows of a recording; empty where there is only one."""

    model: str = ""
    variant: str = ""


def read_answers(
    path: Path,
    *,
    questions: Mapping[str, Question] | None = None,
    choice: Choice = Choice(),
    prices: PriceTable | None = None,
    grader: str | None = None,
) -> dict[str, Answer]:
    """The answers of a file, by question id.

    Args:
        questions: With references, to grade the traces of a run; a recording brings its own grades.
        prices: To price a recording's tokens; without a price its cost is what was recorded, or unknown.
        grader: One for all questions of a run, by name; by default each question's own.

    Raises:
        ConfigError: There is no such file or grader, the model or variant must be chosen, or `grader` for a recording.
        DataError: A line cannot be read, an id comes twice, or nothing is left.
    """
    lines = list(_lines(path))
    if not lines:
        raise DataError("holds no row, expected traces of `corea run` or recorded rows", path=str(path))
    if "steps" in lines[0][1]:
        return _from_run(path, lines, questions, grader)
    if grader is not None:
        raise ConfigError(
            f"--grader: {path} is a recording, which brings its own grades; expected a run of `corea run`"
        )
    return _from_recording(path, lines, choice, prices)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any], bytes]]:
    try:
        with _rows(path) as rows:
            for number, line in enumerate(rows, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"not UTF-8 ({error.reason}); save the file as UTF-8", path=str(path), line=number
                    ) from error
                except ValueError as error:
                    raise DataError(
                        f"not JSON ({error}); expected one object a line", path=str(path), line=number
                    ) from error
                if not isinstance(row, dict):
                    raise DataError(f"got {row!r:.40}, expected an object", path=str(path), line=number)
                yield number, cast(dict[str, Any], row), line
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file, expected answers or recorded rows; name others") from error
    except (OSError, EOFError) as error:
        raise DataError(f"cannot be read ({error})", path=str(path)) from error


def _rows(path: Path) -> Any:
    if path.exists() and path.name.removesuffix(".gz").endswith((".csv", ".tsv", ".parquet")):
        return nullcontext(traces_beside(path))
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _from_run(
    path: Path,
    lines: list[tuple[int, dict[str, Any], bytes]],
    questions: Mapping[str, Question] | None,
    grader: str | None,
) -> dict[str, Answer]:
    if questions is None:
        raise ConfigError(
            f"{path}: is a run, so its questions with reference answers are needed; give --questions FILE"
        )
    traces = [decode(line, path=str(path), number=number) for number, _, line in lines]
    for (number, _, _), trace in zip(lines, traces, strict=True):
        question = questions.get(trace.question_id)
        if question is None or question.reference is None:
            what = "is not among the questions" if question is None else "has no reference answer"
            raise DataError(
                f"question {trace.question_id!r} {what}; expected every one labelled", path=str(path), line=number
            )
    asked = [questions[trace.question_id] for trace in traces]
    own = [v.correct for v in grade_traces(asked, [_first_answer(trace) for trace in traces], grader)]
    returned = [v.correct for v in grade_traces(asked, traces, grader)]
    found: dict[str, Answer] = {}
    for (number, _, _), trace, question, first, final in zip(lines, traces, asked, own, returned, strict=True):
        if trace.question_id in found:
            raise DataError(f"question {trace.question_id!r} comes twice", path=str(path), line=number)
        name = grader_name(question, grader)
        found[trace.question_id] = _of_trace(trace, question, correct=first, returned=final, grader=name)
    return found


def _first_answer(trace: Trace) -> Trace:
    completion = trace.steps[0].completion if trace.steps else None
    return Trace(
        question_id=trace.question_id,
        steps=trace.steps,
        status=Status.ANSWERED,
        text=completion.text if completion else "",
    )


def _of_trace(trace: Trace, question: Question, *, correct: bool, returned: bool, grader: str) -> Answer:
    first = trace.steps[0] if trace.steps else None
    kept = first is not None and len(trace.steps) == 1 and trace.status is Status.ANSWERED
    later = [step.cost_usd for step in trace.steps[1:]]
    known = [float(cost) for cost in later if cost is not None]
    confidence = first.confidence.value if first and first.confidence else None
    completion = first.completion if first else None
    return Answer(
        id=trace.question_id,
        correct=float(correct),
        confidence=confidence,
        cost_usd=None if first is None or first.cost_usd is None else float(first.cost_usd),
        category=question.category,
        kept=kept,
        later_correct=None if kept else float(returned),
        later_cost_usd=None if kept or len(known) < len(later) else sum(known),
        estimated=any(s.completion is not None and s.completion.usage.estimated for s in trace.steps),
        failed=trace.status is Status.FAILED,
        counted_as_free=tuple(flag for flag in trace.flags if flag.startswith(COUNTED_AS_FREE)),
        answer=first.answer if first else None,
        completion_tokens=completion.usage.completion_tokens if completion else None,
        model=completion.model if completion else "",
        grader=grader,
    )


def _from_recording(
    path: Path, lines: list[tuple[int, dict[str, Any], bytes]], choice: Choice, prices: PriceTable | None
) -> dict[str, Answer]:
    for field, wanted in (("model", choice.model), ("variant", choice.variant)):
        there = sorted({str(row.get(field) or "") for _, row, _ in lines})
        if wanted and wanted not in there:
            raise ConfigError(f"{path}: got no {field} {wanted!r}, expected one of {', '.join(there)}")
        if wanted:
            lines = [line for line in lines if str(line[1].get(field) or "") == wanted]
        elif len(there) > 1:
            raise ConfigError(
                f"{path}: holds the {field}s {', '.join(there)}; choose one with --slm, --llm or --variant"
            )
    found: dict[str, Answer] = {}
    for number, row, _ in lines:
        key = str(row.get("id"))
        if key in found:
            raise DataError(f"question {key!r} comes twice", path=str(path), line=number)
        if row.get("correct") not in (0, 1):
            raise DataError(f"question {key!r} has no label; expected correct 0 or 1", path=str(path), line=number)
        usage = Usage(
            prompt_tokens=int(row.get("prompt_tokens") or 0), completion_tokens=int(row.get("completion_tokens") or 0)
        )
        found[key] = Answer(
            id=key,
            correct=float(row["correct"]),
            confidence=None if row.get("confidence") is None else float(row["confidence"]),
            cost_usd=_cost(row, usage, prices),
            category=row.get("category") or row.get("subject"),
            estimated=row.get("prompt_tokens") is None or row.get("completion_tokens") is None,
            answer=None if row.get("answer") is None else str(row["answer"]),
            completion_tokens=row.get("completion_tokens"),
            model=str(row.get("model") or ""),
        )
    return found


def _cost(row: Mapping[str, Any], usage: Usage, prices: PriceTable | None) -> float | None:
    if row.get("cost_usd") is not None:
        return float(Decimal(str(row["cost_usd"])))
    if prices is None:
        return None
    return float(prices.lookup(str(row.get("model"))).cost(usage))


def in_common(first: Mapping[str, Answer], others: Sequence[Mapping[str, Answer]]) -> list[str]:
    """The ids that every file has, in the first one's order.

    Raises:
        DataError: There is none.
    """
    ids = [key for key in first if all(key in other for other in others)]
    if not ids:
        examples = ", ".join(repr(next(iter(found))) for found in (first, *others))
        raise DataError(f"the files have no question in common; their ids begin {examples}; expected the same ids")
    return ids
