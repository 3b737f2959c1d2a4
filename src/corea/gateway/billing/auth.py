"""Who may ask, and what they may spend: the seam between a request and the money."""

from decimal import Decimal
from typing import Protocol

import msgspec

from corea.types import ZERO_USD


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks.

    Args:
        key_id: The key's public id; None where no keys are set.
        cascades: Those that may be asked; None is all of them.
    """

    key_id: str | None = None
    cascades: frozenset[str] | None = None

    def may_ask(self, cascade: str) -> bool:
        """Whether this cascade is allowed."""
        return self.cascades is None or cascade in self.cascades


class SpendRequest(Protocol):
    """What a request asks for. The reserves are only computed where somebody has a limit."""

    @property
    def route(self) -> str:
        """The cascade's name."""
        ...

    @property
    def reserve_usd(self) -> Decimal:
        """The most that the answer can cost, as far as prices and limits tell."""
        ...

    @property
    def reserve_tokens(self) -> int:
        """The most tokens that it may be expected to use."""
        ...


class Admission(msgspec.Struct, frozen=True, kw_only=True):  # made in a tenth of a dataclass's time
    """A request that was let in; `settle` it exactly once.

    Args:
        reserved_usd: Held back of the key's budget until then.
        reserved_tokens: Taken of its rate limit.
    """

    key_id: str | None
    claim: SpendRequest
    reserved_usd: Decimal = ZERO_USD
    reserved_tokens: int = 0


class Accounts(Protocol):
    """Lets requests in and books what they cost."""

    def identify(self, secret: str | None) -> Principal:
        """Who holds this key.

        Raises:
            GatewayError: 401, there is no key, or it is wrong or revoked.
        """
        ...

    async def admit(self, holder: Principal, claim: SpendRequest) -> Admission:
        """Lets a request in, its worst cost reserved.

        Raises:
            GatewayError: 403 not this cascade, 429 over the budget or a rate limit, 503 the money cannot be written down.
        """
        ...

    async def settle(self, admission: Admission, *, cost_usd: Decimal | None, tokens: int) -> None:
        """Books what was really spent and frees the reservation. When it returns, the money is written down.

        Args:
            cost_usd: None, where it is not known, books what was reserved.
        """
        ...


class OpenAccounts:
    """No keys: everyone on this machine may ask, and nothing is booked."""

    def identify(self, secret: str | None) -> Principal:
        """Everyone may ask everything."""
        return Principal()

    async def admit(self, holder: Principal, claim: SpendRequest) -> Admission:
        """Lets everyone in."""
        return Admission(key_id=None, claim=claim)

    async def settle(self, admission: Admission, *, cost_usd: Decimal | None, tokens: int) -> None:
        """Books nothing."""
