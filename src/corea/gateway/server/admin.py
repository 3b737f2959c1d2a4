"""Management of keys over HTTP, with an admin key: list, create, limit, revoke, and the record of changes."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

import msgspec
from msgspec import UNSET, Struct, UnsetType

from corea.errors import ConfigError
from corea.gateway.asgi import Headers, Receive, Scope, encode_json, find_header
from corea.gateway.billing.connection import SqlConnection
from corea.gateway.billing.database import DatabaseUnavailable
from corea.gateway.billing.key_admin import LIMITED, MOST_CHANGES, KeyAdmin, key_fields
from corea.gateway.billing.keys import BUDGETS, ApiKey, KeyLimits, Role, find_key, list_keys, read_key
from corea.gateway.errors import GatewayError, bad_field
from corea.gateway.ops.logs import FIELDS, KIND
from corea.gateway.ops.settings import GatewaySettings
from corea.gateway.server.access import allowed_origin
from corea.gateway.server.body import read_body
from corea.money import parse_usd

log: logging.Logger = logging.getLogger("corea.gateway")
KEYS, CHANGES = "/admin/keys", "/admin/changes"
NO_STORE: Headers = [("cache-control", "no-store")]
WRONG = "An admin key is needed: `corea keys admin NAME` makes one; send it as `Authorization: Bearer corea-...`."


class KeyChangeBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """Limits of a key; null removes one, and a field that is absent stays."""

    cascades: list[str] | UnsetType | None = UNSET
    policy: str | UnsetType | None = UNSET
    budget_usd: str | float | UnsetType | None = UNSET
    budget_day_usd: str | float | UnsetType | None = UNSET
    budget_week_usd: str | float | UnsetType | None = UNSET
    budget_month_usd: str | float | UnsetType | None = UNSET
    requests_per_minute: int | UnsetType | None = UNSET
    tokens_per_minute: int | UnsetType | None = UNSET
    group_id: str | UnsetType | None = UNSET


class NewKeyBody(KeyChangeBody, forbid_unknown_fields=True, kw_only=True):
    """A new key, or a new group of keys."""

    name: str
    role: str = "key"


@dataclass(frozen=True, slots=True)
class AdminApi:
    """Answers the requests below /admin.

    Args:
        open: Opens the database.
        cascades: Names of the configured ones.
    """

    open: Callable[[], AbstractContextManager[SqlConnection]]
    cascades: Callable[[], Sequence[str]]

    async def __call__(
        self, scope: Scope, receive: Receive, path: str, secret: str | None, settings: GatewaySettings
    ) -> tuple[int, bytes]:
        """Status and body of the answer.

        Raises:
            GatewayError: 401 without an admin key, 403 for a page of another origin, 404, 405, or a wrong field.
        """
        if find_header(scope, b"origin") is not None and not allowed_origin(scope):
            raise GatewayError(403, "Keys are not managed from other origins.", "permission_error", "local_only")
        method = scope["method"]
        allowed = _methods(path)
        if method not in allowed:
            headers = (("allow", ", ".join(allowed)),)
            raise GatewayError(405, f"{method} is not served here.", code="method_not_allowed", headers=headers)
        await self.check(secret)  # before anything is read
        body = await read_body(scope, receive, settings) if method in ("POST", "PATCH") else b""
        query = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
        return await asyncio.to_thread(self._answer, method, path, secret, body, query, settings)

    async def find(self, secret: str | None) -> ApiKey | None:
        """The admin key of a secret; None if it is of none.

        Raises:
            GatewayError: 503, the database cannot be read.
        """
        return await asyncio.to_thread(self._find, secret)

    async def check(self, secret: str | None) -> ApiKey:
        """The admin key of a secret.

        Raises:
            GatewayError: 401, it is of none; 503, the database cannot be read.
        """
        return await asyncio.to_thread(self._admin, secret)

    def _find(self, secret: str | None) -> ApiKey | None:
        try:
            with self.open() as connection:
                return None if secret is None else find_key(connection, secret, Role.ADMIN)
        except ConfigError as error:
            raise _unavailable(error) from error

    def _admin(self, secret: str | None) -> ApiKey:
        found = self._find(secret)
        if found is None:
            log.warning("a request without an admin key was refused", extra={KIND: ("admin",)})
            raise GatewayError(401, WRONG, "authentication_error", "invalid_api_key")
        return found

    def _answer(
        self, method: str, path: str, secret: str | None, body: bytes, query: dict[str, str], settings: GatewaySettings
    ) -> tuple[int, bytes]:
        admin = self._admin(secret)  # again: it may have been revoked while the body arrived
        try:
            with self.open() as connection:
                actor = f"{admin.name} ({admin.id})"
                keys = KeyAdmin(connection, actor, self.cascades(), settings.policies)
                if path == CHANGES:
                    found = keys.changes(query.get("key"), _limit(query))
                    return 200, encode_json({"changes": [asdict(each) for each in found]})
                key_id, _, action = path.removeprefix(KEYS).strip("/").partition("/")
                if not key_id and method in ("GET", "HEAD"):
                    return 200, encode_json({"keys": [key_fields(key) for key in list_keys(connection)]})
                if not key_id:
                    return _create(keys, body)
                key = _managed(connection, key_id, changes=method in ("POST", "PATCH"))
                if method in ("GET", "HEAD"):
                    return 200, encode_json(key_fields(key))
                now = keys.revoke(key.id) if action else keys.change(key.id, _limits(_read(body, KeyChangeBody)))
        except DatabaseUnavailable as error:
            raise _unavailable(error) from error
        except ConfigError as error:
            raise GatewayError(400, f"{error}.", code="invalid_value", param=str(error).partition(":")[0]) from error
        _log_change(actor, "revoked" if action else "changed", now)
        return 200, encode_json(key_fields(now))


def _create(keys: KeyAdmin, body: bytes) -> tuple[int, bytes]:
    """Makes a key, whose secret is in this answer alone."""
    wanted = _read(body, NewKeyBody)
    if wanted.role not in (Role.KEY, Role.GROUP):
        expected = "'key' or 'group'; `corea keys admin` makes an admin key"
        raise bad_field("role", wanted.role, expected)
    key, secret = keys.create(wanted.name, KeyLimits(**_limits(wanted)), Role(wanted.role))
    _log_change(keys.actor, "created", key)
    return 201, encode_json(key_fields(key) | ({"key": secret} if wanted.role == Role.KEY else {}))


def _log_change(actor: str, action: str, key: ApiKey) -> None:
    log.warning("%s %s %s %s", actor, action, key.role, key.name, extra={FIELDS: {"key_id": key.id}})


def _managed(connection: SqlConnection, key_id: str, *, changes: bool) -> ApiKey:
    key = read_key(connection, key_id)
    if key is None:
        raise GatewayError(404, f"There is no key {key_id[:40]!r}.", code="not_found")
    if changes and key.role == Role.ADMIN:
        raise GatewayError(403, "Admin keys are managed by `corea keys` alone.", "permission_error", "local_only")
    return key


def _methods(path: str) -> tuple[str, ...]:
    """The methods of a path.

    Raises:
        GatewayError: 404, there is no such path.
    """
    parts = path.strip("/").split("/")[1:]
    if parts == ["changes"]:
        return ("GET", "HEAD")
    if parts[:1] == ["keys"] and len(parts) <= 3:
        if len(parts) == 1:
            return ("GET", "HEAD", "POST")
        if len(parts) == 2:
            return ("GET", "HEAD", "PATCH")
        if parts[2] == "revoke":
            return ("POST",)
    raise GatewayError(404, f"{path[:80]} is not served; only {KEYS} and {CHANGES} are.", code="not_found")


def _read(body: bytes, kind: type[KeyChangeBody]) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GatewayError(400, f"The body is not what is expected: {error}.", code="invalid_value") from error


def _limits(body: KeyChangeBody) -> dict[str, Any]:
    """The limits that a body sets, as `KeyLimits` takes them."""
    found = {name: value for name in LIMITED if (value := getattr(body, name)) is not UNSET}
    for name in BUDGETS:
        if isinstance(given := found.get(name), str | float):
            found[name] = _amount(name, given)
    if found.get("cascades") is not None:
        found["cascades"] = tuple(found["cascades"])
    return found


def _amount(name: str, given: str | float) -> Decimal:
    try:
        return parse_usd(given)
    except ValueError as error:
        raise bad_field(name, given, str(error)) from error


def _limit(query: dict[str, str]) -> int:
    given = query.get("limit", str(MOST_CHANGES))
    if not given.isascii() or not given.isdigit() or not 1 <= int(given[:9]) <= MOST_CHANGES:
        raise bad_field("limit", given, f"1 to {MOST_CHANGES}")
    return int(given)


def _unavailable(error: Exception) -> GatewayError:
    log.error("the keys cannot be managed (%s)", error, extra={KIND: ("admin", type(error).__name__)})
    return GatewayError(503, "The keys cannot be read or written now; try again.", "api_error", "accounts_unavailable")
