"""API keys: creation, lookup, limits, revocation. The secret is shown once and never stored.

A key is `corea-ID-SECRET` with 256 random bits in SECRET, so its SHA-256 is enough to store: a slow hash and a salt are
for secrets that people choose, and would cost every request milliseconds. ID is public and finds the row; the hashes
are compared in constant time.
"""

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from operator import attrgetter
from typing import Any

from corea.errors import ConfigError
from corea.gateway.billing.auth import Principal
from corea.gateway.billing.connection import SqlConnection
from corea.money import read_usd

PREFIX = "corea"
LIMITS = (
    "cascades, policy, budget_usd, budget_day_usd, budget_week_usd, budget_month_usd, requests_per_minute, "
    "tokens_per_minute, group_id"
)
BUDGETS = ("budget_usd", "budget_day_usd", "budget_week_usd", "budget_month_usd")
NO_BUDGETS = (None,) * len(BUDGETS)
_budgets_of = attrgetter(*BUDGETS)
MARKS = ", ".join("?" * len(LIMITS.split(",")))
NO_HASH = bytes(32)


class Role(StrEnum):
    """The purpose of a row of `keys`."""

    KEY = "key"  # asks models
    GROUP = "group"  # has no secret; its budgets are shared by the keys that name it
    ADMIN = "admin"  # manages keys over HTTP, and asks no model


class ApiKey(Principal, frozen=True, kw_only=True):
    """A key as stored; a limit of None does not apply.

    Args:
        created_at, revoked_at: Seconds since 1970.
        spent_usd: Over the key's whole life, as far as committed.
        group_id: The group whose budgets hold too.
    """

    id: str  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]  # a key always has one
    name: str
    hash: bytes
    created_at: float
    revoked_at: float | None
    budget_usd: Decimal | None
    budget_day_usd: Decimal | None
    budget_week_usd: Decimal | None
    budget_month_usd: Decimal | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    spent_usd: Decimal
    tokens: int
    requests: int
    role: str = Role.KEY
    group_id: str | None = None

    @property
    def has_budget(self) -> bool:
        """True if its spending is limited."""
        return self.group_id is not None or self.own_budget

    @property
    def own_budget(self) -> bool:
        """True if it has a budget itself, whether or not its group has one."""
        return _budgets_of(self) != NO_BUDGETS


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """Limits of a key; None does not limit, and for `cascades` allows all of them.

    Raises:
        ConfigError: A limit is out of range.
    """

    cascades: tuple[str, ...] | None = None
    policy: str | None = None
    budget_usd: Decimal | None = None
    budget_day_usd: Decimal | None = None
    budget_week_usd: Decimal | None = None
    budget_month_usd: Decimal | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    group_id: str | None = None

    def __post_init__(self) -> None:
        for budget in BUDGETS:
            if (usd := getattr(self, budget)) is not None:
                read_usd(budget, usd)
        for unit, limit in (("requests", self.requests_per_minute), ("tokens", self.tokens_per_minute)):
            if limit is not None and not 1 <= limit < 2**63:
                raise ConfigError(f"{unit} per minute: got {limit}, expected at least 1")

    @property
    def columns(self) -> tuple[str | int | None, ...]:
        """Values as stored, in the order of `LIMITS`."""
        return (
            json.dumps(self.cascades) if self.cascades is not None else None,
            self.policy,
            *(str(usd) if (usd := getattr(self, budget)) is not None else None for budget in BUDGETS),
            self.requests_per_minute,
            self.tokens_per_minute,
            self.group_id,
        )


UNLIMITED = KeyLimits()
FIND = f"SELECT {', '.join(ApiKey.__struct_fields__)} FROM keys"
STORED_AS_TEXT: dict[str, Callable[[str], object]] = {
    "cascades": lambda text: frozenset(json.loads(text)),
    **dict.fromkeys(BUDGETS, Decimal),
    "spent_usd": Decimal,
}


def create_key(
    connection: SqlConnection, name: str, limits: KeyLimits = UNLIMITED, role: Role = Role.KEY
) -> tuple[ApiKey, str]:
    """A new key and its secret, which cannot be recovered later."""
    key_id = secrets.token_hex(6)
    secret = f"{PREFIX}-{key_id}-{secrets.token_urlsafe(32)}"
    connection.execute(
        f"INSERT INTO keys (id, name, hash, created_at, role, {LIMITS}) VALUES (?, ?, ?, ?, ?, {MARKS})",
        (key_id, name, _hash(secret), time.time(), role, *limits.columns),
    )
    return _existing(connection, key_id), secret


def set_limits(connection: SqlConnection, key_id: str, limits: KeyLimits) -> ApiKey:
    """Changes a key's limits; a running server applies them to its next request."""
    connection.execute(f"UPDATE keys SET ({LIMITS}) = ({MARKS}) WHERE id = ?", (*limits.columns, key_id))
    return _existing(connection, key_id)


def revoke_key(connection: SqlConnection, key_id: str) -> ApiKey:
    """Revokes a key; a running server refuses its next request."""
    connection.execute("UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", (time.time(), key_id))
    return _existing(connection, key_id)


def correct_leases(connection: SqlConnection, key_id: str, spent_usd: Decimal) -> Decimal:
    """Corrects what was booked for dead replicas of a PostgreSQL database; the amount that is free again.

    Args:
        spent_usd: Their part that was really spent, by the provider's bill.
    """
    row = connection.execute("SELECT corea_correct(?, ?)", (key_id, spent_usd)).fetchone()
    return row[0]


def named_key(connection: SqlConnection, name: str) -> ApiKey:
    """The key with this id, else the only one with this name that is not revoked.

    Raises:
        ConfigError: There is none, or several.
    """
    if (key := read_key(connection, name)) is not None:
        return key
    found = [key for key in list_keys(connection) if key.name == name and key.revoked_at is None]
    if len(found) != 1:
        problem = f"{len(found)} keys of that name" if found else "no such key"
        raise ConfigError(f"key {name!r}: there is {problem}; give an id that `corea keys list` shows")
    return found[0]


def list_keys(connection: SqlConnection) -> list[ApiKey]:
    """All keys, including revoked ones, the oldest first."""
    return [key_of_row(row) for row in connection.execute(f"{FIND} ORDER BY created_at, id")]


def read_key(connection: SqlConnection, key_id: str) -> ApiKey | None:
    """A key by its public id."""
    row = connection.execute(f"{FIND} WHERE id = ?", (key_id,)).fetchone()
    return None if row is None else key_of_row(row)


def find_key(connection: SqlConnection, secret: str, role: Role = Role.KEY) -> ApiKey | None:
    """The key of a secret; None if there is none of this role, or it was revoked."""
    return key_of_secret(lambda key_id: read_key(connection, key_id), secret, role)


def key_of_secret(read: Callable[[str], ApiKey | None], secret: str, role: Role = Role.KEY) -> ApiKey | None:
    """The key of a secret, as `find_key`, among those that `read` knows by id."""
    prefix, _, rest = secret.partition("-")
    key_id = rest.partition("-")[0]
    key = read(key_id) if prefix == PREFIX and len(secret) < 200 else None
    right = hmac.compare_digest(_hash(secret), key.hash if key is not None else NO_HASH)
    return key if right and key is not None and key.role == role and key.revoked_at is None else None


def spent_by_day(connection: SqlConnection, key_id: str) -> dict[int, Decimal]:
    """A key's spending of the last weeks, by day since 1970 (UTC)."""
    row = connection.execute("SELECT spent_days FROM keys WHERE id = ?", (key_id,)).fetchone()
    return {} if row is None else {int(day): Decimal(usd) for day, usd in json.loads(row[0]).items()}


def any_keys(connection: SqlConnection) -> bool:
    """True if a key that asks was ever made; a revoked one counts, or revoking the last would open the server."""
    return connection.execute("SELECT 1 FROM keys WHERE role = 'key' LIMIT 1").fetchone() is not None


def _existing(connection: SqlConnection, key_id: str) -> ApiKey:
    key = read_key(connection, key_id)
    assert key is not None
    return key


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def key_of_row(row: Sequence[Any]) -> ApiKey:
    """A key from the columns that `FIND` selects."""
    values = dict(zip(ApiKey.__struct_fields__, row, strict=True))
    for name, read in STORED_AS_TEXT.items():
        if values[name] is not None:
            values[name] = read(values[name])
    return ApiKey(**values)
