"""Calibrates a cascade by asking its own models: resumable, within a budget, graded, and bound to what was asked.

    found = await calibrate_live(cascade, "labelled.jsonl", Targets(max_drop=0.02), folder="calibration.answers")

FOLDER/STAGE.jsonl             the traces of one stage, asked alone
FOLDER/STAGE.jsonl.journal     what makes it go on where it was: nothing is paid twice but what was in flight
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from corea.calibrate.artefact import Calibration, binding_of, free_signals
from corea.calibrate.certify import Options, calibrate
from corea.calibrate.targets import Targets
from corea.cascade import Cascade
from corea.errors import BackendError, BudgetError, ConfigError, DataError
from corea.evaluate.outcomes import alone, grade_traces
from corea.graders import count_graders, grader_name, graders_in_words
from corea.metrics.arrays import Floats
from corea.prices import Price
from corea.protocols import Signal
from corea.records.grade import read_labelled
from corea.records.table import OutcomeTable, unread_note
from corea.run.answer_settings import answer_settings
from corea.run.runner import run_batch
from corea.run.shutdown import Stop
from corea.run.summary import Outcome, Progress, RunSummary
from corea.signals.agreement import same_answer
from corea.signals.measured import measured
from corea.signals.tokens import wants_logprobs, with_logprobs
from corea.stage import OnError, Stage
from corea.trace_io import read_traces
from corea.types import Question, Status, Step, Trace

LEAST = 20  # questions that a table needs
Traces = dict[str, Trace]
DEFAULTS = Options()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How the questions are asked.

    Args:
        folder: Holds the answers; the same folder goes on where an earlier start ended.
        budget_usd: For all stages and starts together.
        also: Further signals that read the completion alone, for a blend (see `FROM_THE_COMPLETION`).
        grader: One for all questions, by name; by default each question's own.
        declared: By stage, the options of its backend, as `answer_settings` takes them.
        on_progress: Told the stage and how far it is.
    """

    folder: Path
    budget_usd: Decimal | None = None
    concurrency: int = 32
    also: tuple[str, ...] = ()
    grader: str | None = None
    declared: Mapping[str, Mapping[str, Any]] | None = None
    on_progress: Callable[[str, Progress], None] | None = None
    stop: Stop | None = None


async def calibrate_live(
    cascade: Cascade, questions: str, goals: Targets, options: Options = DEFAULTS, *, asking: Asking
) -> Calibration:
    """Asks every stage every question, grades, and calibrates; the artefact binds this very cascade.

    Args:
        cascade: As configured, without a calibration; its policies are not used.
        questions: A file of questions with references, as `corea run` reads them.

    Raises:
        BudgetError: The budget ended before every question was asked. BackendError: A model could not be reached.
        InterruptedError: It was asked to stop. What was answered is kept in each case.
        ConfigError, DataError: See `load_questions`, `ask_stages`, `corea.calibrate.certify.calibrate`.
    """
    known = load_questions(questions, grader=asking.grader)
    traces_S = await ask_stages(cascade, questions, len(known), asking)
    tables = await tables_of(cascade, known, traces_S, asking)
    return calibrate(tables[0], goals, options, binding=binding_of(cascade))


def load_questions(path: str, *, labelled: bool = True, grader: str | None = None) -> dict[str, Question]:
    """Questions by id, in the order of the file.

    Args:
        labelled: Whether every one must have a reference.
        grader: One for all; by default each question's own.

    Raises:
        ConfigError, DataError: See `read_labelled`; or there are too few questions. Nothing was asked yet.
    """
    found = read_labelled(path, labelled=labelled, grader=grader, hint="give --label-poor" if labelled else "")
    if len(found) < LEAST:
        raise DataError(f"got {len(found)} questions, expected at least {LEAST}; label more", path=path)
    return found


# --- asking ---------------------------------------------------------------------------------------------------------


async def ask_stages(cascade: Cascade, questions: str, total: int, asking: Asking) -> list[Traces]:
    """The traces of each stage asked alone, by question id; what failed at a start is asked again at the next.

    Raises:
        ConfigError: A stage has no price or no key, or hands its draft over: the next one alone would be another.
        BudgetError, BackendError, InterruptedError: It ended early; started again, it goes on.
    """
    _check(cascade)
    if not all((asking.folder / f"{stage.name}.jsonl").exists() for stage in cascade.stages):
        cascade.check()  # all keys, before the first stage is paid for
    asking.folder.mkdir(parents=True, exist_ok=True)
    stop, spent, found = asking.stop or Stop(), Decimal(0), list[Traces]()
    for stage in cascade.stages:
        path = asking.folder / f"{stage.name}.jsonl"
        only = _only(stage, asking.also if stage is not cascade.stages[-1] else ())
        summary = await run_batch(
            only,
            questions,
            str(path),
            concurrency=asking.concurrency,
            budget_usd=None if asking.budget_usd is None else max(Decimal(0), asking.budget_usd - spent),
            settings=answer_settings(only, declared=asking.declared),
            on_progress=None if asking.on_progress is None else partial(asking.on_progress, stage.name),
            stop=stop,
        )
        spent += summary.ledger.cost_usd + summary.lost_usd_at_most
        _check_whole(summary, stage, total, spent, asking)
        found.append({trace.question_id: trace for trace in read_traces(path)})
    return found


def _check(cascade: Cascade) -> None:
    if len(cascade.stages) < 2:
        raise ConfigError(f"cascade {cascade.name}: got one stage, expected two or more: there is nothing to decide")
    for stage in cascade.stages:
        if stage.price is None:
            raise ConfigError(
                f"calibrate: stage {stage.name} has no price, so there is nothing to save; add it to [prices]"
            )
        if stage.hand_over_draft:
            raise ConfigError(
                f"calibrate: stage {stage.name} hands its draft over, so the next model alone would not be what "
                "answers after it; set hand_over_draft = false"
            )


def _only(stage: Stage, also: Sequence[str]) -> Cascade:
    """The stage alone, asked for what its signals read; its stand-in for a last stage is free, as it is never asked."""
    signals = free_signals(also).values()
    sampling = with_logprobs(stage.sampling, *signals)
    keep = stage.keep_logprobs or any(wants_logprobs(signal) for signal in signals)
    made = alone(replace(stage, sampling=sampling, keep_logprobs=keep, on_error=OnError.FAIL))
    free = Price(source="never asked")
    return replace(made, stages=(made.stages[0], *(replace(each, price=free) for each in made.stages[1:])))


def _check_whole(summary: RunSummary, stage: Stage, total: int, spent: Decimal, asking: Asking) -> None:
    kept = f"{summary.done:,} of {total:,} answers of stage {stage.name} are kept in {asking.folder}"
    if summary.outcome is Outcome.BUDGET:
        raise BudgetError(
            f"calibrate: the budget of {asking.budget_usd} USD ended after {spent:.6g}, and the next question may "
            f"cost up to {summary.next_usd_at_most:.6g}; {kept}; raise --budget-usd and start the same command again, "
            "nothing is paid twice"
        )
    if summary.outcome is Outcome.GAVE_UP:
        raise BackendError(f"calibrate: {summary.last_error}; {kept}; start the same command again to go on")
    if summary.outcome is Outcome.INTERRUPTED:
        raise InterruptedError(f"calibrate: interrupted; {kept}; start the same command again to go on")


# --- grading and tables ---------------------------------------------------------------------------------------------


async def tables_of(
    cascade: Cascade, questions: Mapping[str, Question], traces_S: Sequence[Traces], asking: Asking
) -> list[OutcomeTable]:
    """The calibration table of each stage before the last against the last; all have the same rows.

    A stage that failed at a question counts as wrong and unmeasured there, as the cascade would defer it; questions
    at which the last one failed are left out, and the notes say how many. A question without a reference has NaN
    for both models' correctness.
    """
    last = traces_S[-1]
    ids = [key for key in questions if key in last and last[key].status is not Status.FAILED]
    lost = len(questions) - len(ids)
    notes = [f"{lost} questions failed at {cascade.stages[-1].name} and were left out"] if lost else []
    asked = [questions[key] for key in ids]
    notes += _graded_note(asked, asking.grader)
    large = [last[key] for key in ids]
    large_correct = _grades(asked, large, asking.grader)
    found: list[OutcomeTable] = []
    for stage, traces in zip(cascade.stages[:-1], traces_S[:-1], strict=True):
        small = [traces[key] for key in ids]
        failed = sum(trace.status is Status.FAILED for trace in small)
        more = [f"{failed} answers of {stage.name} failed and count as deferred"] if failed else []
        signals = await _signals(stage, asked, small, asking.also)
        unread = np.array([trace.answer is None for trace in small])
        needs_answer = bool(0 < unread.mean() <= 0.5)
        if needs_answer:
            more.append(unread_note(int(unread.sum()), stage.name))
            signals = {name: np.where(unread, np.nan, values) for name, values in signals.items()}
        correct = _grades(asked, small, asking.grader)
        tokens = [step.completion.usage.completion_tokens if step.completion else np.nan for step in map(_step, small)]
        found.append(
            OutcomeTable(
                ids=np.array(ids, dtype=object),
                signals=signals,
                slm_correct=correct,
                llm_correct=large_correct,
                slm_cost=_costs(stage, small),
                llm_cost=_costs(cascade.stages[-1], large),
                completion_tokens=_varying(tokens),
                category=_categories(asked),
                agree=np.array([_agree(a, b) for a, b in zip(small, large, strict=True)]),
                slm=stage.backend.model,
                llm=cascade.stages[-1].backend.model,
                notes=(*notes, *more),
                signal=next((step.confidence.signal for step in map(_step, small) if step.confidence), "confidence"),
                needs_answer=needs_answer,
                digest=_digest(ids, correct, large_correct, signals),
            )
        )
    return found


def _grades(questions: Sequence[Question], traces: Sequence[Trace], grader: str | None) -> Floats:
    """(N,) 1 right, 0 wrong or no text, NaN where there is no reference."""
    out = np.full(len(questions), np.nan)
    at = [i for i, question in enumerate(questions) if question.reference is not None]
    verdicts = grade_traces([questions[i] for i in at], [traces[i] for i in at], grader)
    out[at] = [float(verdict.correct) for verdict in verdicts]
    return out


def _graded_note(questions: Sequence[Question], grader: str | None) -> list[str]:
    names = [grader_name(question, grader) for question in questions if question.reference is not None]
    return [f"graded by {graders_in_words(count_graders(names))}"] if names else []


async def _signals(
    stage: Stage, questions: Sequence[Question], traces: Sequence[Trace], also: Sequence[str]
) -> dict[str, Floats]:
    """The stage's own signal as it was measured, and further ones measured on the recorded completions."""
    found = {"confidence": np.array([_value(_step(trace).confidence) for trace in traces])}
    for name, signal in free_signals(also).items():
        found[name] = np.array([await _measured(signal, stage, q, t) for q, t in zip(questions, traces, strict=True)])
    return {name: values for name, values in found.items() if name == "confidence" or not np.isnan(values).all()}


async def _measured(signal: Signal, stage: Stage, question: Question, trace: Trace) -> float:
    completion = _step(trace).completion
    if completion is None or trace.status is Status.FAILED:
        return np.nan
    asked = stage.prompt.render(question) if stage.prompt else question
    return _value(await measured(signal, asked, completion))


def _step(trace: Trace) -> Step:
    """What the stage did; a plug's own bug leaves no step at all."""
    return trace.steps[0] if trace.steps else Step(stage="", error=trace.error)


def _value(confidence: Any) -> float:
    return np.nan if confidence is None or confidence.value is None else float(confidence.value)


def _costs(stage: Stage, traces: Sequence[Trace]) -> Floats:
    costs = [_step(trace).cost_usd for trace in traces]
    if any(cost is None for cost in costs):
        raise ConfigError(f"calibrate: the cost of an answer of stage {stage.name} is not known; give it a price")
    return np.array([float(cost or 0) for cost in costs])


def _agree(small: Trace, large: Trace) -> float:
    if small.answer is None or large.answer is None:
        return np.nan
    return float(same_answer(small.answer, large.answer))


def _varying(values: Sequence[float]) -> Floats | None:
    column = np.array(values, dtype=np.float64)
    return None if np.isnan(column).all() or np.nanstd(column) == 0 else column


def _categories(questions: Sequence[Question]) -> Any:
    names = [question.category for question in questions]
    return np.array(names, dtype=object) if any(names) else None


def _digest(ids: Sequence[str], small: Floats, large: Floats, signals: Mapping[str, Floats]) -> str:
    found = hashlib.sha256()
    for index, key in enumerate(ids):
        values = [small[index], large[index], *(column[index] for column in signals.values())]
        found.update(msgspec.json.encode([key, *(None if np.isnan(v) else float(v) for v in values)]))
    return f"sha256:{found.hexdigest()}"
