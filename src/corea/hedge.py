"""A cascade that asks its last stage at once when the earlier ones are slow, or write what looks hopeless.

Whoever is first to have an answer wins. The loser is cut off, and what it cost is a step of the trace.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields

from corea.cascade import Cascade, as_question
from corea.early_exit import PartialCompletion
from corea.stage import CUT_OFF, OnError, OnKeep, OnStep, OnText, Stage, TextSink, attempt, skip
from corea.types import Decision, Question, Step, Trace, replace

LOST = "Hedged"  # the `error_kind` of a call that was cut off since another was faster
LOOK_EVERY = 16  # pieces
LOOP_CHARACTERS, LOOP_TIMES = 40, 4
GIVEN_UP = (
    "i don't know", "i do not know", "i'm not sure", "i am not sure", "i have no idea", "i give up",
    "cannot be determined", "not enough information",
)  # fmt: skip


def looks_hopeless(text: str) -> bool:
    """Whether a half-written answer says that it does not know, or goes round in circles. A wrong guess costs money
    (the last stage is asked in vain), never an answer."""
    low = text.lower().replace("’", "'")
    if any(phrase in low for phrase in GIVEN_UP):
        return True
    return len(low) >= LOOP_CHARACTERS * LOOP_TIMES and low.count(low[-LOOP_CHARACTERS:]) >= LOOP_TIMES


@dataclass(frozen=True, kw_only=True)
class HedgedCascade(Cascade):
    """A cascade with a hedge.

    Args:
        hedge_seconds: After so long without a kept answer the last stage is asked too; None is never.
        hopeless: Looks at what an earlier stage has written so far (where its backend streams); True asks it now.
        sleep: Waits so many seconds.
    """

    hedge_seconds: float | None = None
    hopeless: Callable[[str], bool] = looks_hopeless
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    @property
    def in_order(self) -> bool:
        """Whether no stage is asked before the one before it has ended."""
        return self.hedge_seconds is None

    async def ask(
        self,
        question: Question | str,
        *,
        on_text: OnText | None = None,
        on_step: OnStep | None = None,
        on_keep: OnKeep | None = None,
        trace_id: str | None = None,
    ) -> Trace:
        """As `Cascade.ask`. A cut-off call is a step with an error of kind "Hedged", before the step that won."""
        if self.hedge_seconds is None or len(self.stages) == 1:
            return await super().ask(question, on_text=on_text, on_step=on_step, on_keep=on_keep, trace_id=trace_id)
        question = as_question(question)
        began = self.clock()
        give = TextSink(on_text) if on_text else None
        race = _Race(self, question, give, on_step, on_keep, self.hedge_seconds)
        return await self._finish(question, await race.run(), began, give, trace_id)


def hedged(cascade: Cascade, seconds: float) -> HedgedCascade:
    """The same cascade with a hedge."""
    given = {f.name: getattr(cascade, f.name) for f in fields(Cascade)}
    return HedgedCascade(**given, hedge_seconds=seconds)


class _Side(TextSink):
    """One side's way to the client: its first text wins the race."""

    def __init__(self, race: "_Race", name: str, give: TextSink) -> None:
        super().__init__(give)
        self.race = race
        self.name = name

    async def __call__(self, text: str) -> None:
        if text:
            await self.race.claim(self.name)
            await super().__call__(text)


@dataclass(slots=True)
class _Race:
    """One question, asked on two sides: the earlier stages in their order, and the last."""

    cascade: HedgedCascade
    question: Question
    give: TextSink | None
    on_step: OnStep | None
    on_keep: OnKeep | None
    seconds: float
    steps: list[Step] = field(default_factory=list[Step])
    failed_last: Step | None = None
    winner: str | None = None
    go: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: dict[str, "asyncio.Task[None]"] = field(default_factory=dict[str, "asyncio.Task[None]"])

    async def run(self) -> tuple[Step, ...]:
        """All steps, the one that decides last."""
        timer = asyncio.create_task(self._timer())
        self.tasks = {"earlier": asyncio.create_task(self._earlier()), "last": asyncio.create_task(self._last())}
        for task in self.tasks.values():
            task.add_done_callback(self._end_if_broken)
        try:
            ended = await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        except asyncio.CancelledError:  # both are cancelled with us, and say what they used before they end
            await asyncio.wait(self.tasks.values())
            raise
        finally:
            timer.cancel()
        for error in ended:
            if isinstance(error, BaseException) and not isinstance(error, asyncio.CancelledError):
                raise error
        if self.failed_last is not None:  # it stands last only where nobody else had an answer
            self.steps.insert(len(self.steps) if self.winner is None else 0, self.failed_last)
        return tuple(self.steps)

    async def claim(self, side: str) -> None:
        """The first to call this wins, and the other side is cut off. For the other it never returns."""
        if self.winner is None:
            self.winner = side
            other = next(task for name, task in self.tasks.items() if name != side)
            other.cancel()
            await asyncio.wait([other])
        elif self.winner != side:
            await asyncio.Event().wait()

    def _end_if_broken(self, task: "asyncio.Task[None]") -> None:
        """A plug's bug on one side ends the question: nobody waits for the other side."""
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
        return await attempt(
            stage,
            self.question,
            None,
            _Side(self, side, self.give) if self.give is not None else None,
            last=stage is self.cascade.stages[-1],
            on_keep=self.on_keep,
            on_cut=self._lose,
            watch=PartialCompletion(stage.backend.model, asked, on_piece=self._look if side == "earlier" else None),
            clock=self.cascade.clock,
        )

    def _lose(self, step: Step) -> None:
        """Adds what a side had used that was cut off, or broke in a plug."""
        if step.error_kind != CUT_OFF:
            self._add(step)
            return
        error = "cut off: another stage was faster" if self.winner else "cut off"
        self._add(replace(step, error=error, error_kind=LOST))

    def _look(self, draft: PartialCompletion) -> None:
        if len(draft.pieces) % LOOK_EVERY == 0 and not self.go.is_set() and self.cascade.hopeless(draft.text):
            self.go.set()

    def _add(self, step: Step) -> None:
        self.steps.append(step)
        if self.on_step is not None:
            self.on_step(step)
