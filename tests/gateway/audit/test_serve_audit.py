"""A server process of its own: a calibration, an alarm, kill -9 during an audit's call, and the command line."""

import json
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.fakes.server import Asked, Hang, Say, running
from tests.gateway.server.test_serve import Running, start

from corea.calibrate import FitOptions, fit, load
from corea.calibrate.targets import Targets
from corea.records.table import OutcomeTable

CONFIG = """
[cascade]
calibration = "calibration.json"
[stages.small.backend]
kind = "openai"
model = "small-model"
base_url = "{url}"
[stages.large.backend]
kind = "openai"
model = "large-model"
base_url = "{url}"
[prices.small-model]
input_usd_per_mtok = "1"
output_usd_per_mtok = "1"
[prices.large-model]
input_usd_per_mtok = "10"
output_usd_per_mtok = "10"
[gateway.budgets]
default_reserve_tokens = 20
[gateway.audit]
share = 1.0
every = 20
on_alarm = "defer"
budget_day_usd = "{budget}"
"""


class Models:
    """Both models: the large one is right; the small one is, while it is `good`. The large one may hang."""

    def __init__(self) -> None:
        self.good, self.hangs = True, False

    def __call__(self, asked: Asked) -> Any:
        number = next(word for word in asked.question.split() if word.isdigit())
        if asked.body["model"] == "large-model":
            return Hang() if self.hangs else Say(f"<answer>{number}</answer>", model="large-model")
        answer = number if self.good else "-1"
        return Say(f"<answer>{answer}</answer><confidence>0.95</confidence>", model="small-model")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a calibration: the small model is right in 95 % of the answers of which it is sure."""
    rng = np.random.default_rng(1)
    confidence = np.where(rng.random(800) < 0.6, 0.95, np.round(rng.random(800) * 0.5, 3))
    small = (rng.random(800) < confidence).astype(float)
    table = OutcomeTable.from_arrays(
        correct=np.stack([small, np.ones(800)], 1), cost_usd=[1e-4, 1e-3], confidence=confidence,
        names=["small-model", "large-model"],
    ).change(0, agreement=small)  # fmt: skip
    found = fit(table, Targets(max_drop=0.1), FitOptions(map="identity"))
    assert found.certified
    assert found.watched is not None
    found.save(tmp_path / "calibration.json")
    return tmp_path


@pytest.fixture
def serve(folder: Path) -> Iterator[Callable[[], Running]]:
    """Starts a server in the folder; all are ended."""
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


@pytest.fixture
def models() -> Iterator[tuple[str, Models]]:
    made = Models()
    with running(made) as url:
        yield url, made


def ask(server: Running, number: int) -> Any:
    body = {"model": "corea", "messages": [{"role": "user", "content": f"Say {number} please"}]}
    response = server.post(body)
    assert response.status_code == 200, response.text
    return response


def rows(folder: Path) -> list[tuple[Any, ...]]:
    with sqlite3.connect(folder / "corea.db") as connection:
        found = connection.execute("SELECT state, reserved_usd, cost_usd FROM audits").fetchall()
    connection.close()
    return found


def spent(folder: Path) -> Decimal:
    return sum((Decimal(cost or reserved) for _, reserved, cost in rows(folder)), Decimal(0))


def wait_until(said: Any) -> None:
    deadline = time.monotonic() + 20
    while not said():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_from_calibration_to_alarm_and_back(
    folder: Path, models: tuple[str, Models], serve: Callable[[], Running]
) -> None:
    """A good model raises no alarm; another one does, is not asked any more, and is again after a person looked."""
    url, scripted = models
    (folder / "corea.toml").write_text(CONFIG.format(url=url, budget=10))
    server = serve()
    for number in range(8):
        assert ask(server, number).headers["x-corea-stage"] == "small"
    wait_until(lambda: [row[0] for row in rows(folder)] == ["done"] * 8)
    assert "alarms" not in server.get("/readyz").json()
    scripted.good = False
    first = next(n for n in range(200) if "x-corea-audit" in ask(server, 1000 + n).headers)
    assert first < 60
    assert ask(server, 5).headers["x-corea-stage"] == "large"
    assert server.get("/readyz").json()["alarms"] == ["corea"]
    server.wait_for("audit alarm: cascade corea, audited")
    digest = load(folder / "calibration.json").digest
    said = json.loads(server.corea("audit", "--acknowledge", "--json"))
    assert [each["alarm"] for each in said["cascades"]] == [None]
    wait_until(lambda: "alarms" not in server.get("/readyz").json())
    scripted.good = True
    assert ask(server, 6).headers["x-corea-stage"] == "small"
    assert 'corea_audits_total{cascade="corea",outcome="done"}' in server.get("/metrics").text
    server.end(signal.SIGTERM)
    with sqlite3.connect(folder / "corea.db") as connection:
        facts, calibration = connection.execute("SELECT facts, calibration FROM audits LIMIT 1").fetchone()
    connection.close()
    assert calibration == digest
    small = json.loads(facts)["small"]
    assert small["inputs"]["confidence"] == 0.95
    assert small["score"] == 0.95


def test_a_killed_server_has_lost_what_was_in_flight_and_the_budget_holds(
    folder: Path, models: tuple[str, Models], serve: Callable[[], Running]
) -> None:
    url, scripted = models
    (folder / "corea.toml").write_text(CONFIG.format(url=url, budget="0.02"))
    server = serve()
    for number in range(3):
        ask(server, number)
    wait_until(lambda: [row[0] for row in rows(folder)] == ["done"] * 3)
    scripted.hangs = True
    for number in range(4):  # two calls at once, the others wait
        ask(server, 10 + number)
    wait_until(lambda: sum(row[0] == "asked" for row in rows(folder)) == 2)
    before = spent(folder)
    server.end(signal.SIGKILL)
    scripted.hangs = False
    reserve = max(Decimal(reserved) for _, reserved, _ in rows(folder))
    budget = before + reserve + Decimal("0.0002")  # a few calls more, until a whole reserve does not fit
    (folder / "corea.toml").write_text(CONFIG.format(url=url, budget=budget))
    again = serve()
    states = [row[0] for row in rows(folder)]
    assert sorted(states) == ["done"] * 3 + ["lost"] * 2
    assert spent(folder) == before
    number = 0
    while not any(row[0] == "budget" for row in rows(folder)):
        ask(again, 100 + number)
        number += 1
        assert number < 30
        assert spent(folder) <= budget
    assert spent(folder) <= budget
    again.end(signal.SIGTERM)
