"""Budgets per day, week and month of the UTC calendar, beside the one for a key's whole life."""

from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.billing.test_budgets import Ask

from corea.gateway.billing.budget_holds import add_days, release_holds, today
from corea.gateway.billing.budgets import KeyAccounts
from corea.gateway.billing.database import connect
from corea.gateway.billing.db_writer import DbWriter
from corea.gateway.billing.decision_log import DecisionLog
from corea.gateway.billing.keys import KeyLimits, create_key, spent_by_day
from corea.gateway.billing.periods import calendar_periods
from corea.gateway.errors import GatewayError
from corea.gateway.ops.settings import GatewayStorage

SUNDAY = datetime(2026, 5, 31, 12, tzinfo=UTC)  # the last day of its week and of its month


@dataclass
class Clock:
    """The time of the accounts."""

    now: datetime = SUNDAY

    def __call__(self) -> float:
        return self.now.timestamp()


@dataclass
class Shop:
    """Accounts over a file with a clock."""

    path: Path
    clock: Clock
    writer: DbWriter
    accounts: KeyAccounts

    def key(self, **limits: str) -> str:
        with closing(connect(self.path)) as file:
            budgets: dict[str, Any] = {name: Decimal(usd) for name, usd in limits.items()}
            return create_key(file, "alice", KeyLimits(**budgets))[1]

    async def spend(self, secret: str, usd: str) -> None:
        """One request that costs what it reserved."""
        admission = await self.accounts.admit(self.accounts.identify(secret), Ask(Decimal(usd)))
        await self.accounts.settle(admission, cost_usd=Decimal(usd), tokens=1)


def opened(path: Path, clock: Clock) -> Shop:
    writer = DbWriter(path, DecisionLog(GatewayStorage()))
    accounts = KeyAccounts.at(path, writer)
    accounts.wall_clock = clock
    writer.start()
    return Shop(path, clock, writer, accounts)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    made = opened(tmp_path / "corea.db", Clock())
    yield made
    await made.writer.stop()
    made.accounts.close()


def test_the_periods_of_a_day_are_the_calendars() -> None:
    day = int(SUNDAY.timestamp() // 86_400)
    assert calendar_periods(day) == {"day": (day, day + 1), "week": (day - 6, day + 1), "month": (day - 30, day + 1)}
    assert calendar_periods(day + 1) == {
        "day": (day + 1, day + 2), "week": (day + 1, day + 8), "month": (day + 1, day + 31),
    }  # fmt: skip


@pytest.mark.parametrize(("period", "renewed"), [("day", 1), ("week", 4), ("month", 4)])
async def test_a_period_has_its_own_budget_which_the_next_one_renews(shop: Shop, period: str, renewed: int) -> None:
    """Thursday, 28 May: the next day, week (1 June) and month (1 June) begin after 1 and 4 days."""
    shop.clock.now = datetime(2026, 5, 28, 12, tzinfo=UTC)
    secret = shop.key(**{f"budget_{period}_usd": "1"})
    await shop.spend(secret, "0.7")
    with pytest.raises(GatewayError, match=rf"\$0.3 is left of this key's budget per {period} of \$1") as refused:
        await shop.spend(secret, "0.4")
    assert refused.value.code == "insufficient_quota"
    assert refused.value.headers == (("retry-after", str(renewed * 86_400 - 43_200)),)
    shop.clock.now = shop.clock.now.replace(day=28 + renewed - 1) if renewed > 1 else shop.clock.now
    with pytest.raises(GatewayError):
        await shop.spend(secret, "0.4")
    shop.clock.now = datetime.fromtimestamp(shop.clock() + 86_400, UTC)
    await shop.spend(secret, "0.4")


async def test_the_strictest_budget_decides(shop: Shop) -> None:
    secret = shop.key(budget_usd="1", budget_day_usd="0.6", budget_month_usd="5")
    await shop.spend(secret, "0.5")
    with pytest.raises(GatewayError, match="per day"):
        await shop.spend(secret, "0.2")
    shop.clock.now = datetime(2026, 6, 1, tzinfo=UTC)
    with pytest.raises(GatewayError, match=r"\$0.5 is left of this key's budget of \$1"):
        await shop.spend(secret, "0.55")
    await shop.spend(secret, "0.5")


async def test_a_period_survives_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    shop = opened(tmp_path / "corea.db", clock)
    secret = shop.key(budget_week_usd="1")
    await shop.spend(secret, "0.7")
    await shop.writer.stop()
    shop.accounts.close()
    again = opened(tmp_path / "corea.db", clock)
    with pytest.raises(GatewayError, match=r"\$0.3 is left"):
        await again.spend(secret, "0.4")
    await again.spend(secret, "0.3")
    await again.writer.stop()
    again.accounts.close()


def test_a_hold_that_a_power_cut_left_counts_today(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "corea.db")) as file:
        key, _ = create_key(file, "alice", KeyLimits(budget_day_usd=Decimal(5)))
        file.execute("UPDATE keys SET spent_usd = '1', held_usd = '3', held_boot = 'before'")
        release_holds(file, "now")
        assert spent_by_day(file, key.id) == {today(): Decimal(2)}


def test_days_that_no_period_needs_are_forgotten() -> None:
    assert add_days('{"100": "1", "131": "2"}', '{"131": "0.5", "132": "4"}') == '{"131": "2.5", "132": "4"}'


def test_an_older_file_is_upgraded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from corea.gateway.billing import database

    with monkeypatch.context() as older:
        older.setattr(database, "MIGRATIONS", database.MIGRATIONS[:1])
        with closing(connect(tmp_path / "corea.db")) as file:
            file.execute(
                "INSERT INTO keys (id, name, hash, created_at, budget_usd) VALUES ('a', 'alice', x'00', 0, '3')"
            )
    with closing(connect(tmp_path / "corea.db")) as file:
        found = file.execute("SELECT budget_usd, budget_day_usd, spent_days, policy FROM keys").fetchall()
    assert found == [("3", None, "{}", None)]
