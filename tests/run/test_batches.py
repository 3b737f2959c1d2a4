"""Runs whose large stage is asked by a batch API: answers as a live run's, each batch created once, the bill exact."""

import json
import tracemalloc
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from answering import LARGE, SMALL, Stated, question_lines
from tests.fakes.batches import BatchServer

from corea.backends.fake import FakeBackend
from corea.backends.openai.client import OpenAIBackend, OpenAISettings
from corea.cascade import Cascade
from corea.datasets.question_source import QuestionSource
from corea.errors import ConfigError, DataError
from corea.policies.threshold import Threshold
from corea.prices import Price, PriceTable, PriceTier
from corea.run.batch_calls import BatchOptions
from corea.run.merge import merge_shards
from corea.run.runner import OnBadRow, run_batch
from corea.run.shards import plan_shards
from corea.run.shutdown import Stop
from corea.run.summary import RunOutcome, RunSummary
from corea.stage import Stage
from corea.trace_io import read_traces
from corea.types import Sampling, Usage

STEPS = ("upload", "create", "list", "look", "fetch")


def reply(text: str) -> str:
    """By number: sure for two in three."""
    n = int(text.split()[-1])
    return f"<answer>{n}</answer> <confidence>{0.2 if n % 3 == 0 else 0.9}</confidence>"


def cascade(
    url: str, *, large: Any = True, small: Any = False, apis: tuple[str, ...] = ("chat",), retries: int = 2
) -> Cascade:
    def backend(model: str) -> OpenAIBackend:
        return OpenAIBackend(
            OpenAISettings(
                model=model, base_url=url, max_retries=retries, apis=apis if model == "large" else ("chat",),
                backoff_base_seconds=0.0,
            )
        )  # fmt: skip

    def price(base: Price, name: str) -> Price:
        return Price(
            input_usd_per_mtok=base.input_usd_per_mtok,
            output_usd_per_mtok=base.output_usd_per_mtok,
            source=name,
            batch=Decimal("0.5"),
        )

    limit = Sampling(max_tokens=50)
    return Cascade(
        stages=(
            Stage(
                name="small", backend=backend("small"), sampling=limit, signal=Stated(), policy=Threshold(0.5),
                price=price(SMALL, "small"), batch=small,
            ),
            Stage(name="large", backend=backend("large"), sampling=limit, price=price(LARGE, "large"), batch=large),
        )
    )  # fmt: skip


async def no_sleep(_: float) -> None:
    return


async def run(folder: Path, asked: Cascade, *, count: int = 12, name: str = "answers", **more: Any) -> RunSummary:
    questions = folder / "questions.jsonl"
    questions.write_bytes(question_lines(count))
    options = BatchOptions(sleep=no_sleep, **{key: more.pop(key) for key in list(more) if key in OPTIONS})
    more.setdefault("batches", options)
    try:
        return await run_batch(asked, str(questions), str(folder / f"{name}.jsonl"), settings={"test": 1}, **more)
    finally:
        await asked.close()


OPTIONS = ("wait", "cancel", "max_lines", "max_bytes")


def bill(server: BatchServer) -> Decimal:
    """What the server charges: live at the whole price, a batch at half."""
    prices = {"small in": 1, "small out": 2, "large in": 10, "large out": 20}
    live = sum(prices[kind] * tokens for kind, tokens in server.live_tokens.items() if kind in prices)
    batched = sum(prices[kind] * tokens for kind, tokens in server.batch_tokens.items() if kind in prices)
    return (Decimal(live) + Decimal(batched) / 2) / 1_000_000


def answers(folder: Path, name: str = "answers") -> dict[str, str | None]:
    return {trace.question_id: trace.answer for trace in read_traces(folder / f"{name}.jsonl")}


def all_right(count: int) -> dict[str, str]:
    return {f"q{n}": str(n) for n in range(count)}


def check(folder: Path, server: BatchServer, summary: RunSummary, *, batches: int = 1, count: int = 12) -> None:
    assert list(answers(folder).items()) == list(all_right(count).items())
    assert (summary.outcome, summary.done, summary.failed, summary.waiting) == (RunOutcome.COMPLETE, count, 0, 0)
    assert server.created == batches
    assert summary.ledger.cost_usd == bill(server)
    assert not list((folder / "answers.jsonl.batches").iterdir())


def plain(path: Path) -> list[Any]:
    """The traces, without costs, times and ids."""

    def cut(value: Any) -> Any:
        if isinstance(value, dict):
            gone = ("seconds", "trace_id", "outside")  # Anthropic names its counts otherwise
            return {k: cut(v) for k, v in value.items() if k not in gone and "cost" not in k and "baseline" not in k}
        return [cut(each) for each in value] if isinstance(value, list) else value

    return [cut(json.loads(line)) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("apis", [("chat",), ("messages",)])
async def test_answers_are_those_of_a_live_run(tmp_path: Path, small: bool, apis: tuple[str, ...]) -> None:
    async with BatchServer(reply) as server:
        await run(tmp_path, cascade(server.base_url), name="live", batches=None)
        live = dict(server.live_tokens)
        server.live_tokens.clear()
        summary = await run(tmp_path, cascade(server.base_url, small=small, apis=apis))
    check(tmp_path, server, summary, batches=1 + small)
    assert plain(tmp_path / "answers.jsonl") == plain(tmp_path / "live.jsonl")
    assert server.live_tokens + server.batch_tokens == live
    assert summary.ledger.stages["large"].calls == 4


@pytest.mark.parametrize("fault", ["lose", "die", "busy"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("apis", [("chat",), ("messages",)])
async def test_a_fault_at_any_step_creates_nothing_twice(
    tmp_path: Path, step: str, fault: str, apis: tuple[str, ...]
) -> None:
    async with BatchServer(reply, faults={step: fault}) as server:
        if step == "list":
            server.faults["create"] = "lose"
        summary = await run(tmp_path, cascade(server.base_url, apis=apis))
    check(tmp_path, server, summary)
    assert summary.lost == 0


@pytest.mark.parametrize("step", STEPS)
async def test_without_retries_the_run_ends_and_the_next_start_goes_on(tmp_path: Path, step: str) -> None:
    async with BatchServer(reply) as server:
        server.faults = {"create": "lose", "list": "die"} if step == "list" else {step: "lose"}
        first = await run(tmp_path, cascade(server.base_url, retries=0), wait=False)
        starts = 1
        while (summary := await run(tmp_path, cascade(server.base_url, retries=0), wait=False)).waiting:
            starts += 1
            assert starts < 9
    assert first.outcome in (RunOutcome.WAITING, RunOutcome.GAVE_UP)
    check(tmp_path, server, summary)


async def test_it_leaves_and_comes_back(tmp_path: Path) -> None:
    async with BatchServer(reply) as server:
        first = await run(tmp_path, cascade(server.base_url), wait=False)
        assert (first.outcome, first.done, first.waiting, first.batches) == (RunOutcome.WAITING, 8, 4, 1)
        assert list(answers(tmp_path)) == [f"q{n}" for n in range(12) if n % 3]
        with pytest.raises(Exception, match="4 questions wait for batches"):
            await run(tmp_path, cascade(server.base_url), batches=None)
        second = await run(tmp_path, cascade(server.base_url), wait=False)
        assert (second.outcome, second.resumed, server.created) == (RunOutcome.WAITING, 8, 1)
        summary = await run(tmp_path, cascade(server.base_url), wait=False)
        check(tmp_path, server, summary)
        assert (await run(tmp_path, cascade(server.base_url))).resumed == 12
    assert server.live_tokens["calls"] == 12


@pytest.mark.parametrize("apis", [("chat",), ("messages",)])
async def test_failed_results_go_into_a_second_batch(tmp_path: Path, apis: tuple[str, ...]) -> None:
    async with BatchServer(reply) as server:
        server.fates = {"What is number 3": ["expired"], "What is number 6": [500]}
        summary = await run(tmp_path, cascade(server.base_url, apis=apis))
    check(tmp_path, server, summary, batches=2)
    assert server.batch_tokens["calls"] == 4


async def test_failed_twice_they_are_asked_live_or_fail(tmp_path: Path) -> None:
    async with BatchServer(reply) as server:
        server.fates = {"What is number 3": ["expired", "expired"], "What is number 6": [400]}
        summary = await run(tmp_path, cascade(server.base_url, large="live"))
        assert summary.ledger.cost_usd == bill(server)
        assert (summary.failed, summary.done) == (1, 12)
        assert answers(tmp_path) == all_right(12) | {"q6": None}
        assert server.live_tokens["large in"] == 4
        again = await run(tmp_path, cascade(server.base_url, large="live"))  # a failed question is asked again
        check(tmp_path, server, again, batches=3)
        server.fates = {"What is number 3": ["expired", "expired"]}
        only = await run(tmp_path, cascade(server.base_url), name="only")
    assert (only.failed, only.ledger.stages["large"].errors) == (1, 1)
    assert "could not be executed in time" in (only.last_error or "")


@pytest.mark.parametrize("fate", ["garbage", "missing", "wrong id"])
async def test_a_result_that_is_lost_is_asked_again_and_counted(tmp_path: Path, fate: str) -> None:
    async with BatchServer(reply) as server:
        server.fates = {"What is number 3": [fate]}
        summary = await run(tmp_path, cascade(server.base_url))
        assert answers(tmp_path) == all_right(12)
        paid_twice = bill(server) - summary.ledger.cost_usd
        assert (summary.lost, summary.ignored_results) == (1, 0 if fate == "missing" else 1)
        assert 0 < paid_twice <= summary.lost_usd_at_most
        assert (await run(tmp_path, cascade(server.base_url))).lost == 1  # the next start knows it, too


async def test_a_billed_answer_that_cannot_be_read_fails_with_its_cost(tmp_path: Path) -> None:
    async with BatchServer(reply) as server:
        server.fates = {"What is number 3": ["unreadable"], "What is number 6": ["twice"]}
        summary = await run(tmp_path, cascade(server.base_url))
        assert summary.ledger.cost_usd == bill(server)
        assert (summary.failed, summary.ignored_results) == (1, 1)
        check(tmp_path, server, await run(tmp_path, cascade(server.base_url)), batches=2)


@pytest.mark.parametrize("ends_as", ["failed", "expired"])
async def test_a_batch_that_fails_or_expires_is_followed_by_another(tmp_path: Path, ends_as: str) -> None:
    async with BatchServer(reply, ends_as=ends_as) as server:
        summary = await run(tmp_path, cascade(server.base_url))
    check(tmp_path, server, summary, batches=2)
    assert server.batch_tokens["calls"] == 4  # an expired batch has charged its finished half


@pytest.mark.parametrize(
    ("apis", "limit"),
    [(("chat",), {"max_lines": 2}), (("chat",), {"max_bytes": 520}), (("messages",), {"max_bytes": 400})],
)
async def test_both_limits_split_files(tmp_path: Path, apis: tuple[str, ...], limit: dict[str, Any]) -> None:
    async with BatchServer(reply) as server:
        summary = await run(tmp_path, cascade(server.base_url, apis=apis), **limit)
    check(tmp_path, server, summary, batches=2)
    assert [len(batch.requests) for batch in server.batches] == [2, 2]
    assert all(len(file) <= limit.get("max_bytes", 520) for file in server.files.values())


async def test_a_budget_holds_at_the_batch_price(tmp_path: Path) -> None:
    """A row can cost 0.0013 USD in the batch: at most 160 tokens read at 5 USD a million, and 50 written at 10."""
    async with BatchServer(reply) as server:
        spent = Decimal("0.0042")
        first = await run(tmp_path, cascade(server.base_url, retries=0), budget_usd=spent)
        assert (first.outcome, first.waiting, server.created) == (RunOutcome.BUDGET, 1, 1)
        assert len(server.batches[0].requests) == 3
        assert first.left_usd == spent - bill(server)
        left = await run(tmp_path, cascade(server.base_url, retries=0), budget_usd=spent, wait=False)
        assert left.left_usd is not None
        assert left.left_usd < spent - bill(server) - Decimal("0.001")  # set aside for the batch under way
        summary = await run(tmp_path, cascade(server.base_url, retries=0), budget_usd=spent)
        assert summary.left_usd == spent - bill(server)
    check(tmp_path, server, summary, batches=2)


async def test_a_stop_leaves_the_batches_or_cancels_them(tmp_path: Path) -> None:
    async with BatchServer(reply, looks_needed=99) as server:
        for cancel in (False, True):
            stop = Stop()

            async def look(step: str, when: str, stop: Stop = stop) -> None:
                if (step, when) == ("look", "before"):
                    stop()

            server.on_step = look
            summary = await run(tmp_path, cascade(server.base_url), stop=stop, cancel=cancel)
            assert (summary.outcome, summary.waiting, server.created) == (RunOutcome.INTERRUPTED, 4, 1)
        assert server.steps["cancel"] == 1
        server.on_step, server.looks_needed = None, 1
        check(tmp_path, server, await run(tmp_path, cascade(server.base_url)), batches=2)
    assert server.batch_tokens["calls"] == 4  # one had been finished before the batch was cancelled


async def test_a_program_answers_files(tmp_path: Path) -> None:
    folder = tmp_path / "answers.jsonl.batches"
    async with BatchServer(reply) as server:
        first = await run(tmp_path, cascade(server.base_url, large="file"), wait=False)
        assert first.outcome is RunOutcome.WAITING
        (file,) = folder.glob("corea-*.jsonl")
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        answered = [
            {"custom_id": line["custom_id"], "response": {"status_code": 200, "body": server.reply(line["body"])}}
            for line in lines
        ]
        file.with_suffix(".answers.jsonl").write_text("\n".join(map(json.dumps, answered)))
        summary = await run(tmp_path, cascade(server.base_url, large="file"), wait=False)
    assert (summary.outcome, answers(tmp_path)) == (RunOutcome.COMPLETE, all_right(12))
    assert summary.ledger.cost_usd == bill(server)


async def test_each_shard_has_batches_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "questions.jsonl").write_bytes(question_lines(12))
    plan = plan_shards(QuestionSource(str(tmp_path / "questions.jsonl")), 2, OnBadRow.STOP)
    async with BatchServer(reply) as server:
        for number in (1, 2, 2):
            ended = await run(tmp_path, cascade(server.base_url), shard=plan.shard(number), wait=number == 1)
            if ended.waiting:
                with pytest.raises(DataError, match=r"shard 2 of 2 ended early \(waiting\)"):
                    merge_shards(str(tmp_path / "answers.jsonl"), {"test": 1})
        await run(tmp_path, cascade(server.base_url), shard=plan.shard(2))
    merged = merge_shards(str(tmp_path / "answers.jsonl"), {"test": 1})
    assert answers(tmp_path) == all_right(12)
    assert (merged.ledger.cost_usd, server.created) == (bill(server), 2)


async def test_a_price_that_is_not_known_a_pipe_and_another_backend_are_refused(tmp_path: Path) -> None:
    asked = cascade("http://127.0.0.1:9/v1")
    small, large = asked.stages
    assert large.price is not None
    unknown = replace(asked, stages=(small, replace(large, price=replace(large.price, batch=None))))
    with pytest.raises(ConfigError, match=r'no batch price is known for \'large\' .*add .* batch = "0.5"'):
        await run(tmp_path, unknown)
    with pytest.raises(ConfigError, match="batch: got a pipe"):
        await run_batch(asked, QuestionSource("-"), str(tmp_path / "out.jsonl"), batches=BatchOptions())
    fake = replace(asked, stages=(small, replace(large, backend=FakeBackend("large", lambda _: "ready"))))
    with pytest.raises(ConfigError, match="got it with another backend than one address of kind"):
        await run_batch(fake, str(tmp_path / "questions.jsonl"), str(tmp_path / "o.jsonl"), batches=BatchOptions())


async def test_a_row_that_waits_may_not_change_or_go(tmp_path: Path) -> None:
    async with BatchServer(reply) as server:
        await run(tmp_path, cascade(server.base_url), wait=False)
        with pytest.raises(DataError, match="row 10 waits for a batch and is not there"):
            await run(tmp_path, cascade(server.base_url), count=9)
        (tmp_path / "questions.jsonl").write_bytes(question_lines(12).replace(b"number 3", b"number 33"))
        paths = str(tmp_path / "questions.jsonl"), str(tmp_path / "answers.jsonl")
        with pytest.raises(DataError, match="question 'q3' is not what it was"):
            await run_batch(
                cascade(server.base_url), *paths, settings={"test": 1}, batches=BatchOptions(sleep=no_sleep)
            )


def test_batches_cost_a_part_of_the_token_prices_alone() -> None:
    price = Price(
        input_usd_per_mtok=Decimal(3), output_usd_per_mtok=Decimal("0.3"), reasoning_usd_per_mtok=Decimal(1),
        usd_per_request=Decimal("0.01"), batch=Decimal("0.5"),
        tiers=(PriceTier(above_prompt_tokens=10, input_usd_per_mtok=Decimal(6), output_usd_per_mtok=Decimal(8)),),
    )  # fmt: skip
    half = price.in_batch
    assert half is not None
    for usage in (Usage(prompt_tokens=7, completion_tokens=5, reasoning_tokens=2), Usage(prompt_tokens=70)):
        assert half.cost(usage) - Decimal("0.01") == (price.cost(usage) - Decimal("0.01")) / 2
    assert PriceTable().lookup("gpt-4o-mini", provider="openai").batch == Decimal("0.5")
    assert PriceTable().lookup("openrouter/openai/gpt-4o").in_batch is None
    own = PriceTable({"m": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2, "batch": "0.4"}}).lookup("m").in_batch
    assert own is not None
    assert own.output_usd_per_mtok == Decimal("0.8")


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    peaks: list[int] = []
    for count in (2_000, 20_000):
        async with BatchServer(reply) as server:
            small, large = cascade(server.base_url).stages
            fake = FakeBackend("small", lambda question: reply(question.text))
            asked = Cascade(stages=(replace(small, backend=fake), large))
            await run(tmp_path, asked, count=count, name=f"a{count}", wait=False)
            server.finish(server.batches[0])  # its memory is not the client's
            tracemalloc.start()
            summary = await run(tmp_path, asked, count=count, name=f"a{count}")
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            assert (summary.outcome, summary.done) == (RunOutcome.COMPLETE, count)
    assert (peaks[1] - peaks[0]) / 18_000 < 150  # bytes a row: 130 while the ids are checked
