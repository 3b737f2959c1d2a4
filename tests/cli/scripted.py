"""Scripted models of known accuracy, what may be promised of them, and all ways to ask them.

Shared with experiments/calibrate/end_to_end.py.
"""

import asyncio
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from tests.fakes.gateway import serving

from corea import Cascade, Question, Stage
from corea.backends.fake import FakeBackend
from corea.calibrate import Calibration, FitOptions, OutcomeTable, Targets, fit
from corea.calibrate.binding import bind
from corea.calibrate.coverage import missed_targets
from corea.calibrate.rules import ScoredTable
from corea.gateway.billing.auth import OpenAccounts
from corea.gateway.chat.routing import RoutingTable
from corea.gateway.chat.service import ChatService
from corea.gateway.ops.settings import GatewaySettings
from corea.gateway.server.app import GatewayApp
from corea.policies.threshold import Threshold
from corea.prices import Price
from corea.signals.verbalized import Verbalized
from corea.types import Trace

PRICES = {"small": 1, "middle": 4, "large": 14}  # USD per million words written; prompts are free
CAP = 3e-5
Answers = dict[int, tuple[str, str | None]]  # by question: stage and text (or answer)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A promise, and how it is calibrated; `middle` adds a third model."""

    name: str
    targets: Targets
    options: FitOptions
    middle: bool = False

    @property
    def models(self) -> tuple[str, ...]:
        return ("small", "middle", "large") if self.middle else ("small", "large")


PLAIN = FitOptions(map="identity")
DROP = Targets(max_drop=0.03)
CASES = (
    Case(name="drop", targets=DROP, options=PLAIN),
    Case(name="drop, router", targets=DROP, options=FitOptions(map="identity", router=True)),
    Case(name="drop, blend", targets=DROP, options=FitOptions(map="trees")),
    Case(name="drop, three models", targets=DROP, options=PLAIN, middle=True),
    Case(name="risk", targets=Targets(max_risk=0.12), options=PLAIN),
    Case(name="mean cost", targets=Targets(max_cost_usd=1.2e-5, cost_cap_usd=CAP), options=PLAIN),
    Case(name="value of an error", targets=Targets(value_usd=1e-4, cost_cap_usd=CAP), options=FitOptions(map="linear")),
    Case(
        name="drop, risk and cost", options=PLAIN,
        targets=Targets(max_drop=0.05, max_risk=0.18, max_cost_usd=1.4e-5, cost_cap_usd=CAP),
    ),
)  # fmt: skip


@cache
def world(count: int, start: int) -> list[dict[str, Any]]:
    """Questions with the models' answers: the small one hardly knows integrals, and is sure and brief where right."""
    dice = random.Random(start)
    rows: list[dict[str, Any]] = []
    for n in range(start, start + count):
        hard = dice.random() < 0.4
        small, large = dice.random() < (0.15 if hard else 0.85), dice.random() < 0.93
        middle = dice.random() < (0.6 if hard else 0.92)
        sure, surer = (
            round(min(0.99, max(0.01, 0.5 + 0.3 * (right - 0.5) + 0.2 * dice.gauss(0, 1))), 4)
            for right in (small, middle)
        )
        words = 1 + dice.randint(0, 3) if small else 1 + dice.randint(1, 5)
        rows.append({
            "n": n, "text": f"Find the {'integral' if hard else 'sum'} of item {n}.", "small": small, "middle": middle,
            "large": large, "sure": {"small": sure, "middle": surer}, "words": words,
        })  # fmt: skip
    return rows


def said_by(model: str, row: Mapping[str, Any]) -> str:
    """What a model says."""
    answer = f"<answer>{row['n'] if row[model] else -1}</answer>"
    if model == "large":
        return answer
    return (
        "so " * (row["words"] - 1 if model == "small" else 0)
        + f"{answer}<confidence>{row['sure'][model]:.4f}</confidence>"
    )


def table_of(rows: list[dict[str, Any]], case: Case) -> OutcomeTable:
    words = np.array([row["words"] for row in rows], dtype=float)
    costs = [PRICES[model] / 1e6 * (words if model == "small" else np.ones(len(rows))) for model in case.models]
    table = OutcomeTable.from_arrays(
        correct=np.array([[row[model] for model in case.models] for row in rows], dtype=float),
        cost_usd=np.column_stack(costs),
        confidence=np.array([[row["sure"][model] for model in case.models[:-1]] for row in rows]),
        texts=[row["text"] for row in rows], ids=[str(row["n"]) for row in rows], names=case.models,
    )  # fmt: skip
    return table.change(0, completion_tokens=words)


def calibrated(path: Path, case: Case, count: int = 2500) -> Calibration:
    """Calibrates, and saves the artefact."""
    found = fit(table_of(world(count, 10**6), case), case.targets, case.options)
    assert found.certified, found.sentence
    found.save(path)
    return found


def truth(found: Calibration, case: Case, count: int = 40_000) -> dict[str, float]:
    """True figures of an artefact, on so many other questions: each target's, and how many are missed."""
    table = table_of(world(count, 10**7), case)
    answers, targets = found.apply(table), case.targets
    kept = answers.kept
    figures = {
        "max_drop": float((table.last.correct - answers.correct).mean()),
        "max_risk": float(1 - answers.correct[kept].mean()),
        "max_cost_usd": float(answers.cost_usd.mean()),
        "value_usd": float((targets.total_usd(answers) - targets.total_usd(ScoredTable.of(table).last_alone())).mean()),
    }
    scored = ScoredTable.mapped(table, [s.map for s in found.stages], found.categories, found.stages[0].router)
    return {name: figures[name] for name in figures if getattr(targets, name) is not None} | {
        "missed": len(missed_targets(targets, scored, found.rules)), "kept": float(kept.mean()),
    }  # fmt: skip


def bound(rows: list[dict[str, Any]], path: Path, case: Case) -> Cascade:
    stages = tuple(
        Stage(
            name=model, backend=FakeBackend(model, {row["text"]: said_by(model, row) for row in rows}),
            price=Price(output_usd_per_mtok=Decimal(PRICES[model]), source="scripted"),
            signal=None if model == "large" else Verbalized(), policy=None if model == "large" else Threshold(0.5),
        )
        for model in case.models
    )  # fmt: skip
    return bind(Cascade(stages=stages, name="corea"), path)


def by_library(rows: list[dict[str, Any]], path: Path, case: Case) -> dict[int, Trace]:
    """The trace of each question."""

    async def ask() -> dict[int, Trace]:
        async with bound(rows, path, case) as cascade:
            asked = [Question.of(row["text"], id=str(row["n"])) for row in rows]
            return {int(trace.question_id): trace async for trace in cascade.ask_many(asked, concurrency=8)}

    return asyncio.run(ask())


def by_gateway(rows: list[dict[str, Any]], path: Path, case: Case) -> Answers:
    import httpx

    async def ask() -> Answers:
        configured = GatewaySettings()
        service = ChatService(
            RoutingTable({"corea": bound(rows, path, case)}, configured), configured, accounts=OpenAccounts(),
            record=lambda done: None,
        )  # fmt: skip
        app = GatewayApp(service)
        app.ready = True
        found: Answers = {}
        transport = httpx.ASGITransport(app)  # pyright: ignore[reportArgumentType]
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            for row in rows:
                body = {"model": "corea", "messages": [{"role": "user", "content": row["text"]}]}
                reply = await client.post("/v1/chat/completions", json=body)
                found[row["n"]] = reply.headers["x-corea-stage"], reply.json()["choices"][0]["message"]["content"]
        return found

    return asyncio.run(ask())


def by_process(rows: list[dict[str, Any]], path: Path) -> Answers:
    """Through `corea serve` and a socket, with the configuration that `by_batch` wrote."""
    import httpx

    folder = Path.cwd()
    with (folder / "corea.toml").open("a") as config:
        config.write("[gateway]\nport = 0\n")
    found: Answers = {}
    with serving(folder, "--calibration", str(path)) as gateway, httpx.Client(timeout=30) as client:
        for row in rows:
            body = {"model": "corea", "messages": [{"role": "user", "content": row["text"]}]}
            reply = client.post(f"{gateway.url}/chat/completions", json=body)
            assert reply.status_code == 200, reply.text
            found[row["n"]] = reply.headers["x-corea-stage"], reply.json()["choices"][0]["message"]["content"]
    return found


def by_batch(rows: list[dict[str, Any]], path: Path, case: Case, corea: Callable[..., Any]) -> Answers:
    parts = [f"[run]\nconcurrency = 8\n[cascade]\nstages = {list(case.models)}\n"]
    for model in case.models:
        parts.append(
            f'[stages.{model}]\nprompt = "plain"\n[stages.{model}.backend]\nkind = "fake"\nmodel = "{model}"\n'
        )
        parts.append(f"[stages.{model}.backend.replies]\n")
        parts += [f"{json.dumps(row['text'])} = {json.dumps(said_by(model, row))}\n" for row in rows]
        parts.append(f'[prices."{model}"]\ninput_usd_per_mtok = "0"\noutput_usd_per_mtok = "{PRICES[model]}"\n')
    Path("corea.toml").write_text("".join(parts))
    lines = [json.dumps({"id": str(row["n"]), "question": row["text"], "answer": str(row["n"])}) for row in rows]
    Path("q.jsonl").write_text("\n".join(lines) + "\n")
    ran = corea("run", "q.jsonl", "-o", "a.jsonl", "-q", "--calibration", str(path))
    assert ran.code == 0, ran.err
    traces = [json.loads(line) for line in Path("a.jsonl").read_text().splitlines()]
    return {int(trace["question_id"]): (trace["stage"], trace["answer"]) for trace in traces}


def by_ask(rows: list[dict[str, Any]], path: Path, corea: Callable[..., Any]) -> Answers:
    """With the configuration that `by_batch` wrote, a command for each question."""
    found: Answers = {}
    for row in rows:
        ran = corea("ask", row["text"], "--calibration", str(path), "--json")
        assert ran.code == 0, ran.err
        found[row["n"]] = ran.json["stage"], ran.json["answer"]
    return found


def right(found: Answers) -> np.ndarray[Any, Any]:
    """Whether each answer is right, in the order of the questions (not in the order in which they were done)."""
    return np.array([text_of(answer) == str(n) for n, (_, answer) in sorted(found.items())])


def text_of(answer: Any) -> str:
    return str(answer).replace("so ", "").removeprefix("<answer>").split("<")[0]
