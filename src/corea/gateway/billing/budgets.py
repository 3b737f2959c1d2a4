"""Accounts over the database: keys, hard budgets, rate limits.

A request is admitted only if *spent + reserved + its own reserve* is within the key's budget, and that sum is on disk,
synced, as *held* of the budget (see `budget_holds`). More is held than one request needs, and the next hold is written
before that is used up, so that few requests wait for the disk. Neither 200 parallel requests, nor the death of the
process, nor a power cut lets a key spend more than its budget, except by an answer's cost beyond its reserve.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from corea.gateway.billing.auth import (
    Admission,
    Principal,
    SpendRequest,
    accounts_unavailable,
    check_route,
    no_key,
    wrong_group,
    wrong_key,
)
from corea.gateway.billing.budget_holds import boot_id, release_holds
from corea.gateway.billing.database import connect
from corea.gateway.billing.db_writer import DbWriter
from corea.gateway.billing.keys import ApiKey, any_keys, find_key, list_keys, read_key, spent_by_day
from corea.gateway.billing.periods import DAY_SECONDS, WHOSE, BudgetLeft, budgets_left, check_budgets
from corea.gateway.billing.rate_limit import RateLimits
from corea.types import ZERO_USD

log: logging.Logger = logging.getLogger("corea.gateway")
T = TypeVar("T")
HOLD_REQUESTS = 16  # requests like the present one that a hold covers
REFILL_REQUESTS = 8  # requests left of a hold at which the next one is written, without waiting for it


@dataclass(slots=True)
class _Account:
    """Running totals of a key.

    Args:
        spent, by_day: From the file at first; this process alone adds to them.
        held: Requested from the writer, as of `holding`.
        safe: Known to be held on disk.
    """

    spent: Decimal
    by_day: dict[int, Decimal]
    reserved: Decimal = ZERO_USD
    held: Decimal = ZERO_USD
    holding: "asyncio.Future[bool] | None" = None
    safe: Decimal = ZERO_USD
    rates: RateLimits = field(default_factory=RateLimits)


@dataclass(slots=True)
class KeyAccounts:
    """Accounts whose source of truth is the file: keys are read at every request, so that a revocation is immediate.

    While no key was ever made, every request is admitted, and nothing is booked.

    Args:
        reading: This thread's own connection; it only reads (WAL readers do not wait for the writer).
    """

    reading: sqlite3.Connection
    writer: DbWriter
    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time  # seconds since 1970
    accounts: dict[str, _Account] = field(default_factory=dict[str, _Account])
    recently_read: dict[str, ApiKey] = field(default_factory=dict[str, ApiKey])  # in this turn of the event loop
    under_way: int = 0  # admitted, and not settled
    locked: bool = False  # a key exists: keys are never deleted, so this is not checked again

    @classmethod
    def at(cls, path: str | Path, writer: DbWriter) -> "KeyAccounts":
        """The accounts in a file whose server is about to start."""
        reading = connect(path)
        release_holds(reading, boot_id())
        return cls(reading, writer)

    def has_keys(self) -> bool:
        """True once a key was made."""
        if not self.locked:
            self.locked = self._read(lambda: any_keys(self.reading))
        return self.locked

    def identify(self, secret: str | None) -> Principal:
        """The principal of an API key, as `Accounts`."""
        if not self.has_keys():
            return Principal()
        if secret is None:
            raise no_key()
        if (key := self.recently_read.get(secret)) is None:
            key = self._read(lambda: find_key(self.reading, secret))
            if key is None:
                raise wrong_key()
            if not self.recently_read:  # shared by requests that have arrived already, not by later ones
                asyncio.get_running_loop().call_soon(self.recently_read.clear)
            self.recently_read[secret] = key
        return key

    async def admit(self, principal: Principal, request: SpendRequest) -> Admission:
        """Admits a request, as `Accounts`."""
        if not isinstance(principal, ApiKey):
            return Admission(key_id=None, request=request)
        key = principal
        check_route(key, request.route)
        account = self._account(key)
        payers = [(key, account)]
        if key.group_id is not None:
            group = self._group(key.group_id)
            payers.append((group, self._account(group)))
        limits = [(payer, its, budgets) for payer, its in payers if (budgets := self._budgets(payer, its))]
        reserve = request.reserve_usd if limits else ZERO_USD
        for payer, its, budgets in limits:
            check_budgets(budgets, its.reserved, reserve, self.wall_clock(), WHOSE[payer.role])
        for _, its in payers:
            its.reserved += reserve  # before anything is awaited
        try:
            for payer, its, budgets in limits:
                most = its.spent + min(budget.left_usd for budget in budgets)
                await self._hold(payer, most, its, reserve)
            tokens = self._take_rates(key, account, request)
        except BaseException:
            for _, its in payers:
                its.reserved -= reserve
            raise
        self.under_way += 1
        return Admission(
            key_id=key.id, request=request, reserved_usd=reserve, reserved_tokens=tokens, group_id=key.group_id
        )

    async def count(self, principal: Principal) -> None:
        """Takes one request of the rate limit, as `Accounts`."""
        if isinstance(principal, ApiKey):
            self._take_rates(principal, self._account(principal), None)

    async def settle(self, admission: Admission, *, cost_usd: Decimal | None, tokens: int) -> None:
        """Books the actual cost, as `Accounts`."""
        if admission.key_id is None:
            return
        account = self.accounts[admission.key_id]
        cost = admission.request.reserve_usd if cost_usd is None else cost_usd
        self.under_way -= 1
        today = self._today()
        if admission.group_id is not None:
            _book(self.accounts[admission.group_id], cost, today, admission)
            self.writer.spend(admission.group_id, cost, tokens, day=today, pressing=False)  # in the same batch
        _book(account, cost, today, admission)
        if account.rates.tokens is not None:
            account.rates.tokens.level += admission.reserved_tokens - tokens
        await self.writer.spend(admission.key_id, cost, tokens, day=today, pressing=not self.under_way)

    def all_budgets(self) -> dict[str, list[BudgetLeft]]:
        """The rest of every budget of each key that is not revoked, as committed."""
        today = self._today()
        return {
            key.id: budgets_left(key, key.spent_usd, spent_by_day(self.reading, key.id), today)
            for key in self._read(lambda: list_keys(self.reading))
            if key.revoked_at is None and key.own_budget
        }

    def close(self) -> None:
        """Closes the file."""
        self.reading.close()

    def _account(self, key: ApiKey) -> _Account:
        account = self.accounts.get(key.id)
        if account is None:
            by_day = self._read(lambda: spent_by_day(self.reading, key.id))
            account = self.accounts[key.id] = _Account(key.spent_usd, by_day)
        return account

    def _group(self, group_id: str) -> ApiKey:
        """A key's group.

        Raises:
            GatewayError: 401, it was revoked.
        """
        group = self._read(lambda: read_key(self.reading, group_id))
        if group is None or group.revoked_at is not None:
            raise wrong_group()
        return group

    def _today(self) -> int:
        return int(self.wall_clock() // DAY_SECONDS)

    def _budgets(self, key: ApiKey, account: _Account) -> list[BudgetLeft]:
        return budgets_left(key, account.spent, account.by_day, self._today())

    async def _hold(self, key: ApiKey, most: Decimal, account: _Account, reserve: Decimal) -> None:
        """Ensures that a sum of at least spent + reserved is held on disk.

        Args:
            most: The key's spending at which one of its budgets is used up.
        """
        if account.holding is not None and account.holding.done():
            if account.holding.result():
                account.safe = account.held
            else:
                account.held = account.safe  # it was not written: request it again
            account.holding = None
        needed = account.spent + account.reserved
        waits = needed > account.safe
        if needed + REFILL_REQUESTS * reserve > account.held:
            more = max(needed, min(most, needed + HOLD_REQUESTS * reserve))
            if more > account.held:
                account.held, account.holding = more, self.writer.hold(key.id, more, pressing=waits)
        held, holding = account.held, account.holding
        synced = not waits or (holding is not None and await asyncio.shield(holding))
        if self.writer.failing or not synced:
            raise accounts_unavailable()
        if waits:
            account.safe = max(account.safe, held)
            self._check_again(key, account, reserve)

    def _check_again(self, key: ApiKey, account: _Account, reserve: Decimal) -> None:
        """Checks a key again after a wait: it may have been revoked, or its budget reduced."""
        now = self._read(lambda: read_key(self.reading, key.id))
        if now is None or now.revoked_at is not None:
            raise wrong_key()
        whose, budgets = WHOSE[now.role], self._budgets(now, account)
        check_budgets(budgets, account.reserved - reserve, reserve, self.wall_clock(), whose)

    def _take_rates(self, key: ApiKey, account: _Account, request: SpendRequest | None) -> int:
        """Takes a request of the rate limits; the number of tokens taken."""
        if key.requests_per_minute is None and key.tokens_per_minute is None:
            account.rates = RateLimits()
            return 0
        account.rates.refill(
            self.clock(), requests_per_minute=key.requests_per_minute, tokens_per_minute=key.tokens_per_minute
        )
        tokens = request.reserve_tokens if request is not None and account.rates.tokens is not None else 0
        account.rates.take(tokens)
        return tokens

    def _read(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except sqlite3.Error as error:
            log.error("the accounts cannot be read (%s)", error)
            raise accounts_unavailable() from error


def _book(account: _Account, cost: Decimal, day: int, admission: Admission) -> None:
    account.spent += cost
    account.by_day[day] = account.by_day.get(day, ZERO_USD) + cost
    account.reserved -= admission.reserved_usd
