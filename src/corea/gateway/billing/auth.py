"""Principals and admissions: the interface between a request and what it may spend."""

from decimal import Decimal
from typing import Protocol

import msgspec

from corea.gateway.errors import GatewayError
from corea.types import ZERO_USD


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """The sender of a request.

    Args:
        id: The API key's public id; None where no keys exist.
        cascades: Those that may be used; None is all of them.
        policy: Name of the operator's policy for its requests, beside those for all.
    """

    id: str | None = None
    cascades: frozenset[str] | None = None
    policy: str | None = None

    @property
    def has_budget(self) -> bool:
        """True if its spending is limited."""
        return False

    def may_use(self, cascade: str) -> bool:
        """True if this cascade is allowed."""
        return self.cascades is None or cascade in self.cascades


class SpendRequest(Protocol):
    """Demands of a request on its key. Reserves are only computed where a limit applies."""

    @property
    def route(self) -> str:
        """Name of the cascade."""
        ...

    @property
    def reserve_usd(self) -> Decimal:
        """Upper bound of the answer's cost, as far as prices and limits are known."""
        ...

    @property
    def reserve_tokens(self) -> int:
        """Upper estimate of the answer's tokens."""
        ...


class Admission(msgspec.Struct, frozen=True, kw_only=True):  # made in a tenth of a dataclass's time
    """An admitted request; `settle` it exactly once.

    Args:
        key_id: None where no keys exist, and nothing is booked.
        reserved_usd: Reserved of the key's budget until then.
        reserved_tokens: Taken of its rate limit.
        group_id: The key's group, whose budgets are reserved and booked too.
    """

    key_id: str | None
    request: SpendRequest
    reserved_usd: Decimal = ZERO_USD
    reserved_tokens: int = 0
    group_id: str | None = None


class Accounts(Protocol):
    """Admits requests and books their costs."""

    def identify(self, secret: str | None) -> Principal:
        """The principal of an API key.

        Raises:
            GatewayError: 401, the key is missing, wrong or revoked.
        """
        ...

    async def admit(self, principal: Principal, request: SpendRequest) -> Admission:
        """Admits a request and reserves its worst-case cost.

        Raises:
            GatewayError: 403 cascade not allowed, 429 over the budget or a rate limit, 503 accounts not writable.
        """
        ...

    async def count(self, principal: Principal) -> None:
        """Takes one request of the rate limit, for a call that costs nothing.

        Raises:
            GatewayError: 429, over the limit.
        """
        ...

    async def settle(self, admission: Admission, *, cost_usd: Decimal | None, tokens: int) -> None:
        """Books the actual cost and releases the reservation; returns when the booking is committed.

        Args:
            cost_usd: None, an unknown cost, books the reserve.
        """
        ...


class OpenAccounts:
    """Accounts without keys: every request is admitted, and nothing is booked."""

    def identify(self, secret: str | None) -> Principal:
        """Anybody."""
        return Principal()

    async def admit(self, principal: Principal, request: SpendRequest) -> Admission:
        """Reserves nothing."""
        return Admission(key_id=None, request=request)

    async def count(self, principal: Principal) -> None:
        """Does nothing."""

    async def settle(self, admission: Admission, *, cost_usd: Decimal | None, tokens: int) -> None:
        """Does nothing."""


def no_key() -> GatewayError:
    """The error of a request without an API key."""
    message = "No API key: send `Authorization: Bearer corea-...`; the operator makes one with `corea keys create`."
    return GatewayError(401, message, "authentication_error", "missing_api_key")


def wrong_key() -> GatewayError:
    """The error of a request with an unknown or revoked API key."""
    message = "This API key is unknown or was revoked."
    return GatewayError(401, message, "authentication_error", "invalid_api_key")


def wrong_group() -> GatewayError:
    """The error of a request whose key's group was revoked."""
    return GatewayError(401, "The group of this API key was revoked.", "authentication_error", "invalid_api_key")


def check_route(principal: Principal, route: str) -> None:
    """Checks that a cascade is allowed.

    Raises:
        GatewayError: 403, it is not.
    """
    if not principal.may_use(route):
        allowed = ", ".join(sorted(principal.cascades or ()))
        message = f"model: this key may not use {route!r}, only {allowed}."
        raise GatewayError(403, message, "permission_error", "model_not_allowed", "model")


def accounts_unavailable() -> GatewayError:
    """The error of a request that cannot be booked, and is therefore not admitted."""
    message = "The accounts cannot be read or written, so no key with a budget is admitted; try again."
    return GatewayError(503, message, "api_error", "accounts_unavailable", headers=(("retry-after", "1"),))
