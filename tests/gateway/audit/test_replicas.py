"""Several servers on one PostgreSQL database: one budget, one state of the detectors, one alarm."""

import asyncio
import logging
from decimal import Decimal
from typing import Any

import pytest
from tests.fakes.postgres import PostgresServer, fetch_async
from tests.gateway.audit.conftest import EVERY, Make, watched
from tests.gateway.audit.test_auditor import SMALL_RESERVE, SURE
from tests.gateway.audit.test_watch import DEFERRED, KEPT, Pair, evidence, make
from tests.gateway.billing.test_shared_accounts import until

from corea.backends.fake import FakeBackend
from corea.calibrate.monitor import Detector
from corea.gateway.audit import auditor as auditing
from corea.gateway.audit.store import acknowledge, spent_on
from corea.gateway.billing.database import DatabaseUnavailable

BOTH = pytest.mark.parametrize("audited", ["sqlite", "postgres"], indirect=True)
SHARED = pytest.mark.parametrize("audited", ["postgres"], indirect=True)


def alone(values: list[float]) -> Detector:
    """The detector `audited` after these observations, by itself."""
    found = Detector(name="audited", high=0.1, every=EVERY)
    for value in values:
        found.observe(value)
    return found


@SHARED
async def test_servers_in_turn_add_to_one_state_to_the_digit(audited: Make) -> None:
    """The evidence is that of one detector that saw all in this order; the alarm is that of its observation."""
    pair = Pair(30, every=10)
    houses = [await make(audited, pair, monitor=watched()) for _ in range(3)]
    alarms: list[str | None] = []
    for n in range(1, 80):
        await houses[n % 3].ask(KEPT.format(n))
        alarms.append(houses[n % 3].auditor.watches["corea"].alarm)
    one = alone([float(n % (10 if n < 30 else 2) == 0) for n in range(1, 80)])
    for house in houses:
        seen = await evidence(house, "audited")
        assert (seen["n"], seen["alarmed_at"]) == (79, one.alarmed_at)
        assert seen["evidence"] == pytest.approx(one.evidence, rel=1e-12)
    assert alarms.index("audited") + 1 == one.alarmed_at


@SHARED
async def test_servers_at_once_count_each_observation_once(audited: Make) -> None:
    """All answers of kept questions differ, none of deferred ones: the order does not matter then."""
    bounds = {"kept_differ": (0.0, 0.9), "deferred_differ": (0.001, 0.9), "every": 1e12}
    audit = {"budget_day_usd": 1000}
    houses = [await make(audited, Pair(0, then=1), monitor=watched(**bounds), audit=audit) for _ in range(3)]
    asked = [
        house.house.post(messages=[{"role": "user", "content": KEPT.format(n)}]) for n in range(30) for house in houses
    ]
    assert {answer.headers["x-corea-stage"] for answer in await asyncio.gather(*asked)} == {"small"}
    for house in houses:
        await house.settle()
    seen = await evidence(houses[0], "audited")
    assert (seen["n"], seen["rate"]) == (90, 1.0)
    one = Detector(name="audited", high=0.9, every=1e12)
    for _ in range(90):
        one.observe(1.0)
    assert seen["evidence"] == pytest.approx(one.evidence, rel=1e-12)
    (found,) = (await houses[1].get("/v1/audit")).json()["cascades"]
    assert found["drawn"] == {"done": 90}


@SHARED
async def test_an_alarm_and_its_end_reach_every_server(
    audited: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(auditing, "POLL_SECONDS", 0.02)
    named: dict[str, Any] = {"monitor": watched(), "audit": {"on_alarm": "defer"}}
    one, two = [await make(audited, Pair(0, then=1), **named) for _ in range(2)]
    for n in range(1, 40):
        await one.ask(KEPT.format(n))
        if one.auditor.alarms:
            break
    await until(lambda: two.auditor.alarms)
    assert (await two.ask("kept 100")).headers["x-corea-audit"] == "alarm, deferring"
    assert (await two.ask("kept 101")).headers["x-corea-stage"] == "large"
    assert two.house.small.calls == []
    assert 'corea_audit_alarm{cascade="corea",detector="audited"} 1.0' in two.metrics()
    lines = [each.message for each in caplog.records if each.levelno == logging.WARNING and "alarm" in each.message]
    assert len(lines) == 2  # a line of each server
    await two.auditor.store.run(lambda connection: acknowledge(connection, "corea", two.now[0]))
    await until(lambda: not one.auditor.alarms and not two.auditor.alarms)
    assert (await one.ask("kept 102")).headers["x-corea-stage"] == "small"
    assert (await evidence(two, "audited"))["n"] == 1


@SHARED
async def test_only_the_server_that_raised_an_alarm_posts_it(audited: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    posted: list[Any] = []

    async def post(url: str, alarm: Any, *, seconds: float) -> bool:
        posted.append(alarm)
        return True

    monkeypatch.setattr(auditing, "post_alarm", post)
    monkeypatch.setattr(auditing, "POLL_SECONDS", 0.02)
    named: dict[str, Any] = {"monitor": watched(), "audit": {"webhook": "http://127.0.0.1:1/x"}}
    one, two = [await make(audited, Pair(0, then=1), **named) for _ in range(2)]
    for n in range(1, 40):
        await (one, two)[n % 2].ask(KEPT.format(n))
    await until(lambda: one.auditor.alarms and two.auditor.alarms)
    for house in (one, two):
        await house.tasks()
    assert [(each["cascade"], each["alarm"]) for each in posted] == [("corea", "audited")]
    late = await make(audited, Pair(0), **named)
    assert (late.auditor.alarms, len(posted)) == ({"corea": "report"}, 1)


@SHARED
async def test_one_budget_for_all_servers(audited: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Calls that hang hold their whole reserve: as many are made as fit, over all servers, at once."""
    never = asyncio.Event()

    async def hang(question: Any) -> str:
        await never.wait()
        return ""

    budget = Decimal("0.0123")
    named: dict[str, Any] = {"settings": SMALL_RESERVE, "audit": {"budget_day_usd": str(budget), "concurrency": 9}}
    houses = [await audited(SURE, FakeBackend("large-model", hang), **named) for _ in range(3)]
    await asyncio.gather(*(house.house.post() for _ in range(9) for house in houses))

    def asked() -> int:
        return sum(len(house.house.large.calls) for house in houses)

    async def stored(state: str) -> int:
        return sum(row["state"] == state for row in await houses[0].rows())

    async with asyncio.timeout(10):
        while await stored("asked") + await stored("budget") < 27:
            await asyncio.sleep(0.01)
    rows = await houses[0].rows()
    spent = sum((row["reserved_usd"] for row in rows), Decimal(0))
    (reserve,) = {row["reserved_usd"] for row in rows if row["state"] == "asked"}
    fits = int(budget / reserve)
    assert (asked(), await stored("asked"), await stored("budget")) == (fits, fits, 27 - fits)
    assert spent == fits * reserve <= budget
    assert 27 > fits > 3
    assert caplog.text.count("the budget of the day is used up") <= 3  # a line of each server
    (day,) = await fetch_async(houses[0].place.url or "", "SELECT spent_usd, closed FROM audit_days")
    assert day == (spent, 1)


@SHARED
async def test_calls_of_a_dead_server_are_lost_at_their_reserve_and_one_that_lives_is_left_alone(audited: Make) -> None:
    go = asyncio.Event()

    async def wait(question: Any) -> str:
        await go.wait()
        return "<answer>20</answer>"

    first, second = [await audited(SURE, FakeBackend("large-model", wait)) for _ in range(2)]
    for house in (first, second):
        await house.house.post()
        await until(lambda house=house: house.house.large.calls)
    await first.die()
    third = await audited(SURE, "<answer>20</answer>")
    rows = {row["replica"]: row for row in await third.rows()}
    lost, asked = rows[first.storage.replica], rows[second.storage.replica]
    assert (lost["state"], lost["cost_usd"], asked["state"]) == ("lost", lost["reserved_usd"], "asked")
    assert third.auditor.budget.spent == lost["reserved_usd"] + asked["reserved_usd"]
    go.set()  # the first was only cut off: what its call has cost is booked after all
    for house in (first, second):
        await house.settle()
    found = await third.rows()
    assert [row["state"] for row in found] == ["done", "done"]
    costs = sum((row["cost_usd"] for row in found), Decimal(0))
    assert costs < lost["reserved_usd"]
    assert await fetch_async(third.place.url or "", "SELECT spent_usd FROM audit_days") == [(costs,)]


@BOTH
async def test_a_batch_whose_commit_was_not_heard_of_counts_once(
    audited: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each transaction is done twice: once its answer is lost, or once it is not done at all."""
    monkeypatch.setattr(auditing, "RETRY_SECONDS", 0.001)
    house = await make(audited, Pair(0, then=1), monitor=watched(every=1e9), audit={"share": 0.999999})
    real, calls = house.auditor.store.run, [0]

    async def run(work: Any, *, reads: bool = False) -> Any:
        calls[0] += 1
        if calls[0] % 3 == 1 and not reads:
            await real(work)
        if calls[0] % 3 != 0 and not reads:
            raise DatabaseUnavailable("the answer is lost")
        return await real(work, reads=reads)

    await house.ask(KEPT.format(0))
    monkeypatch.setattr(house.auditor.store, "run", run)
    for n in range(1, 8):
        await house.ask(DEFERRED.format(n))
    monkeypatch.setattr(house.auditor.store, "run", real)
    assert ((await evidence(house, "audited"))["n"], (await evidence(house, "deferred"))["n"]) == (1, 7)
    assert calls[0] >= 14
    assert len(await house.rows()) == 8
    one = Detector(name="deferred", low=0.2, high=0.4, every=1e9)
    for _ in range(7):
        one.observe(1.0)
    assert (await evidence(house, "deferred"))["evidence"] == pytest.approx(one.evidence, rel=1e-12)
    spent = await house.auditor.store.run(lambda connection: spent_on(connection, house.auditor.budget.day))
    assert house.auditor.budget.spent == spent


@SHARED
async def test_what_is_seen_while_the_database_is_away_is_stored_once_afterwards(
    audited: Make, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(auditing, "RETRY_SECONDS", 0.02)
    house = await make(audited, Pair(0, then=1), monitor=watched(every=1e9))
    await house.ask(DEFERRED.format(1))
    await asyncio.to_thread(postgres.stop)
    try:
        for n in range(2, 5):
            response = await house.house.post(messages=[{"role": "user", "content": DEFERRED.format(n)}])
            assert response.status_code == 200
        kept = await house.house.post(messages=[{"role": "user", "content": KEPT.format(5)}])
        assert kept.status_code == 200
        await until(lambda: house.auditor.failing)
        refused = await house.feedback(kept, verdict="right")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "accounts_unavailable")
        assert (await house.get("/v1/audit")).status_code == 503
    finally:
        await asyncio.to_thread(postgres.start)
    async with asyncio.timeout(20):
        await house.settle()
    assert (await evidence(house, "deferred"))["n"] == 4
    assert len(house.house.large.calls) == 4  # without a stored reserve, no call is made
    said = [each.message for each in caplog.records if each.message.startswith("audit: the database")]
    assert [line.split(" (")[0] for line in said] == [
        "audit: the database cannot be used", "audit: the database can be used again",
    ]  # fmt: skip


@SHARED
async def test_a_server_of_an_older_calibration_shows_its_detectors_nothing(audited: Make) -> None:
    """As during a rolling restart: the newest start decides, and the two do not begin again for ever."""
    old = await make(audited, Pair(0, then=1), monitor=watched(every=1e9))
    await old.ask(KEPT.format(1))
    new = await make(audited, Pair(0, then=1), monitor=watched(kept_differ=(0.0, 0.2), every=1e9))
    await new.ask(KEPT.format(2))
    await old.ask(KEPT.format(3))
    await new.ask(KEPT.format(4))
    seen = await evidence(old, "audited")
    assert (seen["n"], seen["high"]) == (2, 0.2)
    assert [row["state"] for row in await new.rows()] == ["done"] * 4


@SHARED
async def test_feedback_goes_to_any_server_and_tests_the_promise_once(audited: Make) -> None:
    houses = [await audited(SURE, "<answer>20</answer>", monitor=watched(every=1e9)) for _ in range(2)]
    answers = [await houses[0].ask() for _ in range(4)]  # the decisions may not be stored yet
    review = {"verdict": "wrong", "reference_verdict": "right", "source": "review"}
    said = await asyncio.gather(*(house.feedback(each, **review) for each in answers for house in houses))
    assert [each.status_code for each in said] == [200] * 8
    assert sorted(each.json()["changed"] for each in said) == [False] * 4 + [True] * 4
    for house in houses:
        seen = await evidence(house, "labelled")
        assert (seen["n"], seen["rate"]) == (4, 1.0)
    unknown = await houses[1].feedback("0" * 32, verdict="right")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "trace_not_found")
