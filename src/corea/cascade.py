"""The cascade: stages in order, each asked only where the ones before it deferred.

`await Cascade(stages).ask(question)` returns a `Trace` and does not raise for backend failures. Everything else in
COREA calls this and reads the trace.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, partial
from typing import Self, cast

from msgspec import Struct

from corea.background import background
from corea.baseline_cost import BaselineEstimator, CalibrationFacts, draft_after, last_stage_alone
from corea.errors import ConfigError
from corea.protocols import Backend
from corea.question_stream import Questions, as_question, question_stream
from corea.stage import OnError, OnKeep, OnStep, Stage, all_priced, attempt, skip, total, with_signal_price
from corea.text_sink import OnPart, OnText, TextSink
from corea.trace_flags import COST_INCOMPLETE, CUT_BY_LIMIT, best_draft, new_id, other_models
from corea.types import ZERO_USD, Decision, Question, Status, Step, Trace


class OnLastDown(StrEnum):
    """The outcome of a question where the last stage is down and no stage is left to ask."""

    FAIL = "fail"  # the question fails
    BEST = "best"  # the kept-back answer with the highest confidence is returned, with status FALLBACK


class Begun(Struct, frozen=True):
    """A question that goes on after some steps.

    Args:
        cascade: Asks its further stages.
        pause_at: Names of stages before which it pauses.
    """

    cascade: "Cascade"
    steps: tuple[Step, ...] = ()
    pause_at: Collection[str] = ()

    def go_on(self, question: Question, on_step: OnStep) -> Awaitable[Trace]:
        """Asks its further stages."""
        return self.cascade.go_on(question, self, on_step=on_step)


@dataclass(frozen=True, kw_only=True)
class Cascade:
    """Ordered stages, small to large.

    Args:
        flags: Written into every trace (such as "calibration forced").
        baseline: Estimates the cost of the last stage alone from the calls made; shared by copies.
        calibrated: Facts of its calibration.
        clock: Seconds, monotonic.

    Raises:
        ConfigError: No stage, two of one name, or a stage before the last without a signal or policy.
    """

    stages: tuple[Stage, ...]
    name: str = "cascade"
    on_last_down: OnLastDown = OnLastDown.FAIL
    flags: tuple[str, ...] = ()
    baseline: BaselineEstimator = field(default_factory=BaselineEstimator)
    calibrated: CalibrationFacts = CalibrationFacts()
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
            if stage.confidence_first and stage.pass_draft:
                raise ConfigError(
                    f"cascade {self.name}, stage {stage.name}: got confidence_first and pass_draft, expected one; "
                    "a draft that is cut off cannot be passed on"
                )
            if stage.signal is None or stage.policy is None:
                raise ConfigError(
                    f"cascade {self.name}, stage {stage.name}: got no signal or no policy, expected both before the "
                    "last stage; without them nothing would ever be deferred"
                )
        object.__setattr__(self, "stages", tuple(with_signal_price(stage, self.stages) for stage in self.stages))

    @cached_property
    def _calibrated_models(self) -> dict[str, str]:
        return {stage.name: stage.calibrated_model for stage in self.stages if stage.calibrated_model is not None}

    @property
    def in_order(self) -> bool:
        """True where each stage is asked only after the one before it has ended."""
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
        on_part: OnPart | None = None,
        on_step: OnStep | None = None,
        on_keep: OnKeep | None = None,
        trace_id: str | None = None,
    ) -> Trace:
        """Answers one question.

        Args:
            question: A text is a question of one turn.
            on_text: Receives the text of the answer that is returned: piece by piece from the last stage where its
                backend streams, whole where an earlier stage's is kept (or as it is written, with `confidence_first`).
                The text of a deferred draft is never passed. If an answer breaks off, the text written so far has been
                passed and no other follows it.
            on_part: Receives, in place of `on_text`, the pieces of a streamed answer that have more than text (tool
                calls, reasoning); a draft that was not streamed has them in its completion alone.
            on_step: Receives each step as it ends, before any text of a kept one is passed; if this call is cancelled,
                also the step under way, with its usage so far.
            on_keep: Receives the stage and confidence of an answer that is kept while it is still being written; its
                text follows, and only then its step.
            trace_id: The trace's; None is a new one.

        Returns:
            The trace; a question that no stage could answer has status FAILED and an error, and raises nothing.
        """
        if type(question) is not Question:  # most are
            question = as_question(question)
        began = self.clock()
        steps: list[Step] = []
        sink = TextSink(on_text, on_part) if on_text else None
        await self._ask_stages(self.stages, question, steps, sink, on_step, on_keep)
        return await self._finish(question, tuple(steps), began, sink, trace_id)

    async def go_on(self, question: Question, begun: Begun, *, on_step: OnStep | None = None) -> Trace:
        """Asks the further stages of a question, as `ask` does; the trace has status WAITING if it pauses."""
        began, steps, done = self.clock(), list(begun.steps), begun.steps[-1].stage if begun.steps else None
        first = next((n for n, stage in enumerate(self.stages, 1) if stage.name == done), 0)
        paused = await self._ask_stages(
            self.stages[first:], question, steps, None, on_step, None, draft_after(self.stages, steps), begun.pause_at
        )
        if paused is None:
            return await self._finish(question, tuple(steps), began, None, None)
        cost = total([step.cost_usd for step in steps]) if steps else ZERO_USD
        status, stage = Status.WAITING, paused.name
        return Trace(question_id=question.id, steps=tuple(steps), status=status, stage=stage, cost_usd=cost)

    async def _ask_stages(
        self,
        stages: Sequence[Stage],
        question: Question,
        steps: list[Step],
        sink: TextSink | None,
        on_step: OnStep | None,
        on_keep: OnKeep | None,
        draft: str | None = None,
        pause_at: Collection[str] = (),
    ) -> Stage | None:
        """Adds the steps of these stages; returns the stage before which it paused."""
        for stage in stages:
            last = stage is self.stages[-1]
            skipped = None if last or stage.pre_policy is None else skip(stage, question)
            if skipped is None and stage.name in pause_at:
                return stage
            step = skipped or await attempt(
                stage, question, draft, sink, last=last, on_keep=on_keep, on_cut=on_step, clock=self.clock
            )
            steps.append(step)
            if on_step:
                on_step(step)
            if skipped is not None:
                continue
            if step.error is not None:
                if stage.on_error is OnError.FAIL or (sink is not None and sink.begun):
                    break
            elif last or step.decision is not Decision.DEFER:
                break
            elif stage.pass_draft and step.completion is not None:
                draft = step.completion.text
        return None

    def ask_sync(self, question: Question | str) -> Trace:
        """`ask` for synchronous code: callable from any thread, also within a running event loop.

        All such calls share one background event loop and its connections; it ends with the process.
        """
        return background.run(self.ask(question))

    async def ask_many(
        self,
        questions: Questions,
        *,
        concurrency: int = 32,
        ordered: bool = False,
    ) -> AsyncGenerator[Trace, None]:
        """Answers a stream of questions in memory that does not grow with its length.

        Args:
            questions: `Question`s, or texts, which get the ids "question-1", "question-2", ...
            concurrency: Questions under way at once. No further one is read while so many are under way or wait to be
                taken.
            ordered: Yields traces in the order of the questions; a slow one delays at most 4 * `concurrency` others.

        Yields:
            One trace per question. A question that fails, even by a bug in a plug, is a FAILED trace and cancels no
            other. An error raised by `questions`, or for an item that is not a question or is blank, is raised after
            all questions under way have been yielded.
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
        before: Callable[[], Awaitable[None]] | None = None,
        begun: Callable[[Question], Begun] | None = None,
    ) -> None:
        """Answers a stream of questions and passes each trace to `take` as it finishes: `ask_many` without a queue.

        Args:
            take: Receives the question's position in the stream, from 0, and its trace. The next question is read when
                it has returned; an error that it raises ends everything.
            on_step: Receives each step of each question as it ends, before the next stage is asked.
            before: Awaited before each question is asked; an error that it raises counts as one of `questions`.
            begun: Gives how far a question is.
        """
        _check_concurrency(concurrency)
        source, taking = question_stream(questions), asyncio.Lock()
        number, ended, failure = -1, False, cast(Exception | None, None)

        async def worker() -> None:
            nonlocal number, ended, failure
            while True:
                try:
                    async with taking:
                        if ended:
                            return
                        asked = await anext(source)
                        if type(asked) is not Question:
                            asked = as_question(asked, f"question-{number + 2}")
                        place = number = number + 1
                    if before is not None:
                        await before()
                except StopAsyncIteration:
                    ended = True
                    return
                except Exception as error:
                    failure, ended = error, True
                    return
                so_far = begun(asked) if begun else None
                steps = [*so_far.steps] if so_far else list[Step]()
                note = steps.append if on_step is None else partial(_note, steps, asked, on_step)
                try:
                    trace = await (so_far.go_on(asked, note) if so_far else self.ask(asked, on_step=note))
                except Exception as error:  # a plug's bug must not cancel the other questions
                    trace = self._broken(asked, steps, error)
                await take(place, trace)

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
        """The backends of the stages and of their signals, each once."""
        return list({id(backend): backend for stage in self.stages for backend in stage.backends}.values())

    def check(self) -> None:
        """Checks for errors that would fail every call, without contacting a server.

        Raises:
            ConfigError: The environment variable of a key holds none.
        """
        for stage in self.stages:
            stage.check()

    async def close(self) -> None:
        """Closes all backends (connections, worker threads), those of signals included."""
        for backend in self.backends:
            if close := getattr(backend, "close", None):
                await close()

    def _broken(self, question: Question, steps: list[Step], error: Exception) -> Trace:
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
        sink: TextSink | None,
        trace_id: str | None,
    ) -> Trace:
        final = steps[-1] if steps else None
        status, error = Status.ANSWERED, None
        if final is None or final.error is not None or final.completion is None:
            error = (final.error if final else None) or "no stage was asked"
            status, final = Status.FAILED, None
            given = sink is not None and sink.begun  # text that was passed on cannot be withdrawn
            if self.on_last_down is OnLastDown.BEST and not given and steps[-1].stage == self.stages[-1].name:
                final = best_draft(steps)
                status = Status.FALLBACK if final else Status.FAILED
        elif final.decision is Decision.ABSTAIN:
            status = Status.ABSTAINED
        completion = final.completion if final else None
        answer = text = None
        if final is not None and completion is not None and status is not Status.ABSTAINED:
            answer, text = final.answer, completion.text
        if sink and text is not None and not sink.begun:
            await sink(text)
        flags = (*self.flags, CUT_BY_LIMIT) if completion and completion.cut_by_limit else self.flags
        if not all_priced(self.stages, steps):
            flags = (*flags, COST_INCOMPLETE)
        if self._calibrated_models:
            flags = (*flags, *other_models(self._calibrated_models, steps))
        baseline = last_stage_alone(self.baseline, self.stages, question, steps, in_order=self.in_order)
        return Trace(
            question_id=question.id,
            steps=steps,
            status=status,
            answer=answer,
            text=text,
            stage=final.stage if final else None,
            error=error,
            cost_usd=(cost := total([step.cost_usd for step in steps])),
            baseline_cost_usd=baseline.usd,
            baseline_estimated=baseline.estimated,
            baseline_assumed=baseline.assumed,
            seconds=self.clock() - began,
            flags=(*flags, *self.calibrated.flags(cost)),
            trace_id=trace_id or new_id(),
        )


def _check_concurrency(concurrency: int) -> None:
    if concurrency < 1:
        raise ConfigError(f"concurrency: got {concurrency}, expected at least 1")


def _note(steps: list[Step], question: Question, on_step: Callable[[Question, Step], None], step: Step) -> None:
    steps.append(step)
    on_step(question, step)
