"""Server processes of their own: a calibration, an alarm, kill -9 during an audit's call, and the command line.

On a file, and on PostgreSQL with two workers, of which any may get a request.
"""

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.fakes.postgres import fetch
from tests.fakes.server import Asked, Hang, Say, running
from tests.gateway.server.test_serve import Running, start

from corea.calibrate import FitOptions, fit, load
from corea.calibrate.targets import Targets
from corea.gateway.billing.connection import SqlConnection
from corea.gateway.billing.storage import open_database
from corea.gateway.ops.settings import GatewayStorage
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


@dataclass
class Place:
    """A folder with a calibration, and the database of the servers in it."""

    folder: Path
    url: str | None

    def configure(self, url: str, budget: Any, more: str = "") -> None:
        storage = f'[gateway.storage]\nurl = "{self.url}"\n' if self.url else ""
        (self.folder / "corea.toml").write_text(CONFIG.format(url=url, budget=budget) + more + storage)

    def database(self) -> AbstractContextManager[SqlConnection]:
        return open_database(GatewayStorage(url=self.url), None if self.url else self.folder / "corea.db")

    def rows(self, columns: str = "state, reserved_usd, cost_usd") -> list[tuple[Any, ...]]:
        with self.database() as connection:
            return connection.execute(f"SELECT {columns} FROM audits").fetchall()

    @property
    def states(self) -> list[str]:
        return sorted(row[0] for row in self.rows())

    @property
    def spent(self) -> Decimal:
        return sum((Decimal(cost or reserved) for _, reserved, cost in self.rows()), Decimal(0))


@pytest.fixture(params=["sqlite", "postgres"])
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    """The small model of the calibration is right in 95 % of the answers of which it is sure."""
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
    return Place(tmp_path, request.getfixturevalue("database") if request.param == "postgres" else None)


@pytest.fixture
def serve(place: Place) -> Iterator[Callable[..., Running]]:
    """Starts a server in the folder; all are ended."""
    made: list[Running] = []

    def begin(*words: str) -> Running:
        made.append(start(place.folder, *words))
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


def wait_until(said: Any) -> None:
    deadline = time.monotonic() + 20
    while not said():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_from_calibration_to_alarm_and_back(
    place: Place, models: tuple[str, Models], serve: Callable[..., Running]
) -> None:
    """A good model raises no alarm; another one does, is not asked any more, and is again after a person looked."""
    url, scripted = models
    place.configure(url, 10)
    server = serve("--workers", "2") if place.url else serve()
    for number in range(8):
        assert ask(server, number).headers["x-corea-stage"] == "small"
    wait_until(lambda: place.states == ["done"] * 8)
    assert "alarms" not in server.get("/readyz").json()
    scripted.good = False
    first = next(n for n in range(200) if "x-corea-audit" in ask(server, 1000 + n).headers)
    assert first < 60
    wait_until(lambda: {ask(server, 5).headers["x-corea-stage"] for _ in range(8)} == {"large"})
    assert server.get("/readyz").json()["alarms"] == ["corea"]
    assert 'corea_audit_alarm{cascade="corea",detector="audited"} 1.0' in server.get("/metrics").text
    server.wait_for("audit alarm: cascade corea, audited")
    digest = load(place.folder / "calibration.json").digest
    said = json.loads(server.corea("audit", "--acknowledge", "--json"))
    assert [each["alarm"] for each in said["cascades"]] == [None]
    wait_until(lambda: not any("alarms" in server.get("/readyz").json() for _ in range(8)))
    scripted.good = True
    assert ask(server, 6).headers["x-corea-stage"] == "small"
    assert 'corea_audits_total{cascade="corea",outcome="done"}' in server.get("/metrics").text
    server.end(signal.SIGTERM)
    facts, calibration = place.rows("facts, calibration")[0]
    assert calibration == digest
    small = json.loads(facts)["small"]
    assert small["inputs"]["confidence"] == 0.95
    assert small["score"] == 0.95


def test_a_killed_server_has_lost_what_was_in_flight_and_the_budget_holds(
    place: Place, models: tuple[str, Models], serve: Callable[..., Running]
) -> None:
    url, scripted = models
    place.configure(url, "0.02")
    server = serve()
    for number in range(3):
        ask(server, number)
    wait_until(lambda: place.states == ["done"] * 3)
    scripted.hangs = True
    for number in range(4):  # two calls at once, the others wait
        ask(server, 10 + number)
    wait_until(lambda: place.states.count("asked") == 2)
    before = place.spent
    server.end(signal.SIGKILL)
    scripted.hangs = False
    if place.url:  # as 15 seconds later
        fetch(place.url, "UPDATE replicas SET expires_at = now() - interval '1 second'")
    reserve = max(Decimal(reserved) for _, reserved, _ in place.rows())
    budget = before + reserve + Decimal("0.0002")  # a few calls more, until a whole reserve does not fit
    place.configure(url, budget)
    again = serve()
    assert place.states == ["done"] * 3 + ["lost"] * 2
    assert place.spent == before
    number = 0
    while "budget" not in place.states:
        ask(again, 100 + number)
        number += 1
        assert number < 30
        assert place.spent <= budget
    assert place.spent <= budget
    again.end(signal.SIGTERM)
