"""Recorded answers: one model's answer to one question, of a recording, or graded here from the trace of a run."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from corea.early_exit import CUT
from corea.graders import grade_each, grader_name
from corea.prices import COUNTED_AS_FREE
from corea.types import Question, Status, Trace

PRINT_BYTES = 5  # 10,000 rows and 10,000 others share a hash by chance once in 10,000 times


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAnswer:
    """One answer. None stands for a value that the source does not state.

    Args:
        correct: 1.0 right, 0.0 wrong, None without a label; in a run, of the first stage's own answer.
        answer: The extracted answer as text.
        numbers: Every numeric column by name: "confidence", "cost_usd", "prompt_tokens", "completion_tokens", and
            further signals; in a run, of the first stage.
        confidence_kind: The kind of signal behind "confidence", such as "verbalized".
        score: In a run with a calibration, what its threshold is for.
        outside: In a run with a calibration, an input of its map was unlike all rows that calibrated.
        cluster: The same for questions that are one question; None where the source does not hold its text.
        text: The question's last user message; None where the source does not hold it.
        disputed: The source itself doubts the label.
        failed: No answer was obtained.
        estimated: Token counts behind the cost are estimates.
        grader: The grader that graded it here; "" where the source brought its own grade.
        counted_as_free: A line for each model that has no price and is counted as free.
        kept: In a run, the first stage's answer was returned; None in a recording of one model.
        later_correct, later_cost_usd: In a run, of the answer returned after deferring, and of all later stages.
    """

    id: str
    correct: float | None
    model: str = ""
    answer: str | None = None
    category: str | None = None
    numbers: Mapping[str, float] = field(default_factory=dict[str, float])
    confidence_kind: str = ""
    score: float | None = None
    outside: bool = False
    cluster: str | None = None
    text: str | None = None
    disputed: bool = False
    failed: bool = False
    estimated: bool = False
    grader: str = ""
    counted_as_free: tuple[str, ...] = ()
    kept: bool | None = None
    later_correct: float | None = None
    later_cost_usd: float | None = None

    @property
    def confidence(self) -> float | None:
        """The main confidence, as recorded."""
        return self.numbers.get("confidence")

    @property
    def cost_usd(self) -> float | None:
        """USD, as recorded."""
        return self.numbers.get("cost_usd")

    @property
    def print(self) -> str:
        """A short hash that equal questions share; without their text, only the same row under the same id."""
        said = self.cluster or f"{self.id}\0{self.answer}\0{self.correct}\0{sorted(self.numbers.items())}"
        return blake2b(said.encode(), digest_size=PRINT_BYTES).hexdigest()


def cluster_of(*texts: str) -> str:
    """A short name that equal texts share, but for case, spaces and punctuation at their ends."""
    plain = (unicodedata.normalize("NFKC", text).casefold() for text in texts)
    said = "\0".join(re.sub(r"\s+", " ", text).strip(" .?!:;,") for text in plain)
    return blake2b(said.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSet:
    """One model's answers by question id, in the order of the source.

    Args:
        reported: In a run, the model names that the first stage's server stated; several where it changed.
        second_opinion: The model whose answers these are compared with; None: there is none.
    """

    answers: Mapping[str, RecordedAnswer]
    model: str
    notes: tuple[str, ...] = ()
    reported: tuple[str, ...] = ()
    second_opinion: str | None = None

    def __len__(self) -> int:
        return len(self.answers)


def answering_model(trace: Trace) -> str | None:
    """The model name that the first stage's server stated; None where it gave no whole answer."""
    step = trace.steps[0] if trace.steps else None
    if step is None or step.completion is None or step.error is not None or step.completion.finish_reason == CUT:
        return None
    return step.completion.model


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
        text=question.text,
        correct=correct,
        model=completion.model if completion else "",
        answer=first.answer if first else None,
        category=question.category,
        numbers=numbers,
        confidence_kind=first.confidence.signal if first and first.confidence else "",
        score=first.confidence.score if first and first.confidence else None,
        outside=bool(first and first.confidence and first.confidence.outside),
        failed=trace.status is Status.FAILED,
        estimated=any(s.completion is not None and s.completion.usage.estimated for s in trace.steps),
        grader=grader_name(question, grader) if question.reference is not None else "",
        counted_as_free=tuple(flag for flag in trace.flags if flag.startswith(COUNTED_AS_FREE)),
        kept=kept,
        later_correct=later_correct,
        later_cost_usd=None if kept or len(known) < len(later) else sum(known),
    )
