"""Traffic replayed through a gateway: exact evidence, alarms, and what follows from them."""

import logging
from typing import Any

import pytest
from aiohttp import web
from tests.gateway.audit.conftest import EVERY, AuditHouse, Draws, Make, watched

from corea.backends.fake import FakeBackend
from corea.calibrate.monitor import Detector
from corea.gateway.audit.store import acknowledge
from corea.types import Question

KEPT, DEFERRED = "kept {}", "deferred {}"


class Pair:
    """A small and a large model; on questions from `swapped` on the small one is another, which errs."""

    def __init__(self, swapped: int, *, every: int = 10, then: int = 2) -> None:
        self.swapped, self.every, self.then = swapped, every, then

    def small(self, question: Question) -> str:
        kind, number = question.text.split()
        n = int(number)
        errs = n % (self.every if n < self.swapped else self.then) == 0
        confidence = 0.9 if kind == "kept" else 0.2
        return f"<answer>{-1 if errs else n}</answer><confidence>{confidence}</confidence>"

    def large(self, question: Question) -> str:
        return f"<answer>{question.text.split()[1]}</answer>"


async def replay(house: AuditHouse, kind: str, numbers: range) -> list[str | None]:
    """The alarm after each question."""
    found: list[str | None] = []
    for n in numbers:
        await house.ask(kind.format(n))
        found.append(house.auditor.watches["corea"].alarm)
    return found


async def make(audited: Make, pair: Pair, **named: Any) -> AuditHouse:
    return await audited(FakeBackend("small-model", pair.small), FakeBackend("large-model", pair.large), **named)


async def evidence(house: AuditHouse, source: str) -> dict[str, Any]:
    (found,) = (await house.get("/v1/audit")).json()["cascades"]
    return next(each for each in found["sources"] if each["source"] == source)


async def test_a_swapped_small_model_is_seen_on_audited_questions(audited: Make) -> None:
    """5 % of the kept answers differ, then half of them: the evidence is that of the detector alone, to the digit."""
    pair = Pair(100, every=20)
    house = await make(audited, pair, monitor=watched())
    alarms = await replay(house, KEPT, range(1, 160))
    alone = Detector(name="audited", high=0.1, every=EVERY)
    alone_at = next(n for n in range(1, 160) if alone.observe(float(n % (20 if n < 100 else 2) == 0)))
    assert alarms.index("audited") + 1 == alone_at
    assert 100 <= alone_at <= 100 + 25
    seen = await evidence(house, "audited")
    rest = Detector(name="audited", high=0.1, every=EVERY)
    for n in range(1, 160):
        rest.observe(float(n % (20 if n < 100 else 2) == 0))
    assert (seen["n"], seen["evidence"]) == (159, pytest.approx(rest.evidence, rel=1e-12))
    assert (seen["alarm"], seen["alarmed_at"]) == (True, alone_at)


async def test_a_new_subject_is_seen_on_deferred_questions_for_free(audited: Make) -> None:
    """A third of the deferred answers differ, as calibrated; of another subject all do. No audit call is made."""
    pair = Pair(100, every=3, then=1)
    house = await make(audited, pair, monitor=watched(), audit={"share": 0})
    alarms = await replay(house, DEFERRED, range(1, 130))
    assert alarms[:99] == [None] * 99
    assert 100 <= alarms.index("deferred") + 1 <= 115
    assert await house.rows() == []
    assert len(house.house.large.calls) == 129  # each deferred question's own


async def test_a_steady_stream_raises_no_alarm(audited: Make) -> None:
    pair = Pair(10**6, every=3)
    house = await make(audited, pair, monitor=watched(), audit={"share": 0})
    assert set(await replay(house, DEFERRED, range(1, 200))) == {None}
    alone = Detector(name="deferred", low=0.2, high=0.4, every=EVERY)
    for n in range(1, 200):
        alone.observe(float(n % 3 == 0))
    seen = await evidence(house, "deferred")
    assert (seen["n"], seen["alarm"]) == (199, False)
    assert seen["evidence"] == pytest.approx(alone.evidence, rel=1e-12)
    assert (await house.get("/readyz")).json() == {"status": "ready"}


async def alarmed(audited: Make, **named: Any) -> AuditHouse:
    """A gateway whose audited answers have raised an alarm: all differ."""
    house = await make(audited, Pair(0, then=1), monitor=watched(), **named)
    for n in range(1, 40):
        await house.ask(KEPT.format(n))
        if house.auditor.alarms:
            return house
    raise AssertionError("no alarm")


async def test_an_alarm_is_a_line_a_metric_a_header_and_in_readyz(
    audited: Make, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "corea.gateway"):
        house = await alarmed(audited)
        await house.ask("kept 1000")
    lines = [record.message for record in caplog.records if "alarm" in record.message]
    assert lines == ["audit alarm: cascade corea, audited; it goes on until `corea audit --acknowledge`"]
    response = await house.ask("kept 1001")
    assert (response.headers["x-corea-audit"], response.headers["x-corea-stage"]) == ("alarm", "small")
    assert (await house.get("/readyz")).json() == {"status": "ready", "alarms": ["corea"]}
    assert 'corea_audit_alarm{cascade="corea",detector="audited"} 1.0' in house.metrics()
    assert 'corea_audit_alarm{cascade="corea",detector="deferred"} 0.0' in house.metrics()


async def test_on_alarm_defer_sends_everything_to_the_last_stage_until_acknowledged(audited: Make) -> None:
    house = await alarmed(audited, audit={"on_alarm": "defer"})
    before = len(house.house.small.calls)
    response = await house.ask("kept 1001")
    assert (response.headers["x-corea-audit"], response.headers["x-corea-stage"]) == ("alarm, deferring", "large")
    assert "audit alarm: everything is deferred" in response.json()["corea"]["flags"]
    assert len(house.house.small.calls) == before
    direct = await house.ask("kept 1001", model="corea/small")
    assert direct.headers["x-corea-stage"] == "small"  # that stage was asked for by name
    await house.auditor.store.run(lambda connection: acknowledge(connection, "corea", house.now[0]))
    await house.auditor.refresh()
    assert (await house.ask("kept 1002")).headers["x-corea-stage"] == "small"
    seen = await evidence(house, "audited")
    assert (seen["n"], seen["alarm"]) == (1, False)  # it begins again


async def test_state_and_alarm_survive_a_restart(audited: Make) -> None:
    pair = Pair(100, every=20)
    first = await make(audited, pair, monitor=watched())
    await replay(first, KEPT, range(1, 60))
    again = await make(audited, pair, monitor=watched())
    alarms = await replay(again, KEPT, range(60, 160))
    alone = Detector(name="audited", high=0.1, every=EVERY)
    alone_at = next(n for n in range(1, 160) if alone.observe(float(n % (20 if n < 100 else 2) == 0)))
    assert alarms.index("audited") + 60 == alone_at
    third = await make(audited, pair, monitor=watched(), audit={"on_alarm": "defer"})
    assert third.auditor.alarms == {"corea": "defer"}
    assert (await third.ask("kept 7")).headers["x-corea-stage"] == "large"


async def test_other_bounds_start_again(audited: Make) -> None:
    await alarmed(audited)
    other = await make(audited, Pair(0), monitor=watched(kept_differ=(0.0, 0.2)))
    assert other.auditor.alarms == {}
    assert (await evidence(other, "audited") if (await other.ask("kept 1")) else {})["n"] == 1


@pytest.fixture
async def hook() -> Any:
    """A server that takes alarms; it fails as often as it is asked to."""
    taken: list[Any] = []
    failures = [500]

    async def take(request: web.Request) -> web.Response:
        if failures:
            return web.Response(status=failures.pop())
        taken.append(await request.json())
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/secret", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield f"http://127.0.0.1:{port}/secret", taken, failures
    await runner.cleanup()


async def test_an_alarm_is_posted_and_tried_again_after_a_failure(
    audited: Make, hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, taken, failures = hook
    monkeypatch.setattr("corea.gateway.audit.webhook.WAITS", (0.0,))
    house = await alarmed(audited, audit={"webhook": url})
    await house.tasks()
    assert failures == []
    (alarm,) = taken
    assert (alarm["cascade"], alarm["alarm"], alarm["on_alarm"]) == ("corea", "audited", "report")
    assert alarm["detectors"]["audited"]["alarmed_at"] == alarm["detectors"]["audited"]["seen"]
    (row,) = await house.rows("monitors")
    assert row["notified_at"] == house.now[0]


async def test_a_webhook_that_fails_is_tried_again_after_a_restart_and_its_url_is_in_no_log(
    audited: Make, hook: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url, taken, failures = hook
    failures[:] = [500] * 2
    monkeypatch.setattr("corea.gateway.audit.webhook.WAITS", (0.0,))
    house = await alarmed(audited, audit={"webhook": url})
    await house.tasks()
    assert (taken, (await house.rows("monitors"))[0]["notified_at"]) == ([], None)
    assert "could not be posted to gateway.audit.webhook at 127.0.0.1: status 500, 2 times" in caplog.text
    assert "secret" not in caplog.text
    again = await make(audited, Pair(0), monitor=watched(), audit={"webhook": url})
    await again.tasks()
    assert [each["alarm"] for each in taken] == ["audited"]


async def test_a_cascade_without_shares_to_watch_has_rates_and_no_test(audited: Make) -> None:
    house = await make(audited, Pair(0, then=2), draws=Draws(0.1))
    await replay(house, KEPT, range(1, 5))
    seen = await evidence(house, "audited")
    assert (seen["n"], seen["rate"], seen["evidence"]) == (4, 0.5, None)
    assert "no test" in seen["meaning"]
