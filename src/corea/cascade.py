"""The cascade: stages in order, each asked only when the ones before it were not sure enough.

`await Cascade(stages).ask(question)` gives a `Trace` and never raises for what a backend does. All else in COREA calls
this and reads the trace.
"""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from random import Random
from typing import Self

from corea.background import background
from corea.baseline_cost import BaselineEstimator, without_draft
from corea.costs.signal_calls import signal_calls
from corea.early_exit import CUT
from corea.errors import ConfigError
from corea.prices import EXACT
from corea.prompts import with_draft
from corea.protocols import Backend, Policy
from corea.stage import Giver, OnError, OnKeep, OnStep, OnText, Stage, attempt, skip, total
from corea.types import ZERO_USD, Completion, Decision, Question, Status, Step, Trace

_random = Random(os.urandom(32))
Questions = Iterable[Question | str] | AsyncIterable[Question | str]


class OnLastDown(StrEnum):
    """What follows when the last stage is down, so that nobody is left to ask."""

    FAIL = "fail"  # the question fails
    BEST = "best"  # the kept-back answer with the highest confidence is returned, with status FALLBACK


@dataclass(frozen=True, kw_only=True)
class Cascade:
    """Ordered stages, small to large.

    Args:
        flags: Written into every trace (such as "calibration forced").
        baseline: Learns from the calls made what the last stage alone would have cost; shared by copies.
        clock: Seconds, monotonic.

    Raises:
        ConfigError: No stage, two of one name, or a stage before the last without a signal or policy.
    """

    stages: tuple[Stage, ...]
    name: str = "cascade"
    on_last_down: OnLastDown = OnLastDown.FAIL
    flags: tuple[str, ...] = ()
    baseline: BaselineEstimator = field(default_factory=BaselineEstimator)
    clock: Callable[[], float] = time.perf_counter

    def __post_init__(self) -> None:
        if not self.stages:
            raise ConfigError(f"cascade {self.name}: got no stage, expected at least one; add [stages.NAME]")
        names = [stage.name for stage in self.stages]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ConfigError(
                f"cascade {self.name}: got stages {names}, expected distinct names; rename {sorted(twice)}"
            )
        for stage in self.stages[:-1]:
            if stage.confidence_first and stage.hand_over_draft:
                raise ConfigError(
                    f"cascade {self.name}, stage {stage.name}: got confidence_first and hand_over_draft, expected one; "
                    "a draft that is cut off has nothing to hand over"
                )
            if stage.signal is None or stage.policy is None:
                raise ConfigError(
                    f"cascade {self.name}, stage {stage.name}: got no signal or no policy, expected both before the "
                    "last stage; without them nothing would ever be deferred"
                )
        object.__setattr__(self, "stages", tuple(_with_signal_price(stage, self.stages) for stage in self.stages))

    @property
    def in_order(self) -> bool:
        """Whether no stage is asked before the one before it has ended."""
        return True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.close()

    async def ask(
        self,
        question: Question | str,
        *,
        on_text: OnText | None = None,
        on_step: OnStep | None = None,
        on_keep: OnKeep | None = None,
        trace_id: str | None = None,
    ) -> Trace:
        """Answers one question.

        Args:
            question: A text is a question of one turn.
            on_text: Receives the text of the answer that is returned: piece by piece from the last stage where its
                backend streams, whole where an earlier stage's is kept (or as it is written, with `confidence_first`).
                Nothing of a deferred draft is ever given. When an answer breaks off half way, what was written of it
                has been given and nothing follows it.
            on_step: Receives each step as it ends, before any of its text is given where it is kept; where this is
                cancelled, also the step under way, with what it had used.
            on_keep: Told the stage and confidence of an answer that is kept while it is still being written; its text
                follows, and only then its step.
            trace_id: The trace's; None is a new one.

        Returns:
            The trace; a question that no stage could answer has status FAILED and an error, and raises nothing.
        """
        if type(question) is not Question:  # most are
            question = as_question(question)
        began = self.clock()
        steps: list[Step] = []
        draft: str | None = None
        give = Giver(on_text) if on_text else None
        for stage in self.stages:
            last = stage is self.stages[-1]
            skipped = None if last else skip(stage, question)
            step = skipped or await attempt(
                stage, question, draft, give, last=last, on_keep=on_keep, on_cut=on_step, clock=self.clock
            )
            steps.append(step)
            if on_step:
                on_step(step)
            if skipped is not None:
                continue
            if step.error is not None:
                if stage.on_error is OnError.FAIL or (give is not None and give.begun):
                    break
            elif last or step.decision is not Decision.DEFER:
                break
            elif stage.hand_over_draft and step.completion is not None:
                draft = step.completion.text
        return await self._finish(question, tuple(steps), began, give, trace_id)

    def ask_sync(self, question: Question | str) -> Trace:
        """As `ask`, for code that is not asynchronous: any thread may call it, also within a running event loop.

        All such calls share one event loop in the background, and so its connections; it ends with the process.
        """
        return background.run(self.ask(question))

    async def ask_many(
        self,
        questions: Questions,
        *,
        concurrency: int = 32,
        ordered: bool = False,
    ) -> AsyncGenerator[Trace, None]:
        """Answers a stream of questions of any length in memory that does not grow with it.

        Args:
            questions: Texts, too: they get the ids "question-1", "question-2", ...
            concurrency: Questions under way at once. Nothing further is read from `questions` while so many are under
                way or wait to be taken.
            ordered: Gives traces in the order of the questions; a slow one then holds back at most 4 * `concurrency`.

        Yields:
            One trace a question. A question that fails, even by a bug in a plug, is a FAILED trace and cancels nothing.
            An error raised by `questions` itself, or for what it gives that is no question or is blank, is raised after
            all that was begun has been yielded.
        """
        done: asyncio.Queue[tuple[int, Trace] | None] = asyncio.Queue()
        taken = asyncio.Semaphore(concurrency * 3 if ordered else 0)

        async def take(number: int, trace: Trace) -> None:
            done.put_nowait((number, trace))
            await taken.acquire()

        asking = asyncio.create_task(self.ask_each(questions, take, concurrency=concurrency))
        asking.add_done_callback(lambda _: done.put_nowait(None))
        waiting: dict[int, Trace] = {}
        following = 0
        try:
            while (item := await done.get()) is not None:
                if not ordered:
                    taken.release()
                    yield item[1]
                    continue
                waiting[item[0]] = item[1]
                while following in waiting:
                    taken.release()
                    yield waiting.pop(following)
                    following += 1
            await asking
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def ask_each(
        self,
        questions: Questions,
        take: Callable[[int, Trace], Awaitable[None]],
        *,
        concurrency: int = 32,
        on_step: Callable[[Question, Step], None] | None = None,
    ) -> None:
        """Answers a stream of questions, and gives each trace away as it finishes: `ask_many` without a queue.

        Args:
            take: Receives the question's place in the stream, from 0, and its trace. The next question is read when it
                has returned; an error that it raises ends everything.
            concurrency: As for `ask_many`, and so what follows on failures.
            on_step: Receives each step of each question as it ends, before the next stage is asked.
        """
        if concurrency < 1:
            raise ConfigError(f"concurrency: got {concurrency}, expected at least 1")
        source, taking = _stream(questions), asyncio.Lock()
        number, ended = -1, False
        failure: Exception | None = None

        async def worker() -> None:
            nonlocal number, ended, failure
            while True:
                async with taking:
                    if ended:
                        return
                    try:
                        asked = await anext(source)
                        if type(asked) is not Question:
                            asked = as_question(asked, f"question-{number + 2}")
                    except StopAsyncIteration:
                        ended = True
                        return
                    except Exception as error:
                        failure, ended = error, True
                        return
                    place = number = number + 1
                await take(place, await self._ask_safely(asked, on_step))

        workers = [asyncio.create_task(worker()) for _ in range(concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for task in workers:
                task.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        if failure is not None:
            raise failure

    @property
    def backends(self) -> list[Backend]:
        """Each once: those of its stages, and those that their signals ask."""
        return list({id(backend): backend for stage in self.stages for backend in stage.backends}.values())

    def check(self) -> None:
        """Raises what would fail every call, before one is made; nothing is contacted.

        Raises:
            ConfigError: The environment variable of a key holds none.
        """
        for stage in self.stages:
            stage.check()

    async def close(self) -> None:
        """Frees what the backends hold (connections, worker threads), those that signals ask included."""
        for backend in self.backends:
            if close := getattr(backend, "close", None):
                await close()

    async def _ask_safely(self, question: Question, on_step: Callable[[Question, Step], None] | None) -> Trace:
        steps: list[Step] = []

        def note(step: Step) -> None:
            steps.append(step)
            if on_step is not None:
                on_step(question, step)

        try:
            return await self.ask(question, on_step=note)
        except Exception as error:  # a plug's bug must not cancel the other questions
            return Trace(
                question_id=question.id,
                steps=tuple(steps),
                status=Status.FAILED,
                error=f"{type(error).__name__}: {error}",
                cost_usd=total([step.cost_usd for step in steps]),
                flags=self.flags,
                trace_id=new_id(),
            )

    async def _finish(
        self,
        question: Question,
        steps: tuple[Step, ...],
        began: float,
        give: Giver | None,
        trace_id: str | None,
    ) -> Trace:
        final = steps[-1] if steps else None
        status, error = Status.ANSWERED, None
        if final is None or final.error is not None or final.completion is None:
            error = (final.error if final else None) or "no stage was asked"
            status, final = Status.FAILED, None
            given = give is not None and give.begun  # a broken stream cannot be taken back
            if self.on_last_down is OnLastDown.BEST and not given and steps[-1].stage == self.stages[-1].name:
                final = _best_kept_back(steps)
                status = Status.FALLBACK if final else Status.FAILED
        elif final.decision is Decision.ABSTAIN:
            status = Status.ABSTAINED
        completion = final.completion if final else None
        if give and completion and not give.begun and status is not Status.ABSTAINED:
            await give(completion.text)
        baseline, estimated, assumed = self._baseline(question, steps)
        return Trace(
            question_id=question.id,
            steps=steps,
            status=status,
            answer=final.answer if final and status is not Status.ABSTAINED else None,
            text=completion.text if completion and status is not Status.ABSTAINED else None,
            stage=final.stage if final else None,
            error=error,
            cost_usd=total([step.cost_usd for step in steps]),
            baseline_cost_usd=baseline,
            baseline_estimated=estimated,
            baseline_assumed=assumed,
            seconds=self.clock() - began,
            flags=(*self.flags, CUT_BY_LIMIT) if completion and completion.cut_by_limit else self.flags,
            trace_id=trace_id or new_id(),
        )

    def _baseline(self, question: Question, steps: tuple[Step, ...]) -> tuple[Decimal | None, bool, bool]:
        """What the last stage alone would have cost; whether that is an estimate; whether a mere assumption."""
        last = self.stages[-1]
        step = steps[-1] if steps else None  # no stage is asked after the last
        if step is not None and step.stage == last.name and step.error is None and step.completion is not None:
            draft = self._draft_shown(steps)
            if draft is not None:
                return self._without_draft(question, step, step.completion, draft), True, False
            self.baseline.observe(question, step.completion)
            return step.cost_usd, False, False
        estimate = self.baseline.estimate(question, last.price)
        if estimate is not None or last.price is None:
            return estimate, True, False
        answered = next((s.completion for s in reversed(steps) if s.completion and s.error is None), None)
        return (last.price.cost(answered.usage), True, True) if answered else (None, True, False)

    def _draft_shown(self, steps: tuple[Step, ...]) -> str | None:
        """The draft that the last stage was shown, if any."""
        passing = {stage.name for stage in self.stages if stage.hand_over_draft and self.in_order}
        drafts = (
            s.completion.text for s in reversed(steps[:-1]) if s.stage in passing and not s.error and s.completion
        )
        return next(drafts, None)

    def _without_draft(self, question: Question, step: Step, completion: Completion, draft: str) -> Decimal | None:
        """What the last stage would have cost if it had been asked alone."""
        last = self.stages[-1]
        alone = last.prompt.render(question) if last.prompt else question
        usage = without_draft(completion.usage, alone, with_draft(alone, draft))
        self.baseline.observe(question, Completion(text=completion.text, model=completion.model, usage=usage))
        if last.price is None or step.cost_usd is None:
            return step.cost_usd
        saved = EXACT.subtract(last.price.cost(completion.usage), last.price.cost(usage))
        return max(EXACT.subtract(step.cost_usd, saved), ZERO_USD)


def _with_signal_price(stage: Stage, stages: tuple[Stage, ...]) -> Stage:
    """The stage with the price of the model that its signal asks, where that is another stage's."""
    calls = signal_calls(stage.signal) if stage.signal_price is None and stage.signal is not None else ()
    for call in calls:
        if stage.price_of(call.backend) is None:
            same = [other for other in stages if other.backend is call.backend]
            same += [other for other in stages if other.backend.model == call.backend.model]
            if same and same[0].price is not None:
                return replace(stage, signal_price=same[0].price)
    return stage


def _best_kept_back(steps: tuple[Step, ...]) -> Step | None:
    """The deferred answer with the highest confidence; one without any counts as lowest, the later of equals wins."""
    kept_back = [s for s in steps if s.error is None and s.completion is not None and s.completion.finish_reason != CUT]

    def sureness(step: Step) -> float:
        return step.confidence.value if step.confidence and step.confidence.value is not None else -1.0

    return max(reversed(kept_back), key=sureness, default=None)


CUT_BY_LIMIT = "cut by the token limit"
"""The flag of a trace whose answering text the token limit ended: its answer may be missing, or not the last word."""


def new_id() -> str:
    """A trace's id: unlike any other, but no secret, so that the system need not be asked for each."""
    return f"{_random.getrandbits(128):032x}"


def as_question(question: Question | str, id: str = "question") -> Question:
    """The question; a text becomes one of a single turn.

    Raises:
        ConfigError: It is neither, or blank: nothing is to be asked and paid for.
    """
    if isinstance(question, str):
        if not question.strip():
            raise ConfigError(f"{id}: got a blank text, expected a question; leave it out")
        return Question.of(question, id=id)
    if not isinstance(question, Question):  # pyright: ignore[reportUnnecessaryIsInstance]  # from untyped programs
        raise ConfigError(f"{id}: got {_kind_of(question)}, expected a text or a Question; Question.of(text) makes one")
    return question


def _kind_of(value: object) -> str:
    return "None" if value is None else f"an object of type {type(value).__name__}"


def _stream(questions: Questions) -> AsyncIterator[Question | str]:
    if isinstance(questions, AsyncIterable):
        return aiter(questions)
    if isinstance(questions, str | bytes | Mapping) or not isinstance(questions, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(
            f"questions: got {_kind_of(questions)}, expected several questions, such as a list of texts; "
            "ask(...) takes one"
        )
    return _each(questions)


async def _each(questions: Iterable[Question | str]) -> AsyncIterator[Question | str]:
    for question in questions:
        yield question


def with_threshold(cascade: Cascade, stage: str, policy: Policy) -> Cascade:
    """The same cascade with another policy at one stage; backends and baseline are shared."""
    stages = tuple(replace(s, policy=policy) if s.name == stage else s for s in cascade.stages)
    return replace(cascade, stages=stages)
