"""Keys: shown once, stored hashed, compared in constant time, revoked at once; and what they may ask, how often."""

import asyncio
import hmac
import json
import sqlite3
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.billing.test_budgets import Ask
from tests.gateway.conftest import make_house

from corea.cli.main import main
from corea.errors import ConfigError
from corea.gateway.billing import keys
from corea.gateway.billing.budgets import KeyAccounts
from corea.gateway.billing.database import connect
from corea.gateway.billing.db_writer import DbWriter
from corea.gateway.billing.decision_log import DecisionLog
from corea.gateway.billing.keys import KeyLimits, create_key, find_key, list_keys, named_key, revoke_key, set_limits
from corea.gateway.billing.rate_limit import TokenBucket
from corea.gateway.errors import GatewayError
from corea.gateway.ops.settings import GatewayStorage


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def file(tmp_path: Path) -> sqlite3.Connection:
    return connect(tmp_path / "corea.db")


@pytest.fixture
async def accounts(tmp_path: Path, file: sqlite3.Connection) -> AsyncIterator[KeyAccounts]:
    writer = DbWriter(tmp_path / "corea.db", DecisionLog(GatewayStorage()))
    writer.start()
    accounts = KeyAccounts(connect(tmp_path / "corea.db"), writer, clock=Clock())
    yield accounts
    await writer.stop()
    accounts.close()
    file.close()


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def test_the_secret_is_nowhere_in_the_file(tmp_path: Path, file: sqlite3.Connection) -> None:
    key, secret = create_key(file, "alice", KeyLimits(budget_usd=Decimal("1.50")))
    file.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret.rpartition(f"{key.id}-")[2].encode() not in stored
    assert len(secret.rpartition(f"{key.id}-")[2]) == 43  # 256 bits in base64


def test_only_the_right_secret_finds_its_key(file: sqlite3.Connection) -> None:
    key, secret = create_key(file, "alice")
    assert find_key(file, secret) == key
    changed = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    wrong = [
        "",
        "corea",
        "corea-",
        f"corea-{key.id}",
        f"corea-{key.id}-",
        f"x{secret}",
        secret + "x",
        changed,
        "\ud800",
    ]
    assert [find_key(file, guess) for guess in wrong] == [None] * len(wrong)


def test_hashes_are_compared_in_constant_time_even_where_there_is_no_key(
    file: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []
    compare_digest = hmac.compare_digest

    def compare(a: bytes, b: bytes) -> bool:
        compared.append(len(a) + len(b))
        return compare_digest(a, b)

    monkeypatch.setattr(keys.hmac, "compare_digest", compare)
    assert find_key(file, "corea-nobody-secret") is None
    assert compared == [64]


def test_a_revoked_key_is_no_key_but_is_still_listed(file: sqlite3.Connection) -> None:
    key, secret = create_key(file, "alice")
    revoke_key(file, key.id)
    assert find_key(file, secret) is None
    assert [k.revoked_at is not None for k in list_keys(file)] == [True]
    with pytest.raises(ConfigError, match="no such key"):
        named_key(file, "nobody")
    _, _ = create_key(file, "alice"), create_key(file, "alice")
    with pytest.raises(ConfigError, match="2 keys of that name"):
        named_key(file, "alice")


@pytest.mark.parametrize(
    "limit", [{"budget_usd": Decimal("-1")}, {"budget_usd": Decimal("NaN")}, {"tokens_per_minute": 0}]
)
def test_a_limit_must_be_one(limit: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        KeyLimits(**limit)


async def test_from_the_first_key_on_nobody_gets_in_without_one(
    accounts: KeyAccounts, file: sqlite3.Connection
) -> None:
    house = make_house(accounts=accounts)
    assert (await house.post()).status_code == 200
    key, secret = create_key(file, "alice")
    assert [(await house.post(headers=h)).status_code for h in (None, bearer("wrong"), bearer(secret))] == [
        401,
        401,
        200,
    ]
    assert (await house.post(headers={"api-key": secret})).status_code == 200  # as Azure's client sends it
    assert [(await house.request("GET", "/v1/models", headers=h)).status_code for h in (None, bearer(secret))] == [
        401,
        200,
    ]
    revoke_key(file, key.id)
    await asyncio.sleep(0)  # a key is read once for all requests that have come in one turn of the event loop
    refused = await house.post(headers=bearer(secret))
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
    assert (await house.post()).status_code == 401
    assert len(house.done) == 3


async def test_a_key_may_be_for_some_cascades_only(accounts: KeyAccounts, file: sqlite3.Connection) -> None:
    _, secret = create_key(file, "alice", KeyLimits(cascades=("other",)))
    house = make_house(accounts=accounts)
    refused = await house.post(headers=bearer(secret))
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed")
    assert (await house.request("GET", "/v1/models", headers=bearer(secret))).json()["data"] == []
    assert (await house.request("GET", "/v1/models/corea", headers=bearer(secret))).status_code == 403


async def test_requests_per_minute(accounts: KeyAccounts, file: sqlite3.Connection) -> None:
    _, secret = create_key(file, "alice", KeyLimits(requests_per_minute=2))
    house = make_house(accounts=accounts)
    answers = [await house.post(headers=bearer(secret)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert (answers[2].json()["error"]["code"], answers[2].headers["retry-after"]) == ("rate_limit_exceeded", "30")
    accounts.clock.now = 30.0  # pyright: ignore
    assert (await house.post(headers=bearer(secret))).status_code == 200


async def test_a_changed_budget_counts_at_the_next_request(accounts: KeyAccounts, file: sqlite3.Connection) -> None:
    key, secret = create_key(file, "alice", KeyLimits(budget_usd=Decimal(0)))
    house = make_house(accounts=accounts)
    codes = [(await house.post(headers=bearer(secret))).status_code]
    for limits in (KeyLimits(budget_usd=Decimal(100)), KeyLimits(cascades=("other",)), KeyLimits()):
        set_limits(file, key.id, limits)
        await asyncio.sleep(0)
        codes.append((await house.post(headers=bearer(secret))).status_code)
    assert codes == [429, 200, 403, 200]


async def test_tokens_per_minute_count_what_was_used_in_the_end(
    accounts: KeyAccounts, file: sqlite3.Connection
) -> None:
    _, secret = create_key(file, "alice", KeyLimits(tokens_per_minute=1000))
    holder = accounts.identify(secret)
    for _ in range(4):
        admission = await accounts.admit(holder, Ask(Decimal(1), 700))
        await accounts.settle(admission, cost_usd=Decimal(0), tokens=100)
    with pytest.raises(GatewayError, match="1000 tokens per minute") as caught:
        await accounts.admit(holder, Ask(Decimal(1), 700))
    assert caught.value.headers == (("retry-after", "6"),)


def test_a_bucket_refills_evenly_and_never_over() -> None:
    bucket = TokenBucket(60, 60, 0.0)
    bucket.level -= 60
    assert bucket.wait_seconds(1) == 1.0
    bucket.refill(0.5, 60)
    assert (bucket.level, bucket.wait_seconds(1)) == (0.5, 0.5)
    bucket.refill(1000, 60)
    assert (bucket.level, bucket.wait_seconds(500)) == (60, 0.0)  # more than it can hold needs it full


CONFIG = """
[stages.only]
backend = {kind = "fake", model = "m"}
[prices.m]
input_usd_per_mtok = "1"
"""


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corea.toml").write_text(CONFIG)

    def run(*words: str) -> str:
        assert main(["keys", *words]) == 0
        return capsys.readouterr().out

    made = json.loads(run("create", "alice", "--budget-usd", "2.50", "--rpm", "10", "--cascade", "corea", "--json"))
    assert made["key"].startswith(f"corea-{made['id']}-")
    (listed,) = json.loads(run("list", "--json"))["keys"]
    assert (listed["name"], listed["budget_usd"], listed["cascades"]) == ("alice", "2.50", ["corea"])
    assert "key" not in listed
    assert "budget $5" in run("set", "alice", "--budget-usd", "5", "--rpm", "none", "--cascade", "all")
    (listed,) = json.loads(run("list", "--json"))["keys"]
    assert (listed["budget_usd"], listed["requests_per_minute"], listed["cascades"]) == ("5", None, None)
    assert json.loads(run("set", made["id"], "--tpm", "900", "--json"))["tokens_per_minute"] == 900
    assert main(["keys", "set", "alice", "--tpm", "many"]) == main(["keys", "set", "carol", "--tpm", "9"]) == 2
    assert "no such key" in capsys.readouterr().err
    assert "is revoked" in run("revoke", made["id"])
    assert main(["keys", "set", made["id"], "--budget-usd", "9"]) == 2
    assert "revoked, for good" in capsys.readouterr().err
    assert "revoked" in run("list")
    assert main(["keys", "create", "bob", "--cascade", "nothing"]) == 2
    assert "expected one of corea" in capsys.readouterr().err
