"""The ledger against a server that keeps its own bill: equal to the last token wherever the server told its tokens."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.costs.scene import (
    BY_LARGE,
    Moody,
    answer,
    backend,
    bill_usd,
    booked,
    by_checker,
    checking,
    hanging,
    make_cascade,
    told,
)
from tests.fakes.server import Asked, Drip, Fail, FakeServer, Hang, Say, serving

from corea.cascade import Cascade, Stage
from corea.cli.run_report import describe
from corea.hedge import LOST, hedged
from corea.ledger import Ledger
from corea.policies.threshold import Threshold
from corea.run.runner import run_batch
from corea.run.summary import RunOutcome
from corea.signals.self_check import SelfCheck
from corea.stage import CUT_OFF
from corea.trace_io import read_traces
from corea.types import Completion, Confidence, Question, Status, Step, Trace

SIGNALS: dict[str, Callable[[str], Any]] = {
    "stated": lambda url: "verbalized",
    "checked by the large model": lambda url: BY_LARGE,
    "sampled again": lambda url: {"kind": "agreement", "k": 2, "sampling": {"temperature": 1.0, "max_tokens": 30}},
    "sampled from a model outside": by_checker,
    "sampled from it at once": lambda url: by_checker(url, at_once=3),
}


def questions(folder: Path, count: int) -> str:
    """A file of questions."""
    path = folder / "questions.jsonl"
    path.write_text("".join(f'{{"id": "q{n}", "question": "what is number {n}"}}\n' for n in range(count)))
    return str(path)


def ask(n: int) -> Question:
    return Question.of(f"what is number {n}", id=f"q{n}")


async def traces_of(cascade: Cascade, folder: Path, count: int, **more: Any) -> list[Trace]:
    await run_batch(cascade, questions(folder, count), str(folder / "answers.jsonl"), **more)
    await cascade.close()
    return list(read_traces(folder / "answers.jsonl"))


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_ledger_of_a_batch_is_the_bill(tmp_path: Path, signal: str, stream: bool) -> None:
    async with serving(otherwise=Moody()) as server:
        cascade = make_cascade(server.base_url, SIGNALS[signal](server.base_url), stream=stream)
        traces = await traces_of(cascade, tmp_path, 30)
    assert not [trace for trace in traces if trace.status is Status.FAILED]  # what breaks off is repeated
    assert all(charge.told for charge in server.charges)
    assert booked(traces) == told(server.charges)
    ledger = Ledger()
    for trace in traces:
        ledger.add(trace)
    assert ledger.cost_usd == bill_usd(server.charges) > 0
    assert ledger.as_dict()["tokens_estimated"] is False


async def test_the_ledger_is_the_bill_where_drafts_are_passed_on(tmp_path: Path) -> None:
    async with serving(otherwise=Moody()) as server:
        cascade = make_cascade(server.base_url, BY_LARGE, small={"pass_draft": True})
        traces = await traces_of(cascade, tmp_path, 12)
    assert booked(traces) == told(server.charges)
    assert sum((t.cost_usd or Decimal(0) for t in traces), Decimal(0)) == bill_usd(server.charges)


async def test_a_check_by_the_large_model_is_no_saving() -> None:
    async with serving(otherwise=answer) as server:
        cascade = make_cascade(server.base_url, BY_LARGE)
        trace = await cascade.ask(ask(3))
        await cascade.close()
    assert [charge.model for charge in server.charges] == ["small", "large", "large"]
    assert trace.cost_usd == bill_usd(server.charges)
    assert trace.saved_usd == bill_usd(server.charges[2:]) - bill_usd(server.charges) < 0


async def test_a_cascade_made_in_python_prices_a_check_by_the_model_that_is_asked() -> None:
    async with serving(otherwise=answer) as server:
        made = make_cascade(server.base_url)
        small, large = made.stages

        def with_check(by: Any, **more: Any) -> Cascade:
            first = Stage(
                name="small", backend=small.backend, signal=SelfCheck(by), policy=Threshold(0.5), price=small.price,
                sampling=small.sampling, **more,
            )  # fmt: skip
            return Cascade(stages=(first, large))

        elsewhere = make_cascade(server.base_url, by_checker(server.base_url)).stages[0]
        checker = elsewhere.signal.backend  # type: ignore[union-attr]
        by_large, by_other = await with_check(large.backend).ask(ask(1)), await with_check(checker).ask(ask(1))
        priced = await with_check(checker, signal_price=elsewhere.signal_price).ask(ask(1))
        await with_check(checker).close()
    assert by_large.cost_usd == bill_usd(server.charges[:2])
    assert by_other.cost_usd is None  # never a wrong one
    assert priced.cost_usd == bill_usd(server.charges[4:])


async def test_what_a_failing_signal_had_finished_is_booked() -> None:
    class Gives(SelfCheck):
        async def measure(self, question: Question, completion: Completion) -> Confidence:
            await super().measure(question, completion)
            raise RuntimeError("a bug")

    async with serving(otherwise=answer) as server:
        small, large = make_cascade(server.base_url).stages
        first = Stage(
            name="small", backend=small.backend, signal=Gives(large.backend), policy=Threshold(0.5), price=small.price,
            sampling=small.sampling,
        )  # fmt: skip
        cascade = Cascade(stages=(first, large))
        (trace,) = [t async for t in cascade.ask_many([ask(1)])]
        await cascade.close()
    assert (trace.status, trace.error) == (Status.FAILED, "RuntimeError: a bug")
    assert booked([trace]) == told(server.charges)
    assert trace.cost_usd == bill_usd(server.charges)


# --- cut off ----------------------------------------------------------------------------------------------------------


def nth(model: str, count: int) -> Callable[[Asked], bool]:
    """True of the request of that number, and of all later ones, to one model."""
    seen = 0

    def when(asked: Asked) -> bool:
        nonlocal seen
        seen += asked.body["model"] == model
        return asked.body["model"] == model and seen >= count

    return when


MOMENTS: dict[str, tuple[Callable[[str], Any], Callable[[], Callable[[Asked], bool]], dict[str, int]]] = {
    "its draft": (lambda url: "verbalized", lambda: nth("small", 1), {}),
    "the check": (lambda url: BY_LARGE, lambda: checking, {"small": 1}),
    "the third sample": (by_checker, lambda: nth("checker", 3), {"small": 1, "checker": 2}),
    "samples at once": (lambda u: by_checker(u, at_once=3), lambda: nth("checker", 2), {"small": 1, "checker": 1}),
    "the large model": (by_checker, lambda: nth("large", 1), {"small": 1, "checker": 3}),
}


async def settled(server: FakeServer) -> None:
    """Waits until the server hangs, and what it sent before has come: both ends are in this event loop."""
    while not server.hanging:
        await asyncio.sleep(0)
    for _ in range(200):
        await asyncio.sleep(0)


async def cut_at(server: FakeServer, cascade: Cascade, *, stream: bool = False) -> list[Step]:
    """Asks, and cancels when the server has begun to hang; the steps that were told."""
    steps: list[Step] = []

    async def listen(text: str) -> None:
        pass

    task = asyncio.create_task(cascade.ask(ask(3), on_step=steps.append, on_text=listen if stream else None))
    await settled(server)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return steps


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_cut_off_request_had_finished_is_booked(moment: str, stream: bool) -> None:
    signal, when, finished = MOMENTS[moment]
    async with serving(otherwise=hanging(when())) as server:
        cascade = make_cascade(server.base_url, signal(server.base_url))
        steps = await cut_at(server, cascade, stream=stream)
        await cascade.close()
        while server.running:
            await asyncio.sleep(0)
    trace = Trace(question_id="q3", steps=tuple(steps), status=Status.FAILED)
    assert {m: sum(c.told for c in server.charges if c.model == m) for m in finished} == finished
    assert booked([trace]) == told(server.charges)
    assert steps[-1].error_kind == CUT_OFF
    costs = [step.cost_usd for step in steps]
    assert all(cost is not None for cost in costs)
    spent = sum((cost for cost in costs if cost is not None), Decimal(0))
    assert spent >= bill_usd(charge for charge in server.charges if charge.told)
    assert bill_usd(server.charges) - spent <= bill_usd(charge for charge in server.charges if not charge.told)


async def test_what_failed_attempts_wasted_is_booked_when_the_next_one_is_cut_off() -> None:
    async with serving(otherwise=Hang()) as server:
        usage = {"prompt_tokens": 4, "completion_tokens": 6}
        server.script = [Fail(503, body={"error": {"message": "no"}, "usage": usage})]
        cascade = make_cascade(server.base_url)
        (step,) = await cut_at(server, cascade)
        await cascade.close()
    assert step.completion is not None
    assert step.completion.wasted is not None
    assert (step.completion.wasted.prompt_tokens, step.completion.wasted.completion_tokens) == (4, 6)
    assert step.completion.retries == 1
    assert step.completion.usage.estimated


async def test_a_stream_that_told_its_usage_before_it_was_cut_off_is_booked_as_told() -> None:
    usage = {"prompt_tokens": 70, "completion_tokens": 9}
    first = {"choices": [{"index": 0, "delta": {"content": "a"}}], "usage": usage}
    async with serving(Drip(f"data: {json.dumps(first)}\n\n".encode())) as server:
        cascade = make_cascade(server.base_url, small={"backend": backend(server.base_url, "small", stream=True)})
        (step,) = await cut_at(server, cascade)
        await cascade.close()
    assert step.completion is not None
    assert (step.completion.text, step.completion.usage.estimated) == ("a", False)
    assert (step.completion.usage.prompt_tokens, step.completion.usage.completion_tokens) == (70, 9)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_loser_of_a_hedge_is_booked_with_its_draft_and_its_samples(stream: bool) -> None:
    async with serving(otherwise=hanging(nth("checker", 3))) as server:
        inner = make_cascade(server.base_url, by_checker(server.base_url))

        async def until_it_hangs(seconds: float) -> None:
            await settled(server)

        async def listen(text: str) -> None:
            pass

        cascade = replace(hedged(inner, 1.0), sleep=until_it_hangs)
        trace = await cascade.ask(ask(1), on_text=listen if stream else None)
        await cascade.close()
        while server.running:
            await asyncio.sleep(0)
    assert [(step.stage, step.error_kind) for step in trace.steps] == [("small", LOST), ("large", None)]
    assert booked([trace]) == told(server.charges)
    assert trace.cost_usd is not None
    assert trace.cost_usd >= bill_usd(charge for charge in server.charges if charge.told)


# --- budgets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signal", ["checked by the large model", "sampled from it at once"])
async def test_a_batch_never_spends_more_than_its_budget(tmp_path: Path, signal: str) -> None:
    budget = Decimal("0.05")
    async with serving(otherwise=Moody()) as server:
        cascade = make_cascade(server.base_url, SIGNALS[signal](server.base_url))
        summary = await run_batch(
            cascade, questions(tmp_path, 400), str(tmp_path / "answers.jsonl"), budget_usd=budget, concurrency=16
        )
        await cascade.close()
    assert summary.outcome is RunOutcome.BUDGET
    assert summary.done > 20
    assert summary.ledger.cost_usd == bill_usd(server.charges) <= budget


async def test_the_baseline_is_of_the_large_model_alone_also_where_it_was_shown_a_draft() -> None:
    async with serving(otherwise=answer) as server:
        cascade = make_cascade(server.base_url, BY_LARGE, small={"pass_draft": True})
        trace = await cascade.ask(ask(3))
        await cascade.close()
    small, check, large = server.charges
    alone = replace(large, prompt=small.prompt)  # the same words without the draft, in both prompts "plain"
    assert trace.cost_usd == bill_usd([small, check, large])
    assert trace.baseline_estimated
    assert trace.baseline_cost_usd is not None
    assert bill_usd([alone]) * Decimal("0.8") < trace.baseline_cost_usd < bill_usd([alone]) * Decimal("1.2")


async def test_a_run_says_when_part_of_its_cost_is_estimated(tmp_path: Path) -> None:
    def untold(asked: Asked) -> Any:
        said = answer(asked)
        usage = {"prompt_tokens": asked.prompt_tokens, "completion_tokens": None}
        return Say(said.text, usage=usage) if asked.body["model"] == "large" else said

    async with serving(otherwise=untold) as server:
        cascade = make_cascade(server.base_url)
        summary = await run_batch(cascade, questions(tmp_path, 4), str(tmp_path / "answers.jsonl"))
        await cascade.close()
    line = "part of the cost is estimated: the server of stage large did not report all tokens"
    assert line in describe(summary, cascade.stages)
    assert summary.as_dict()["ledger"]["tokens_estimated"] is True
    async with serving(otherwise=answer) as server:
        cascade = make_cascade(server.base_url)
        told_whole = await run_batch(cascade, questions(tmp_path, 4), str(tmp_path / "others.jsonl"))
        await cascade.close()
    assert not any("estimated" in each for each in describe(told_whole, cascade.stages))
