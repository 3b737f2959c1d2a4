"""The hedge: who wins, what the loser cost, and that nothing of it is shown."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest

from corea.cascade import OnLastDown, Stage
from corea.errors import BackendError
from corea.hedge import LOST, HedgedCascade, hedged
from corea.policies.threshold import Threshold
from corea.prices import Price
from corea.signals.verbalized import Verbalized
from corea.types import Completion, Question, Sampling, Status, Step, Trace, Usage

CHEAP = Price(input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(2))
DEAR = Price(input_usd_per_mtok=Decimal(10), output_usd_per_mtok=Decimal(20))
ASKED = Question.of("12 + 7?")
SURE = ["<answer>19</answer>", "<confidence>0.9</confidence>"]
UNSURE = ["<answer>18</answer>", "<confidence>0.2</confidence>"]
USAGE = Usage(prompt_tokens=100, completion_tokens=10)


class Clockwork:
    """Time that passes only when all wait: sleepers wake in the order of their hour."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waiting: list[tuple[float, asyncio.Event]] = []

    async def sleep(self, seconds: float) -> None:
        event = asyncio.Event()
        self.waiting.append((self.now + seconds, event))
        await event.wait()

    async def run(self, work: Any) -> Any:
        task = asyncio.ensure_future(work)
        while not task.done():
            for _ in range(20):
                await asyncio.sleep(0)
            if not task.done() and self.waiting:
                self.waiting.sort(key=lambda item: item[0])
                self.now, event = self.waiting.pop(0)
                event.set()
        return task.result()


@dataclass
class Timed:
    """A model whose pieces come at set intervals."""

    clock: Clockwork
    pieces: list[str]
    first_seconds: float
    between_seconds: float = 0.0
    model: str = "timed"
    fails: bool = False
    calls: int = 0
    cancelled: int = 0

    async def complete(self, question: Question, sampling: Sampling) -> Completion:
        return [piece async for piece in self.stream(question, sampling)][-1]  # type: ignore[return-value]

    async def stream(self, question: Question, sampling: Sampling) -> AsyncIterator[str | Completion]:
        self.calls += 1
        try:
            await self.clock.sleep(self.first_seconds)
            if self.fails:
                raise BackendError("down", backend=self.model)
            for piece in self.pieces:
                yield piece
                await self.clock.sleep(self.between_seconds)
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise
        yield Completion(text="".join(self.pieces), model=self.model, usage=USAGE, finish_reason="stop")


@dataclass
class Scene:
    """A pair with a hedge, and what was told."""

    clock: Clockwork
    small: Timed
    large: Timed
    cascade: HedgedCascade

    async def ask(self, *, stream: bool = True) -> tuple[Trace, list[str]]:
        told: list[str] = []

        async def listen(text: str) -> None:
            told.append(text)

        def step(step: Step) -> None:
            told.append(f"step {step.stage} {step.error_kind or step.decision}")

        asking = self.cascade.ask(ASKED, on_text=listen if stream else None, on_step=step)
        return await self.clock.run(asking), told


def scene(
    small: list[str], small_seconds: float, large_seconds: float, *, hedge: float = 5.0, stage: Any = None, **more: Any
) -> Scene:
    clock = Clockwork()
    first = Timed(clock, small, small_seconds, **more)
    last = Timed(clock, ["It is ", "<answer>20</answer>"], large_seconds, 1.0, model="large")
    stages = (
        Stage(name="small", backend=first, signal=Verbalized(), policy=Threshold(0.8), price=CHEAP, **(stage or {})),
        Stage(name="large", backend=last, price=DEAR),
    )
    return Scene(clock, first, last, HedgedCascade(stages=stages, hedge_seconds=hedge, sleep=clock.sleep))


async def test_a_quick_small_model_never_wakes_the_large_one() -> None:
    s = scene(SURE, 1, 1)
    trace, told = await s.ask()
    assert (trace.stage, s.large.calls, told) == ("small", 0, ["step small keep", "".join(SURE)])


async def test_a_slow_small_model_loses_to_the_first_word_of_the_large_one() -> None:
    s = scene(SURE, 60, 2)
    trace, told = await s.ask()
    assert (trace.stage, trace.answer, s.small.cancelled) == ("large", "20", 1)
    assert told == [f"step small {LOST}", "It is ", "<answer>20</answer>", "step large keep"]
    assert s.clock.now == 9  # hedged at 5, first word at 7, two pieces of a second


async def test_the_loser_is_counted_with_what_it_had_written() -> None:
    s = scene(["<answer>19", "</answer>", "..."], 6, 8, between_seconds=6.0)
    trace, _ = await s.ask()
    lost = trace.steps[0]
    assert lost.completion is not None
    assert lost.completion.usage == Usage(prompt_tokens=6, completion_tokens=2, estimated=True)  # at 6 s and at 12 s
    assert lost.cost_usd == CHEAP.cost(lost.completion.usage)
    assert trace.cost_usd == (lost.cost_usd or 0) + DEAR.cost(USAGE)


async def test_a_small_model_that_comes_first_after_all_is_kept_and_the_large_one_cut_off() -> None:
    s = scene(SURE, 6, 60)
    trace, told = await s.ask()
    assert told == [f"step large {LOST}", "step small keep", "".join(SURE)]
    assert (trace.stage, s.large.calls, s.large.cancelled) == ("small", 1, 1)
    assert trace.steps[-1].stage == "small"
    assert trace.steps[0].cost_usd == DEAR.cost(Usage(prompt_tokens=6))


async def test_an_unsure_small_model_leaves_the_answer_to_the_large_one_that_is_on_its_way() -> None:
    s = scene(UNSURE, 6, 3)
    trace, told = await s.ask()
    assert told == ["step small defer", "It is ", "<answer>20</answer>", "step large keep"]
    assert (s.clock.now, [step.cost_usd for step in trace.steps]) == (10, [CHEAP.cost(USAGE), DEAR.cost(USAGE)])


async def test_without_a_stream_the_first_whole_answer_wins() -> None:
    s = scene(SURE, 8, 2)  # the large one begins to write at 7, but has not ended by 8
    trace, _ = await s.ask(stream=False)
    assert (trace.stage, s.large.cancelled) == ("small", 1)


async def test_a_large_model_that_is_down_leaves_time_to_the_small_one() -> None:
    s = scene(SURE, 20, 2)
    s.large.fails = True
    trace, told = await s.ask()
    assert (trace.stage, trace.status) == ("small", Status.ANSWERED)
    assert told == ["step large BackendError", "step small keep", "".join(SURE)]


async def test_where_both_fail_to_answer_the_question_fails_and_no_draft_is_shown() -> None:
    s = scene(UNSURE, 20, 2)
    s.large.fails = True
    trace, told = await s.ask()
    assert (trace.status, trace.text, trace.steps[-1].stage) == (Status.FAILED, None, "large")
    assert told == ["step large BackendError", "step small defer"]


async def test_the_best_draft_is_the_fallback_here_too_where_that_is_set() -> None:
    s = scene(UNSURE, 20, 2)
    s.large.fails = True
    s.cascade = replace(s.cascade, on_last_down=OnLastDown.BEST)
    trace, _ = await s.ask()
    assert (trace.status, trace.stage) == (Status.FALLBACK, "small")


async def test_a_confidence_stated_first_wins_the_race_for_the_small_model() -> None:
    pieces = ["<confidence>0.9</confidence>", "<answer>19", "</answer>"]
    s = scene(pieces, 6, 3, stage={"confidence_first": True}, between_seconds=9.0)
    trace, told = await s.ask()
    assert told == [f"step large {LOST}", *pieces, "step small keep"]
    assert trace.stage == "small"


async def test_a_question_that_is_cancelled_says_what_both_sides_used() -> None:
    s = scene(["a ", "b "] * 99, 1, 3, hedge=5.0, between_seconds=4.0)
    s.large.between_seconds = 1000.0
    steps: list[Step] = []
    task = asyncio.ensure_future(s.cascade.ask(ASKED, on_step=steps.append))

    async def cancel_at_seven() -> None:
        await s.clock.sleep(7)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    await s.clock.run(cancel_at_seven())
    assert [(x.stage, x.error, x.completion and x.completion.usage.completion_tokens) for x in steps] == [
        ("small", "cut off", 2),
        ("large", "cut off", 0),
    ]


def test_a_cascade_is_hedged_with_all_it_has() -> None:
    s = scene(SURE, 1, 1)
    other = hedged(s.cascade, 2.0)
    assert (other.stages, other.hedge_seconds, other.baseline is s.cascade.baseline) == (s.cascade.stages, 2.0, True)


async def test_a_deferred_draft_is_passed_on_with_a_hedge_too() -> None:
    clock = Clockwork()
    seen: list[str] = []

    async def never(seconds: float) -> None:
        await asyncio.Event().wait()

    class Watched(Timed):
        async def stream(self, question: Question, sampling: Sampling) -> AsyncIterator[str | Completion]:
            seen.append(question.messages[-1].content)
            async for piece in super().stream(question, sampling):
                yield piece

    small = Stage(
        name="small", backend=Timed(clock, UNSURE, 1), signal=Verbalized(), policy=Threshold(0.8), price=CHEAP,
        pass_draft=True,
    )  # fmt: skip
    large = Stage(name="large", backend=Watched(clock, ["19"], 1), price=DEAR)
    cascade = HedgedCascade(stages=(small, large), hedge_seconds=60, sleep=never)
    trace = await clock.run(cascade.ask(ASKED))
    assert (trace.stage, "<answer>18</answer>" in seen[0]) == ("large", True)
