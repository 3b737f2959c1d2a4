"""Changes of keys by an operator, from the command line or over HTTP: checked by the same rules, each with a record."""

import json
import time
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from corea.errors import ConfigError, unknown_name
from corea.gateway.billing.connection import SqlConnection, is_postgres, transaction
from corea.gateway.billing.keys import (
    BUDGETS,
    UNLIMITED,
    ApiKey,
    KeyLimits,
    Role,
    correct_leases,
    create_key,
    list_keys,
    named_key,
    read_key,
    revoke_key,
    set_limits,
)

LIMITED = tuple(KeyLimits.__dataclass_fields__)
SHOWN = (
    "id", "name", "role", "group_id", "created_at", "revoked_at", "cascades", "policy", *BUDGETS, "spent_usd", "tokens",
    "requests", "requests_per_minute", "tokens_per_minute",
)  # fmt: skip
LONGEST_NAME = 200
MOST_CHANGES = 1000
LOCK = "LOCK TABLE key_changes IN SHARE ROW EXCLUSIVE MODE"  # one change at a time


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A record of the audit trail.

    Args:
        at: Seconds since 1970.
        actor: The admin key, or the user of the command line.
        action: "create", "set", "revoke" or "correct".
        changes: By field, its value before and after.
    """

    at: float
    actor: str
    action: str
    key_id: str
    changes: dict[str, list[Any]]


@dataclass(frozen=True, slots=True)
class KeyAdmin:
    """Changes keys in a database, in one transaction with the record of the change.

    Args:
        actor: The one who changes them.
        cascades, policies: The configured ones; None where the configuration is not known, and no name is checked.
    """

    connection: SqlConnection
    actor: str
    cascades: Collection[str] | None = None
    policies: Collection[str] | None = None

    def create(self, name: str, limits: KeyLimits = UNLIMITED, role: Role = Role.KEY) -> tuple[ApiKey, str]:
        """A new key and its secret; a group's is of no use.

        Raises:
            ConfigError: A name is empty, too long or unknown, or a limit does not fit the role.
        """
        if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
            raise ConfigError(f"name: got {name[:40]!r}, expected 1 to {LONGEST_NAME} printable characters")
        with transaction(self.connection, LOCK):
            self._check(limits, role)
            key, secret = create_key(self.connection, name, limits, role)
            self._note("create", key.id, {"name": [None, name], "role": [None, str(role)], **_changes(None, key)})
        return key, secret

    def change(self, name: str, changed: dict[str, Any]) -> ApiKey:
        """The key with some of its limits changed.

        Args:
            name: Its id, or the name of one alone.
            changed: By field of `KeyLimits`; None removes a limit.

        Raises:
            ConfigError: There is no such key, it was revoked, or a limit is not allowed.
        """
        with transaction(self.connection, LOCK):
            was = named_key(self.connection, name)
            if was.revoked_at is not None:
                raise ConfigError(f"key {name!r}: it was revoked, for good; create another one")
            own = {field: getattr(was, field) for field in LIMITED}
            own["cascades"] = tuple(sorted(was.cascades)) if was.cascades is not None else None
            limits = KeyLimits(**(own | changed))
            self._check(limits, Role(was.role), changed)
            now = set_limits(self.connection, was.id, limits)
            self._note("set", was.id, _changes(was, now))
        return now

    def revoke(self, name: str) -> ApiKey:
        """The key, revoked for good.

        Raises:
            ConfigError: There is no such key.
        """
        with transaction(self.connection, LOCK):
            was = named_key(self.connection, name)
            now = revoke_key(self.connection, was.id)
            if was.revoked_at is None:
                self._note("revoke", was.id, {"revoked_at": [None, now.revoked_at]})
        return now

    def correct(self, name: str, spent_usd: Decimal) -> tuple[ApiKey, Decimal]:
        """The key, with what dead servers' leases were booked with corrected, and the amount that is free again.

        Args:
            spent_usd: Their part that was really spent, by the provider's bill.

        Raises:
            ConfigError: There is no such key, or the database is an SQLite file, which has no leases.
        """
        if not is_postgres(self.connection):
            raise ConfigError("gateway.storage.url: is not set; only a PostgreSQL database has leases of dead servers")
        with transaction(self.connection, LOCK):
            was = named_key(self.connection, name)
            freed = correct_leases(self.connection, was.id, spent_usd)
            now = read_key(self.connection, was.id) or was
            self._note("correct", was.id, {"spent_usd": [str(was.spent_usd), str(now.spent_usd)]})
        return now, freed

    def find_group(self, name: str) -> str:
        """Id of a group, by its id or name.

        Raises:
            ConfigError: There is none that is not revoked.
        """
        found = [g for g in list_keys(self.connection) if g.role == Role.GROUP and g.revoked_at is None]
        group = next((g for g in found if name in (g.id, g.name)), None)
        if group is None:
            raise unknown_name("group", name, [g.name for g in found])
        return group.id

    def changes(self, key_id: str | None = None, limit: int = MOST_CHANGES) -> list[KeyChange]:
        """The newest records, of one key or of all, the newest first."""
        query = "SELECT at, actor, action, key_id, changes FROM key_changes"
        where, values = (" WHERE key_id = ?", (key_id,)) if key_id is not None else ("", ())
        rows = self.connection.execute(f"{query}{where} ORDER BY rowid DESC LIMIT ?", (*values, limit))
        return [KeyChange(*rest, changes=json.loads(changes)) for *rest, changes in rows]

    def _check(self, limits: KeyLimits, role: Role, changed: Collection[str] = LIMITED) -> None:
        for field in LIMITED:
            if getattr(limits, field) is None or role is Role.KEY or (role is Role.GROUP and field in BUDGETS):
                continue
            only = "budgets" if role is Role.GROUP else "none, since it asks no model"
            raise ConfigError(f"{field}: got it for a {role}, whose limits are {only}; remove it")
        for cascade in limits.cascades or () if "cascades" in changed and self.cascades is not None else ():
            if cascade not in self.cascades:  # pyright: ignore[reportOperatorIssue]
                raise unknown_name("cascades", cascade, list(self.cascades))  # pyright: ignore[reportArgumentType]
        policy, policies = limits.policy, self.policies
        if policy is not None and "policy" in changed and policies is not None and policy not in policies:
            raise unknown_name("policy", policy, list(policies))
        if limits.group_id is not None and "group_id" in changed:
            group = read_key(self.connection, limits.group_id)
            if group is None or group.role != Role.GROUP or group.revoked_at is not None:
                raise ConfigError(f"group_id: got {limits.group_id!r}, expected the id of a group that is not revoked")

    def _note(self, action: str, key_id: str, changes: dict[str, list[Any]]) -> None:
        values = (time.time(), self.actor, action, key_id, json.dumps(changes))
        self.connection.execute("INSERT INTO key_changes VALUES (?, ?, ?, ?, ?)", values)


def key_fields(key: ApiKey) -> dict[str, Any]:
    """A key as it is shown: never its hash."""
    found = {name: getattr(key, name) for name in SHOWN}
    found["cascades"] = sorted(key.cascades) if key.cascades is not None else None
    return found


def _changes(was: ApiKey | None, now: ApiKey) -> dict[str, list[Any]]:
    before: dict[str, Any] = key_fields(was) if was is not None else dict[str, Any].fromkeys(SHOWN)
    after = key_fields(now)
    return {field: [_plain(before[field]), _plain(after[field])] for field in LIMITED if before[field] != after[field]}


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Decimal) else value
