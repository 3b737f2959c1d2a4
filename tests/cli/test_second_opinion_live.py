"""A live second opinion from `corea calibrate` to `run`, `ask` and the gateway; the server keeps the bill."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cli.conftest import Command
from tests.fakes.gateway import upstream
from tests.fakes.server import Asked, FakeServer, Say

from corea.build import build
from corea.calibrate import load
from corea.calibrate.rules import ScoredTable
from corea.config import load_config
from corea.gateway.billing.auth import OpenAccounts
from corea.gateway.chat.routing import RoutingTable
from corea.gateway.chat.service import ChatService
from corea.gateway.ops.settings import GatewaySettings
from corea.gateway.server.app import GatewayApp
from corea.metrics.score_map import SECOND_OPINION
from corea.records.answer import AnswerSet, RecordedAnswer
from corea.records.join import OPINION_COST, join_answers
from corea.stage import total

CONFIG = """
[cascade]
stages = ["small", "large"]
[stages.small]
prompt = "plain"
second_opinion = "other"
{stages}
[stages.large]
prompt = "plain"
"""
STAGE = """
[stages.{name}.backend]
kind = "openai"
model = "{name}"
base_url = "{url}"
max_retries = 0
[stages.{name}.sampling]
max_tokens = 16
[prices.{name}]
input_usd_per_mtok = "{price}"
output_usd_per_mtok = "{price}"
"""
PRICES = {"small": 1, "other": 2, "third": 2, "large": 40}
COUNT, FRESH = 400, 120


def world(n: int) -> tuple[float, dict[str, bool]]:
    """The small model's confidence in question n, and which models are right: unsure ones need the second opinion."""
    dice = random.Random(n)
    stated, chance = dice.choice([(0.95, 0.98), (0.5, 0.5), (0.05, 0.03)])
    small = dice.random() < chance
    agrees = dice.random() < (0.95 if stated != 0.5 or small else 0.05)
    right = {"small": small, "other": small if agrees else not small, "large": dice.random() < 0.97}
    return stated, {**right, "third": right["other"]}


def reply(asked: Asked) -> Say:
    n, model = int(asked.question.split()[-1].rstrip(".")), asked.body["model"]
    stated, right = world(n)
    wrong = -2 if model == "large" else -1
    tags = f" <confidence>{stated}</confidence>" if model == "small" else ""
    return Say(f"<answer>{n if right[model] else wrong}</answer>{tags}")


def text(n: int) -> str:
    return f"Say the number {n}."


def write_questions(name: str, ids: range) -> str:
    rows = [{"id": f"q{n}", "question": text(n), "answer": str(n)} for n in ids]
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


def calls(server: FakeServer) -> Counter[str]:
    return Counter(asked.body["model"] for asked in server.requests)


def bill(server: FakeServer, start: int = 0) -> Decimal:
    """What the server charges for the requests from the given one on, in USD."""
    return sum(
        (Decimal((c.prompt + c.completion) * PRICES[c.model]) / 10**6 for c in server.charges[start:]), Decimal(0)
    )


def expected_opinions(path: Path, ids: range) -> dict[int, bool]:
    """The questions at which the artefact needs a second opinion, from what the models will say."""
    answers: list[dict[str, RecordedAnswer]] = [{}, {}]
    for n in ids:
        stated, right = world(n)
        numbers = {"confidence": stated, SECOND_OPINION: float(right["small"] == right["other"]), OPINION_COST: 0.0}
        tokens = {"completion_tokens": 2.0, "cost_usd": 1e-6}
        answers[0][f"q{n}"] = RecordedAnswer(id=f"q{n}", correct=1.0, answer=str(n), numbers={**numbers, **tokens})
        answers[1][f"q{n}"] = RecordedAnswer(id=f"q{n}", correct=1.0, answer=str(n), numbers=tokens)
    sets = [AnswerSet(answers=each, model=name) for each, name in zip(answers, ("small", "large"), strict=True)]
    found = load(path)
    scored = ScoredTable.mapped(join_answers(sets, signals=["confidence", SECOND_OPINION]), [found.stages[0].map])
    assert found.rules[0] is not None
    return dict(zip(ids, scored.opinion_asked(0, found.rules[0]).tolist(), strict=True))


@pytest.fixture
def server(corea: Command) -> Iterator[FakeServer]:
    with upstream(reply, record=True) as server:
        stages = {n: STAGE.format(name=n, url=server.base_url, price=p) for n, p in PRICES.items()}
        rest = "".join(stages[n] for n in ("other", "third", "large"))
        Path("corea.toml").write_text(CONFIG.format(stages=stages["small"]) + rest)
        yield server


async def through_the_gateway(
    ids: range, path: Path, *, stream: bool
) -> tuple[dict[int, tuple[str, str]], Decimal | None]:
    """Stage and text of each question, and the cost of all."""
    import httpx

    cascade = build(load_config("corea.toml", [f"cascade.calibration={path}"])).cascade
    configured = GatewaySettings()
    costs: list[Decimal | None] = []
    service = ChatService(
        RoutingTable({"corea": cascade}, configured), configured, accounts=OpenAccounts(),
        record=lambda done: costs.append(done.trace.cost_usd),
    )  # fmt: skip
    app = GatewayApp(service)
    app.ready = True
    found: dict[int, tuple[str, str]] = {}
    transport = httpx.ASGITransport(app)  # pyright: ignore[reportArgumentType]
    async with cascade, httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        for n in ids:
            body: dict[str, Any] = {"model": "corea", "messages": [{"role": "user", "content": text(n)}]}
            answer = await client.post("/v1/chat/completions", json={**body, "stream": stream})
            if stream:
                events = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
                pieces = [choice["delta"].get("content") or "" for e in events for choice in json.loads(e)["choices"]]
                found[n] = answer.headers["x-corea-stage"], "".join(pieces)
            else:
                found[n] = answer.headers["x-corea-stage"], answer.json()["choices"][0]["message"]["content"]
    return found, total(costs)


def test_it_is_asked_counted_and_resumed_and_at_use_only_where_it_decides(corea: Command, server: FakeServer) -> None:
    live = (
        "calibrate",
        "--questions",
        write_questions("q.jsonl", range(COUNT)),
        "--max-drop",
        "0.06",
        "--map",
        "linear",
    )
    ran = corea(*live, "--repeat", "0")
    assert ran.code == 0, ran.err
    assert f"asking small.second_opinion: {COUNT} questions, at most" in ran.err
    assert calls(server) == {"small": COUNT, "other": COUNT, "large": COUNT}
    found = load("calibration.json")
    assert found.certified, found.sentence
    assert found.data.signals == ["confidence", SECOND_OPINION]
    assert found.binding[0].second_opinion == "other"
    costs = [float(note.split(" cost ")[1].split(" USD")[0]) for note in found.data.notes if " cost " in note]
    assert sum(costs) == pytest.approx(float(bill(server)), rel=1e-3)
    assert corea(*live, "--repeat", "0").code == 0
    assert calls(server).total() == 3 * COUNT  # nothing was paid twice
    assert load("calibration.json").stages == found.stages

    ids, path = range(COUNT, COUNT + FRESH), Path("calibration.json").absolute()
    needed = expected_opinions(path, ids)
    assert 0.2 < np.mean(list(needed.values())) < 0.6
    before, paid = calls(server), len(server.charges)
    ran = corea("run", write_questions("new.jsonl", ids), "-o", "a.jsonl", "-q", "--calibration", str(path))
    assert ran.code == 0, ran.err
    traces = [json.loads(line) for line in Path("a.jsonl").read_text().splitlines()]
    asked = {int(t["question_id"][1:]): bool(t["steps"][0]["confidence"]["calls"]) for t in traces}
    assert asked == needed
    assert calls(server)["other"] - before["other"] == sum(needed.values())
    assert sum(Decimal(t["cost_usd"]) for t in traces) == bill(server, paid)
    batch = {int(t["question_id"][1:]): (t["stage"], t["text"]) for t in traces}
    answers = {int(t["question_id"][1:]): t["answer"] for t in traces}
    assert {stage for stage, _ in batch.values()} == {"small", "large"}

    few = [next(n for n in ids if needed[n]), next(n for n in ids if not needed[n])]
    for n in few:
        before = calls(server)
        one = corea("ask", text(n), "--calibration", str(path), "--json").json
        assert (one["stage"], one["text"]) == batch[n]
        assert calls(server)["other"] - before["other"] == needed[n]
    some = ids[:30]
    for stream in (False, True):
        before, paid = calls(server), len(server.charges)
        served, cost = asyncio.run(through_the_gateway(some, path, stream=stream))
        shown = {n: (stage, said.removeprefix("<answer>").split("<")[0]) for n, (stage, said) in served.items()}
        assert shown == {n: (batch[n][0], answers[n]) for n in some}
        assert cost == bill(server, paid)
        assert calls(server)["other"] - before["other"] == sum(needed[n] for n in some)

    other = corea("ask", text(1), "--calibration", str(path), "--set", "stages.small.second_opinion=third")
    assert other.code == 2
    assert "slm_second_opinion is 'third', calibrated for 'other'" in other.err
