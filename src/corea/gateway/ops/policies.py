"""The operator's policies: fields of a request that are allowed, dropped or forced, and limits no client can raise."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from corea.errors import ConfigError
from corea.gateway.chat.request import FIELDS, ChatRequest
from corea.gateway.errors import GatewayError, unsupported
from corea.stage import Stage
from corea.types import LIMITS, NativeRequest

DEFAULT = "default"
ON_THE_ACCOUNT = (
    "service_tier",
    "models",
    "provider",
    "store",
    "speed",
    "billing_policy",
    "workspace_id",
)  # choose what the operator pays for


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPolicy:
    """`[gateway.policies.NAME]`. The one named "default" applies to every request.

    Args:
        cascades: Cascades whose requests it applies to; a key may name it too (`corea keys create --policy`).
        allow: Fields that a request may have beside those that the gateway uses itself; others are refused. None: all.
        drop: Fields removed from a request, and headers ("anthropic-beta") that would be passed on with it. Unless some
            policy that applies sets it, the fields of `ON_THE_ACCOUNT` are removed from requests with a key.
        force: Fields set in every request, whatever the client sent.
        max_tokens: Limit of every answer, also of one whose request sets none.
        direct: A stage may be asked directly, as "corea/0" or with `corea.stage`.
    """

    cascades: tuple[str, ...] = ()
    allow: tuple[str, ...] | None = None
    drop: tuple[str, ...] | None = None
    force: Mapping[str, Any] = field(default_factory=dict[str, Any])
    max_tokens: int | None = None
    direct: bool = True

    def __post_init__(self) -> None:
        for name in (*(self.allow or ()), *(self.drop or ()), *self.force):
            if name in FIELDS or name in LIMITS:
                raise ConfigError(f"got the field {name!r}, expected one that is passed on to the model's server")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ConfigError(f"max_tokens: got {self.max_tokens}, expected at least 1")


def policies_of(policies: Mapping[str, RequestPolicy], cascade: str, key_policy: str | None) -> list[RequestPolicy]:
    """The policies that apply to a request: the default, its cascade's, its key's.

    Raises:
        GatewayError: 403, the key's policy is not configured.
    """
    if key_policy is not None and key_policy not in policies:
        message = "The policy of this key is not configured on this server; ask its operator."
        raise GatewayError(403, message, "permission_error", "policy_missing")
    return [p for name, p in policies.items() if name in (DEFAULT, key_policy) or cascade in p.cascades]


def may_ask_directly(policies: Iterable[RequestPolicy]) -> bool:
    """True if none of the policies refuses stages that are asked directly."""
    return all(policy.direct for policy in policies)


def apply_policies(
    policies: Sequence[RequestPolicy], request: ChatRequest, stages: Sequence[Stage], *, has_key: bool
) -> tuple[ChatRequest, list[str]]:
    """The request as the policies permit it, and the fields that were dropped.

    Args:
        stages: Of the cascade that the request names.

    Raises:
        GatewayError: 400, the request has a field that is not allowed.
    """
    drop = _drop(policies, has_key=has_key)
    extra, dropped = _permitted(policies, request.extra, frozenset(LIMITS), drop)
    if request.native is not None:
        native, more = _native(policies, request.native, drop)
        request, dropped = msgspec.structs.replace(request, native=native), sorted({*dropped, *more})
    caps = [policy.max_tokens for policy in policies if policy.max_tokens is not None]
    if caps:
        request = _capped(request, stages, min(caps))
        if (predicted := extra.get("n_predict")) is not None:
            extra["n_predict"] = min(predicted, min(caps))
    if extra != request.extra:
        request = msgspec.structs.replace(request, extra=extra)
    return request, dropped


def _drop(policies: Sequence[RequestPolicy], *, has_key: bool) -> set[str]:
    lists = [policy.drop for policy in policies if policy.drop is not None]
    return {name for names in lists for name in names} if lists else set(ON_THE_ACCOUNT) if has_key else set()


def _native(policies: Sequence[RequestPolicy], native: NativeRequest, drop: set[str]) -> tuple[NativeRequest, set[str]]:
    """A request of another API as the policies permit it, and its fields and headers that were dropped."""
    body, dropped = _permitted(policies, native.body, native.own, drop)
    only = {name: why for name, why in native.only.items() if name.partition("[")[0] in body}
    headers = {name: value for name, value in native.headers.items() if name not in drop}
    permitted = msgspec.structs.replace(native, body=body, only=only, headers=headers)
    return permitted, {*dropped, *(native.headers.keys() & drop)}


def _permitted(
    policies: Sequence[RequestPolicy], fields: Mapping[str, Any], own: frozenset[str], drop: set[str]
) -> tuple[dict[str, Any], list[str]]:
    """The fields as the policies permit them, and the names of those that were dropped.

    Args:
        own: Fields that no policy concerns.
    """
    drop = drop - own
    forced = {name: value for policy in policies for name, value in policy.force.items()}
    for name in fields.keys() - drop - forced.keys() - own:
        if any(policy.allow is not None and name not in policy.allow for policy in policies):
            raise unsupported(name, "the operator does not allow it")
    return {name: value for name, value in fields.items() if name not in drop} | forced, sorted(drop & fields.keys())


def _capped(request: ChatRequest, stages: Sequence[Stage], cap: int) -> ChatRequest:
    """The request with a limit of at most `cap`; without one if its stages keep within `cap` by themselves."""
    body = request.body
    changes = {
        name: min(value, cap)
        for name in ("max_tokens", "max_completion_tokens")
        if (value := getattr(body, name)) is not None
    }
    own = [stage.sampling.max_tokens for stage in stages]
    if not changes and any(limit is None or limit > cap for limit in own):
        changes = {"max_completion_tokens": min(cap, own[-1] or cap)}
    return msgspec.structs.replace(request, body=msgspec.structs.replace(body, **changes)) if changes else request
