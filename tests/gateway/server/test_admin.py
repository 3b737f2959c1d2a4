"""Keys over HTTP: with an admin key alone, by the command line's rules, and each change on record."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.gateway.conftest import House, make_house

from corea.cli.main import main
from corea.gateway.billing.budgets import KeyAccounts
from corea.gateway.billing.database import connect
from corea.gateway.billing.db_writer import DbWriter
from corea.gateway.billing.decision_log import DecisionLog
from corea.gateway.billing.key_admin import KeyAdmin
from corea.gateway.billing.keys import KeyLimits, Role, list_keys
from corea.gateway.billing.storage import open_database
from corea.gateway.ops.settings import GatewayStorage
from corea.gateway.server.admin import AdminApi
from corea.money import parse_usd


@dataclass
class Office:
    """A gateway with an admin key."""

    path: Path
    house: House
    secret: str

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        named = {"authorization": f"Bearer {self.secret}", **headers}
        content = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.house.request(method, f"/admin/{path}", headers=named, content=content)

    async def make(self, **fields: Any) -> dict[str, Any]:
        answer = await self.ask("POST", "keys", {"name": "alice", **fields}, **LOCAL)
        assert answer.status_code == 201, answer.text
        return answer.json()


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    path = tmp_path / "corea.db"
    with closing(connect(path)) as connection:
        _, secret = KeyAdmin(connection, "test").create("root", role=Role.ADMIN)
    writer = DbWriter(path, DecisionLog(GatewayStorage()))
    writer.start()
    accounts = KeyAccounts.at(path, writer)
    policies = {"trial": {"max_tokens": 8}}
    house = make_house(accounts=accounts, policies=policies, security={"origins": ["https://app.example"]})
    house.gateway.admin = AdminApi(partial(open_database, GatewayStorage(), path), lambda: ["corea"])
    house.gateway.local_only = lambda: not accounts.has_keys()
    yield Office(path, house, secret)
    await writer.stop()
    accounts.close()


LOCAL = {"host": "127.0.0.1", "content-type": "application/json"}


async def test_a_key_is_made_listed_limited_and_revoked_and_works_meanwhile(office: Office) -> None:
    made = (
        await office.ask("POST", "keys", {"name": "alice", "budget_usd": "2.50", "cascades": ["corea"]}, **LOCAL)
    ).json()
    bearer = {"authorization": f"Bearer {made['key']}"}
    assert (made["budget_usd"], made["cascades"], made["role"]) == (2.5, ["corea"], "key")
    assert (await office.house.post(headers=bearer)).status_code == 200
    (root, alice) = (await office.ask("GET", "keys")).json()["keys"]
    assert (root["role"], alice["id"], alice["spent_usd"] > 0) == ("admin", made["id"], True)
    changed = await office.ask("PATCH", f"keys/{made['id']}", {"budget_usd": None, "budget_day_usd": 0.000001})
    assert (changed.json()["budget_usd"], changed.json()["budget_day_usd"]) == (None, 0.000001)
    assert changed.headers["cache-control"] == "no-store"
    assert (await office.house.post(headers=bearer)).json()["error"]["code"] == "insufficient_quota"
    assert (await office.ask("POST", f"keys/{made['id']}/revoke")).json()["revoked_at"] is not None
    assert (await office.house.post(headers=bearer)).status_code == 401
    assert (await office.ask("GET", f"keys/{made['id']}")).json()["revoked_at"] is not None


async def test_no_answer_but_the_first_has_the_secret_or_its_hash(office: Office) -> None:
    made = await office.make()
    key = made["key"]
    with closing(connect(office.path)) as connection:
        hashes = [each.hash for each in list_keys(connection)]
    answers = [
        await office.ask("GET", "keys"),
        await office.ask("GET", f"keys/{made['id']}"),
        await office.ask("PATCH", f"keys/{made['id']}", {"requests_per_minute": 3}),
        await office.ask("GET", "changes"),
    ]
    for answer in answers:
        assert key.split("-", 2)[2] not in answer.text
        assert not any(found.hex() in answer.text for found in hashes)


async def test_who_changed_what_and_when_is_on_record(office: Office) -> None:
    made = await office.make(requests_per_minute=5)
    await office.ask("PATCH", f"keys/{made['id']}", {"requests_per_minute": 9, "policy": "trial"})
    await office.ask("PATCH", f"keys/{made['id']}", {"requests_per_minute": 0})  # refused
    await office.ask("POST", f"keys/{made['id']}/revoke")
    await office.ask("POST", f"keys/{made['id']}/revoke")  # changes nothing
    changes = (await office.ask("GET", f"changes?key={made['id']}")).json()["changes"]
    assert [each["action"] for each in changes] == ["revoke", "set", "create"]
    assert changes[1]["changes"] == {"requests_per_minute": [5, 9], "policy": [None, "trial"]}
    assert changes[2]["changes"]["name"] == [None, "alice"]
    assert all(re.fullmatch(r"root \([0-9a-f]{12}\)", each["actor"]) for each in changes)
    assert changes[0]["at"] >= changes[1]["at"] >= changes[2]["at"] > 1.7e9
    every = (await office.ask("GET", "changes?limit=2")).json()["changes"]
    assert [each["action"] for each in every] == ["revoke", "set"]


@pytest.mark.parametrize("secret", [None, "nonsense", "corea-000000000000-x", "alice"])
async def test_only_an_admin_key_is_let_in(office: Office, secret: str | None) -> None:
    alice = await office.make()
    wrong = alice["key"] if secret == "alice" else secret
    headers = {"authorization": f"Bearer {wrong}"} if wrong else {}
    for method, path in (("GET", "keys"), ("POST", "keys"), ("PATCH", f"keys/{alice['id']}"), ("GET", "changes")):
        answer = await office.house.request(method, f"/admin/{path}", headers=headers, content=b"{}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


async def test_an_admin_key_asks_no_model_and_is_managed_by_no_other(office: Office) -> None:
    await office.make()
    assert (await office.house.post(headers={"authorization": f"Bearer {office.secret}"})).status_code == 401
    root = (await office.ask("GET", "keys")).json()["keys"][0]
    assert (await office.ask("PATCH", f"keys/{root['id']}", {})).status_code == 403
    assert (await office.ask("POST", f"keys/{root['id']}/revoke")).status_code == 403
    refused = await office.ask("POST", "keys", {"name": "two", "role": "admin"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "role")
    with closing(connect(office.path)) as connection:
        KeyAdmin(connection, "test").revoke("root")
    assert (await office.ask("GET", "keys")).status_code == 401


async def test_a_page_of_another_origin_manages_nothing(office: Office) -> None:
    await office.make()
    for origin in ("https://app.example", "https://evil.example", "null"):  # the first may ask models
        answer = await office.ask("GET", "keys", origin=origin)
        assert answer.status_code == 403
        preflight = {"origin": origin, "access-control-request-method": "POST"}
        asked = await office.ask("OPTIONS", "keys", **preflight)
        assert not [name for name in (*answer.headers, *asked.headers) if name.startswith("access-control")]
    assert (await office.ask("GET", "keys", origin="http://gateway")).status_code == 200  # its own


async def test_without_keys_a_page_that_rebinds_a_name_is_refused(office: Office) -> None:
    assert (await office.ask("GET", "keys", host="evil.example")).status_code == 403
    assert (await office.ask("GET", "keys", host="127.0.0.1:8000")).status_code == 200
    assert (await office.ask("POST", "keys", {"name": "a"}, host="127.0.0.1")).status_code == 415
    assert (await office.ask("POST", "keys", {"name": "a"}, **LOCAL)).status_code == 201


WRONG: list[tuple[Any, str]] = [
    ({"name": " "}, "name"),
    ({"name": "a" * 201}, "name"),
    ({"name": "a\nb"}, "name"),
    ({"name": "a", "budget_usd": "-1"}, "budget_usd"),
    ({"name": "a", "budget_usd": "much"}, "budget_usd"),
    ({"name": "a", "budget_day_usd": 1e13}, "budget_day_usd"),
    ({"name": "a", "requests_per_minute": 0}, "requests per minute"),
    ({"name": "a", "cascades": ["none"]}, "cascades"),
    ({"name": "a", "policy": "none"}, "policy"),
    ({"name": "a", "group_id": "none"}, "group_id"),
    ({"name": "a", "role": "group", "requests_per_minute": 3}, "requests_per_minute"),
    ({"name": "a", "role": "group", "group_id": "x"}, "group_id"),
    ({"name": "a", "budget": "1"}, "budget"),
    ({"budget_usd": "1"}, "name"),
    (b"[1", "The body"),
    (b"\xff", "The body"),
    (b"[" * 100_000, "The body"),
]


@pytest.mark.parametrize(("body", "named"), WRONG)
async def test_a_wrong_field_is_named_and_nothing_is_made(office: Office, body: Any, named: str) -> None:
    answer = await office.ask("POST", "keys", body, **LOCAL)
    assert answer.status_code == 400
    assert named in answer.json()["error"]["message"]
    with closing(connect(office.path)) as connection:
        assert len(list_keys(connection)) == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "nothing", 404), ("DELETE", "keys", 405), ("PUT", "keys/1", 405), ("GET", "keys/1", 404),
     ("GET", "keys/1/revoke", 405), ("POST", "keys/1/undo", 404), ("GET", "changes?limit=0", 400),
     ("GET", "changes?limit=x", 400)],
)  # fmt: skip
async def test_other_requests_are_refused(office: Office, method: str, path: str, status: int) -> None:
    await office.make()
    assert (await office.ask(method, path)).status_code == status


async def test_a_group_shares_one_budget(office: Office) -> None:
    group = await office.make(name="team", role="group", budget_usd="0")
    assert "key" not in group
    one, two = [await office.make(name=name, group_id=group["id"]) for name in ("one", "two")]
    free = await office.make(name="free")

    async def ask(key: dict[str, Any]) -> dict[str, Any]:
        answer = await office.house.post(headers={"authorization": f"Bearer {key['key']}"}, max_tokens=64)
        return answer.json()

    reserve = parse_usd(re.findall(r"may cost \$([\d.]+)", (await ask(one))["error"]["message"])[0])
    cost = parse_usd((await ask(free))["corea"]["cost_usd"])
    await office.ask("PATCH", f"keys/{group['id']}", {"budget_usd": str(reserve + 5 * cost)})
    answers = [await ask((one, two)[number % 2]) for number in range(10)]
    assert ["error" in answer for answer in answers] == [False] * 6 + [True] * 4  # while 5 * cost or less is spent
    assert {answer["error"]["code"] for answer in answers[6:]} == {"insufficient_quota"}
    assert "this key's group's budget" in answers[-1]["error"]["message"]
    keys = {key["name"]: key for key in (await office.ask("GET", "keys")).json()["keys"]}
    assert [round(keys[name]["spent_usd"] / float(cost), 6) for name in ("team", "one", "two")] == [6, 3, 3]
    await office.ask("PATCH", f"keys/{two['id']}", {"group_id": None})  # no longer a member
    assert (await office.house.post(headers={"authorization": f"Bearer {two['key']}"})).status_code == 200
    await office.ask("POST", f"keys/{group['id']}/revoke")
    assert (await office.house.post(headers={"authorization": f"Bearer {one['key']}"})).status_code == 401


async def test_many_requests_at_once_of_several_keys_cannot_overrun_their_group(office: Office) -> None:
    group = await office.make(name="team", role="group", budget_usd="0.01")
    keys = [(await office.make(name=f"key {n}", group_id=group["id"]))["key"] for n in range(5)]

    async def ask(number: int) -> int:
        bearer = {"authorization": f"Bearer {keys[number % 5]}"}
        return (await office.house.post(headers=bearer, max_tokens=64)).status_code

    statuses = await asyncio.gather(*(ask(number) for number in range(60)))
    assert set(statuses) == {200, 429}
    with closing(connect(office.path)) as connection:
        stored = {key.name: key for key in list_keys(connection)}
    assert stored["team"].requests == statuses.count(200)
    assert stored["team"].spent_usd == sum(stored[f"key {n}"].spent_usd for n in range(5)) <= Decimal("0.01")


async def test_a_groups_id_is_no_secret(office: Office) -> None:
    group = await office.make(name="team", role="group")
    key = await office.make(group_id=group["id"])
    assert (await office.house.post(headers={"authorization": f"Bearer {key['key']}"})).status_code == 200
    for guess in (group["id"], f"corea-{group['id']}-", f"group {group['id']}"):
        assert (await office.house.post(headers={"authorization": f"Bearer {guess}"})).status_code == 401


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_command_line_makes_groups_and_admin_keys_and_shows_the_record(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    admin = shown(capsys, "keys", "admin", "root")
    group = shown(capsys, "keys", "group", "team", "--budget-day-usd", "5")
    key = shown(capsys, "keys", "create", "alice", "--group", "team")
    assert (admin["role"], group["role"], key["group_id"]) == ("admin", "group", group["id"])
    assert admin["key"].startswith(f"corea-{admin['id']}-")
    assert shown(capsys, "keys", "set", "alice", "--group", "none", "--rpm", "7")["group_id"] is None
    assert main(["keys", "revoke", "alice"]) == 0
    assert main(["keys", "set", "alice", "--rpm", "8"]) == 2
    assert main(["keys", "create", "bob", "--group", "nothing"]) == 2
    capsys.readouterr()
    changes = shown(capsys, "keys", "history")["changes"]
    assert [each["action"] for each in changes] == ["revoke", "set", "create", "create", "create"]
    assert changes[1]["changes"] == {"requests_per_minute": [None, 7], "group_id": [group["id"], None]}
    assert all(each["actor"].endswith("(corea keys)") for each in changes)
    assert [each["action"] for each in shown(capsys, "keys", "history", "team")["changes"]] == ["create"]
    assert main(["keys", "history"]) == 0
    assert "requests_per_minute None -> 7" in capsys.readouterr().out


def test_limits_of_a_role_are_checked(folder: Path) -> None:
    with closing(connect(folder / "corea.db")) as connection:
        admin = KeyAdmin(connection, "test")
        key, _ = admin.create("root", role=Role.ADMIN)
        assert main(["keys", "set", key.id, "--rpm", "3"]) == 2
        team, _ = admin.create("team", KeyLimits(budget_usd=Decimal(3)), Role.GROUP)
        assert main(["keys", "set", team.id, "--cascade", "corea"]) == 2
        assert main(["keys", "set", team.id, "--budget-usd", "9"]) == 0
        assert [each.budget_usd for each in list_keys(connection)] == [None, Decimal(9)]
