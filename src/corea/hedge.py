"""A cascade that also asks its last stage when the earlier ones are slow (a hedged request).

The first answer wins. The other call is cut off, and its cost is a step of the trace.
Source: Dean and Barroso 2013, "The Tail at Scale", https://doi.org/10.1145/2408776.2408794.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields

from corea.cascade import Cascade
from corea.early_exit import PartialCompletion
from corea.prompts import with_draft
from corea.question_stream import as_question
from corea.stage import CUT_OFF, OnError, OnKeep, OnStep, Stage, attempt, skip
from corea.text_sink import OnPart, OnText, TextSink
from corea.types import Decision, Question, Step, StreamPart, Trace, replace

LOST = "Hedged"  # the `error_kind` of a call that was cut off since another was faster


@dataclass(frozen=True, kw_only=True)
class HedgedCascade(Cascade):
    """A cascade with a hedge.

    Args:
        hedge_seconds: The last stage is asked too after this time without a kept answer, then without a draft that is
            not written yet; None: never.
        sleep: Waits for a number of seconds.
    """

    hedge_seconds: float | None = None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    @property
    def in_order(self) -> bool:
        """True where each stage is asked only after the one before it has ended."""
        return self.hedge_seconds is None

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
        """Answers like `Cascade.ask`. A call that was cut off is a step with an error of kind "Hedged"."""
        if self.hedge_seconds is None or len(self.stages) == 1:
            return await super().ask(
                question, on_text=on_text, on_part=on_part, on_step=on_step, on_keep=on_keep, trace_id=trace_id
            )
        question = as_question(question)
        began = self.clock()
        sink = TextSink(on_text, on_part) if on_text else None
        race = _Race(self, question, sink, on_step, on_keep, self.hedge_seconds)
        return await self._finish(question, await race.run(), began, sink, trace_id)


def hedged(cascade: Cascade, seconds: float) -> HedgedCascade:
    """The same cascade with a hedge."""
    given = {f.name: getattr(cascade, f.name) for f in fields(Cascade)}
    return HedgedCascade(**given, hedge_seconds=seconds)


class _RacingSink(TextSink):
    """The text of one side: its first piece wins the race."""

    def __init__(self, race: "_Race", name: str, sink: TextSink) -> None:
        super().__init__(sink, sink)
        self.race = race
        self.name = name

    async def __call__(self, piece: str | StreamPart) -> None:
        if piece:
            await self.race.claim(self.name)
            await super().__call__(piece)


@dataclass(slots=True)
class _Race:
    """One question, asked on two sides: the earlier stages in order, and the last stage."""

    cascade: HedgedCascade
    question: Question
    sink: TextSink | None
    on_step: OnStep | None
    on_keep: OnKeep | None
    seconds: float
    steps: list[Step] = field(default_factory=list[Step])
    failed_last: Step | None = None
    winner: str | None = None
    draft: str | None = None
    go: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: dict[str, "asyncio.Task[None]"] = field(default_factory=dict[str, "asyncio.Task[None]"])

    async def run(self) -> tuple[Step, ...]:
        """All steps, ending with the deciding one."""
        timer = asyncio.create_task(self._timer())
        self.tasks = {"earlier": asyncio.create_task(self._earlier()), "last": asyncio.create_task(self._last())}
        for task in self.tasks.values():
            task.add_done_callback(self._end_if_broken)
        try:
            ended = await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        except asyncio.CancelledError:  # both are cancelled too, and report their usage before they end
            await asyncio.wait(self.tasks.values())
            raise
        finally:
            timer.cancel()
        for error in ended:
            if isinstance(error, BaseException) and not isinstance(error, asyncio.CancelledError):
                raise error
        if self.failed_last is not None:  # it comes last only where no other stage had an answer
            self.steps.insert(len(self.steps) if self.winner is None else 0, self.failed_last)
        return tuple(self.steps)

    async def claim(self, side: str) -> None:
        """Makes the first side to call this the winner and cuts the other one off, for which this never returns."""
        if self.winner is None:
            self.winner = side
            other = next(task for name, task in self.tasks.items() if name != side)
            other.cancel()
            await asyncio.wait([other])
        elif self.winner != side:
            await asyncio.Event().wait()

    def _end_if_broken(self, task: "asyncio.Task[None]") -> None:
        """Ends the question on a bug in a plug on one side."""
        if not task.cancelled() and task.exception() is not None:
            for each in self.tasks.values():
                each.cancel()

    async def _timer(self) -> None:
        await self.cascade.sleep(self.seconds)
        self.go.set()

    async def _earlier(self) -> None:
        for stage in self.cascade.stages[:-1]:
            if (skipped := skip(stage, self.question)) is not None:
                self._add(skipped)
                continue
            step = await self._call(stage, "earlier")
            down = step.error is not None and stage.on_error is OnError.NEXT and self.winner is None
            if not down and step.decision is not Decision.DEFER:
                await self.claim("earlier")
                self._add(step)
                return
            self._add(step)
            if stage.pass_draft and step.completion is not None and step.error is None:
                self.draft = step.completion.text
        self.go.set()

    async def _last(self) -> None:
        await self.go.wait()
        step = await self._call(self.cascade.stages[-1], "last")
        if step.error is not None and self.winner is None and self.on_step is not None:
            self.on_step(step)
        if step.error is not None and self.winner is None:
            self.failed_last = step
            return
        await self.claim("last")
        self._add(step)

    async def _call(self, stage: Stage, side: str) -> Step:
        asked = stage.prompt.render(self.question) if stage.prompt else self.question
        if self.draft is not None:
            asked = with_draft(asked, self.draft)
        return await attempt(
            stage,
            self.question,
            self.draft,
            _RacingSink(self, side, self.sink) if self.sink is not None else None,
            last=stage is self.cascade.stages[-1],
            on_keep=self.on_keep,
            on_cut=self._lose,
            partial=PartialCompletion(stage.backend.model, asked, stage.sampling.extra),
            clock=self.cascade.clock,
        )

    def _lose(self, step: Step) -> None:
        """Adds the usage of a side that was cut off, or broke in a plug."""
        if step.error_kind != CUT_OFF:
            self._add(step)
            return
        error = "cut off: another stage was faster" if self.winner else "cut off"
        self._add(replace(step, error=error, error_kind=LOST))

    def _add(self, step: Step) -> None:
        self.steps.append(step)
        if self.on_step is not None:
            self.on_step(step)
