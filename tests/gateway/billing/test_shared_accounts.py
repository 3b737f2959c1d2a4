"""Budgets, rate limits and keys that replicas share through PostgreSQL: no replica alone, and none too much."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from tests.fakes.postgres import fetch_async

from corea.errors import ConfigError
from corea.gateway.billing import lease_client
from corea.gateway.billing.auth import Admission
from corea.gateway.billing.keys import ApiKey, KeyLimits, create_key, revoke_key, set_limits
from corea.gateway.billing.lease_client import LeaseClient
from corea.gateway.billing.migrations import MIGRATIONS
from corea.gateway.billing.postgres import connected, migrate
from corea.gateway.billing.shared_accounts import SharedAccounts
from corea.gateway.errors import GatewayError

CENT = Decimal("0.01")


@dataclass
class Ask:
    """What a request asks for."""

    reserve_usd: Decimal
    reserve_tokens: int = 1
    route: str = "corea"


@dataclass
class Books:
    """A key as the database has it."""

    spent: Decimal
    leased: Decimal
    day: Decimal
    requests: int
    leases: Decimal  # sum of those that are not booked


async def books(url: str) -> Books:
    query = """SELECT spent_usd, leased_usd, day_usd, requests,
        (SELECT coalesce(sum(usd), 0) FROM leases WHERE booked_day IS NULL) FROM keys"""
    (row,) = await fetch_async(url, query)
    return Books(*row)


@asynccontextmanager
async def replica(url: str, **named: Any) -> AsyncIterator[SharedAccounts]:
    client = LeaseClient(url, **named)
    await client.start()
    try:
        yield SharedAccounts(client)
    finally:
        await client.stop()


async def make_key(url: str, **limits: Any) -> tuple[ApiKey, str]:
    """A key, as the command makes one."""

    def make() -> tuple[ApiKey, str]:
        with connected(url) as connection:
            return create_key(connection, "alice", KeyLimits(**limits))

    return await asyncio.to_thread(make)


async def change(url: str, do: Callable[..., Any], *words: Any) -> None:
    def execute() -> None:
        with connected(url) as connection:
            do(connection, *words)

    await asyncio.to_thread(execute)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def admit(accounts: SharedAccounts, secret: str, reserve: Decimal = CENT, tokens: int = 1) -> Admission:
    return await accounts.admit(accounts.identify(secret), Ask(reserve, tokens))


async def die(accounts: SharedAccounts) -> None:
    """Ends a replica as kill -9 does: it says nothing more."""
    client = accounts.client
    task, connection = client._task, client._connection  # pyright: ignore[reportPrivateUsage]
    assert task is not None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    if connection is not None:
        connection.terminate()


async def sweep(url: str) -> Any:
    """Books what dead replicas held, as the others do when a lease has expired."""
    await fetch_async(url, "UPDATE replicas SET expires_at = now() - interval '1 second' WHERE id <> 'x'")
    return [row for row in await fetch_async(url, "SELECT corea_sweep()") if row[0]]


async def test_400_requests_at_a_barrier_on_three_replicas_cannot_overrun_a_budget(database: str) -> None:
    """Each reserves 0.03 and costs 0.01 or the whole; what is spent is what was booked, to the last digit."""
    _, secret = await make_key(database, budget_usd=Decimal(2))
    owed, most, codes = Decimal(0), Decimal(0), list[str]()
    rng = random.Random(3)
    async with replica(database) as a, replica(database) as b, replica(database) as c:
        barrier = asyncio.Event()

        async def one(accounts: SharedAccounts, cost: Decimal) -> None:
            nonlocal owed, most
            await barrier.wait()
            for _ in range(2):
                try:
                    admission = await admit(accounts, secret, Decimal("0.03"))
                except GatewayError as error:
                    codes.append(error.code or "")
                    continue
                owed += Decimal("0.03")
                most = max(most, owed)
                await asyncio.sleep(rng.random() / 50)
                owed += cost - Decimal("0.03")  # the rest of its reserve is free from here on
                await accounts.settle(admission, cost_usd=cost, tokens=1)

        costs = [Decimal("0.0123456789") if rng.random() < 0.5 else Decimal("0.03") for _ in range(200)]
        tasks = [asyncio.create_task(one((a, b, c)[n % 3], cost)) for n, cost in enumerate(costs)]
        barrier.set()
        await asyncio.gather(*tasks)
        while True:  # what is left is served too, though others hold some of it
            try:
                admission = await admit(a, secret, Decimal("0.03"))
            except GatewayError as error:
                if error.code == "insufficient_quota":
                    break
                await asyncio.sleep(0.11)
                continue
            await a.settle(admission, cost_usd=Decimal("0.03"), tokens=1)
            owed += Decimal("0.03")
    found = await books(database)
    assert most <= 2
    assert (found.spent, found.leased, found.leases, found.day) == (owed, 0, 0, owed)
    assert 2 - Decimal("0.03") < found.spent <= 2
    assert set(codes) <= {"budget_reserved", "insufficient_quota"}


@pytest.mark.parametrize("seed", range(3))
async def test_at_every_moment_spent_and_leased_are_within_the_budget(database: str, seed: int) -> None:
    """Random work on two replicas, one of which dies; a witness in the database looks at every committed state."""
    key, secret = await make_key(database, budget_usd=Decimal(1), budget_day_usd=Decimal("0.9"))
    watch = """CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.spent_usd + NEW.leased_usd > 1 OR NEW.day_usd + NEW.leased_usd > 0.9 OR NEW.leased_usd < 0 THEN
                RAISE EXCEPTION 'overspent: % %', NEW.spent_usd, NEW.leased_usd;
            END IF;
            RETURN NEW;
        END $$"""
    await fetch_async(database, watch)
    await fetch_async(database, "CREATE TRIGGER watch BEFORE UPDATE ON keys FOR EACH ROW EXECUTE FUNCTION watch()")
    rng, paid = random.Random(seed), Decimal(0)
    async with replica(database) as a:
        b = SharedAccounts(LeaseClient(database))
        await b.client.start()

        async def one(accounts: SharedAccounts, number: int) -> None:
            nonlocal paid
            reserve = Decimal(rng.randint(1, 9)) / 1000
            try:
                admission = await admit(accounts, secret, reserve)
            except GatewayError as error:
                assert error.status == 429
                return
            await asyncio.sleep(rng.choice((0, 0.001, 0.01)))
            cost = reserve * rng.randint(0, 4) / 4
            await accounts.settle(admission, cost_usd=cost, tokens=1)
            paid += cost

        for _ in range(8):
            await asyncio.gather(*(one(rng.choice((a, b)), n) for n in range(20)))
        await die(b)
        account = b.client.accounts[key.id]
        held = account.safe - account.spent
        expire = "UPDATE replicas SET expires_at = now() - interval '1s' WHERE id = $1"
        await fetch_async(database, expire, b.client.replica)
        await fetch_async(database, "SELECT corea_sweep()")
        for _ in range(3):
            await asyncio.gather(*(one(a, n) for n in range(20)))
    found = await books(database)
    assert (found.spent, found.leases) == (paid + held, found.leased)
    assert not a.client.failing


async def test_a_dead_replicas_lease_is_spent_until_it_comes_back(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, secret = await make_key(database, budget_usd=Decimal(10))
    async with replica(database) as accounts:
        first = await admit(accounts, secret, Decimal("0.1"))
        second = await admit(accounts, secret, Decimal("0.1"))
        await accounts.settle(first, cost_usd=Decimal("0.02"), tokens=1)
        lease = (await books(database)).leases
        assert lease >= Decimal("0.1")
        (swept,) = await sweep(database)
        entry = {"key": accounts.identify(secret).id, "usd": str(lease)}
        assert json.loads(swept[0])["entries"] == [entry]
        found = await books(database)
        assert (found.spent, found.day, found.leased) == (Decimal("0.02") + lease, Decimal("0.02") + lease, 0)
        old = accounts.client.replica
        await accounts.settle(second, cost_usd=Decimal("0.03"), tokens=1)  # it was not dead
        await until(lambda: accounts.client.replica != old)
        third = await admit(accounts, secret, Decimal("0.1"))
        await accounts.settle(third, cost_usd=Decimal("0.04"), tokens=1)
    found = await books(database)
    assert (found.spent, found.day, found.leased) == (Decimal("0.09"), Decimal("0.09"), 0)
    assert await fetch_async(database, "SELECT * FROM leases") == []


async def test_a_request_that_outlives_its_replicas_lease_is_paid_out_of_it(database: str) -> None:
    """Its cost is in what was booked already; the rest is corrected when it has ended, and not before."""
    _, secret = await make_key(database, budget_usd=Decimal(10))
    async with replica(database) as accounts:
        slow = await admit(accounts, secret, Decimal("0.5"))
        lease = (await books(database)).leases
        await sweep(database)
        other = await admit(accounts, secret, Decimal("0.5"))
        await accounts.settle(other, cost_usd=Decimal("0.1"), tokens=1)
        old = accounts.client.accounts
        await until(lambda: accounts.client.accounts is not old or slow.key_id not in old)
        assert (await books(database)).spent == lease
        await accounts.settle(slow, cost_usd=Decimal("0.2"), tokens=1)
    found = await books(database)
    assert (found.spent, found.leased) == (Decimal("0.3"), 0)


async def test_what_a_dead_replica_had_spent_can_be_corrected(database: str) -> None:
    key, secret = await make_key(database, budget_usd=Decimal(10))
    accounts = SharedAccounts(LeaseClient(database))
    await accounts.client.start()
    await admit(accounts, secret, Decimal("0.1"))
    await die(accounts)
    lease = (await books(database)).leases
    await sweep(database)
    assert (await books(database)).spent == lease
    ((freed,),) = await fetch_async(database, "SELECT corea_correct($1, 0.07)", key.id)
    found = await books(database)
    assert (freed, found.spent, found.day) == (lease - Decimal("0.07"), Decimal("0.07"), Decimal("0.07"))
    assert await fetch_async(database, "SELECT corea_correct($1, 5)", key.id) == [(0,)]


async def test_a_batch_whose_commit_was_not_heard_of_counts_once(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_client, "RETRY_SECONDS", 0.01)
    _, secret = await make_key(database, budget_usd=Decimal(10))
    async with replica(database) as accounts:
        admission = await admit(accounts, secret)
        fetchval, broken = asyncpg.Connection.fetchval, list[str]()

        async def breaks(self: Any, query: str, *words: Any, **named: Any) -> Any:
            found = await fetchval(self, query, *words, **named)
            if "corea_book" in query and '"usd":"0.25"' in words[3] and not broken:
                broken.append(query)
                raise ConnectionResetError("after the commit")
            return found

        monkeypatch.setattr(asyncpg.Connection, "fetchval", breaks)
        await accounts.settle(admission, cost_usd=Decimal("0.25"), tokens=3)
        await until(lambda: not accounts.client.failing)
        assert broken
        found = await books(database)
        assert (found.spent, found.requests) == (Decimal("0.25"), 1)
        admission = await admit(accounts, secret)  # and the lease is known exactly
        await accounts.settle(admission, cost_usd=Decimal("0.25"), tokens=3)
    found = await books(database)
    assert (found.spent, found.requests, found.leased) == (Decimal("0.5"), 2, 0)


async def test_keys_are_fresh_in_every_replica(database: str) -> None:
    async with replica(database) as a, replica(database) as b:
        assert a.identify(None).id is None
        key, secret = await make_key(database, budget_usd=Decimal(1))
        await until(lambda: a.has_keys() and b.has_keys())
        admission = await admit(a, secret, Decimal("0.05"))
        await a.settle(admission, cost_usd=CENT, tokens=1)
        await change(database, set_limits, key.id, KeyLimits(budget_usd=Decimal("0.03")))
        await until(lambda: a.client.keys[key.id].budget_usd == Decimal("0.03"))
        with pytest.raises(GatewayError, match=r"\$0.02 is left of this key's budget of \$0.03"):
            await admit(a, secret, Decimal("0.05"))  # though it had leased more
        await change(database, revoke_key, key.id)
        await until(lambda: b.client.keys[key.id].revoked_at is not None)
        with pytest.raises(GatewayError) as caught:
            b.identify(secret)
        assert caught.value.status == 401


async def test_keys_that_changed_while_nobody_listened_are_read_on_reconnect(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, secret = await make_key(database)
    async with replica(database) as accounts:
        monkeypatch.setattr(lease_client, "RETRY_SECONDS", 0.2)
        others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        await fetch_async(database, f"SELECT pg_terminate_backend(pid) {others}")
        await until(lambda: accounts.client.failing)
        with pytest.raises(GatewayError) as caught:
            await admit(accounts, secret)
        assert (caught.value.status, caught.value.headers) == (503, (("retry-after", "1"),))
        await change(database, revoke_key, key.id)
        await until(lambda: not accounts.client.failing)
        assert accounts.client.keys[key.id].revoked_at is not None


async def test_requests_per_minute_hold_over_all_replicas(database: str) -> None:
    _, secret = await make_key(database, requests_per_minute=60)
    async with replica(database) as a, replica(database) as b:
        admitted, refused = 0, list[GatewayError]()

        async def one(accounts: SharedAccounts) -> None:
            nonlocal admitted
            try:
                admission = await admit(accounts, secret)
            except GatewayError as error:
                refused.append(error)
                return
            admitted += 1
            await accounts.settle(admission, cost_usd=CENT, tokens=1)

        for _ in range(8):
            await asyncio.gather(*(one(a if n % 2 else b) for n in range(20)))
    assert 58 <= admitted <= 63  # 60 at once, one a second, and two may be ahead at a replica
    assert {error.code for error in refused} == {"rate_limit_exceeded"}
    assert {int(dict(error.headers)["retry-after"]) for error in refused} <= {1, 2}


async def test_tokens_per_minute_hold_over_all_replicas_and_unused_ones_return(database: str) -> None:
    _, secret = await make_key(database, tokens_per_minute=1000)
    async with replica(database) as a, replica(database) as b:
        held = [await admit(accounts, secret, tokens=400) for accounts in (a, b)]
        with pytest.raises(GatewayError, match=r"1000 tokens per minute; try again in 1[0-2]"):
            await admit(a, secret, tokens=400)
        await a.settle(held[0], cost_usd=CENT, tokens=10)
        await asyncio.sleep(0.11)
        again = await admit(a, secret, tokens=400)  # 390 were returned
        await a.settle(again, cost_usd=CENT, tokens=400)
        await b.settle(held[1], cost_usd=CENT, tokens=400)
        await asyncio.sleep(0.11)
        with pytest.raises(GatewayError, match="tokens per minute"):
            await admit(b, secret, tokens=2000)  # more than the limit needs a full bucket


async def test_counting_takes_of_the_limit(database: str) -> None:
    _, secret = await make_key(database, requests_per_minute=2)
    async with replica(database) as accounts:
        for _ in range(2):
            await accounts.count(accounts.identify(secret))
        with pytest.raises(GatewayError, match="2 requests per minute"):
            await accounts.count(accounts.identify(secret))


SET_CLOCK = "CREATE OR REPLACE FUNCTION corea_clock() RETURNS double precision LANGUAGE sql AS 'SELECT {}::float8'"
MIDNIGHT = 20_000 * 86_400.0  # a Wednesday, 2024-10-04 + ...


async def test_a_day_that_ends_while_requests_are_under_way(database: str) -> None:
    """Costs count on the day of their booking; at no time is more than a day's budget spent or leased on a day."""
    _, secret = await make_key(database, budget_day_usd=Decimal("0.5"), budget_month_usd=Decimal(9))
    async with replica(database) as a, replica(database) as b:
        await fetch_async(database, SET_CLOCK.format(MIDNIGHT - 1))
        await fetch_async(database, "UPDATE keys SET day = 0")
        late = [await admit(accounts, secret, Decimal("0.1")) for accounts in (a, b)]
        before = await books(database)
        barrier = asyncio.Event()

        async def settle(accounts: SharedAccounts, admission: Admission) -> None:
            await barrier.wait()
            await accounts.settle(admission, cost_usd=Decimal("0.1"), tokens=1)

        async def turn() -> None:
            await barrier.wait()
            await fetch_async(database, SET_CLOCK.format(MIDNIGHT + 1))

        work = [settle(a, late[0]), turn(), settle(b, late[1])]
        tasks = [asyncio.create_task(each) for each in work]
        barrier.set()
        await asyncio.gather(*tasks)
        found = await books(database)
        assert found.spent == Decimal("0.2")
        assert found.day in (Decimal(0), Decimal("0.1"), Decimal("0.2"))
        assert found.day + found.leased <= Decimal("0.5") >= before.leased
        got = 0
        for _ in range(6):
            try:
                admission = await admit(a, secret, Decimal("0.1"))
                await a.settle(admission, cost_usd=Decimal("0.1"), tokens=1)
                got += 1
            except GatewayError as error:
                assert error.code == "insufficient_quota"
                assert error.headers == (("retry-after", str(86_400 - 1)),)  # by the database's clock
                break
        assert (await books(database)).day <= Decimal("0.5")
        assert got >= 3
        await fetch_async(database, SET_CLOCK.format(MIDNIGHT - 3600))  # a clock that goes back opens no second budget
        with pytest.raises(GatewayError):
            await admit(b, secret, Decimal("0.1"))
    ((month, week),) = await fetch_async(database, "SELECT month_usd, week_usd FROM keys")
    assert month == week == (await books(database)).spent


async def test_a_replica_whose_clock_is_an_hour_off(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    real = time.time
    monkeypatch.setattr(lease_client.time, "time", lambda: real() + 3600)
    async with replica(database) as accounts:
        assert abs(accounts.client.now() - real()) < 5
        assert accounts.client.usable


async def test_a_replica_that_starts_late_reads_no_stale_counter(database: str) -> None:
    _, secret = await make_key(database, budget_usd=Decimal("0.1"))
    async with replica(database) as a, replica(database) as b:
        held = [await admit(a, secret, Decimal("0.04")) for _ in range(2)]
        assert b.identify(secret).id
        with pytest.raises(GatewayError, match="is reserved by running requests"):
            await admit(b, secret, Decimal("0.04"))
        for admission in held:
            await a.settle(admission, cost_usd=Decimal("0.04"), tokens=1)
        with pytest.raises(GatewayError, match=r"\$0.02 is left"):
            await asyncio.sleep(0.11)
            await admit(b, secret, Decimal("0.04"))


async def test_an_idle_lease_is_returned(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_client, "IDLE_SECONDS", 0.05)
    _, secret = await make_key(database, budget_usd=Decimal(100))
    async with replica(database) as accounts:
        admission = await admit(accounts, secret, Decimal("0.1"))
        async with asyncio.timeout(10):
            while (await books(database)).leased != Decimal("0.1"):  # what is under way stays
                await asyncio.sleep(0.02)
            await accounts.settle(admission, cost_usd=CENT, tokens=1)
            while (await books(database)).leased:
                await asyncio.sleep(0.02)


async def test_sessions_are_known_to_all_replicas(database: str) -> None:
    async with replica(database) as a, replica(database) as b:
        seen: dict[str, int] = {}
        b.client.on_turns = seen.__setitem__
        _, secret = await make_key(database)
        await until(a.has_keys)
        a.client.keep_turns("s1", 3)
        await a.settle(await admit(a, secret), cost_usd=CENT, tokens=1)
        await until(lambda: seen == {"s1": 3})
        late = LeaseClient(database)
        read: dict[str, int] = {}
        late.on_turns = read.__setitem__
        await late.start()
        await late.stop()
        assert read == {"s1": 3}


async def test_replicas_that_start_together_upgrade_once_and_a_newer_database_is_refused(database: str) -> None:
    clients = [LeaseClient(database) for _ in range(4)]
    await asyncio.gather(*(client.start() for client in clients))
    await asyncio.gather(*(client.stop() for client in clients))
    assert await fetch_async(database, "SELECT version FROM corea_version") == [(len(MIGRATIONS),)]
    await fetch_async(database, "UPDATE corea_version SET version = version + 1")
    connection = await asyncpg.connect(database)
    with pytest.raises(ConfigError, match="install a newer corea"):
        await migrate(connection, database)
    await connection.close()
