"""Accounts over the database: keys, budgets that hold, rate limits.

The rule of a budget: a request is let in only if *spent + reserved + its own reserve* is within it, and that sum is on
disk, synced, as *held* of the budget (see `holds`). More is held than one request needs, and more again before that is
used up, so that few requests wait for the disk. So neither 200 requests at once, nor the death of the process, nor a
power cut lets a key spend more than its budget, except for what one answer costs beyond its own reserve.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from math import ceil
from pathlib import Path
from typing import TypeVar

from corea.gateway.billing.auth import Admission, Principal, SpendRequest
from corea.gateway.billing.budget_holds import boot_id, release_holds
from corea.gateway.billing.database import connect
from corea.gateway.billing.db_writer import DbWriter
from corea.gateway.billing.keys import ApiKey, any_keys, find_key, read_key
from corea.gateway.billing.rate_limit import TokenBucket
from corea.gateway.errors import GatewayError
from corea.types import ZERO_USD

log: logging.Logger = logging.getLogger("corea.gateway")
T = TypeVar("T")
SLAB = 16  # so many more requests like this one are held for
REFILL = 8  # when fewer are left, more is held, which nobody waits for
NO_KEY = "No API key: send `Authorization: Bearer corea-...`; the operator makes one with `corea keys create`."
WRONG_KEY = "This API key is not known here, or was revoked."


@dataclass(slots=True)
class _Account:
    """What a key has spent and has under way, and its rate limits.

    Args:
        spent: As in the file at first; from then on nobody else adds to it.
        held: The most that was asked to be held, under the writer's number `held_number`.
        safe: The most that is known to be held on disk.
    """

    spent: Decimal
    reserved: Decimal = ZERO_USD
    held: Decimal = ZERO_USD
    held_number: int = 0
    safe: Decimal = ZERO_USD
    requests: TokenBucket | None = None
    tokens: TokenBucket | None = None


@dataclass(slots=True)
class KeyAccounts:
    """Accounts whose truth is the file: it is read at every request, so that a revocation counts at once.

    While no key was ever made, everyone who reaches the server may ask, and nothing is booked.

    Args:
        reading: This thread's own connection; from here on it only reads (WAL readers never wait for the writer).
    """

    reading: sqlite3.Connection
    writer: DbWriter
    clock: Callable[[], float] = time.monotonic
    running: dict[str, _Account] = field(default_factory=dict[str, _Account])
    read_now: dict[str, ApiKey] = field(default_factory=dict[str, ApiKey])  # in this turn of the event loop, by secret
    under_way: int = 0  # admitted, and not settled
    locked: bool = False  # a key was seen: they are never deleted, so this need not be asked again

    @classmethod
    def at(cls, path: str | Path, writer: DbWriter) -> "KeyAccounts":
        """The accounts in a file, whose server is about to start."""
        reading = connect(path)
        release_holds(reading, boot_id())
        return cls(reading, writer)

    def identify(self, secret: str | None) -> Principal:
        """Who holds this key.

        Raises:
            GatewayError: 401, there is no key, or it is wrong or revoked.
        """
        if not self.locked:
            self.locked = self._read(lambda: any_keys(self.reading))
            if not self.locked:
                return Principal()
        if secret is None:
            raise GatewayError(401, NO_KEY, "authentication_error", "missing_api_key")
        if (key := self.read_now.get(secret)) is None:
            key = self._read(lambda: find_key(self.reading, secret))
            if key is None:
                raise GatewayError(401, WRONG_KEY, "authentication_error", "invalid_api_key")
            if not self.read_now:  # for the requests that have come already, but for none that comes later
                asyncio.get_running_loop().call_soon(self.read_now.clear)
            self.read_now[secret] = key
        return key

    async def admit(self, holder: Principal, claim: SpendRequest) -> Admission:
        """Lets a request in, its worst cost reserved.

        Raises:
            GatewayError: 403 not this cascade, 429 over the budget or a rate limit, 503 the money cannot be written down.
        """
        if not isinstance(holder, ApiKey):
            return Admission(key_id=None, claim=claim)
        if not holder.may_ask(claim.route):
            allowed = ", ".join(sorted(holder.cascades or ()))
            message = f"model: this key may not ask {claim.route!r}, only {allowed}."
            raise GatewayError(403, message, "permission_error", "model_not_allowed", "model")
        running = self.running.get(holder.id)
        if running is None:
            running = self.running[holder.id] = _Account(holder.spent_usd)
        reserve = ZERO_USD
        if holder.budget_usd is not None:
            reserve = claim.reserve_usd
            _within_budget(holder.budget_usd, running, reserve)
        running.reserved += reserve  # before anything is waited for
        try:
            if holder.budget_usd is not None:
                await self._hold(holder, holder.budget_usd, running, reserve)
            tokens = self._limit(holder, running, claim)
        except BaseException:
            running.reserved -= reserve
            raise
        self.under_way += 1
        return Admission(key_id=holder.id, claim=claim, reserved_usd=reserve, reserved_tokens=tokens)

    async def settle(self, admission: Admission, *, cost_usd: Decimal | None, tokens: int) -> None:
        """Books what was really spent and frees the reservation. When it returns, the money is committed."""
        if admission.key_id is None:
            return
        running = self.running[admission.key_id]
        cost = admission.claim.reserve_usd if cost_usd is None else cost_usd
        self.under_way -= 1
        running.spent += cost
        running.reserved -= admission.reserved_usd
        number = self.writer.spend(admission.key_id, cost, tokens, pressing=not self.under_way)
        if running.tokens is not None:
            running.tokens.level += admission.reserved_tokens - tokens
        await self.writer.until(number)

    def close(self) -> None:
        """Closes the file."""
        self.reading.close()

    async def _hold(self, key: ApiKey, budget: Decimal, running: _Account, reserve: Decimal) -> None:
        """Sees to it that all that the key can have spent by its next request is held on disk."""
        needed = running.spent + running.reserved
        if self.writer.synced >= running.held_number:
            running.safe = running.held
        waits = needed > running.safe
        if needed + REFILL * reserve > running.held:
            more = max(needed, min(budget, needed + SLAB * reserve))
            if more > running.held:
                running.held, running.held_number = more, self.writer.hold(key.id, more, pressing=waits)
        held = running.held
        if waits:
            await self.writer.until(running.held_number, synced=True)
        if self.writer.failing:
            raise _unavailable()
        if waits:
            running.safe = max(running.safe, held)
            self._still_good(key, running, reserve)

    def _still_good(self, key: ApiKey, running: _Account, reserve: Decimal) -> None:
        """Looks again at a key that has waited: it may have been revoked, or its budget cut."""
        again = self._read(lambda: read_key(self.reading, key.id))
        if again is None or again.revoked_at is not None:
            raise GatewayError(401, WRONG_KEY, "authentication_error", "invalid_api_key")
        if again.budget_usd is not None:
            running.reserved -= reserve
            try:
                _within_budget(again.budget_usd, running, reserve)
            finally:
                running.reserved += reserve

    def _read(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except sqlite3.Error as error:
            log.error("the accounts cannot be read (%s)", error)
            raise _unavailable() from error

    def _limit(self, key: ApiKey, running: _Account, claim: SpendRequest) -> int:
        """Takes a request of the rate limits, and gives how many tokens were taken for it."""
        if key.requests_per_minute is None and key.tokens_per_minute is None:
            running.requests = running.tokens = None
            return 0
        now = self.clock()
        running.requests = _bucket(running.requests, key.requests_per_minute, now)
        running.tokens = _bucket(running.tokens, key.tokens_per_minute, now)
        tokens = claim.reserve_tokens if running.tokens is not None else 0
        for bucket, amount, what in ((running.requests, 1, "requests"), (running.tokens, tokens, "tokens")):
            if bucket is not None and (wait := bucket.wait_seconds(amount)) > 0:
                message = f"This key's limit is {bucket.per_minute} {what} per minute; try again in {wait:.1f} s."
                retry = (("retry-after", str(ceil(wait))),)
                raise GatewayError(429, message, "rate_limit_error", "rate_limit_exceeded", headers=retry)
        if running.requests is not None:
            running.requests.level -= 1
        if running.tokens is not None:
            running.tokens.level -= tokens
        return tokens


def _unavailable() -> GatewayError:
    message = "The accounts cannot be read or written, so nobody with a budget is let in; try again."
    return GatewayError(503, message, "api_error", "accounts_unavailable", headers=(("retry-after", "1"),))


def _within_budget(budget: Decimal, running: _Account, reserve: Decimal) -> None:
    left = budget - running.spent
    if reserve <= left - running.reserved:
        return
    if reserve <= left:
        message = f"${running.reserved:f} of the ${left:f} left of this key's budget is reserved by requests under way."
        retry = (("retry-after", "1"),)
        raise GatewayError(429, message, "rate_limit_error", "budget_reserved", headers=retry)
    message = f"This request may cost ${reserve:f}, and ${max(left, ZERO_USD):f} is left of this key's ${budget:f}."
    raise GatewayError(429, message, "insufficient_quota", "insufficient_quota")


def _bucket(bucket: TokenBucket | None, per_minute: int | None, now: float) -> TokenBucket | None:
    if per_minute is None:
        return None
    if bucket is None:
        return TokenBucket(per_minute, per_minute, now)
    bucket.refill(now, per_minute)
    return bucket
