"""The operator's policies: fields of a request that are allowed, dropped or forced, and limits no client can raise."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from corea.backends.openai.wire import LIMIT_FIELDS
from corea.errors import ConfigError
from corea.gateway.chat.request import FIELDS, ChatBody, ChatRequest
from corea.gateway.errors import GatewayError, unsupported
from corea.stage import Stage
from corea.types import LIMITS, NativeRequest

DEFAULT = "default"
FORCED_SAMPLING = ("temperature", "top_p", "seed")
ON_THE_ACCOUNT = (
    "service_tier",
    "models",
    "provider",
    "store",
    "speed",
    "billing_policy",
    "workspace_id",
    "inference_geo",
    "background",  # an answer that is made after the response, and so never booked
    "web_search_options",
    "plugins",
    "mcp_servers",
    "tools.*",
)  # choose what the operator pays for
OF_TOOLS = "tools."  # then the beginning of a tool's `type`; `*`: of every tool that the client does not run itself
RUN_BY_CLIENT = ("function", "custom", "local_shell", "apply_patch", "computer", "bash", "text_editor", "memory")
STORED = ("previous_response_id", "conversation", "prompt")  # a prompt of unknown length, kept by the model's server


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPolicy:
    """`[gateway.policies.NAME]`. The one named "default" applies to every request.

    Args:
        cascades: Cascades whose requests it applies to; a key may name it too (`corea keys create --policy`).
        allow: Fields that a request may have beside those that the gateway uses itself; others are refused. None: all.
        drop: Fields removed from a request, tools by their type ("tools.web_search", or "tools.*": all that the client
            does not run itself), and headers ("anthropic-beta") that would be passed on with it. Unless some policy
            that applies sets it, the fields of `ON_THE_ACCOUNT` are removed from requests with a key. In a Responses
            request, whose answer is stored without the field, a policy that drops `store` sets it to false.
        force: Fields set in every request, whatever the client sent, at every stage; of the sampling `temperature`,
            `top_p` and `seed`, for the last stage alone: drafts keep the settings that they were calibrated with.
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
        sampling = {name: self.force[name] for name in FORCED_SAMPLING if name in self.force}
        for name in (*(self.allow or ()), *(self.drop or ()), *(self.force.keys() - sampling.keys())):
            if name in FIELDS or name in LIMITS:
                raise ConfigError(f"got the field {name!r}, expected one that is passed on to the model's server")
        try:
            msgspec.convert({"model": "m", "messages": [{"role": "user"}], **sampling}, ChatBody)
        except msgspec.ValidationError as error:
            raise ConfigError(f"force: got {sampling}: {error}") from error
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
    policies: Sequence[RequestPolicy], request: ChatRequest, stages: Sequence[Stage], *, has_key: bool, has_budget: bool
) -> tuple[ChatRequest, list[str]]:
    """The request as the policies permit it, and the fields that were dropped.

    Args:
        stages: Of the cascade that the request names.
        has_budget: The key has a budget, so an answer without a limit gets the last stage's own.

    Raises:
        GatewayError: 400, the request has a field that is not allowed.
    """
    if not policies and not request.extra and request.native is None and not has_budget:
        return request, []
    forced = {name: value for policy in policies for name, value in policy.force.items()}
    drop = _drop(policies, has_key=has_key)
    extra, dropped = _permitted(policies, request.extra, frozenset(LIMITS), drop)
    if request.native is not None:
        if has_budget:
            _check_bounded(request.native)
        native, more = _native(policies, request.native, drop)
        request, dropped = msgspec.structs.replace(request, native=native), sorted({*dropped, *more})
    caps = [policy.max_tokens for policy in policies if policy.max_tokens is not None]
    own = stages[-1].sampling.max_tokens
    given = request.max_tokens or (request.native is None and extra.get("n_predict"))
    if has_budget and own is not None and not (caps or given):
        caps = [own]
    if caps:
        request = _capped(request, own, min(caps))
        if (predicted := extra.get("n_predict")) is not None:
            extra["n_predict"] = min(predicted, min(caps))
    sampling = {name: extra.pop(name) for name in FORCED_SAMPLING if name in forced}
    if sampling:
        request = msgspec.structs.replace(request, body=msgspec.structs.replace(request.body, **sampling))
    if extra != request.extra or forced:
        request = msgspec.structs.replace(request, extra=extra, forced=frozenset(forced))
    return request, dropped


def _drop(policies: Sequence[RequestPolicy], *, has_key: bool) -> set[str]:
    lists = [policy.drop for policy in policies if policy.drop is not None]
    return {name for names in lists for name in names} if lists else set(ON_THE_ACCOUNT) if has_key else set()


def _native(policies: Sequence[RequestPolicy], native: NativeRequest, drop: set[str]) -> tuple[NativeRequest, set[str]]:
    """A request of another API as the policies permit it, and its fields and headers that were dropped."""
    body, dropped = _permitted(policies, native.body, native.own, drop)
    kept = {name for name in native.only if not name.startswith("tools[") or body.get("tools") == native.body["tools"]}
    only = {name: why for name, why in native.only.items() if name in kept and name.partition("[")[0] in body}
    if native.api == "responses" and any("store" in (policy.drop or ()) for policy in policies):
        body["store"] = False  # without the field, OpenAI's server stores the answer
        dropped += ["store"] if native.body.get("store") else []
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
    left = {name: value for name, value in fields.items() if name not in drop}
    tools = _drop_tools(left, tuple(name.removeprefix(OF_TOOLS) for name in drop if name.startswith(OF_TOOLS)))
    return left | forced, sorted((drop & fields.keys()) | tools)


def _drop_tools(fields: dict[str, Any], kinds: tuple[str, ...]) -> set[str]:
    """Removes tools by the beginning of their type from a request; the names of those that were removed."""
    tools = fields.get("tools")
    if not kinds or not isinstance(tools, list):
        return set()
    found: list[tuple[Any, str | None]] = [(tool, _dropped_kind(tool, kinds)) for tool in cast(list[Any], tools)]
    dropped = {f"{OF_TOOLS}{kind}" for _, kind in found if kind is not None}
    if dropped:
        fields["tools"] = [tool for tool, kind in found if kind is None]
    if dropped and not fields["tools"]:
        fields.pop("tools")
        fields.pop("tool_choice", None)
    return dropped


def _dropped_kind(tool: Any, kinds: tuple[str, ...]) -> str | None:
    """The type of a tool that is removed."""
    kind = cast(Mapping[str, Any], tool).get("type") if isinstance(tool, Mapping) else None
    if kind is None:
        return None
    kind = str(kind)
    return kind if kind.startswith(kinds) or ("*" in kinds and not kind.startswith(RUN_BY_CLIENT)) else None


def _check_bounded(native: NativeRequest) -> None:
    """Checks that a request for a key with a budget sends its whole prompt.

    Raises:
        GatewayError: 400, some of it is kept by the model's server.
    """
    if native.api != "responses":
        return
    given: Any = native.body.get("input")
    items = cast(list[Any], given) if isinstance(given, list) else []
    found = [name for name in STORED if native.body.get(name)]
    found += [
        f"input[{i}]" for i, item in enumerate(items) if isinstance(item, dict) and "item_reference" in item.values()
    ]
    if found:
        why = "a stored prompt's cost has no bound, and this key has a budget; send the whole conversation in `input`"
        raise unsupported(found[0], why)


def _capped(request: ChatRequest, own: int | None, cap: int) -> ChatRequest:
    """The request with a limit of at most `cap`; one without a limit gets the last stage's own, up to `cap`."""
    body = request.body
    changes = {name: min(value, cap) for name in LIMIT_FIELDS if (value := getattr(body, name)) is not None}
    changes = changes or {"max_tokens": min(cap, own or cap)}
    return msgspec.structs.replace(request, body=msgspec.structs.replace(body, **changes))
