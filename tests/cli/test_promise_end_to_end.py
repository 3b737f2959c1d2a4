"""A calibrated pair of known accuracy keeps its promise on fresh questions; all ways to ask decide alike."""

import asyncio
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cli.conftest import Command
from tests.fakes.gateway import serving
from tests.gateway.conftest import OpenAccounts

from corea import Cascade, Question, Stage
from corea.backends.fake import FakeBackend
from corea.calibrate import FitOptions, OutcomeTable, Targets, fit
from corea.calibrate.binding import bind
from corea.gateway.chat.routing import RoutingTable
from corea.gateway.chat.service import ChatService
from corea.gateway.ops.settings import GatewaySettings
from corea.gateway.server.app import GatewayApp
from corea.policies.threshold import Threshold
from corea.signals.verbalized import Verbalized

DROP = 0.03
COSTS = (1e-4, 4e-4)
SAMPLE = 12  # questions through `corea ask`


def world(count: int, start: int) -> list[dict[str, Any]]:
    """Questions with both models' answers: the small one hardly knows integrals, and is sure where it is right."""
    dice = random.Random(start)
    rows: list[dict[str, Any]] = []
    for n in range(start, start + count):
        hard = dice.random() < 0.4
        small, large = dice.random() < (0.15 if hard else 0.85), dice.random() < 0.93
        sure = min(0.99, max(0.01, 0.5 + 0.3 * (small - 0.5) + 0.2 * dice.gauss(0, 1)))
        topic = "integral" if hard else "sum"
        rows.append({"n": n, "text": f"Find the {topic} of item {n}.", "small": small, "large": large, "sure": sure})
    return rows


def replies(rows: list[dict[str, Any]]) -> tuple[dict[str, str], dict[str, str]]:
    """What the two models say, by the question's text."""
    small = {
        row["text"]: f"<answer>{row['n'] if row['small'] else -1}</answer><confidence>{row['sure']:.4f}</confidence>"
        for row in rows
    }
    return small, {row["text"]: f"<answer>{row['n'] if row['large'] else -2}</answer>" for row in rows}


def table_of(rows: list[dict[str, Any]]) -> OutcomeTable:
    return OutcomeTable.from_arrays(
        correct=np.array([[row["small"], row["large"]] for row in rows], dtype=float), cost_usd=COSTS,
        confidence=[round(row["sure"], 4) for row in rows], texts=[row["text"] for row in rows],
    )  # fmt: skip


def calibrated(path: Path, *, router: bool) -> float:
    """Calibrates and saves; the true accuracy lost, to about a tenth of a point (40,000 other questions)."""
    found = fit(table_of(world(2500, 10**6)), Targets(max_drop=DROP), FitOptions(map="identity", router=router))
    assert found.certified
    found.save(path)
    others = table_of(world(40_000, 10**7))
    return float((others.last.correct - found.apply(others).correct).mean())


def bound(rows: list[dict[str, Any]], path: Path) -> Cascade:
    small, large = replies(rows)
    return bind(
        Cascade(
            stages=(
                Stage(name="small", backend=FakeBackend("small", small), signal=Verbalized(), policy=Threshold(0.5)),
                Stage(name="large", backend=FakeBackend("large", large)),
            ),
            name="corea",
        ),
        path,
    )


def by_library(rows: list[dict[str, Any]], path: Path) -> dict[int, tuple[str, str | None]]:
    """Stage and answer of each question."""

    async def ask() -> dict[int, tuple[str, str | None]]:
        async with bound(rows, path) as cascade:
            asked = [Question.of(row["text"], id=str(row["n"])) for row in rows]
            traces = [trace async for trace in cascade.ask_many(asked, concurrency=8)]
        return {int(trace.question_id): (str(trace.stage), trace.answer) for trace in traces}

    return asyncio.run(ask())


def by_gateway(rows: list[dict[str, Any]], path: Path) -> dict[int, tuple[str, str]]:
    import httpx

    async def ask() -> dict[int, tuple[str, str]]:
        configured = GatewaySettings()
        service = ChatService(
            RoutingTable({"corea": bound(rows, path)}, configured), configured, accounts=OpenAccounts(),
            record=lambda done: None,
        )  # fmt: skip
        app = GatewayApp(service)
        app.ready = True
        found: dict[int, tuple[str, str]] = {}
        transport = httpx.ASGITransport(app)  # pyright: ignore[reportArgumentType]
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            for row in rows:
                body = {"model": "corea", "messages": [{"role": "user", "content": row["text"]}]}
                reply = await client.post("/v1/chat/completions", json=body)
                text = reply.json()["choices"][0]["message"]["content"]
                found[row["n"]] = reply.headers["x-corea-stage"], text
        return found

    return asyncio.run(ask())


def by_process(rows: list[dict[str, Any]], path: Path) -> dict[int, tuple[str, str]]:
    """Through `corea serve` and a socket, with the configuration that `by_batch` wrote."""
    import httpx

    folder = Path.cwd()
    with (folder / "corea.toml").open("a") as config:
        config.write("[gateway]\nport = 0\n")
    found: dict[int, tuple[str, str]] = {}
    with serving(folder, "--calibration", str(path)) as gateway, httpx.Client(timeout=30) as client:
        for row in rows:
            body = {"model": "corea", "messages": [{"role": "user", "content": row["text"]}]}
            reply = client.post(f"{gateway.url}/chat/completions", json=body)
            assert reply.status_code == 200, reply.text
            found[row["n"]] = reply.headers["x-corea-stage"], reply.json()["choices"][0]["message"]["content"]
    return found


def by_batch(rows: list[dict[str, Any]], path: Path, corea: Command) -> dict[int, tuple[str, str]]:
    parts = ["[run]\nconcurrency = 8\n"]
    for name, said in zip(("small", "large"), replies(rows), strict=True):
        parts.append(f'[stages.{name}]\nprompt = "plain"\n[stages.{name}.backend]\nkind = "fake"\nmodel = "{name}"\n')
        parts.append(f"[stages.{name}.backend.replies]\n")
        parts += [f"{json.dumps(text)} = {json.dumps(reply)}\n" for text, reply in said.items()]
        parts.append(f'[prices."{name}"]\ninput_usd_per_mtok = "0"\noutput_usd_per_mtok = "1"\n')
    Path("corea.toml").write_text("".join(parts))
    lines = [json.dumps({"id": str(row["n"]), "question": row["text"], "answer": str(row["n"])}) for row in rows]
    Path("q.jsonl").write_text("\n".join(lines) + "\n")
    ran = corea("run", "q.jsonl", "-o", "a.jsonl", "-q", "--calibration", str(path))
    assert ran.code == 0, ran.err
    traces = [json.loads(line) for line in Path("a.jsonl").read_text().splitlines()]
    return {int(trace["question_id"]): (trace["stage"], trace["answer"]) for trace in traces}


def by_ask(rows: list[dict[str, Any]], path: Path, corea: Command) -> dict[int, tuple[str, str]]:
    """With the configuration that `by_batch` wrote, a command for each question."""
    found: dict[int, tuple[str, str]] = {}
    for row in rows:
        ran = corea("ask", row["text"], "--calibration", str(path), "--json")
        assert ran.code == 0, ran.err
        found[row["n"]] = ran.json["stage"], ran.json["answer"]
    return found


def right(found: Mapping[int, tuple[str, Any]]) -> np.ndarray[Any, Any]:
    """Whether each answer is right, in the order of the questions (not in the order in which they were done)."""
    return np.array([text_of(answer) == str(n) for n, (_, answer) in sorted(found.items())])


def text_of(answer: Any) -> str:
    return str(answer).removeprefix("<answer>").split("<")[0]


@pytest.mark.parametrize("router", [False, True])
@pytest.mark.parametrize("count", [300, pytest.param(3000, marks=pytest.mark.slow)])
def test_the_promise_is_kept_and_all_ways_decide_alike(
    tmp_path: Path, corea: Command, count: int, router: bool
) -> None:
    path = tmp_path / "calibration.json"
    drop = calibrated(path, router=router)
    assert 0 < drop <= DROP
    rows = world(count, 0)
    library, batch, served = by_library(rows, path), by_batch(rows, path, corea), by_gateway(rows, path)
    assert batch == library
    assert {n: (stage, text_of(text)) for n, (stage, text) in served.items()} == library
    asked = by_ask(rows[:SAMPLE], path, corea)
    assert asked == {n: library[n] for n in asked}
    assert {stage for stage, _ in asked.values()} == {"small", "large"}
    large = np.array([row["large"] for row in rows], dtype=float)
    if count == 3000:
        assert by_process(rows, path) == served
    for found in (library, batch, served):
        lost = large - right(found)
        assert abs(lost.mean() - drop) <= 2 * lost.std() / count**0.5  # of so many questions
    kept = sum(stage == "small" for stage, _ in library.values()) / count
    assert 0.1 < kept < 0.9
