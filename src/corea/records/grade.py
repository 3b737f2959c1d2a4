"""Grades: files of labelled questions, checked before any model is asked, and verdicts on the answers of traces."""

from collections.abc import Mapping, Sequence

from corea.datasets import with_grader
from corea.errors import DataError
from corea.graders import check_reference, grade_each, grader_name, load_grader
from corea.prices import COUNTED_AS_FREE
from corea.records.answer import RecordedAnswer, cluster_of
from corea.run.source import QuestionSource, SourceRow
from corea.types import Question, Status, Trace, Verdict


def read_labelled(
    path: str, *, labelled: bool = True, grader: str | None = None, hint: str = ""
) -> dict[str, Question]:
    """Questions by id, in the order of the file, each with its grader in `meta["grader"]` where one is stated.

    Args:
        labelled: True if every one must have a reference.
        grader: One for all; by default each question's own, or that of the dataset its row names.
        hint: Another remedy for a missing reference, for the message.

    Raises:
        ConfigError: There is no grader of that name.
        DataError: A row that is not a question, comes twice, has no reference, or one that its grader cannot read;
            with path and line.
    """
    if grader is not None:
        load_grader(grader)
    found: dict[str, Question] = {}
    for row in QuestionSource(path).rows():
        if not isinstance(row, SourceRow):
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


def grade_traces(questions: Sequence[Question], traces: Sequence[Trace], grader: str | None = None) -> list[Verdict]:
    """Verdicts in order, each by `grader`, else by its question's own; a trace without text is wrong."""
    return grade_each([(q, trace.text or "") for q, trace in zip(questions, traces, strict=True)], grader)


def answers_of_traces(
    questions: Mapping[str, Question], traces: Sequence[Trace], grader: str | None = None
) -> dict[str, RecordedAnswer]:
    """The first stage's graded answer of each trace, by question id; without a reference it has no label.

    Args:
        questions: By id; must hold every trace's.
    """
    asked = [(questions[trace.question_id], trace) for trace in traces]
    known = [(question, trace) for question, trace in asked if question.reference is not None]
    own = grade_each([(question, _first_text(trace)) for question, trace in known], grader)
    deferred = [(question, trace) for question, trace in known if not _kept(trace)]
    later = grade_each([(question, trace.text or "") for question, trace in deferred], grader)
    own_correct = {trace.question_id: float(v.correct) for (_, trace), v in zip(known, own, strict=True)}
    later_correct = {trace.question_id: float(v.correct) for (_, trace), v in zip(deferred, later, strict=True)}
    return {
        trace.question_id: _answer_of(
            question, trace, own_correct.get(trace.question_id), later_correct.get(trace.question_id), grader
        )
        for question, trace in asked
    }


def _kept(trace: Trace) -> bool:
    return len(trace.steps) == 1 and trace.status is Status.ANSWERED


def _first_text(trace: Trace) -> str:
    """The first stage's answer; a failed call's partial text is none."""
    step = trace.steps[0] if trace.steps else None
    return step.completion.text if step and step.completion and step.error is None else ""


def _answer_of(
    question: Question, trace: Trace, correct: float | None, later_correct: float | None, grader: str | None
) -> RecordedAnswer:
    first = trace.steps[0] if trace.steps else None
    completion = first.completion if first else None
    later = [step.cost_usd for step in trace.steps[1:]]
    known = [float(cost) for cost in later if cost is not None]
    kept = _kept(trace)
    numbers: dict[str, float] = {}
    if first and first.confidence and first.confidence.value is not None:
        numbers["confidence"] = float(first.confidence.value)
    if first and first.cost_usd is not None:
        numbers["cost_usd"] = float(first.cost_usd)
    if completion:
        numbers["prompt_tokens"] = float(completion.usage.prompt_tokens)
        numbers["completion_tokens"] = float(completion.usage.completion_tokens)
    return RecordedAnswer(
        id=trace.question_id,
        cluster=cluster_of(*(message.content for message in question.messages), *question.choices),
        correct=correct,
        model=completion.model if completion else "",
        answer=first.answer if first else None,
        category=question.category,
        numbers=numbers,
        confidence_kind=first.confidence.signal if first and first.confidence else "",
        failed=trace.status is Status.FAILED,
        estimated=any(s.completion is not None and s.completion.usage.estimated for s in trace.steps),
        grader=grader_name(question, grader) if question.reference is not None else "",
        counted_as_free=tuple(flag for flag in trace.flags if flag.startswith(COUNTED_AS_FREE)),
        kept=kept,
        later_correct=later_correct,
        later_cost_usd=None if kept or len(known) < len(later) else sum(known),
    )
