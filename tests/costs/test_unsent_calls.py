"""Only what was sent is booked: no call without a key, none that waits for a connection, none that a bug kept back."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.costs.scene import answer, backend, bill_usd, booked, by_checker, make_cascade, told
from tests.fakes.server import FakeServer, Hang, serving

from corea.backends.fake import FakeBackend
from corea.cascade import Cascade, Stage
from corea.errors import ConfigError
from corea.evaluate.collect import CollectSettings, collect_traces
from corea.hedge import hedged
from corea.prices import Price
from corea.run.runner import run_batch
from corea.stage import CUT_OFF
from corea.types import Question, Sampling, Status, Step

NO_KEY = {"api_key_env": "COREA_TEST_NO_SUCH_KEY"}
SAID = "environment variable COREA_TEST_NO_SUCH_KEY: got nothing, expected an API key"


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COREA_TEST_NO_SUCH_KEY", raising=False)


def questions(folder: Path, count: int = 5) -> str:
    path = folder / "questions.jsonl"
    path.write_text(
        "".join(f'{{"id": "q{n}", "question": "what is number {n}", "answer": "{n}"}}\n' for n in range(count))
    )
    return str(path)


def keyless(url: str, model: str) -> dict[str, Any]:
    return {"backend": backend(url, model, **NO_KEY)}


async def steps_until(cascade: Cascade, raised: type[BaseException]) -> list[Step]:
    """The steps of a question that ends in an error."""
    steps: list[Step] = []
    with pytest.raises(raised):
        await cascade.ask(Question.of("what is number 1", id="q1"), on_step=steps.append)
    return steps


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_without_its_key_costs_nothing(stream: bool) -> None:
    async with serving(otherwise=answer) as server:
        cascade = make_cascade(
            server.base_url, small={"backend": backend(server.base_url, "small", stream=stream, **NO_KEY)}
        )
        (step,) = await steps_until(cascade, ConfigError)
        (trace,) = [t async for t in cascade.ask_many(["what is number 1"])]
        await cascade.close()
    assert (step.completion, step.cost_usd, step.error_kind) == (None, 0, "ConfigError")
    assert step.error == f"ConfigError: {SAID}; set it with `export COREA_TEST_NO_SUCH_KEY=...`"
    assert (trace.status, trace.cost_usd, server.charges) == (Status.FAILED, 0, [])


@pytest.mark.parametrize("at_once", [1, 3])
async def test_a_check_without_its_key_costs_nothing_and_its_draft_all_it_cost(at_once: int) -> None:
    async with serving(otherwise=answer) as server:
        checker = by_checker(server.base_url, at_once=at_once, backend=backend(server.base_url, "checker", **NO_KEY))
        cascade = make_cascade(server.base_url, checker)
        (step,) = await steps_until(cascade, ConfigError)
        (trace,) = [t async for t in cascade.ask_many(["what is number 1"])]
        await cascade.close()
    draft, again = server.charges
    assert (step.confidence, step.cost_usd) == (None, bill_usd([draft]))
    assert trace.cost_usd == bill_usd([again])
    assert booked([trace]) == told([again])


async def test_a_hedge_that_breaks_in_a_plug_says_so_and_books_what_was_sent() -> None:
    async with serving(otherwise=answer) as server:
        cascade = hedged(make_cascade(server.base_url, small=keyless(server.base_url, "small")), 1000.0)
        (step,) = await steps_until(cascade, ConfigError)
        await cascade.close()
    assert (step.error_kind, step.cost_usd, server.charges) == ("ConfigError", 0, [])


async def test_a_run_asks_for_its_keys_before_its_first_question(tmp_path: Path) -> None:
    async with serving(otherwise=answer) as server:
        cascade = make_cascade(server.base_url)
        small, large = cascade.stages
        lacking = make_cascade(server.base_url, small=keyless(server.base_url, "small")).stages[0]
        for broken in (
            Cascade(stages=(lacking, large)),
            make_cascade(
                server.base_url, by_checker(server.base_url, backend=backend(server.base_url, "checker", **NO_KEY))
            ),
        ):
            for _ in range(3):
                with pytest.raises(ConfigError, match=f"^stages.small: {SAID}"):
                    await run_batch(broken, questions(tmp_path), str(tmp_path / "a.jsonl"), budget_usd=Decimal(1))
        assert server.charges == []
        done = await run_batch(cascade, questions(tmp_path), str(tmp_path / "a.jsonl"), budget_usd=Decimal(1))
        await cascade.close()
        assert small.price is not None
    assert (done.done, done.failed, done.lost) == (5, 0, 0)
    assert done.ledger.cost_usd == bill_usd(server.charges)


async def test_a_run_that_is_done_needs_no_key(tmp_path: Path) -> None:
    async with serving(otherwise=answer) as server:
        cascade = make_cascade(server.base_url)
        await run_batch(cascade, questions(tmp_path), str(tmp_path / "a.jsonl"))
        await cascade.close()
        without = make_cascade(server.base_url, small=keyless(server.base_url, "small"))
        again = await run_batch(without, questions(tmp_path), str(tmp_path / "a.jsonl"))
    assert (again.done, again.resumed, again.failed) == (5, 5, 0)


async def test_calibration_asks_for_every_stages_key_before_the_first_stage_is_paid(tmp_path: Path) -> None:
    async with serving(otherwise=answer) as server:
        cascade = make_cascade(server.base_url)
        lacking = make_cascade(server.base_url, small=keyless(server.base_url, "large")).stages[0]
        last = Stage(name="large", backend=lacking.backend, price=lacking.price, sampling=lacking.sampling)
        with pytest.raises(ConfigError, match=f"^stages.large: {SAID}"):
            await collect_traces(
                Cascade(stages=(cascade.stages[0], last)),
                questions(tmp_path),
                {},
                CollectSettings(folder=tmp_path / "answers"),
            )
        await cascade.close()
    assert server.charges == []


async def test_what_breaks_in_a_plug_is_booked_with_0_over_all_starts(tmp_path: Path) -> None:
    def reply(question: Question) -> str:
        raise ValueError("Port out of range 0-65535")

    price = Price(input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(1))
    for _ in range(3):
        cascade = Cascade(
            stages=(Stage(name="a", backend=FakeBackend("m", reply), price=price, sampling=Sampling(max_tokens=9)),)
        )
        summary = await run_batch(cascade, questions(tmp_path), str(tmp_path / "a.jsonl"), budget_usd=Decimal("0.01"))
        assert (summary.failed, summary.ledger.cost_usd, summary.left_usd) == (5, 0, Decimal("0.01"))
        assert summary.last_error == "ValueError: Port out of range 0-65535"


async def until(server: FakeServer, hanging: int) -> None:
    while server.hanging < hanging:
        await asyncio.sleep(0)
    for _ in range(200):
        await asyncio.sleep(0)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_that_waits_for_a_connection_when_it_is_cut_off_costs_nothing(stream: bool) -> None:
    async with serving(otherwise=Hang()) as server:
        cascade = make_cascade(server.base_url, max_connections=1, stream=stream)
        steps: dict[int, list[Step]] = {1: [], 2: []}
        asking = [asyncio.create_task(cascade.ask(f"what is number {n}", on_step=steps[n].append)) for n in (1, 2)]
        await until(server, 1)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await cascade.close()
        while server.running:
            await asyncio.sleep(0)
    assert len(server.charges) == 1
    (sent,), (waiting,) = steps[1], steps[2]
    assert (sent.error_kind, waiting.error_kind) == (CUT_OFF, CUT_OFF)
    assert sent.cost_usd is not None
    assert sent.cost_usd > 0
    assert sent.completion is not None
    assert sent.completion.usage.estimated
    assert waiting.cost_usd == 0


async def test_what_had_come_of_a_stream_is_booked_when_its_listener_breaks() -> None:
    async def listen(text: str) -> None:
        raise ZeroDivisionError("a bug")

    async with serving(otherwise=answer) as server:
        large = make_cascade(server.base_url).stages[1]
        steps: list[Step] = []
        with pytest.raises(ZeroDivisionError):
            await Cascade(stages=(large,)).ask("what is number 3", on_text=listen, on_step=steps.append)
        await Cascade(stages=(large,)).close()
    (step,) = steps
    assert step.error == "ZeroDivisionError: a bug"
    assert step.completion is not None
    assert step.completion.usage.prompt_tokens > 0
    assert step.cost_usd is not None
    assert step.cost_usd > 0
