"""Accounts that several replicas share through PostgreSQL.

A request is admitted only if *spent + reserved + its own reserve* is within what this replica has leased of the key's
budgets, and its rate limits' units were taken from the key's buckets. Both are granted ahead, so that few requests
wait for the database, and returned when they are not used. All budgets hold together over all replicas.
"""

import asyncio
from dataclasses import dataclass
from decimal import Decimal

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
from corea.gateway.billing.budgets import HOLD_REQUESTS, REFILL_REQUESTS
from corea.gateway.billing.keys import ApiKey, Role
from corea.gateway.billing.lease_account import LeasedAccount
from corea.gateway.billing.lease_client import LeaseClient
from corea.gateway.billing.periods import DAY_SECONDS, WHOSE, BudgetLeft, budgets_of, check_budgets
from corea.gateway.billing.rate_limit import rate_limited
from corea.gateway.errors import GatewayError
from corea.types import ZERO_USD

ATTEMPTS = 3  # to get what other replicas have leased and do not use
RETURN_SECONDS = 0.05  # until they have returned it


class LeasedAdmission(Admission, frozen=True, kw_only=True):
    """An admission with the accounts that it counts on.

    Args:
        payers: The group's, if there is one, and the key's last; each with what is reserved of it, in USD.
        metered: Its tokens were taken of a rate limit.
    """

    payers: tuple[tuple[LeasedAccount, Decimal], ...]
    metered: bool


@dataclass(slots=True)
class SharedAccounts:
    """Accounts, as `Accounts`, over leases.

    Args:
        admit_when_down: Admit requests while the database is away, beyond what is leased, and book them later.
    """

    client: LeaseClient
    admit_when_down: bool = False

    def has_keys(self) -> bool:
        """True once a key was made."""
        return any(key.role == Role.KEY for key in self.client.keys.values())

    def identify(self, secret: str | None) -> Principal:
        """The principal of an API key, as `Accounts`."""
        if not self.has_keys():
            return Principal()
        if secret is None:
            raise no_key()
        if (key := self.client.find(secret)) is None:
            raise wrong_key()
        return key

    def all_budgets(self) -> dict[str, list[BudgetLeft]]:
        """The rest of every budget of each key and group that is not revoked, as of some seconds ago."""
        self.client.reads_spending = True
        today = int(self.client.now() // DAY_SECONDS)
        return {
            key.id: budgets_of(key, row.spent, row.used, row.day, today)
            for key in self.client.keys.values()
            if key.revoked_at is None and key.own_budget and (row := self.client.spending.get(key.id)) is not None
        }

    async def admit(self, principal: Principal, request: SpendRequest) -> Admission:
        """Admits a request, as `Accounts`."""
        if not isinstance(principal, ApiKey):
            return Admission(key_id=None, request=request)
        key = principal
        check_route(key, request.route)
        metered = key.tokens_per_minute is not None
        tokens = request.reserve_tokens if metered else 0
        owners = [key] if key.group_id is None else [self._group(key.group_id), key]
        payers = tuple(
            (self.client.account(each.id), request.reserve_usd if each.own_budget else ZERO_USD) for each in owners
        )
        for account, reserve in payers:
            self.client.begin(account)
            account.reserved += reserve
        try:
            for owner, (account, reserve) in zip(owners, payers, strict=True):  # the key last: its units are taken then
                await self._cover(owner, account, reserve, tokens if owner is key else 0)
        except BaseException:
            self._release(payers)
            raise
        return LeasedAdmission(
            key_id=key.id, request=request, reserved_usd=max(reserve for _, reserve in payers), reserved_tokens=tokens,
            group_id=key.group_id, payers=payers, metered=metered,
        )  # fmt: skip

    async def count(self, principal: Principal) -> None:
        """Takes one request of the rate limit, as `Accounts`."""
        if isinstance(principal, ApiKey) and principal.requests_per_minute is not None:
            await self._cover(principal, self.client.account(principal.id), ZERO_USD, 0)

    async def settle(self, admission: Admission, *, cost_usd: Decimal | None, tokens: int) -> None:
        """Books the actual cost, as `Accounts`."""
        if not isinstance(admission, LeasedAdmission):
            return
        for account, _ in admission.payers:
            account.spend(admission.request.reserve_usd if cost_usd is None else cost_usd, tokens)
            self.client.note(account)  # all in the same batch
        account, _ = admission.payers[-1]
        if admission.metered:
            account.tokens += admission.reserved_tokens - tokens
        self._release(admission.payers)
        await self.client.commit(account, pressing=not self.client.under_way)

    def _release(self, payers: tuple[tuple[LeasedAccount, Decimal], ...]) -> None:
        for account, reserve in payers:
            account.reserved -= reserve
            self.client.end(account)

    def _group(self, group_id: str) -> ApiKey:
        """A key's group.

        Raises:
            GatewayError: 401, it was revoked.
        """
        group = self.client.keys.get(group_id)
        if group is None or group.revoked_at is not None:
            raise wrong_group()
        return group

    async def _cover(self, key: ApiKey, account: LeasedAccount, reserve: Decimal, tokens: int) -> None:
        """Waits until the account covers a request, whose reserve is added already, and takes its units.

        Raises:
            GatewayError: It does not: 429; the database is away: 503.
        """
        needed = account.spent + account.reserved  # with those before it, so that the first come are served first
        if not self.client.usable:
            return self._down(key, account, tokens)
        for attempt in range(ATTEMPTS):
            if self._take(key, account, reserve, needed, tokens):
                return None
            if (error := account.refused_lately(reserve, tokens)) is not None:
                raise error
            if attempt and not self._others_hold(account, reserve, needed):
                break
            if attempt:
                await asyncio.sleep(RETURN_SECONDS)
            _ask(key, account, reserve, needed, tokens)
            if not await asyncio.shield(self.client.commit(account, pressing=True)):
                return self._down(key, account, tokens)
            now = self.client.keys.get(key.id)
            if now is None or now.revoked_at is not None:
                raise wrong_group() if key.role == Role.GROUP else wrong_key()
            key = now
        if self._take(key, account, reserve, needed, tokens):
            return None
        raise account.refuse(reserve, tokens, self._refused(key, account, reserve, needed, tokens))

    def _down(self, key: ApiKey, account: LeasedAccount, tokens: int) -> None:
        """Refuses a request while the database is away, or lets it take what it cannot be granted.

        Raises:
            GatewayError: 503.
        """
        if not self.admit_when_down:
            raise accounts_unavailable()
        _take_units(key, account, tokens)

    def _take(self, key: ApiKey, account: LeasedAccount, reserve: Decimal, needed: Decimal, tokens: int) -> bool:
        """Takes a request's units if all is covered; asks for more before that is used up."""
        if reserve and needed > account.safe:
            return False
        if _missing(account, key, tokens) is not None:
            return False
        _take_units(key, account, tokens)
        if reserve and needed + REFILL_REQUESTS * reserve > account.safe:
            account.wanted = max(account.wanted, needed + HOLD_REQUESTS * reserve)
            self.client.note(account)
        return True

    def _others_hold(self, account: LeasedAccount, reserve: Decimal, needed: Decimal) -> bool:
        balance = account.balance
        return bool(reserve) and needed > account.safe and balance is not None and balance.leased > balance.left

    def _refused(
        self, key: ApiKey, account: LeasedAccount, reserve: Decimal, needed: Decimal, tokens: int
    ) -> GatewayError:
        """The error of a request that is not covered."""
        balance = account.balance
        if balance is None:
            return accounts_unavailable()
        if (unit := _missing(account, key, tokens)) is not None and not (reserve and needed > account.safe):
            requests = unit == "requests"
            per_minute = (key.requests_per_minute if requests else key.tokens_per_minute) or 1
            level = (balance.requests_level if requests else balance.tokens_level) or 0.0
            at_hand, wanted = (account.requests, 1) if requests else (account.tokens, min(tokens, per_minute))
            return rate_limited(per_minute, unit, max(wanted - at_hand - level, 0.0) * 60 / per_minute)
        try:
            now, whose = self.client.now(), WHOSE[key.role]
            check_budgets(balance.budgets(key, now), balance.leased, reserve, now, whose)
        except GatewayError as error:
            return error
        message = f"All that is left of {whose} budget is reserved by running requests."
        retry = (("retry-after", "1"),)
        return GatewayError(429, message, "rate_limit_error", "budget_reserved", headers=retry)


def _ask(key: ApiKey, account: LeasedAccount, reserve: Decimal, needed: Decimal, tokens: int) -> None:
    """Adds to what the account asks for with the next batch."""
    if reserve:
        account.needed = max(account.needed, needed)
        account.wanted = max(account.wanted, needed + HOLD_REQUESTS * reserve)
    if key.requests_per_minute is not None:
        account.waiting_requests += 1
    if key.tokens_per_minute is not None:
        account.waiting_tokens += min(tokens, key.tokens_per_minute)


def _take_units(key: ApiKey, account: LeasedAccount, tokens: int) -> None:
    if key.requests_per_minute is not None:
        account.requests -= 1
    account.tokens -= tokens


def _missing(account: LeasedAccount, key: ApiKey, tokens: int) -> str | None:
    """The rate limit that does not cover a request; None if all do."""
    if key.requests_per_minute is not None and account.requests < 1:
        return "requests"
    if key.tokens_per_minute is not None and account.tokens < min(tokens, key.tokens_per_minute):
        return "tokens"
    return None
