"""Collects the answers of each stage of a cascade, asked alone; resumable, within a budget, graded.

    settings = CollectSettings(folder=Path("calibration.answers"))
    found = await calibrate_live(cascade, "labelled.jsonl", Targets(max_drop=0.02), settings=settings)

FOLDER/STAGE.jsonl             the traces of one stage, asked alone
FOLDER/STAGE.jsonl.journal     its journal: re-running resumes, and only calls in flight may be paid twice
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from corea.calibrate import Calibration, FitOptions, Targets, fit
from corea.calibrate.binding import binding_of, free_signals
from corea.cascade import Cascade
from corea.datasets.local import read_labelled
from corea.errors import BackendError, BudgetError, ConfigError, DataError
from corea.policies.threshold import Threshold
from corea.prices import Price
from corea.protocols import Signal
from corea.records.answer import AnswerSet, RecordedAnswer, answers_of_traces
from corea.records.join import join_answers
from corea.records.table import LEAST_ROWS, OutcomeTable
from corea.run.answer_settings import answer_settings
from corea.run.runner import run_batch
from corea.run.shutdown import Stop
from corea.run.summary import RunOutcome, RunProgress, RunSummary
from corea.signals.agreement import same_answer
from corea.signals.measured import measured
from corea.signals.tokens import wants_logprobs, with_logprobs
from corea.stage import OnError, Stage, as_measured
from corea.trace_io import read_traces
from corea.types import Decision, Question, Trace

Traces = dict[str, Trace]
DEFAULTS = FitOptions()


@dataclass(frozen=True, slots=True)
class CollectedTraces:
    """The traces of each stage by question id, with remarks on what asking them cost."""

    stages: tuple[Traces, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectSettings:
    """How the models are asked.

    Args:
        folder: Holds the answers; collecting into the same folder again resumes.
        budget_usd: For all stages and starts together; None: unlimited.
        extra_signals: Further signals that read the completion alone, for a blend (see `FROM_THE_COMPLETION`).
        grader: One for all questions, by name; by default each question's own.
        declared: By stage, the options of its backend, as `answer_settings` takes them.
        on_progress: Called with the stage's name and its progress.
    """

    folder: Path
    budget_usd: Decimal | None = None
    concurrency: int = 32
    extra_signals: tuple[str, ...] = ()
    grader: str | None = None
    declared: Mapping[str, Mapping[str, Any]] | None = None
    on_progress: Callable[[str, RunProgress], None] | None = None
    stop: Stop | None = None


async def calibrate_live(
    cascade: Cascade, questions: str, targets: Targets, options: FitOptions = DEFAULTS, *, settings: CollectSettings
) -> Calibration:
    """Asks every stage every question, grades, and calibrates; the artefact binds this very cascade.

    Args:
        cascade: As configured, without a calibration; its policies are not used.
        questions: A file of questions with references, as `corea run` reads them.

    Raises:
        BudgetError: The budget ended before every question was asked. BackendError: A model could not be reached.
        InterruptedError: It was stopped. The answers so far are kept in each case.
        ConfigError, DataError: See `load_questions`, `collect_traces`, `corea.calibrate.fit`.
    """
    known = load_questions(questions, grader=settings.grader)
    collected = await collect_traces(cascade, questions, len(known), settings)
    table = await outcome_table(cascade, known, collected, settings)
    return fit(table, targets, options, binding=binding_of(cascade))


def load_questions(path: str, *, labelled: bool = True, grader: str | None = None) -> dict[str, Question]:
    """Questions by id, in the order of the file.

    Args:
        labelled: Every question must have a reference.
        grader: One for all; by default each question's own.

    Raises:
        ConfigError, DataError: See `read_labelled`; or there are too few questions. Nothing was asked yet.
    """
    found = read_labelled(path, labelled=labelled, grader=grader, hint="give --few-labels" if labelled else "")
    if len(found) < LEAST_ROWS:
        raise DataError(f"got {len(found)} questions, expected at least {LEAST_ROWS}; label more", path=path)
    return found


# --- asking ---------------------------------------------------------------------------------------------------------


async def collect_traces(cascade: Cascade, questions: str, total: int, settings: CollectSettings) -> CollectedTraces:
    """The traces of each stage asked alone, by question id; what failed at a start is asked again at the next.

    Raises:
        ConfigError: A stage has no price or no key, or hands its draft over: the next one alone would be another.
        BudgetError, BackendError, InterruptedError: It ended early; started again, it goes on.
    """
    _check(cascade)
    if not all((settings.folder / f"{stage.name}.jsonl").exists() for stage in cascade.stages):
        cascade.check()  # all keys, before the first stage is paid for
    settings.folder.mkdir(parents=True, exist_ok=True)
    stop, spent = settings.stop or Stop(), Decimal(0)
    found, notes = list[Traces](), list[str]()
    for stage in cascade.stages:
        path = settings.folder / f"{stage.name}.jsonl"
        only = _only(stage, settings.extra_signals if stage is not cascade.stages[-1] else ())
        summary = await run_batch(
            only,
            questions,
            str(path),
            concurrency=settings.concurrency,
            budget_usd=None if settings.budget_usd is None else max(Decimal(0), settings.budget_usd - spent),
            settings=answer_settings(only, declared=settings.declared),
            on_progress=None if settings.on_progress is None else partial(settings.on_progress, stage.name),
            stop=stop,
        )
        spent += summary.ledger.cost_usd + summary.lost_usd_at_most
        _check_whole(summary, stage, total, spent, settings)
        found.append({trace.question_id: trace for trace in read_traces(path)})
        reused = f", {summary.resumed:,} stored answers of earlier starts included" if summary.resumed else ""
        notes.append(
            f"asking {stage.name} cost {float(summary.ledger.cost_usd):.4g} USD for {len(found[-1]):,} answers{reused}"
        )
    return CollectedTraces(tuple(found), tuple(notes))


def _check(cascade: Cascade) -> None:
    if len(cascade.stages) < 2:
        raise ConfigError(f"cascade {cascade.name}: got one stage, expected two or more: there is nothing to decide")
    for stage in cascade.stages:
        if stage.price is None:
            raise ConfigError(
                f"calibrate: stage {stage.name} has no price, so there is nothing to save; add it to [prices]"
            )
        if stage.pass_draft:
            raise ConfigError(
                f"calibrate: stage {stage.name} hands its draft over, so the next model alone would not be what "
                "answers after it; set pass_draft = false"
            )


def _only(stage: Stage, also: Sequence[str]) -> Cascade:
    """The stage alone, asked for what its signals read; its stand-in for a last stage is free, as it is never asked."""
    signals = free_signals(also).values()
    sampling = with_logprobs(stage.sampling, *signals)
    keep = stage.keep_logprobs or any(wants_logprobs(signal) for signal in signals)
    made = alone(replace(stage, sampling=sampling, keep_logprobs=keep, on_error=OnError.FAIL))
    free = Price(source="never asked")
    return replace(made, stages=(made.stages[0], *(replace(each, price=free) for each in made.stages[1:])))


def _check_whole(summary: RunSummary, stage: Stage, total: int, spent: Decimal, settings: CollectSettings) -> None:
    kept = f"{summary.done:,} of {total:,} answers of stage {stage.name} are kept in {settings.folder}"
    if summary.outcome is RunOutcome.BUDGET:
        raise BudgetError(
            f"calibrate: the budget of {settings.budget_usd} USD ended after {spent:.6g}, and the next question may "
            f"cost up to {summary.next_usd_at_most:.6g}; {kept}; raise --budget-usd and start the same command again, "
            "nothing is paid twice"
        )
    if summary.outcome is RunOutcome.GAVE_UP:
        raise BackendError(f"calibrate: {summary.last_error}; {kept}; start the same command again to go on")
    if summary.outcome is RunOutcome.INTERRUPTED:
        raise InterruptedError(f"calibrate: interrupted; {kept}; start the same command again to go on")


def alone(stage: Stage) -> Cascade:
    """A cascade that asks one stage only, and measures its signal where it has one."""
    if stage.signal is None:
        return Cascade(stages=(stage,), name=stage.name)
    keep_all = replace(stage, policy=Threshold(0.0, unstated=Decision.KEEP), pre_policy=None, name=f"{stage.name}")
    never = replace(stage, name="never asked", signal=None, policy=None, pre_policy=None)
    return Cascade(stages=(keep_all, never), name=stage.name)


async def ask_alone(
    stage: Stage, questions: Sequence[Question], *, on_trace: Callable[[Trace], None] = lambda trace: None
) -> list[Trace]:
    """The traces of one stage asked all questions, in their order, and kept in memory only."""
    traces: list[Trace] = []
    async for trace in alone(stage).ask_many(questions, ordered=True):
        traces.append(trace)
        on_trace(trace)
    return traces


# --- grading and tables ---------------------------------------------------------------------------------------------


async def outcome_table(
    cascade: Cascade, questions: Mapping[str, Question], collected: CollectedTraces, settings: CollectSettings
) -> OutcomeTable:
    """The collected answers of all stages as one table.

    A stage that failed at a question counts as wrong and without a confidence there, as the cascade would defer it;
    questions at which the last one failed are left out, and the notes say how many. A question without a reference has
    no label.
    """
    sets: list[AnswerSet] = []
    for stage, traces in zip(cascade.stages, collected.stages, strict=True):
        answers = answers_of_traces(questions, [traces[key] for key in questions if key in traces], settings.grader)
        if stage is not cascade.stages[-1]:
            for name, signal in free_signals(settings.extra_signals).items():
                answers = await _with_signal(name, signal, stage, answers, questions, traces)
        sets.append(AnswerSet(answers=answers, model=stage.backend.model))
    seen = {name for each in sets[:-1] for answer in each.answers.values() for name in answer.numbers}
    names = [name for name in settings.extra_signals if name in seen]
    table = join_answers(sets, signals=["confidence", *names], same=same_answer)
    return replace(table, notes=(*collected.notes, *table.notes))


async def _with_signal(
    name: str,
    signal: Signal,
    stage: Stage,
    answers: Mapping[str, RecordedAnswer],
    questions: Mapping[str, Question],
    traces: Traces,
) -> dict[str, RecordedAnswer]:
    """The answers with a further signal, measured on the recorded completions."""
    found: dict[str, RecordedAnswer] = {}
    for key, answer in answers.items():
        completion = traces[key].steps[0].completion if traces[key].steps else None
        if completion is not None and not answer.failed:
            asked = stage.prompt.render(questions[key]) if stage.prompt else questions[key]
            confidence = await measured(signal, as_measured(stage, asked), completion)
            if confidence.value is not None:
                answer = replace(answer, numbers={**answer.numbers, name: float(confidence.value)})
        found[key] = answer
    return found
