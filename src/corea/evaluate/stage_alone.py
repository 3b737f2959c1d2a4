"""One stage of a cascade asked alone: a resumable batch within a budget, and what it will and may cost."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from corea.calibrate.binding import free_signals
from corea.cascade import Cascade
from corea.costs.signal_calls import signal_calls
from corea.errors import BackendError, BudgetError, ConfigError
from corea.evaluate.extra_calls import CallSettings, at_most, cost_of, most_usd, repeat_stored, repeatable, traces_in
from corea.policies.threshold import Threshold
from corea.prices import EXACT, Price
from corea.run.answer_settings import answer_settings
from corea.run.recorded import traces_beside
from corea.run.runner import run_batch
from corea.run.shutdown import Stop
from corea.run.summary import RunOutcome, RunProgress, RunSummary
from corea.signals.tokens import wants_logprobs, with_logprobs
from corea.stage import OnError, Stage, total
from corea.trace_io import decode, read_traces
from corea.types import Decision, Question, Status, Trace

Traces = dict[str, Trace]
FIRST = 20  # answers from which the cost of all is estimated


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectSettings:
    """How the models are asked.

    Args:
        folder: Holds the answers; collecting into the same folder again resumes.
        budget_usd: For all stages and starts together; None: unlimited.
        extra_signals: Further signals that read the completion alone, for a blend (see `FROM_THE_COMPLETION`).
        grader: One for all questions, by name; by default each question's own.
        group: The column of the questions that holds their category.
        declared: By stage, the options of its backend, as `answer_settings` takes them.
        repeat: How many stored answers of each stage are asked for again before the others are used.
        baseline_sample: Questions that the last stage is also asked as they came, where its prompt adds words of ours.
        on_progress: Called with the stage's name and its progress.
        on_plan: Called with a line on what will be asked, and what it costs at most, before it is asked.
        confirm: Called after that with the most in USD that all of it can cost (None: unbounded), where that is not 0;
            what it raises ends the collection.
    """

    folder: Path
    budget_usd: Decimal | None = None
    concurrency: int = 32
    extra_signals: tuple[str, ...] = ()
    grader: str | None = None
    group: str = "category"
    declared: Mapping[str, Mapping[str, Any]] | None = None
    repeat: int = 5
    baseline_sample: int = 50
    on_progress: Callable[[str, RunProgress], None] | None = None
    on_plan: Callable[[str], None] | None = None
    confirm: Callable[[Decimal | None], None] | None = None
    stop: Stop | None = None

    def __post_init__(self) -> None:
        for name, least in (("concurrency", 1), ("repeat", 0), ("baseline_sample", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}: got {getattr(self, name)}, expected at least {least}")


def opinion_stage(stage: Stage) -> Stage | None:
    """The model of a stage's second opinion as a stage of its own, asked as the signal asks it; None without one.

    Raises:
        ConfigError: The signal makes other calls than one to one model.
    """
    if stage.second_opinion is None:
        return None
    calls = signal_calls(stage.second_opinion)
    if len(calls) != 1 or calls[0].times != 1:
        raise ConfigError(
            f"stages.{stage.name}.second_opinion: got {sum(call.times for call in calls)} calls, expected one call to "
            "one model; use Agreement(backend, k=1)"
        )
    return Stage(
        name=f"{stage.name}.second_opinion", backend=calls[0].backend, sampling=calls[0].sampling,
        prompt=stage.prompt, price=stage.second_price, mode=stage.mode,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class AskedStage:
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
        cls, stage: Stage, signals: Sequence[str], questions: str, known: Mapping[str, Question],
        settings: CollectSettings, calls: CallSettings,
    ) -> "AskedStage":  # fmt: skip
        """The stage, with its answers of earlier starts; `signals` are further ones that it is asked for."""
        path = settings.folder / f"{stage.name}.jsonl"
        lines = traces_beside(path) if Path(f"{path}.journal").exists() else []
        traces = (decode(line, path=str(path)) for line in lines)
        stored = {trace.question_id: trace for trace in traces if trace.status is not Status.FAILED}
        only = _only(stage, signals)
        return cls(stage, only, questions, known, settings, calls, path, stored)

    @property
    def left(self) -> list[Question]:
        """The questions without a stored answer."""
        return [question for key, question in self.known.items() if key not in self.stored]

    @property
    def is_estimated(self) -> bool:
        """True where the first answers are to tell what all will cost."""
        return len(self.left) > FIRST and not self.stored

    def plan(self) -> tuple[Decimal | None, str]:
        """The most that asking this stage can cost, and a line that says so; with stored answers also an estimate."""
        again = min(self.settings.repeat, len(repeatable(self.stage, self.known, self.stored)))
        most = total([most_usd(self.only, self.left), *[most_usd(self.only, [self.longest])] * again])
        said = f", and {again} of {len(self.stored):,} stored ones again" if again else ""
        if self.stored and self.left:
            mean = float(cost_of(list(self.stored.values()))) / len(self.stored)
            said += f", about {mean * (len(self.left) + again):.2g} USD by the stored answers (estimate)"
        return most, f"asking {self.stage.name}: {len(self.left):,} questions{said}, {at_most(most)}"

    def repeated_note(self, again: Mapping[str, int] | None) -> list[str]:
        """A note on the stored answers that were asked for again; empty for none."""
        if again is None:
            return []
        asked, changed = again["asked"], again["changed"]
        return [f"{asked} stored answers of {self.stage.name} were asked for again: {changed} came out otherwise"]

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

    def _shown(self) -> Callable[[RunProgress], None] | None:
        """Passes the progress on; after the first answers, once, with a line on what all will cost."""
        settings, name = self.settings, self.stage.name
        if (show := settings.on_progress) is None:
            return None
        waiting = [settings.on_plan] if settings.on_plan and self.is_estimated else []

        def pass_on(progress: RunProgress) -> None:
            show(name, progress)
            if waiting and progress.done >= FIRST:
                usd = float(progress.ledger.cost_usd) / progress.done * len(self.known)
                waiting.pop()(f"asking {name}: about {usd:.2g} USD in all by the first {progress.done:,} (estimate)")

        return pass_on

    async def ask(self, spent: Decimal, stop: Stop) -> tuple[Traces, Decimal, str]:
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
                on_progress=self._shown(),
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
        return traces, cost, paid


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
