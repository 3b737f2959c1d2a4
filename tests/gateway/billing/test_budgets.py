"""A budget holds: under hundreds of requests at once, when writing fails, and after the process was killed."""

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from tests.gateway.chat.upstreams import upstreams
from tests.gateway.conftest import DEAR, QUESTION, UNSURE, make_house
from tests.gateway.loads import KINDS, answer, request

from corea.gateway.billing import db_writer as writer_module
from corea.gateway.billing.budget_holds import boot_id, release_holds
from corea.gateway.billing.budgets import KeyAccounts
from corea.gateway.billing.database import connect, version
from corea.gateway.billing.db_writer import Committed, DbWriter
from corea.gateway.billing.decision_log import DecisionLog
from corea.gateway.billing.keys import KeyLimits, create_key, list_keys
from corea.gateway.billing.migrations import MIGRATIONS
from corea.gateway.errors import GatewayError
from corea.gateway.ops.settings import GatewayStorage
from corea.types import Sampling


@dataclass
class Ask:
    """What a request asks for."""

    reserve_usd: Decimal
    reserve_tokens: int = 1
    route: str = "corea"


@dataclass
class Bank:
    """Accounts over a file, and another connection to look at it with."""

    path: Path
    file: sqlite3.Connection
    writer: DbWriter
    accounts: KeyAccounts

    def spent(self) -> Decimal:
        return list_keys(self.file)[0].spent_usd


@pytest.fixture
async def bank(tmp_path: Path) -> AsyncIterator[Bank]:
    path = tmp_path / "corea.db"
    writer = DbWriter(path, DecisionLog(GatewayStorage()))
    made = Bank(path, connect(path), writer, KeyAccounts.at(path, writer))
    writer.start()
    yield made
    await writer.stop()
    made.accounts.close()
    made.file.close()


async def test_200_requests_at_once_cannot_overrun_a_budget(bank: Bank) -> None:
    """Each reserves 0.03 and costs 0.01: never is more let in than the budget covers at worst."""
    _, secret = create_key(bank.file, "alice", KeyLimits(budget_usd=Decimal("1")))
    under_way = most = 0
    codes: list[str] = []
    all_decided = asyncio.Event()

    async def one() -> None:
        nonlocal under_way, most
        try:
            admission = await bank.accounts.admit(bank.accounts.identify(secret), Ask(Decimal("0.03"), 10))
        except GatewayError as error:
            codes.append(error.code or "")
            return
        under_way += 1
        most = max(most, under_way)
        if under_way + len(codes) == 200:
            all_decided.set()
        await all_decided.wait()
        under_way -= 1
        await bank.accounts.settle(admission, cost_usd=Decimal("0.01"), tokens=5)

    await asyncio.gather(*(one() for _ in range(200)))
    (key,) = list_keys(bank.file)
    assert key.spent_usd == Decimal("0.01") * (200 - len(codes)) <= 1
    assert (key.requests, key.tokens) == (200 - len(codes), 5 * (200 - len(codes)))
    assert (most, set(codes)) == (33, {"budget_reserved"})  # 33 * 0.03 is 0.99
    for _ in range(100):
        await one()
    assert bank.spent() == Decimal("0.98")  # 0.98 + 0.03 would be over
    assert codes[-1] == "insufficient_quota"


async def test_200_requests_at_once_over_http(bank: Bank) -> None:
    _, secret = create_key(bank.file, "alice", KeyLimits(budget_usd=Decimal("0.1")))
    house = make_house(UNSURE, accounts=bank.accounts)
    headers = {"authorization": f"Bearer {secret}"}
    answers = await asyncio.gather(*(house.post(headers=headers, max_tokens=50) for _ in range(200)))
    good = [answer for answer in answers if answer.status_code == 200]
    billed = sum((Decimal(answer.headers["x-corea-cost-usd"]) for answer in good), Decimal(0))
    assert 0 < len(good) < 200
    assert {answer.status_code for answer in answers} == {200, 429}
    assert bank.spent() == billed <= Decimal("0.1")
    assert all(a.reserved == 0 for a in bank.accounts.accounts.values())


async def test_300_requests_of_every_api_at_once_cannot_overrun_a_budget(bank: Bank) -> None:
    """Streams among them, of tool calls too; what is booked is the bill of the model's server, to the last digit."""
    _, secret = create_key(bank.file, "alice", KeyLimits(budget_usd=Decimal("0.2")))
    stage = {"price": DEAR, "sampling": Sampling(max_tokens=50)}
    server = {"apis": ["chat", "messages", "responses", "completions", "embeddings"]}
    async with upstreams(server=server, large_stage=stage, accounts=bank.accounts) as it:
        it.large.otherwise = lambda asked: answer(asked, "one two three four five six seven")

        async def one(number: int) -> int:
            kind, stream = KINDS[number % len(KINDS)], number // len(KINDS) % 2 == 0
            path, body = request(kind, f"12 + {number}?", stream=stream)
            headers = {"authorization": f"Bearer {secret}"}
            body = {"max_tokens": 50, **body, "model": "corea/large"}
            return (await it.request("POST", f"/v1/{path}", headers=headers, json=body)).status_code

        statuses = await asyncio.gather(*(one(number) for number in range(300)))
    billed = it.large.billed
    assert set(statuses) == {200, 429}
    assert (billed.calls, len(it.done)) == (statuses.count(200), statuses.count(200))
    assert (
        bank.spent() == Decimal(billed.prompt_tokens * 10 + billed.completion_tokens * 20) / 1_000_000 <= Decimal("0.2")
    )
    assert all(a.reserved == 0 for a in bank.accounts.accounts.values())


async def test_counting_tokens_takes_of_the_rate_limit_and_books_nothing(bank: Bank) -> None:
    _, secret = create_key(bank.file, "alice", KeyLimits(requests_per_minute=2))
    house = make_house(UNSURE, accounts=bank.accounts)
    headers, body = {"authorization": f"Bearer {secret}"}, {"model": "corea", "messages": QUESTION}
    found = [await house.request("POST", "/v1/messages/count_tokens", headers=headers, json=body) for _ in range(3)]
    assert [response.status_code for response in found] == [200, 200, 429]
    assert found[2].json()["error"]["type"] == "rate_limit_error"
    assert int(found[2].headers["retry-after"]) > 0
    (key,) = list_keys(bank.file)
    assert (key.requests, key.spent_usd, bank.accounts.under_way) == (0, 0, 0)


async def test_money_is_exact(bank: Bank) -> None:
    _, secret = create_key(bank.file, "alice")
    holder = bank.accounts.identify(secret)
    for _ in range(10):
        admission = await bank.accounts.admit(holder, Ask(Decimal(1), 1))
        await bank.accounts.settle(admission, cost_usd=Decimal("0.000000000000001"), tokens=1)
    assert bank.spent() == Decimal("0.000000000000010")


async def test_an_unknown_cost_is_booked_as_what_was_reserved(bank: Bank) -> None:
    _, secret = create_key(bank.file, "alice")
    holder = bank.accounts.identify(secret)
    admission = await bank.accounts.admit(holder, Ask(Decimal("0.02"), 1))
    await bank.accounts.settle(admission, cost_usd=None, tokens=1)
    assert bank.spent() == Decimal("0.02")


async def test_a_server_may_claim_more_tokens_than_an_integer_holds(bank: Bank) -> None:
    _, secret = create_key(bank.file, "alice")
    principal = bank.accounts.identify(secret)
    async with asyncio.timeout(10):
        for tokens in (2**70, 1):
            admission = await bank.accounts.admit(principal, Ask(Decimal(1), 1))
            await bank.accounts.settle(admission, cost_usd=Decimal(1), tokens=tokens)
    assert (bank.spent(), list_keys(bank.file)[0].tokens) == (2, 2**53 + 1)


async def test_one_request_in_many_of_a_key_with_a_budget_waits_for_the_disk(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[Decimal] = []
    hold = bank.writer.hold

    def noted(key_id: str, usd: Decimal, *, pressing: bool = True) -> Committed:
        waited.extend([usd] if pressing else [])
        return hold(key_id, usd, pressing=pressing)

    monkeypatch.setattr(bank.writer, "hold", noted)
    _, secret = create_key(bank.file, "alice", KeyLimits(budget_usd=Decimal(100)))
    for _ in range(50):  # 0.5 of the 1.7 that the first one holds
        admission = await bank.accounts.admit(bank.accounts.identify(secret), Ask(Decimal("0.1"), 1))
        await bank.accounts.settle(admission, cost_usd=Decimal("0.01"), tokens=1)
    assert waited == [Decimal("1.7")]
    assert bank.spent() == Decimal("0.5")


@pytest.mark.parametrize("seed", range(3))
async def test_whenever_the_power_fails_no_more_than_a_budget_is_spent(
    bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """What was synced last is all that a power cut leaves; it must cover all that was let in until then."""
    rng, sync = random.Random(seed), os.fsync
    budget, owed, left, refused, spare = Decimal(1), Decimal(0), Decimal(0), 0, Decimal(0)

    def fsync(descriptor: int) -> None:
        nonlocal left
        sync(descriptor)
        for end in ("", "-wal"):
            Path(f"{tmp_path}/left.db{end}").write_bytes(Path(f"{bank.path}{end}").read_bytes())
        with closing(connect(tmp_path / "left.db")) as file:
            release_holds(file, "another boot")
            left = list_keys(file)[0].spent_usd

    async def one() -> None:
        nonlocal owed, refused, spare
        reserve = Decimal(rng.randint(1, 9)) / 1000
        try:
            admission = await bank.accounts.admit(bank.accounts.identify(secret), Ask(reserve))
        except GatewayError as error:
            assert error.code in ("budget_reserved", "insufficient_quota")
            refused += 1
            return
        owed += reserve
        assert owed <= left <= budget
        spare = max(spare, left - owed)
        await asyncio.sleep(rng.choice((0, 0.001)))
        cost = reserve * rng.randint(0, 4) / 4
        await bank.accounts.settle(admission, cost_usd=cost, tokens=1)
        owed += cost - reserve

    monkeypatch.setattr(os, "fsync", fsync)
    _, secret = create_key(bank.file, "alice", KeyLimits(budget_usd=budget))
    for _ in range(100):
        await asyncio.gather(*(one() for _ in range(rng.randint(1, 8))))
    assert bank.spent() == owed <= budget
    assert spare < Decimal("0.25")  # 17 of the dearest requests, and what others had reserved
    assert refused


async def test_a_clean_stop_gives_back_what_was_held(tmp_path: Path) -> None:
    path = tmp_path / "corea.db"
    writer = DbWriter(path, DecisionLog(GatewayStorage()))
    accounts = KeyAccounts.at(path, writer)
    writer.start()
    with closing(connect(path)) as file:
        _, secret = create_key(file, "alice", KeyLimits(budget_usd=Decimal(1)))
        admission = await accounts.admit(accounts.identify(secret), Ask(Decimal("0.1")))
        await accounts.settle(admission, cost_usd=Decimal("0.01"), tokens=1)
        assert [row[0] for row in file.execute("SELECT held_usd FROM keys")] == ["1"]
        await writer.stop()
        accounts.close()
        release_holds(file, "another boot")
        assert list_keys(file)[0].spent_usd == Decimal("0.01")


async def test_while_money_cannot_be_written_no_budget_is_trusted(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_SECONDS", 0.001)
    _, secret = create_key(bank.file, "alice", KeyLimits(budget_usd=Decimal(1)))
    holder = bank.accounts.identify(secret)
    admission = await bank.accounts.admit(holder, Ask(Decimal("0.1"), 1))
    bank.file.execute("ALTER TABLE keys RENAME TO hidden")  # as good as a full disk
    await bank.accounts.settle(admission, cost_usd=Decimal("0.1"), tokens=1)  # the answer is not held back
    with pytest.raises(GatewayError) as caught:
        await bank.accounts.admit(holder, Ask(Decimal("0.1"), 1))
    assert (caught.value.status, caught.value.code) == (503, "accounts_unavailable")
    bank.file.execute("ALTER TABLE hidden RENAME TO keys")
    while bank.writer.failing:
        await asyncio.sleep(0.001)
    assert bank.spent() == Decimal("0.1")
    assert "cannot be written" in caplog.text


async def test_a_lone_request_does_not_wait_for_company(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "GATHER_SECONDS", 60.0)
    _, secret = create_key(bank.file, "alice")
    holder = bank.accounts.identify(secret)
    first, last = [await bank.accounts.admit(holder, Ask(Decimal(1))) for _ in range(2)]
    async with asyncio.timeout(10):
        gathered = asyncio.create_task(bank.accounts.settle(first, cost_usd=Decimal("0.1"), tokens=1))
        await asyncio.sleep(0)
        assert not gathered.done()  # one more is under way
        await bank.accounts.settle(last, cost_usd=Decimal("0.1"), tokens=1)
        await gathered
    assert bank.spent() == Decimal("0.2")


async def test_a_disk_that_fails_once_to_sync_is_trusted_again(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "RETRY_SECONDS", 0.001)
    sync, failed = os.fsync, [OSError(5, "Input/output error")]

    def fsync(descriptor: int) -> None:
        if failed:
            raise failed.pop()
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    _, secret = create_key(bank.file, "alice", KeyLimits(budget_usd=Decimal(1)))
    codes: list[str] = []
    async with asyncio.timeout(10):
        while not codes or codes[-1] != "let in":
            try:
                admission = await bank.accounts.admit(bank.accounts.identify(secret), Ask(Decimal("0.1")))
                await bank.accounts.settle(admission, cost_usd=Decimal("0.1"), tokens=1)
                codes.append("let in" if not failed and not bank.writer.failing else "early")
            except GatewayError as error:
                codes.append(error.code or "")
            await asyncio.sleep(0.01)
    assert not failed


KILLED = """
import asyncio, os, signal, sys
from decimal import Decimal
from corea.gateway.billing.database import connect
from corea.gateway.billing.keys import KeyLimits, create_key
from corea.gateway.billing.budgets import KeyAccounts
from corea.gateway.ops.settings import GatewayStorage
from corea.types import Sampling
from corea.gateway.billing.decision_log import DecisionLog
from corea.gateway.billing.db_writer import DbWriter

class Ask:
    route, reserve_usd, reserve_tokens = "c", Decimal(1), 1

async def main():
    writer = DbWriter(sys.argv[1], DecisionLog(GatewayStorage()))
    writer.start()
    accounts = KeyAccounts.at(sys.argv[1], writer)
    secret = create_key(connect(sys.argv[1]), "alice", KeyLimits(budget_usd=Decimal(1000)))[1]
    settled = 0

    async def one():
        nonlocal settled
        for _ in range(50):
            admission = await accounts.admit(
                accounts.identify(secret), Ask())
            await accounts.settle(admission, cost_usd=Decimal("0.25"), tokens=3)
            settled += 1
            if settled == 300:
                print(settled, flush=True)
                os.kill(os.getpid(), signal.SIGKILL)

    await asyncio.gather(*(one() for _ in range(20)))

asyncio.run(main())
"""


def test_sigkill_loses_no_committed_dollar(tmp_path: Path) -> None:
    path = tmp_path / "corea.db"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], capture_output=True, text=True)
    assert (killed.returncode, killed.stdout) == (-9, "300\n"), killed.stderr
    (key,) = list_keys(connect(path))
    assert key.spent_usd >= 300 * Decimal("0.25")
    assert key.spent_usd == key.requests * Decimal("0.25")
    assert 300 <= key.requests <= 320
    assert key.tokens == 3 * key.requests
    with closing(connect(path)) as file:
        (held,) = file.execute("SELECT held_usd FROM keys").fetchone()
        assert Decimal(held) >= key.spent_usd + 1  # what is recorded, and the reserve of at least one under way
        release_holds(file, boot_id())  # as at the next start
        assert list_keys(file)[0].spent_usd == (key.spent_usd if boot_id() else Decimal(held))


def test_an_older_file_is_brought_up_to_date_and_a_newer_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "corea.db"
    sqlite3.connect(path).close()
    made = connect(path)
    assert version(made) == len(MIGRATIONS)
    made.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    made.close()
    with pytest.raises(Exception, match="install a newer corea"):
        connect(path)
    with pytest.raises(Exception, match="name a file that can be written"):
        connect(tmp_path / "nowhere" / "corea.db")


def test_a_file_that_another_is_just_making_is_waited_for(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "corea.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")  # SQLite does not wait for this one, whatever its timeout
    threading.Timer(0.1, lambda: other.execute("ROLLBACK")).start()
    made = connect(tmp_path / "corea.db")
    assert version(made) == len(MIGRATIONS)
    made.close()
    other.close()
