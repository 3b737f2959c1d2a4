"""Collects the answers of each stage of a cascade, asked alone; resumable, within a budget, graded.

    settings = CollectSettings(folder=Path("calibration.answers"))
    found = await calibrate_live(cascade, "labelled.jsonl", Targets(max_drop=0.02), settings=settings)

FOLDER/STAGE.jsonl             the traces of one stage, asked alone (and those of `corea.evaluate.extra_calls`)
FOLDER/STAGE.jsonl.journal     its journal: re-running resumes, and only calls in flight may be paid twice
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from msgspec import structs

from corea.calibrate import Calibration, FitOptions, Targets, fit
from corea.calibrate.artefact import StageBinding
from corea.calibrate.binding import binding_of, free_signals
from corea.cascade import Cascade
from corea.costs.bounds import question_bound, unbounded
from corea.datasets.local import read_labelled
from corea.errors import ConfigError, DataError
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
    reported_model,
    traces_in,
)
from corea.evaluate.plain_baseline import plain_columns, plain_note, with_plain_baseline
from corea.evaluate.stage_alone import FIRST, AskedStage, CollectSettings, Traces, opinion_stage
from corea.metrics.score_map import SECOND_OPINION
from corea.prices import EXACT
from corea.protocols import Signal
from corea.records.answer import AnswerSet, RecordedAnswer, answers_of_traces
from corea.records.join import join_answers, with_second_opinion
from corea.records.table import LEAST_ROWS, OutcomeTable
from corea.run.shutdown import Stop
from corea.signals.measured import measured
from corea.stage import Stage, as_measured, total
from corea.types import Question

DEFAULTS = FitOptions()


@dataclass(frozen=True, slots=True)
class CollectedTraces:
    """The traces of each stage by question id, with remarks on what asking them cost.

    Args:
        reported: By stage, the model's name as its server stated it.
        repeated: By stage, as in `StageBinding`.
        plain: Answers of the last stage to a sample of the questions as they came; empty where it is asked so anyway.
        opinions: By stage, the second opinions; empty for a stage without one.
    """

    stages: tuple[Traces, ...]
    notes: tuple[str, ...] = ()
    reported: tuple[str | None, ...] = ()
    repeated: tuple[dict[str, int] | None, ...] = ()
    plain: Mapping[str, RecordedAnswer] = field(default_factory=dict[str, RecordedAnswer])
    opinions: tuple[Traces, ...] = ()

    def binding(self, cascade: Cascade) -> tuple[StageBinding, ...]:
        """The binding of a calibration with these answers."""
        bound = binding_of(cascade)
        return tuple(
            structs.replace(each, reported=name, repeated=again)
            for each, name, again in zip(bound, self.reported, self.repeated, strict=True)
        )


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
    known = load_questions(questions, grader=settings.grader, group=settings.group)
    given, targets = targets, with_cost_cap(targets, cascade, known)
    collected = await collect_traces(cascade, questions, known, settings)
    table = with_cap_note(await outcome_table(cascade, known, collected, settings), given, targets)
    return with_plain_baseline(fit(table, targets, options, binding=collected.binding(cascade)), table)


def load_questions(
    path: str, *, labelled: bool = True, grader: str | None = None, group: str = "category"
) -> dict[str, Question]:
    """Questions by id, in the order of the file.

    Args:
        labelled: Every question must have a reference.
        grader: One for all; by default each question's own.
        group: The column that holds a question's category; another one than "category" must be there.

    Raises:
        ConfigError, DataError: See `read_labelled`; or there are too few questions. Nothing was asked yet.
    """
    hint = "give --few-labels" if labelled else ""
    found = read_labelled(path, labelled=labelled, grader=grader, hint=hint, category=group)
    if group != "category" and all(question.category is None for question in found.values()):
        raise ConfigError(f"--group: no row of {path} has a column {group!r}, expected one of every row; name it")
    if len(found) < LEAST_ROWS:
        raise DataError(f"got {len(found)} questions, expected at least {LEAST_ROWS}; label more", path=path)
    return found


def with_cost_cap(targets: Targets, cascade: Cascade, questions: Mapping[str, Question]) -> Targets:
    """The targets with the most that any of these questions can cost as the cap, where one is needed and none is given.

    Every stage's `max_tokens` and price bound it, with all retries and a second opinion.

    Raises:
        ConfigError: A stage sets no limit, so that there is no bound.
    """
    if not targets.needs_cap or targets.cost_cap_usd is not None:
        return targets
    seconds = [second for each in cascade.stages[:-1] if (second := opinion_stage(each))]
    stages = (*cascade.stages, *seconds)
    bounds = [question_bound(stages, question) for question in questions.values()]
    known = [bound for bound in bounds if bound is not None]
    if len(known) < len(bounds):
        stage, lacks = unbounded(stages) or (stages[0], "price")
        raise ConfigError(
            f"calibrate: got no --cost-cap and no {lacks} of stages.{stage.name}, expected the most that one question "
            "can cost, as a mean of unbounded costs cannot be guaranteed; set one of them"
        )
    return replace(targets, cost_cap_usd=float(max(known)))


def with_cap_note(table: OutcomeTable, given: Targets, used: Targets) -> OutcomeTable:
    """The table with a note on the cap, where `with_cost_cap` found it."""
    if given == used:
        return table
    note = (
        f"the cap of {used.cost_cap_usd:.4g} USD is the most that the longest question here can cost by max_tokens, "
        "prices and retries of all stages; --cost-cap sets a lower one"
    )
    return replace(table, notes=(*table.notes, note))


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
    asked = [AskedStage.of(each, () if each is last else settings.extra_signals, questions, known, settings, calls)
             for each in cascade.stages]  # fmt: skip
    seconds = {each.name: opinion_stage(each) for each in cascade.stages[:-1]}
    opinions = {
        name: AskedStage.of(each, (), questions, known, settings, calls) for name, each in seconds.items() if each
    }
    count = 0 if asks_plainly(last) else settings.baseline_sample
    plainly = PlainSample.of(last, known, settings.folder, count)
    everything = [*asked, *opinions.values()]
    most, lines = _plan(everything, plainly, settings)
    if settings.on_plan is not None:
        for line in lines:
            settings.on_plan(line)
    if settings.confirm is not None and most != 0:
        settings.confirm(most)
    paths = [path for kind in ("repeated", "plain-*") for path in settings.folder.glob(f"*.{kind}.jsonl")]
    spent = cost_of([trace for each in everything for trace in each.stored.values()])
    spent = EXACT.add(spent, cost_of([trace for path in paths for trace in traces_in(path)]))
    found, notes = dict[str, Traces](), list[str]()
    reported, repeated = dict[str, str | None](), dict[str, dict[str, int] | None]()
    for each in everything:
        name = each.stage.name
        repeated[name], cost = await each.repeat(spent)
        spent = EXACT.subtract(EXACT.add(spent, cost), cost_of(list(each.stored.values())))
        found[name], cost, note = await each.ask(spent, stop)
        spent = EXACT.add(spent, cost)
        notes += [note, *each.repeated_note(repeated[name])]
        reported[name] = reported_model(each.stage, list(found[name].values()), settings.folder)
    plain = await plainly.ask(spent=spent, settings=calls, grader=settings.grader)
    notes.append(plain_note(last, plain, measured=bool(count)))
    names = [each.name for each in cascade.stages]
    return CollectedTraces(
        stages=tuple(found[name] for name in names), notes=tuple(notes), plain=plain,
        reported=tuple(reported[name] for name in names), repeated=tuple(repeated[name] for name in names),
        opinions=tuple(found[opinions[name].stage.name] if name in opinions else {} for name in names),
    )  # fmt: skip


def _plan(
    stages: Sequence[AskedStage], plainly: PlainSample, settings: CollectSettings
) -> tuple[Decimal | None, list[str]]:
    """The most that asking can cost, and lines with that and how many questions each stage will be asked."""
    bounds, lines = list[Decimal | None](), list[str]()
    for each in stages:
        most, said = each.plan()
        lines.append(said)
        bounds.append(most)
    if plainly.missing:
        bounds.append(most_usd(plainly.cascade, plainly.missing))
        name, n = plainly.cascade.name, len(plainly.missing)
        lines.append(f"asking {name} plainly, for the baseline: {n:,} questions, {at_most(bounds[-1])}")
    estimate = f"; the cost is estimated after the first {FIRST} answers of each" if settings.on_progress else ""
    most = total(bounds)
    return most, [*lines, f"in all: {at_most(most)}{estimate if any(each.is_estimated for each in stages) else ''}"]


def _check(cascade: Cascade) -> None:
    if len(cascade.stages) < 2:
        raise ConfigError(f"cascade {cascade.name}: got one stage, expected two or more: there is nothing to decide")
    for stage in cascade.stages:
        if stage.price is None:
            raise ConfigError(
                f"calibrate: stage {stage.name} has no price, so there is nothing to save; add it to [prices]"
            )
        if stage.second_opinion is not None and stage.second_price is None:
            raise ConfigError(
                f"calibrate: the second opinion of stage {stage.name} has no price, so its cost cannot be counted; add "
                "it to [prices]"
            )
        if stage.pass_draft:
            raise ConfigError(
                f"calibrate: stage {stage.name} hands its draft over, so the next model alone would not be what "
                "answers after it; set pass_draft = false"
            )


# --- grading and tables ---------------------------------------------------------------------------------------------


async def outcome_table(
    cascade: Cascade, questions: Mapping[str, Question], collected: CollectedTraces, settings: CollectSettings
) -> OutcomeTable:
    """The collected answers of all stages as one table.

    A stage that failed at a question counts as wrong and without a confidence there, as the cascade would defer it;
    questions at which the last one failed are left out and counted in the notes; without a reference, one has no label.
    """
    sets: list[AnswerSet] = []
    opinions = collected.opinions or ({},) * len(cascade.stages)
    for stage, traces, seconds in zip(cascade.stages, collected.stages, opinions, strict=True):
        answers = answers_of_traces(questions, priced_now(stage, traces, questions), settings.grader)
        if stage is not cascade.stages[-1]:
            for name, signal in free_signals(settings.extra_signals).items():
                answers = await _with_signal(name, signal, stage, answers, questions, traces)
        found = AnswerSet(answers=answers, model=stage.backend.model)
        if seconds and (second := opinion_stage(stage)):
            others = answers_of_traces(questions, priced_now(second, seconds, questions), settings.grader)
            other = AnswerSet(answers=others, model=second.backend.model)
            found = await asyncio.to_thread(with_second_opinion, found, other, questions=questions)
        sets.append(found)
    seen = {name for each in sets[:-1] for answer in each.answers.values() for name in answer.numbers}
    names = [name for name in (*settings.extra_signals, SECOND_OPINION) if name in seen]
    table = join_answers(sets, signals=["confidence", *names], category_column=settings.group)
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
