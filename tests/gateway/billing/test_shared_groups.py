"""Groups, admin keys and the record of changes with PostgreSQL, as with an SQLite file; over all replicas."""

import asyncio
import json
import random
from contextlib import closing
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.gateway import write_config
from tests.fakes.postgres import PostgresServer, fetch, fetch_async
from tests.gateway.billing.test_shared_accounts import CENT, admit, change, die, replica, sweep, until
from tests.gateway.conftest import make_house
from typer.testing import CliRunner

from corea.cli.keys import keys as commands
from corea.gateway.billing import lease_client
from corea.gateway.billing.database import connect
from corea.gateway.billing.key_admin import KeyAdmin
from corea.gateway.billing.keys import ApiKey, KeyLimits, Role, create_key, revoke_key
from corea.gateway.billing.lease_client import LeaseClient
from corea.gateway.billing.postgres import connected
from corea.gateway.billing.shared_accounts import SharedAccounts
from corea.gateway.billing.storage import open_database
from corea.gateway.errors import GatewayError
from corea.gateway.ops.settings import GatewayStorage
from corea.gateway.server.admin import AdminApi

WITNESS = (
    """CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF (SELECT spent_usd FROM keys WHERE role = 'group')
            <> (SELECT sum(spent_usd) FROM keys WHERE group_id IS NOT NULL) THEN
            RAISE EXCEPTION 'one of two payers was booked alone';
        END IF;
        RETURN NULL;
    END $$""",
    """CREATE CONSTRAINT TRIGGER witness AFTER UPDATE OF spent_usd ON keys DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION witness()""",
)


async def make_group(url: str, budget: str, *members: dict[str, Any]) -> tuple[ApiKey, list[str]]:
    """A group with a budget, and the secrets of its keys."""

    def make() -> tuple[ApiKey, list[str]]:
        with connected(url) as connection:
            group, _ = create_key(connection, "team", KeyLimits(budget_usd=Decimal(budget)), Role.GROUP)
            made = [create_key(connection, "key", KeyLimits(group_id=group.id, **limits)) for limits in members]
        return group, [secret for _, secret in made]

    return await asyncio.to_thread(make)


async def rows(url: str) -> dict[str, tuple[Decimal, Decimal, int]]:
    """By role and budget: spent, leased, requests."""
    query = "SELECT role || coalesce(' ' || budget_usd, ''), spent_usd, leased_usd, requests FROM keys"
    return {name: tuple(rest) for name, *rest in await fetch_async(url, query)}  # pyright: ignore[reportReturnType]


async def test_keys_of_a_group_share_its_budget_over_all_replicas(database: str) -> None:
    """Two keys, one with a budget of its own, on three replicas; in no commit was one of the payers booked alone."""
    _, secrets = await make_group(database, "1", {}, {"budget_usd": Decimal("0.25")})
    for statement in WITNESS:
        await fetch_async(database, statement)
    rng, codes, paid = random.Random(5), set[str | None](), [Decimal(0), Decimal(0)]
    async with replica(database) as a, replica(database) as b, replica(database) as c:

        async def one(accounts: SharedAccounts, key: int) -> None:
            try:
                admission = await admit(accounts, secrets[key], Decimal("0.03"))
            except GatewayError as error:
                codes.add(error.code)
                return
            await asyncio.sleep(rng.random() / 50)
            await accounts.settle(admission, cost_usd=Decimal("0.0123"), tokens=1)
            paid[key] += Decimal("0.0123")

        for _ in range(4):
            await asyncio.gather(*(one((a, b, c)[n % 3], n % 2) for n in range(60)))
        assert not any(each.client.failing for each in (a, b, c))
    found = await rows(database)
    assert found["group 1"][:2] == (sum(paid), 0)
    assert found["key"][:2] == (paid[0], 0)
    assert found["key 0.25"][:2] == (paid[1], 0)
    assert paid[1] <= Decimal("0.25") < sum(paid) <= 1
    assert found["group 1"][2] == found["key"][2] + found["key 0.25"][2] == sum(paid) / Decimal("0.0123")
    assert codes
    assert codes <= {"budget_reserved", "insufficient_quota"}


async def test_a_request_that_its_group_cannot_pay_takes_nothing_of_its_key(database: str) -> None:
    group, (secret,) = await make_group(database, "0.05", {"requests_per_minute": 2, "budget_usd": Decimal(9)})
    async with replica(database) as a:
        for _ in range(3):
            with pytest.raises(GatewayError, match=r"\$0.05 is left of this key's group's budget of \$0.05"):
                await admit(a, secret, Decimal("0.06"))
        for _ in range(2):  # the rate limit is whole
            await a.settle(await admit(a, secret, CENT), cost_usd=CENT, tokens=1)
        assert all(account.reserved == 0 for account in a.client.accounts.values())
        assert a.client.under_way == 0
        await change(database, revoke_key, group.id)
        await until(lambda: a.client.keys[group.id].revoked_at is not None)
        with pytest.raises(GatewayError, match="group of this API key was revoked") as caught:
            await admit(a, secret, CENT)
        assert caught.value.status == 401


async def test_a_dead_replicas_lease_of_a_group_is_booked_and_corrected(database: str) -> None:
    group, (secret,) = await make_group(database, "10", {})
    accounts = SharedAccounts(LeaseClient(database))
    await accounts.client.start()
    await admit(accounts, secret, Decimal("0.1"))
    await die(accounts)
    lease = (await rows(database))["group 10"][1]
    assert lease >= Decimal("0.1")
    assert len(await sweep(database)) == 1
    assert (await rows(database))["group 10"][:2] == (lease, 0)

    def correct() -> tuple[ApiKey, Decimal]:
        with connected(database) as connection:
            return KeyAdmin(connection, "test").correct(group.id, Decimal("0.07"))

    now, freed = await asyncio.to_thread(correct)
    assert (now.spent_usd, freed) == (Decimal("0.07"), lease - Decimal("0.07"))
    ((action, changes),) = await fetch_async(database, "SELECT action, changes FROM key_changes")
    before, after = map(Decimal, json.loads(changes)["spent_usd"])
    assert (action, before, after) == ("correct", lease, Decimal("0.07"))


async def test_a_busy_replica_books_the_leases_of_dead_ones(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_client, "HEARTBEAT_SECONDS", 0.1)
    _, (secret,) = await make_group(database, "10", {})
    dead = SharedAccounts(LeaseClient(database))
    await dead.client.start()
    await admit(dead, secret, Decimal("0.1"))
    await die(dead)
    await fetch_async(database, "UPDATE replicas SET expires_at = now()")
    async with replica(database) as accounts:
        accounts.client._connected_at -= 20  # pyright: ignore[reportPrivateUsage]  # connected for long
        async with asyncio.timeout(10):
            while not await fetch_async(database, "SELECT 1 FROM replicas WHERE swept"):
                await accounts.settle(await admit(accounts, secret, CENT), cost_usd=CENT, tokens=1)


async def test_the_spending_of_all_replicas_is_known_to_each(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_client, "HEARTBEAT_SECONDS", 0.05)
    group, (secret,) = await make_group(database, "1", {"budget_day_usd": Decimal("0.5")})
    async with replica(database) as a, replica(database) as b:
        await a.settle(await admit(a, secret, CENT), cost_usd=Decimal("0.004"), tokens=1)
        key_id = a.identify(secret).id or ""
        await until(lambda: len(b.all_budgets()) == 2)
        await until(lambda: b.all_budgets()[group.id][0].left_usd == Decimal("0.996"))
        (day,) = b.all_budgets()[key_id]
        assert (day.period, day.usd, day.left_usd, day.days_left) == ("day", Decimal("0.5"), Decimal("0.496"), 1)


async def test_keys_are_managed_over_http_and_each_change_is_on_record(database: str) -> None:
    def root() -> str:
        with connected(database) as connection:
            return KeyAdmin(connection, "test").create("root", role=Role.ADMIN)[1]

    secret = await asyncio.to_thread(root)
    async with replica(database) as accounts:
        await until(lambda: bool(accounts.client.keys))
        assert not accounts.has_keys()  # an admin key asks no model
        house = make_house(accounts=accounts)
        house.gateway.admin = AdminApi(partial(open_database, GatewayStorage(url=database), None), lambda: ["corea"])
        house.gateway.local_only = lambda: not accounts.has_keys()

        async def ask(method: str, path: str, body: Any = None, secret: str = secret) -> Any:
            headers = {"authorization": f"Bearer {secret}", "content-type": "application/json", "host": "127.0.0.1"}
            content = None if body is None else json.dumps(body).encode()
            return await house.request(method, f"/admin/{path}", headers=headers, content=content)

        group = (await ask("POST", "keys", {"name": "team", "role": "group", "budget_usd": "2.50"})).json()
        made = (await ask("POST", "keys", {"name": "alice", "group_id": group["id"], "cascades": ["corea"]})).json()
        await until(accounts.has_keys)
        bearer = {"authorization": f"Bearer {made['key']}"}
        assert (await house.post(headers=bearer)).status_code == 200
        shown = {each["name"]: each for each in (await ask("GET", "keys")).json()["keys"]}
        assert shown["team"]["spent_usd"] == shown["alice"]["spent_usd"] > 0
        assert not {"hash", "key"} & set(shown["alice"])
        changed = await ask("PATCH", f"keys/{group['id']}", {"budget_usd": 0.000001})
        assert changed.json()["budget_usd"] == 0.000001
        await until(lambda: accounts.client.keys[group["id"]].budget_usd == Decimal("0.000001"))
        assert (await house.post(headers=bearer)).json()["error"]["code"] == "insufficient_quota"
        refused = await ask("PATCH", f"keys/{group['id']}", {"cascades": ["corea"]})
        assert (refused.status_code, "whose limits are budgets" in refused.text) == (400, True)
        assert (await ask("GET", "keys", secret=made["key"])).status_code == 401
        both = [ask("POST", f"keys/{made['id']}/revoke") for _ in range(2)]  # one of them changes nothing
        assert {each.status_code for each in await asyncio.gather(*both)} == {200}
        await until(lambda: accounts.client.keys[made["id"]].revoked_at is not None)
        assert (await house.post(headers=bearer)).status_code == 401
        changes = (await ask("GET", "changes")).json()["changes"]
        assert [each["action"] for each in changes] == ["revoke", "set", "create", "create", "create"]
        assert changes[1]["changes"] == {"budget_usd": ["2.50", "0.000001"]}
        assert all(each["actor"].startswith("root (") for each in changes[:-1])
        assert [
            each["action"] for each in (await ask("GET", f"changes?key={made['id']}&limit=1")).json()["changes"]
        ] == ["revoke"]
        house.gateway.admin = AdminApi(
            partial(open_database, GatewayStorage(url=f"{database}x"), None), lambda: ["corea"]
        )
        away = await ask("GET", "keys")
        assert (away.status_code, away.json()["error"]["code"]) == (503, "accounts_unavailable")


def test_the_commands_manage_groups_in_postgres(tmp_path: Path, postgres: PostgresServer) -> None:
    url = postgres.new_database()
    config = write_config(tmp_path, "http://127.0.0.1:9", gateway=f'[gateway.storage]\nurl = "{url}"')

    def run(*words: str) -> Any:
        found = CliRunner().invoke(commands, [*words, "--config", str(config), "--json"])
        assert found.exit_code == 0, found.output
        return json.loads(found.stdout)

    group = run("group", "team", "--budget-usd", "5")
    made = run("create", "alice", "--group", "team")
    assert made["group_id"] == group["id"]
    assert [each["name"] for each in run("list")["keys"]] == ["team", "alice"]
    actions = fetch(url, "SELECT action, key_id FROM key_changes ORDER BY rowid")
    assert actions == [("create", group["id"]), ("create", made["id"])]


def test_both_databases_have_the_same_tables(tmp_path: Path, postgres: PostgresServer) -> None:
    """Apart from what one process alone, or replicas, need."""
    url = postgres.new_database()
    with connected(url) as shared, closing(connect(tmp_path / "corea.db")) as file:
        query = "SELECT column_name FROM information_schema.columns WHERE table_name = ? AND table_schema = 'public'"
        for table in ("keys", "key_changes", "decisions", "audits", "labels", "monitors"):
            there = {row[0] for row in shared.execute(query, (table,))}
            here = {row[1] for row in file.execute(f"PRAGMA table_info({table})")}
            only = {"keys": {"held_usd", "held_boot", "spent_days"}}
            assert here - there == only.get(table, set()), table
            more = there - here
            assert all(name.endswith(("_usd", "_level", "_at")) or name in ("day", "rowid") for name in more), more
