"""A judge in the audit: open-ended kept answers are compared in both orders, within the budget; people settle."""

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.fakes.server import Asked, Say, running
from tests.gateway.audit.conftest import AuditHouse, Make
from tests.gateway.audit.test_serve_audit import ask, wait_until
from tests.gateway.server.test_serve import Running, start

from corea.backends.fake import FakeBackend
from corea.calibrate import FitOptions, fit, load
from corea.calibrate.few_labels import labels_of
from corea.calibrate.monitor import Monitor
from corea.calibrate.targets import Targets
from corea.cascade import Cascade
from corea.errors import BackendError, ConfigError
from corea.evaluate.judge import Judge, load_judge_prompt
from corea.evaluate.live_judge import LiveJudge
from corea.gateway.audit.sample import read_sample
from corea.gateway.audit.traffic import read_facts
from corea.gateway.audit.watch import CascadeWatch
from corea.gateway.chat.routing import RoutingTable
from corea.prices import Price
from corea.records.table import OutcomeTable
from corea.stage import Mode, Stage
from corea.types import Completion, Question, Sampling, Usage

CHAT = {"small_stage": {"mode": Mode.CHAT}, "judged": True}
PRICE = Price(input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(2), source="test")
DRAFT = "A short draft.<confidence>0.9</confidence>"
LONG = "A much longer and better answer than that."
UNSURE = "A short draft.<confidence>0.1</confidence>"


def judge(reply: Callable[[Question], Any] | str, **named: Any) -> LiveJudge:
    sampling = Sampling(max_tokens=8, temperature=0.0)
    stage = Stage(name="judge", backend=FakeBackend("judge-model", reply), sampling=sampling, price=PRICE)
    return LiveJudge(judge=Judge(stage, load_judge_prompt(None)), seconds=5.0, assumed_tokens=50, **named)


def calls(found: LiveJudge) -> list[Any]:
    return found.judge.stage.backend.calls  # type: ignore[attr-defined]


def prefers(text: str) -> Callable[[Question], Completion]:
    """A judge that prefers this text, wherever it is shown; 100 tokens read, 4 written."""

    def said(question: Question) -> Completion:
        shown = question.messages[-1].content
        first = shown.index(text) < shown.index("[Answer B]")
        usage = Usage(prompt_tokens=100, completion_tokens=4)
        return Completion(text=f"Verdict: {'A' if first else 'B'}", model="judge-model", usage=usage)

    return said


def watching() -> Monitor:
    return Monitor.of(deferred_differ=None, kept_differ=(0.0, 0.1), kept_share=0.5, max_drop=0.02, every=200.0)


async def verdicts(house: AuditHouse) -> list[tuple[str, float | None]]:
    return [(facts.judge, facts.judged) for row in await house.rows() if (facts := read_facts(row["facts"]))]


async def evidence(house: AuditHouse) -> dict[str, tuple[int, float | None]]:
    (found,) = (await house.get("/v1/audit")).json()["cascades"]
    return {each["source"]: (each["n"], each["rate"]) for each in found["sources"]}


@pytest.mark.parametrize(("better", "verdict"), [(LONG, 1.0), (DRAFT, -1.0)])
async def test_a_kept_chat_is_judged_in_both_orders_at_a_counted_cost(
    audited: Make, better: str, verdict: float
) -> None:
    by = judge(prefers(better))
    house = await audited(DRAFT, LONG, judge=by, monitor=watching(), **CHAT)
    response = await house.ask("Write to me.")
    said = response.json()["choices"][0]["message"]["content"]
    assert (response.headers["x-corea-stage"], said) == ("small", "A short draft.")
    (row,) = await house.rows()
    assert (row["state"], row["differ"], await verdicts(house)) == ("done", 1, [("judge-model", verdict)])
    assert len(calls(by)) == 2
    shown = [call.question.messages[-1].content for call in calls(by)]
    assert [each.index(DRAFT) < each.index(LONG) for each in shown] == [True, False]
    words = len(["Write", "to", "me."])
    last = (words * 10 + len(LONG.split()) * 20) / Decimal(10**6)
    assert Decimal(row["cost_usd"]) == last + 2 * (100 * 1 + 4 * 2) / Decimal(10**6) <= Decimal(row["reserved_usd"])
    assert house.auditor.spent == {"corea": Decimal(row["cost_usd"])}
    assert response.headers["x-corea-cost-usd"] == f"{house.house.last.trace.cost_usd:f}"
    assert (row["served"], row["reference"]) == (None, None)  # it needs no stored text
    assert "better answer" not in repr(row)
    assert house.path is None or b"better answer" not in house.path.read_bytes()
    assert await evidence(house) == {"audited": (1, float(verdict > 0)), "labelled": (0, None)}


async def test_a_verdict_that_the_order_decides_is_a_tie_and_equal_texts_are_not_asked(audited: Make) -> None:
    first = judge("Verdict: A")
    house = await audited(DRAFT, LONG, judge=first, monitor=watching(), **CHAT)
    await house.ask("Write to me.")
    assert await verdicts(house) == [("judge-model", 0.0)]
    assert await evidence(house) == {"audited": (1, 0.0), "labelled": (0, None)}
    same = judge("Verdict: A")
    house = await audited(DRAFT, f" {DRAFT}\n", judge=same, monitor=watching(), name="same.db", **CHAT)
    await house.ask("Write to me.")
    (row,) = await house.rows()
    assert (row["differ"], await verdicts(house), calls(same)) == (0, [("judge-model", 0.0)], [])
    assert await evidence(house) == {"audited": (1, 0.0), "labelled": (1, 0.0)}  # nothing to lose, without a label


async def test_a_chat_without_a_calibration_has_the_rate_of_the_verdicts(audited: Make) -> None:
    house = await audited(DRAFT, LONG, judge=judge(prefers(LONG)), **{**CHAT, "judged": False})
    await house.ask("Write to me.")
    house.auditor.judge = judge(prefers(DRAFT))
    for _ in range(3):
        await house.ask("Write to me.")
    assert await evidence(house) == {"audited": (4, 0.25)}  # all four differ
    (found,) = (await house.get("/v1/audit")).json()["cascades"]
    assert [(day["kept"], day["kept_differ"]) for day in found["days"]] == [(4, 1)]


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize("judged", [True, False])
async def test_a_question_with_a_picture_is_no_question_for_a_judge(audited: Make, judged: bool) -> None:
    by, named = judge(prefers(LONG)), {**CHAT, "judged": judged, "settings": {"accepts": {"small": ["images"]}}}
    house = await audited(DRAFT, LONG, judge=by, monitor=watching(), **named)
    say = {"type": "text", "text": "What is this?"}
    for content, asked in (([say, PICTURE], 0), ([say], 2)):
        response = await house.house.post(messages=[{"role": "user", "content": content}])
        assert response.headers["x-corea-stage"] == "small"
        await house.settle()
        assert (len(calls(by)), len(await house.rows())) == (asked, asked // 2)


async def test_an_answer_whose_cost_is_not_known_is_judged_at_the_whole_reserve(audited: Make) -> None:
    house = await audited(DRAFT, LONG, judge=judge(prefers(LONG)), monitor=watching(), **CHAT)
    chat = house.house.gateway.chat
    first, last = chat.routes.cascades["corea"].stages
    unpriced = Cascade(stages=(first, replace(last, price=None)), name="corea")
    chat.routes = RoutingTable({"corea": unpriced}, chat.settings)
    await house.ask("Write to me.")
    (row,) = await house.rows()
    assert (row["cost_usd"], await verdicts(house)) == (row["reserved_usd"], [("judge-model", 1.0)])


async def test_an_unread_verdict_is_a_tie_and_a_line(audited: Make, caplog: pytest.LogCaptureFixture) -> None:
    house = await audited(DRAFT, LONG, judge=judge("I will not say."), monitor=watching(), **CHAT)
    await house.ask("Write to me.")
    assert await verdicts(house) == [("judge-model", 0.0)]
    assert caplog.text.count("the judge judge-model gave a verdict that cannot be read") == 1


@pytest.mark.parametrize("audited", ["postgres"], indirect=True)
async def test_servers_of_one_database_share_the_budget_of_the_judge(audited: Make) -> None:
    by = [judge(prefers(LONG)) for _ in range(2)]
    named: dict[str, Any] = {"settings": {"budgets": {"default_reserve_tokens": 10}}, "monitor": watching(), **CHAT}
    budget = Decimal("0.008")
    houses = [await audited(DRAFT, LONG, judge=each, audit={"budget_day_usd": str(budget)}, **named) for each in by]
    for _ in range(10):
        await asyncio.gather(*(house.ask("Write to me.") for house in houses))
    rows = await houses[0].rows()
    done, asked = sum(row["state"] == "done" for row in rows), [len(calls(each)) for each in by]
    assert (sum(asked), min(asked) > 0, 1 < done < 20) == (2 * done, True, True)
    assert sum(Decimal(row["cost_usd"] or row["reserved_usd"]) for row in rows) <= budget
    assert await evidence(houses[0]) == {"audited": (done, 1.0), "labelled": (0, None)}


async def test_a_deferred_chat_is_not_judged(audited: Make) -> None:
    by = judge(prefers(LONG))
    house = await audited(UNSURE, LONG, judge=by, monitor=watching(), **CHAT)
    await house.ask("Write to me.")
    assert (calls(by), await evidence(house)) == ([], {})


@pytest.mark.parametrize("fails", ["server", "plug-in", "one order"])
async def test_a_judge_that_fails_is_counted_and_no_evidence(audited: Make, fails: str) -> None:
    def broken(question: Question) -> Any:
        draft_first = question.id.endswith("draft first")
        if fails == "one order" and draft_first:
            return prefers(LONG)(question)
        raise ValueError("a bug") if fails == "plug-in" else BackendError("down", backend="judge-model")

    by = judge(broken)
    house = await audited(DRAFT, LONG, judge=by, monitor=watching(), **CHAT)
    for _ in range(2):
        assert (await house.ask("Write to me.")).status_code == 200
    rows = await house.rows()
    assert [row["state"] for row in rows] == ["done", "done"]
    assert await verdicts(house) == [("judge-model", None)] * 2
    assert await evidence(house) == {}
    assert 'corea_audits_total{cascade="corea",outcome="unjudged"} 2.0' in house.metrics()
    for row in rows:  # what is not known counts at the most that it can be
        assert Decimal(row["cost_usd"]) <= Decimal(row["reserved_usd"])
    if fails == "plug-in":
        assert all(row["cost_usd"] == row["reserved_usd"] for row in rows)


async def test_the_budget_covers_the_judge_and_ends_the_day(audited: Make) -> None:
    by = judge(prefers(LONG))
    named: dict[str, Any] = {"judge": by, "settings": {"budgets": {"default_reserve_tokens": 10}}, **CHAT}
    alone = await audited(DRAFT, LONG, name="alone.db", **{**named, "judge": None}, storage={"store_text": True})
    await alone.ask("Write to me.")
    (row,) = await alone.rows()
    without = Decimal(row["reserved_usd"])
    house = await audited(DRAFT, LONG, **named, audit={"budget_day_usd": "0.008"})
    for _ in range(30):
        await house.ask("Write to me.")
        rows = await house.rows()
        assert sum(Decimal(row["cost_usd"] or row["reserved_usd"]) for row in rows) <= Decimal("0.008")
    states = [row["state"] for row in rows]
    done = states.count("done")
    assert (states.count("budget"), done, len(calls(by)), len(house.house.large.calls)) == (1, done, 2 * done, done)
    assert 1 < done < 30
    reserves = {Decimal(row["reserved_usd"]) for row in rows if row["state"] == "done"}
    assert reserves == {without + by.most_usd(Question.of("Write to me."), DRAFT, 4 * 10)}


async def test_people_alone_settle_a_loss_and_must_say_of_both_answers(audited: Make) -> None:
    house = await audited(DRAFT, LONG, judge=judge(prefers(DRAFT)), monitor=watching(), **CHAT)
    for body, seen in (
        ({"verdict": "right"}, (0, None)),  # both may be right: no preference
        ({"verdict": "wrong"}, (0, None)),
        ({"verdict": "right", "reference_verdict": "right"}, (1, 0.0)),
        ({"verdict": "wrong", "reference_verdict": "right"}, (2, 0.5)),
        ({"verdict": "right", "reference_verdict": "wrong"}, (3, 0.0)),
    ):
        await house.feedback(await house.ask("Write to me."), source="review", **body)
        assert (await evidence(house))["labelled"] == seen
    sample = await house.auditor.store.run(lambda connection: read_sample(connection, None))
    losses = [(each.gap(each.best()), each.gap(each.worst())) for each in sample.questions]
    assert losses == [(-1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (1.0, 1.0), (-1.0, -1.0)]


# --- through `corea serve` --------------------------------------------------------------------------------------------

CONFIG = """
[cascade]
mode = "chat"
calibration = "calibration.json"
stages = ["small", "large"]
[stages.small]
signal = {{kind = "mean_token_probability"}}
[stages.small.backend]
kind = "openai"
model = "small-model"
base_url = "{url}"
[stages.large.backend]
kind = "openai"
model = "large-model"
base_url = "{url}"
[calibrate.judge]
backend = {{kind = "openai", model = "{judge}", base_url = "{url}"}}
[prices.small-model]
input_usd_per_mtok = "1"
output_usd_per_mtok = "1"
[prices.large-model]
input_usd_per_mtok = "10"
output_usd_per_mtok = "10"
[prices.judge-model]
input_usd_per_mtok = "1"
output_usd_per_mtok = "1"
[prices.other-model]
input_usd_per_mtok = "1"
output_usd_per_mtok = "1"
[gateway.audit]
share = 1.0
every = 20
judge = true
budget_day_usd = "10"
"""


class Models:
    """A small and a large model, and a judge that ties while the small one is `good`, else prefers the large one."""

    def __init__(self) -> None:
        self.good = True

    def __call__(self, asked: Asked) -> Any:
        model = asked.body["model"]
        if model != "judge-model":
            return Say(f"{model} writes a letter", model=model, logprob=-0.01)
        first = asked.question.index("large-model writes") < asked.question.index("small-model writes")
        return Say("Verdict: tie" if self.good else f"Verdict: {'A' if first else 'B'}", model=model)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a calibration about people's preferences: of sure drafts hardly one is worse."""
    rng = np.random.default_rng(1)
    n = 3000
    confidence = np.where(rng.random(n) < 0.6, np.exp(-0.01), np.round(rng.random(n) * 0.5, 3))
    said = np.where(rng.random(n) < np.where(confidence > 0.9, 0.02, 0.8), 1.0, 0.0)
    first, last = labels_of(np.where(rng.random(n) < 0.3, said, np.nan))
    table = OutcomeTable.from_arrays(
        correct=np.column_stack([first, last]), cost_usd=[1e-4, 1e-3], confidence=confidence,
        names=["small-model", "large-model"],
    ).change(0, agreement=np.zeros(n), judged=said, judge_model="judge-model")  # fmt: skip
    found = fit(table, Targets(max_drop=0.1), FitOptions(map="identity", few_labels=True))
    assert found.certified
    assert found.watched is not None
    assert found.watched.deferred_differ is None
    assert found.watched.kept_differ[1] < 0.15
    found.save(tmp_path / "calibration.json")
    return tmp_path


@pytest.fixture
def served(folder: Path) -> Iterator[Callable[[], Running]]:
    made: list[Running] = []

    def begin() -> Running:
        made.append(start(folder))
        return made[-1]

    yield begin
    for each in made:
        each.process.kill()
        each.process.wait()
        if each.process.stderr:
            each.process.stderr.close()


def test_a_served_chat_is_judged_and_an_alarm_comes_when_its_drafts_get_worse(
    folder: Path, served: Callable[[], Running]
) -> None:
    scripted = Models()
    with running(scripted) as url:
        (folder / "corea.toml").write_text(CONFIG.format(url=url, judge="judge-model"))
        server = served()
        for number in range(6):
            assert ask(server, number).headers["x-corea-stage"] == "small"
        wait_until(lambda: judged(folder) == [0.0] * 6)
        scripted.good = False
        alarmed = next(n for n in range(200) if "x-corea-audit" in ask(server, 1000 + n).headers)
        assert alarmed < 80
        server.wait_for("audit alarm: cascade corea, audited")
        ran = command(folder, "audit", "--json")
        (said,) = json.loads(ran.stdout)["cascades"]
        assert (ran.returncode, [each["source"] for each in said["sources"]]) == (1, ["audited", "labelled"])
        server.end(signal.SIGTERM)


def command(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    ran = [sys.executable, "-m", "corea.cli.main", *words]
    return subprocess.run(ran, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def judged(folder: Path) -> list[float | None]:
    with sqlite3.connect(folder / "corea.db") as connection:
        found = [json.loads(row[0]) for row in connection.execute("SELECT facts FROM audits WHERE state = 'done'")]
    connection.close()
    return [each.get("judged") for each in found]


def test_another_judge_than_at_calibration_is_refused(folder: Path) -> None:
    found = load(folder / "calibration.json")
    with pytest.raises(ConfigError, match="calibrated with the verdicts of 'judge-model', got 'other-model'"):
        CascadeWatch.of("corea", found, 20.0, "other-model")
    assert CascadeWatch.of("corea", found, 20.0).monitor is None  # nothing gives what it would watch
    assert CascadeWatch.of("corea", found, 20.0, "judge-model").monitor is not None


@pytest.mark.parametrize(
    ("judge", "change", "said"),
    [
        ("judge-model", ("[calibrate.judge]", "[elsewhere]"), "elsewhere"),
        ("judge-model", ("[calibrate.judge]\nbackend", "[calibrate]\njudge.price"), "judge.price"),
        ("unpriced-model", ("", ""), "unpriced-model"),
        ("other-model", ("", ""), "calibrated with the verdicts of 'judge-model', got 'other-model'"),
    ],
)
def test_a_judge_that_cannot_compare_ends_the_start_in_one_line(
    folder: Path, judge: str, change: tuple[str, str], said: str
) -> None:
    text = CONFIG.format(url="https://api.example.com/v1", judge=judge)
    (folder / "corea.toml").write_text(text.replace(*change) if change[0] else text)
    ran = command(folder, "serve", "--port", "0")
    assert (ran.returncode, said in ran.stderr, "Traceback" in ran.stderr) == (2, True, False), ran.stderr


def test_a_judge_that_is_not_configured_is_named(folder: Path) -> None:
    text = CONFIG.format(url="http://127.0.0.1:9", judge="judge-model")
    without = "\n".join(line for line in text.splitlines() if line != "[calibrate.judge]" and "backend = {" not in line)
    (folder / "corea.toml").write_text(without)
    ran = command(folder, "serve", "--port", "0")
    assert (ran.returncode, "gateway.audit.judge: got true and no [calibrate.judge]" in ran.stderr) == (2, True)
