"""One replica's share of a key: a lease of its budgets and units of its rate limits, spent in memory."""

import time
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from corea.gateway.billing.keys import ApiKey
from corea.gateway.billing.periods import DAY_SECONDS, BudgetLeft, budgets_of
from corea.gateway.errors import GatewayError
from corea.types import ZERO_USD

REFUSED_SECONDS = 0.1  # a refusal is repeated for this long, or each refused request would lock the key's row


class KeyBalance(msgspec.Struct):
    """A key in the database after a batch, as `corea_book` returns it.

    Args:
        left: Of this replica's lease.
        spent, day, week, month: By all replicas, as booked.
        leased: By all replicas.
        requests, tokens: Units granted of the rate limits.
        requests_level, tokens_level: Left in the buckets after that.
    """

    key: str
    lease: str
    left: Decimal
    spent: Decimal
    day: Decimal
    week: Decimal
    month: Decimal
    leased: Decimal
    requests: float
    tokens: float
    requests_level: float | None
    tokens_level: float | None

    def budgets(self, key: ApiKey, now: float) -> list[BudgetLeft]:
        """The rest of every budget of the key.

        Args:
            now: Seconds since 1970 by the database's clock.
        """
        today = int(now // DAY_SECONDS)
        used = {"day": self.day, "week": self.week, "month": self.month}
        return budgets_of(key, self.spent, used, today, today)


@dataclass(slots=True, eq=False)
class LeasedAccount:
    """A key at this replica. Sums are of all that it has spent here, as `safe` and `needed` are levels of `spent`.

    Args:
        replica: The id under which the database knows the lease.
        booked: Of `spent`, known to be in the database.
        safe: `spent + reserved` may reach this: it is leased.
        needed, wanted: The level that requests wait for, and the one that would serve some more.
        requests, tokens: Units of the rate limits at hand.
        waiting_requests, waiting_tokens: Units that requests wait for.
    """

    key_id: str
    replica: str
    spent: Decimal = ZERO_USD
    booked: Decimal = ZERO_USD
    reserved: Decimal = ZERO_USD
    safe: Decimal = ZERO_USD
    needed: Decimal = ZERO_USD
    wanted: Decimal = ZERO_USD
    requests: float = 0.0
    tokens: float = 0.0
    waiting_requests: float = 0.0
    waiting_tokens: float = 0.0
    under_way: int = 0
    used_at: float = field(default_factory=time.monotonic)
    balance: KeyBalance | None = None
    refusal: tuple[float, Decimal, int, GatewayError] | None = None
    new: dict[str, Any] = field(default_factory=dict[str, Any])  # since the last batch, see `take`

    def spend(self, usd: Decimal, tokens: int) -> None:
        """Adds a settled request."""
        self.spent += usd
        self._add("usd", usd)
        self._add("tokens", tokens)
        self._add("requests", 1)

    def give_back(self) -> bool:
        """Returns what no request under way needs; True if there is anything."""
        spare = max(self.safe - self.spent - self.reserved, ZERO_USD)
        if not (spare or self.requests or self.tokens):
            return False
        self.safe -= spare
        self._add("back", spare)
        self._add("r_requests_back", self.requests)
        self._add("r_tokens_back", self.tokens)
        self.requests = self.tokens = 0.0
        return True

    def end(self) -> None:
        """Nothing more will be spent of this lease."""
        self.new["done"] = True

    def take(self) -> dict[str, Any]:
        """The entry of the next batch, for `corea_book`."""
        need = max(self.needed - self.safe, ZERO_USD)
        entry = {
            "key": self.key_id, "lease": self.replica, "usd": ZERO_USD, "tokens": 0, "requests": 0, "back": ZERO_USD,
            "need": need, "want": max(self.wanted - self.safe, need),
            "r_requests": max(self.waiting_requests - self.requests, 0.0),
            "r_tokens": max(self.waiting_tokens - self.tokens, 0.0),
            "r_requests_back": 0.0, "r_tokens_back": 0.0, "done": False, **self.new,
        }  # fmt: skip
        self.new = {}
        self.needed = self.wanted = ZERO_USD
        self.waiting_requests = self.waiting_tokens = 0.0
        return entry

    def update(self, balance: KeyBalance, cost: Decimal) -> None:
        """Takes over what the database says after a batch that booked this cost."""
        self.balance = balance
        self.booked += cost
        self.safe = self.booked + balance.left - self.new.get("back", ZERO_USD)  # returned since, with the next batch
        self.requests += balance.requests
        self.tokens += balance.tokens

    def refused_lately(self, reserve: Decimal, tokens: int) -> GatewayError | None:
        """The error of a request that was refused a moment ago and asked for no more."""
        if self.refusal is None:
            return None
        until, usd, units, error = self.refusal
        return error if time.monotonic() < until and reserve >= usd and tokens >= units else None

    def refuse(self, reserve: Decimal, tokens: int, error: GatewayError) -> GatewayError:
        """Notes a refusal; the error."""
        self.refusal = (time.monotonic() + REFUSED_SECONDS, reserve, tokens, error)
        return error

    def _add(self, name: str, more: Any) -> None:
        self.new[name] = self.new[name] + more if name in self.new else more
