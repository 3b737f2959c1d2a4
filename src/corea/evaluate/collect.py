"""Collects the answers of each stage of a cascade, asked alone; resumable, within a budget, graded.

    settings = CollectSettings(folder=Path("calibration.answers"))
    found = await calibrate_live(cascade, "labelled.jsonl", Targets(max_drop=0.02), settings=settings)

FOLDER/STAGE.jsonl             the traces of one stage, asked alone (and those of `corea.evaluate.extra_calls`)
FOLDER/STAGE.jsonl.journal     its journal: re-running resumes, and only calls in flight may be paid twice
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import structs

from corea.calibrate import Calibration, FitOptions, Targets, fit
from corea.calibrate.artefact import StageBinding
from corea.calibrate.binding import binding_of, free_signals
from corea.cascade import Cascade
from corea.datasets.local import read_labelled
from corea.errors import BackendError, BudgetError, ConfigError, DataError
from corea.evaluate.extra_calls import (
    UNMEASURED,
    CallSettings,
    PlainSample,
    asks_plainly,
    at_most,
    cost_of,
    make_folder,
    most_usd,
    priced_now,
    repeat_stored,
    reported_model,
    traces_in,
)
from corea.evaluate.plain_baseline import plain_columns, plain_note, with_plain_baseline
from corea.policies.threshold import Threshold
from corea.prices import EXACT, Price
from corea.protocols import Signal
from corea.records.answer import AnswerSet, RecordedAnswer, answers_of_traces
from corea.records.join import join_answers
from corea.records.table import LEAST_ROWS, OutcomeTable
from corea.run.answer_settings import answer_settings
from corea.run.recorded import traces_beside
from corea.run.runner import run_batch
from corea.run.shutdown import Stop
from corea.run.summary import RunOutcome, RunProgress, RunSummary
from corea.signals.agreement import same_answer
from corea.signals.measured import measured
from corea.signals.tokens import wants_logprobs, with_logprobs
from corea.stage import OnError, Stage, as_measured, total
from corea.trace_io import decode, read_traces
from corea.types import Decision, Question, Status, Trace

Traces = dict[str, Trace]
DEFAULTS = FitOptions()


@dataclass(frozen=True, slots=True)
class CollectedTraces:
    """The traces of each stage by question id, with remarks on what asking them cost.

    Args:
        reported: By stage, the model's name as its server stated it.
        repeated: By stage, as in `StageBinding`.
        plain: Answers of the last stage to a sample of the questions as they came; empty where it is asked so anyway.
    """

    stages: tuple[Traces, ...]
    notes: tuple[str, ...] = ()
    reported: tuple[str | None, ...] = ()
    repeated: tuple[dict[str, int] | None, ...] = ()
    plain: Mapping[str, RecordedAnswer] = field(default_factory=dict[str, RecordedAnswer])

    def binding(self, cascade: Cascade) -> tuple[StageBinding, ...]:
        """The binding of a calibration with these answers."""
        bound = binding_of(cascade)
        return tuple(
            structs.replace(each, reported=name, repeated=again)
            for each, name, again in zip(bound, self.reported, self.repeated, strict=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectSettings:
    """How the models are asked.

    Args:
        folder: Holds the answers; collecting into the same folder again resumes.
        budget_usd: For all stages and starts together; None: unlimited.
        extra_signals: Further signals that read the completion alone, for a blend (see `FROM_THE_COMPLETION`).
        grader: One for all questions, by name; by default each question's own.
        declared: By stage, the options of its backend, as `answer_settings` takes them.
        repeat: How many stored answers of each stage are asked for again before the others are used.
        baseline_sample: Questions that the last stage is also asked as they came, where its prompt adds words of ours.
        on_progress: Called with the stage's name and its progress.
        on_plan: Called with a line on what will be asked, and what it costs at most, before it is asked.
    """

    folder: Path
    budget_usd: Decimal | None = None
    concurrency: int = 32
    extra_signals: tuple[str, ...] = ()
    grader: str | None = None
    declared: Mapping[str, Mapping[str, Any]] | None = None
    repeat: int = 5
    baseline_sample: int = 50
    on_progress: Callable[[str, RunProgress], None] | None = None
    on_plan: Callable[[str], None] | None = None
    stop: Stop | None = None

    def __post_init__(self) -> None:
        for name, least in (("concurrency", 1), ("repeat", 0), ("baseline_sample", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}: got {getattr(self, name)}, expected at least {least}")


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
    collected = await collect_traces(cascade, questions, known, settings)
    table = await outcome_table(cascade, known, collected, settings)
    return with_plain_baseline(fit(table, targets, options, binding=collected.binding(cascade)), table)


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


async def collect_traces(
    cascade: Cascade, questions: str, known: Mapping[str, Question], settings: CollectSettings
) -> CollectedTraces:
    """The traces of each stage asked alone, by question id; what failed at a start is asked again at the next.

    Where answers of an earlier start are stored, some of them are asked for again first.

    Args:
        known: The questions of that file, by id.

    Raises:
        ConfigError: A stage has no price or no key, or hands its draft over: the next one alone would be another; or
            the model behind a name has changed since answers were stored.
        BudgetError, BackendError, InterruptedError: It ended early; started again, it goes on.
    """
    _check(cascade)
    if not all((settings.folder / f"{stage.name}.jsonl").exists() for stage in cascade.stages):
        cascade.check()  # all keys, before the first stage is paid for
    make_folder(settings.folder)
    last, stop = cascade.stages[-1], settings.stop or Stop()
    calls = CallSettings(concurrency=settings.concurrency, budget_usd=settings.budget_usd, stop=stop)
    stages = [_AskedStage.of(each, each is last, questions, known, settings, calls) for each in cascade.stages]
    count = 0 if asks_plainly(last) else settings.baseline_sample
    plainly = PlainSample.of(last, known, settings.folder, count)
    if settings.on_plan is not None:
        for line in _plan(stages, plainly, settings):
            settings.on_plan(line)
    paths = [path for kind in ("repeated", "plain-*") for path in settings.folder.glob(f"*.{kind}.jsonl")]
    spent = cost_of([trace for each in stages for trace in each.stored.values()])
    spent = EXACT.add(spent, cost_of([trace for path in paths for trace in traces_in(path)]))
    found, notes = list[Traces](), list[str]()
    reported, repeated = list[str | None](), list[dict[str, int] | None]()
    for each in stages:
        again, cost = await each.repeat(spent)
        spent = EXACT.subtract(EXACT.add(spent, cost), cost_of(list(each.stored.values())))
        traces, cost, note = await each.ask(spent, stop)
        spent = EXACT.add(spent, cost)
        found.append(traces)
        notes += note if again is None else [*note, _repeated(each.stage, again)]
        reported.append(reported_model(each.stage, list(traces.values()), settings.folder))
        repeated.append(again)
    plain = await plainly.ask(spent=spent, settings=calls, grader=settings.grader)
    notes.append(plain_note(last, plain, measured=bool(count)))
    return CollectedTraces(tuple(found), tuple(notes), tuple(reported), tuple(repeated), plain)


def _plan(stages: Sequence["_AskedStage"], plainly: PlainSample, settings: CollectSettings) -> list[str]:
    """Lines with how many questions each stage will be asked, and the most that this can cost."""
    bounds, lines = list[Decimal | None](), list[str]()
    for each in stages:
        left = [question for key, question in each.known.items() if key not in each.stored]
        again = min(settings.repeat, len(each.stored))
        most = total([most_usd(each.only, left), *[most_usd(each.only, [each.longest])] * again])
        said = f", and {again} of {len(each.stored):,} stored ones again" if each.stored else ""
        lines.append(f"asking {each.stage.name}: {len(left):,} questions{said}, {at_most(most)}")
        bounds.append(most)
    if plainly.missing:
        bounds.append(most_usd(plainly.cascade, plainly.missing))
        name, n = plainly.cascade.name, len(plainly.missing)
        lines.append(f"asking {name} plainly, for the baseline: {n:,} questions, {at_most(bounds[-1])}")
    return [*lines, f"in all: {at_most(total(bounds))}"]


@dataclass(frozen=True, slots=True)
class _AskedStage:
    """One stage that is asked alone."""

    stage: Stage
    only: Cascade
    questions: str
    known: Mapping[str, Question]
    settings: CollectSettings
    calls: CallSettings
    path: Path
    stored: Traces

    @classmethod
    def of(
        cls, stage: Stage, last: bool, questions: str, known: Mapping[str, Question], settings: CollectSettings,
        calls: CallSettings,
    ) -> "_AskedStage":  # fmt: skip
        """The stage, with its answers of earlier starts."""
        path = settings.folder / f"{stage.name}.jsonl"
        lines = traces_beside(path) if Path(f"{path}.journal").exists() else []
        traces = (decode(line, path=str(path)) for line in lines)
        stored = {trace.question_id: trace for trace in traces if trace.status is not Status.FAILED}
        only = _only(stage, () if last else settings.extra_signals)
        return cls(stage, only, questions, known, settings, calls, path, stored)

    @property
    def longest(self) -> Question:
        """The longest question, whose cost is bounded by the most."""
        return max(self.known.values(), key=lambda question: sum(len(each.content) for each in question.messages))

    async def repeat(self, spent: Decimal) -> tuple[dict[str, int] | None, Decimal]:
        """Asks for stored answers again; with what that cost."""
        path = self.settings.folder / f"{self.stage.name}.repeated.jsonl"
        before = cost_of(traces_in(path))
        found = await repeat_stored(
            self.only, self.known, self.stored, self.settings.folder, count=self.settings.repeat, spent=spent,
            settings=self.calls, grader=self.settings.grader,
        )  # fmt: skip
        return found, EXACT.subtract(cost_of(traces_in(path)), before)

    async def ask(self, spent: Decimal, stop: Stop) -> tuple[Traces, Decimal, list[str]]:
        """The traces of all questions, with what they cost and a note on it."""
        settings, name, budget = self.settings, self.stage.name, self.settings.budget_usd
        try:
            summary = await run_batch(
                self.only,
                self.questions,
                str(self.path),
                concurrency=settings.concurrency,
                budget_usd=None if budget is None else max(Decimal(0), budget - spent),
                settings=answer_settings(self.only, declared=settings.declared),
                on_progress=None if settings.on_progress is None else partial(settings.on_progress, name),
                stop=stop,
            )
        except ConfigError as error:  # begun with other settings, or another run is writing it
            said = str(error).replace("name another --out", "name another folder with --answers")
            raise ConfigError(said) from error
        cost = summary.ledger.cost_usd + summary.lost_usd_at_most
        _check_whole(summary, self.stage, len(self.known), spent + cost, settings)
        traces = {trace.question_id: trace for trace in read_traces(self.path)}
        reused = f", {summary.resumed:,} stored answers of earlier starts included" if summary.resumed else ""
        paid = f"asking {name} cost {float(summary.ledger.cost_usd):.4g} USD for {len(traces):,} answers{reused}"
        return traces, cost, [paid]


def _repeated(stage: Stage, again: Mapping[str, int]) -> str:
    asked, changed = again["asked"], again["changed"]
    return f"{asked} stored answers of {stage.name} were asked for again: {changed} came out otherwise"


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
    questions at which the last one failed are left out and counted in the notes; without a reference, one has no label.
    """
    sets: list[AnswerSet] = []
    for stage, traces in zip(cascade.stages, collected.stages, strict=True):
        answers = answers_of_traces(questions, priced_now(stage, traces, questions), settings.grader)
        if stage is not cascade.stages[-1]:
            for name, signal in free_signals(settings.extra_signals).items():
                answers = await _with_signal(name, signal, stage, answers, questions, traces)
        sets.append(AnswerSet(answers=answers, model=stage.backend.model))
    seen = {name for each in sets[:-1] for answer in each.answers.values() for name in answer.numbers}
    names = [name for name in settings.extra_signals if name in seen]
    table = join_answers(sets, signals=["confidence", *names], same=same_answer)
    if collected.plain:
        table = table.change(-1, **plain_columns(table, collected.plain))
    lost = [UNMEASURED.format(name=name) for name in settings.extra_signals if name not in seen]
    return replace(table, notes=(*collected.notes, *lost, *table.notes))


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
