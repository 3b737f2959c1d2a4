"""What else replicas share: decisions, and a request's reservation however it ends; and what the commands do."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.gateway import write_config
from tests.fakes.postgres import PostgresServer, fetch, fetch_async
from tests.fakes.server import Bytes, Fail, Hang, Say
from tests.gateway.billing.test_shared_accounts import books, make_key, until
from tests.gateway.chat.upstreams import upstreams
from tests.gateway.conftest import DEAR, UNSURE, make_house
from typer.testing import CliRunner

from corea.cli.keys import keys as commands
from corea.errors import ConfigError
from corea.gateway.billing import lease_client
from corea.gateway.billing.decision_log import DecisionLog
from corea.gateway.billing.keys import find_key
from corea.gateway.billing.postgres import connected
from corea.gateway.billing.postgres_decisions import DecisionWriter
from corea.gateway.billing.storage import PostgresStorage
from corea.gateway.errors import GatewayError
from corea.gateway.ops.affinity import SessionAffinity
from corea.gateway.ops.settings import GatewayStorage, OnDatabaseDown
from corea.types import Sampling


@pytest.fixture
async def storage(database: str) -> AsyncIterator[PostgresStorage]:
    made = PostgresStorage.at(GatewayStorage(url=database), DecisionLog(GatewayStorage()), SessionAffinity())
    await made.start()
    yield made
    await made.stop()


async def hang_up(app: Any, body: Any, secret: str, when: Awaitable[None]) -> None:
    """A client that disconnects."""
    first = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    async def receive() -> Any:
        if first:
            return first.pop()
        await when
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    path = "/v1/chat/completions"
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(b"authorization", f"Bearer {secret}".encode())], "http_version": "1.1", "scheme": "http",
        "root_path": "",
    }  # fmt: skip
    await app(scope, receive, send)


async def test_a_reservation_is_released_on_every_way_out(database: str, storage: PostgresStorage) -> None:
    """A whole answer, a refusal by the upstream, a stream that breaks off, and a client that hangs up."""
    _, secret = await make_key(database, budget_usd=Decimal(10))
    await until(storage.has_keys)
    headers = {"authorization": f"Bearer {secret}"}
    stage = {"price": DEAR, "sampling": Sampling(max_tokens=50)}
    async with upstreams(large_stage=stage, accounts=storage.accounts) as it:
        body: dict[str, Any] = {"model": "corea/large", "messages": [{"role": "user", "content": "12 + 7?"}]}
        broken = Bytes(b'data: {"choices": [{"ind', content_type="text/event-stream", billed=None)
        statuses: list[int] = []
        for act, stream in ((Say("nineteen"), False), (Fail(400), False), (Fail(500), True), (broken, True)):
            it.large.script = [act]
            sent = {**body, "stream": stream}
            statuses.append((await it.request("POST", "/v1/chat/completions", headers=headers, json=sent)).status_code)
        it.large.script = [Hang()]
        hanging = asyncio.create_task(hang_up(it.app, body, secret, until(lambda: it.large.hanging)))
        await until(lambda: it.large.hanging)
        (account,) = storage.client.accounts.values()
        assert account.reserved > 0
        await hanging
    assert statuses[:2] == [200, 400]
    assert (account.reserved, account.under_way) == (0, 0)
    await storage.client.stop()
    found = await books(database)
    assert (found.leased, found.requests, await fetch_async(database, "SELECT * FROM leases")) == (0, 5, [])


async def test_decisions_are_stored_once_whatever_they_hold(database: str, storage: PostgresStorage) -> None:
    house = make_house(UNSURE)
    await house.post(messages=[{"role": "user", "content": "a \x00 b"}])
    await house.post()
    log = storage.writer.decisions
    log.settings = GatewayStorage(store_text=True)
    for done in (*house.done, house.last):  # the last one twice, as after a commit that was not heard of
        log.record(done)
    async with asyncio.timeout(10):
        while len(await fetch_async(database, "SELECT 1 FROM decisions")) < 2:
            await asyncio.sleep(0.02)
    rows = await fetch_async(
        database, "SELECT trace_id, stage, deferred, confidence, cost_usd, steps, prompt, at FROM decisions ORDER BY at"
    )
    assert [row[0] for row in rows] == [done.trace.trace_id for done in house.done]
    assert [row[1:4] for row in rows] == [("large", 1, 0.2)] * 2
    assert [row[4] for row in rows] == [done.trace.cost_usd for done in house.done]
    assert [step["stage"] for step in json.loads(rows[0][5])] == ["small", "large"]
    assert rows[0][6] == "user: a \ufffd b"
    assert abs(rows[0][7] - storage.client.now()) < 20


async def test_old_decisions_are_deleted(database: str, storage: PostgresStorage) -> None:
    house = make_house(UNSURE)
    await house.post()
    log = storage.writer.decisions
    log.clock = lambda: storage.client.now() - 40 * 86_400
    log.record(house.last)
    async with asyncio.timeout(10):
        while not await fetch_async(database, "SELECT 1 FROM decisions"):
            await asyncio.sleep(0.02)
    later = DecisionWriter(database, DecisionLog(GatewayStorage(), clock=storage.client.now))
    later.start()
    await later.stop()
    assert await fetch_async(database, "SELECT 1 FROM decisions") == []


async def test_requests_are_admitted_while_the_database_is_away_where_that_is_set(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the budget too; all that was spent is booked afterwards."""
    monkeypatch.setattr(lease_client, "RETRY_SECONDS", 0.02)
    database = await asyncio.to_thread(postgres.new_database)
    settings = GatewayStorage(url=database, on_database_down=OnDatabaseDown.ADMIT)
    storage = PostgresStorage.at(settings, DecisionLog(settings), SessionAffinity())
    await storage.start()
    _, secret = await make_key(database, budget_usd=Decimal("0.05"), requests_per_minute=600)
    await until(storage.has_keys)

    class Ask:
        route, reserve_usd, reserve_tokens = "corea", Decimal("0.02"), 1

    async def one() -> None:
        admission = await storage.accounts.admit(storage.accounts.identify(secret), Ask())
        await storage.accounts.settle(admission, cost_usd=Decimal("0.02"), tokens=1)

    await one()
    try:
        await asyncio.to_thread(postgres.stop)
        await until(lambda: storage.failing)
        for _ in range(5):
            await one()
    finally:
        await asyncio.to_thread(postgres.start)
    await until(lambda: not storage.failing)
    with pytest.raises(GatewayError, match=r"\$0 is left of this key's budget"):
        await one()
    await storage.stop()
    found = await books(database)
    assert (found.spent, found.leased, found.requests) == (Decimal("0.12"), 0, 6)


def test_the_commands_work_with_it(tmp_path: Path, database: str) -> None:
    write_config(tmp_path, "http://127.0.0.1:1/v1", gateway=f'[gateway.storage]\nurl = "{database}"')

    def corea(*command: str) -> str:
        done = CliRunner().invoke(commands, [*command, "--config", str(tmp_path / "corea.toml")])
        assert done.exit_code == 0, done.output
        return done.output

    made = json.loads(corea("create", "alice", "--budget-usd", "1.50", "--rpm", "7", "--json"))
    corea("set", "alice", "--budget-day-usd", "0.25", "--rpm", "none")
    corea("revoke", made["id"])
    (row,) = json.loads(corea("list", "--json"))["keys"]
    assert (row["budget_usd"], row["budget_day_usd"], row["requests_per_minute"]) == ("1.50", "0.25", None)
    assert row["revoked_at"] > row["created_at"]
    assert "$0" in corea("correct", made["id"])
    ((stored,),) = fetch(database, "SELECT budget_usd::text FROM keys")
    assert stored == "1.50"
    with connected(database) as connection:
        assert find_key(connection, made["key"]) is None


@pytest.mark.parametrize("url", ["sqlite:///x", "mysql://x/y"])
def test_another_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"gateway.storage.url: got another address, expected postgresql://"):
        GatewayStorage(url=url)
