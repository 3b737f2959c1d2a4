"""API keys: made, told apart, revoked. The secret is shown once and never stored.

A key is `corea-ID-SECRET` with 256 random bits in SECRET, so that its SHA-256 is all that need be stored: a slow hash
and a salt are for what people choose, and would cost every request its milliseconds. ID is public and finds the row;
the hashes are compared in constant time.
"""

import hashlib
import hmac
import json
import secrets
import sqlite3
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from corea.errors import ConfigError
from corea.gateway.accounts import Holder

PREFIX = "corea"
COLUMNS = (
    "id, name, hash, created_at, revoked_at, cascades, budget_usd, requests_per_minute, tokens_per_minute, spent_usd, "
    "tokens, requests"
)
FIND = f"SELECT {COLUMNS} FROM keys WHERE id = ?"
NOBODY = bytes(32)


class Key(Holder, frozen=True, kw_only=True):
    """A key as it stands in the file; `cascades` None allows all, a limit of None is none.

    Args:
        created_at, revoked_at: Seconds since 1970.
        spent_usd: Over the key's whole life, what is committed of it.
    """

    id: str
    name: str
    hash: bytes
    created_at: float
    revoked_at: float | None
    budget_usd: Decimal | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    spent_usd: Decimal
    tokens: int
    requests: int


def create_key(
    connection: sqlite3.Connection,
    name: str,
    *,
    cascades: Sequence[str] | None = None,
    budget_usd: Decimal | None = None,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
) -> tuple[Key, str]:
    """A new key, and its secret, which nobody can find out again.

    Raises:
        ConfigError: A limit is no sensible one.
    """
    if budget_usd is not None and not (budget_usd.is_finite() and budget_usd >= 0):
        raise ConfigError(f"budget: got {budget_usd}, expected an amount in USD of at least 0")
    for what, limit in (("requests per minute", requests_per_minute), ("tokens per minute", tokens_per_minute)):
        if limit is not None and limit < 1:
            raise ConfigError(f"{what}: got {limit}, expected at least 1")
    key_id = secrets.token_hex(6)
    secret = f"{PREFIX}-{key_id}-{secrets.token_urlsafe(32)}"
    connection.execute(
        "INSERT INTO keys (id, name, hash, created_at, cascades, budget_usd, requests_per_minute, tokens_per_minute) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            key_id,
            name,
            _hash(secret),
            time.time(),
            json.dumps(list(cascades)) if cascades else None,
            str(budget_usd) if budget_usd is not None else None,
            requests_per_minute,
            tokens_per_minute,
        ),
    )
    key = read_key(connection, key_id)
    assert key is not None
    return key, secret


def list_keys(connection: sqlite3.Connection) -> list[Key]:
    """Every key, revoked ones too, the oldest first."""
    return [_key(row) for row in connection.execute(f"SELECT {COLUMNS} FROM keys ORDER BY created_at, id")]


def revoke_key(connection: sqlite3.Connection, key_id: str) -> Key:
    """Ends a key; a running server turns its next request away.

    Raises:
        ConfigError: There is no such key.
    """
    connection.execute("UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", (time.time(), key_id))
    key = read_key(connection, key_id)
    if key is None:
        raise ConfigError(f"key {key_id!r}: there is no such key; `corea keys list` shows their ids")
    return key


def read_key(connection: sqlite3.Connection, key_id: str) -> Key | None:
    """A key by its public id."""
    row = connection.execute(FIND, (key_id,)).fetchone()
    return None if row is None else _key(row)


def find_key(connection: sqlite3.Connection, secret: str) -> Key | None:
    """The key whose secret this is; None where there is none, or it was revoked."""
    prefix, _, rest = secret.partition("-")
    key_id = rest.partition("-")[0]
    key = read_key(connection, key_id) if prefix == PREFIX and len(secret) < 200 else None
    right = hmac.compare_digest(_hash(secret), key.hash if key is not None else NOBODY)
    return key if right and key is not None and key.revoked_at is None else None


def any_keys(connection: sqlite3.Connection) -> bool:
    """Whether a key was ever made; a revoked one counts, or revoking the last would open the server."""
    return connection.execute("SELECT 1 FROM keys LIMIT 1").fetchone() is not None


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _key(row: tuple[Any, ...]) -> Key:
    key_id, name, digest, created_at, revoked_at, cascades, budget, per_minute, tokens_per_minute, *used = row
    spent, tokens, requests = used
    return Key(
        key_id=key_id,
        id=key_id,
        name=name,
        hash=digest,
        created_at=created_at,
        revoked_at=revoked_at,
        cascades=frozenset(json.loads(cascades)) if cascades is not None else None,
        budget_usd=Decimal(budget) if budget is not None else None,
        requests_per_minute=per_minute,
        tokens_per_minute=tokens_per_minute,
        spent_usd=Decimal(spent),
        tokens=tokens,
        requests=requests,
    )
