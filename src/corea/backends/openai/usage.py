"""Token usage in the forms of many servers, converted to OpenAI's way of counting.

Sources: https://platform.openai.com/docs/api-reference/chat/object (`usage`);
https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching (counts next to `input_tokens`); LiteLLM,
litellm/llms/anthropic/chat/transformation.py (the same counts within `prompt_tokens`).
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, NamedTuple, cast

import msgspec

from corea.costs.token_estimate import estimate_prompt, estimate_tokens, estimate_usage
from corea.types import Message, Usage, replace

MOST_TOKENS = 2**53  # the largest count accepted from a server; SQLite has 64 bits
USAGE = re.compile(rb'"usage"\s*:\s*(\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})')

_Fields = Mapping[str, Any]
_NO_FIELDS: _Fields = {}
DETAILS: dict[str, tuple[str, ...]] = {  # OpenAI's, of which a `Usage` has these
    "prompt_tokens_details": ("cached_tokens", "cache_write_tokens"),
    "completion_tokens_details": ("reasoning_tokens",),
}
_PLAIN = frozenset({"prompt_tokens", "completion_tokens", "total_tokens"})
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


class Lacks(StrEnum):
    """The count that a server left out; the usage is then marked as estimated, with 0 in its place."""

    NOTHING = "nothing"
    PROMPT = "prompt"
    COMPLETION = "completion"
    DIVISION = "division"  # only their total is known, and is in the completion


class Billed(msgspec.Struct, frozen=True):
    """The usage of a call as its server states it and, if stated, the charge.

    Args:
        others: The fields that a `Usage` has no place for, as they came.
    """

    usage: Usage
    cost_usd: Decimal | None = None
    lacks: Lacks = Lacks.NOTHING
    others: Mapping[str, Any] = {}


def read_usage(raw: msgspec.Raw | bytes) -> Billed | None:
    """The counts of a usage object; None if it has none. Fields that cannot be read count as absent."""
    try:
        given: Any = _decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(given, dict):
        return None
    fields = cast(_Fields, given)
    if plain := _plain_usage(fields):
        return Billed(plain)
    found = _usage(fields)
    return None if found is None else Billed(found[0], _cost(fields), found[1], _others(fields))


def _others(given: _Fields) -> dict[str, Any]:
    others = {name: value for name, value in given.items() if name not in (*_PLAIN, *DETAILS) and value is not None}
    for name, known in DETAILS.items():
        inner = _object(given, name) or _NO_FIELDS
        if left := {key: value for key, value in inner.items() if key not in known and value is not None}:
            others[name] = left
    return others


def find_usage(received: bytes) -> Billed | None:
    """The usage object in bytes that are not valid JSON: the rest of a response that was billed."""
    found = USAGE.search(received)
    return read_usage(found[1]) if found else None


def whole_usage(
    billed: Billed | None,
    messages: Iterable[Message],
    text: str,
    reasoning: str = "",
    *,
    extra: Mapping[str, Any] = _NO_FIELDS,
) -> Usage:
    """The usage of a call, with estimates of absent counts, and of a completion of 0 that has a text.

    Args:
        extra: Further fields of the request.
    """
    if billed is None:
        return estimate_usage(messages, text, reasoning, extra=extra)
    usage, lacks = billed.usage, billed.lacks
    if lacks is Lacks.NOTHING and (usage.completion_tokens or not (text or reasoning)):
        return usage
    if not usage.total_tokens and (text or reasoning):
        return estimate_usage(messages, text, reasoning, extra=extra)
    if lacks is Lacks.PROMPT:
        known = usage.cached_tokens + usage.cache_write_tokens
        return replace(usage, prompt_tokens=max(known, estimate_prompt(messages, extra)), estimated=True)
    if lacks is Lacks.DIVISION:
        prompt = min(usage.completion_tokens, estimate_prompt(messages, extra))
        return replace(usage, prompt_tokens=prompt, completion_tokens=usage.completion_tokens - prompt)
    thought = usage.reasoning_tokens or estimate_tokens(reasoning)
    return replace(usage, completion_tokens=estimate_tokens(text) + thought, reasoning_tokens=thought, estimated=True)


def _plain_usage(given: _Fields) -> Usage | None:
    """The counts of most servers, quickly: a prompt, a completion and their sum, without further fields."""
    prompt, completion, total = given.get("prompt_tokens"), given.get("completion_tokens"), given.get("total_tokens")
    if type(prompt) is not int or type(completion) is not int or prompt + completion != total:
        return None
    if (
        prompt < 0
        or completion < 0
        or prompt + completion > MOST_TOKENS
        or (len(given) > len(_PLAIN) and any(given[name] is not None for name in given.keys() - _PLAIN))
    ):
        return None
    return Usage(prompt_tokens=prompt, completion_tokens=completion)


def _usage(given: _Fields) -> tuple[Usage, Lacks] | None:
    """OpenAI's counts: cached tokens are part of the prompt, reasoning is part of the completion."""
    inside = _object(given, "prompt_tokens_details", "input_tokens_details")
    outside = _object(given, "completion_tokens_details", "output_tokens_details") or _NO_FIELDS
    own = _count(given.get("prompt_tokens"))
    prompt = _count(given.get("input_tokens")) if own is None else own  # Anthropic, OpenAI's responses
    completion = _count(given.get("completion_tokens"))
    completion = _count(given.get("output_tokens")) if completion is None else completion
    total = _count(given.get("total_tokens")) or 0
    if prompt is None and completion is None:
        return (Usage(completion_tokens=total, estimated=True), Lacks.DIVISION) if total else None
    lacks = Lacks.NOTHING
    if prompt is None:
        prompt, lacks = max(total - (completion or 0), 0), Lacks.NOTHING if total else Lacks.PROMPT
    if completion is None:
        completion, lacks = max(total - prompt, 0), Lacks.NOTHING if total else Lacks.COMPLETION
    caches = _caches(given, inside or _NO_FIELDS)
    reasoning = _largest(outside.get("reasoning_tokens"), given.get("reasoning_tokens"))  # SGLang's is not inside
    if inside is None and _number(given.get("prompt_tokens")) is None:  # Anthropic's own way of counting
        prompt += caches.read + caches.written
        more = (0, max(total - prompt - completion, 0))
    else:
        if lacks is Lacks.PROMPT:
            prompt = caches.read + caches.written
        more = _additional(prompt, completion, total, caches, reasoning)
    prompt, completion = prompt + more[0], completion + more[1]
    reasoning += 0 if more[1] == reasoning else more[1]
    searches, calls = _server_tools(given)
    read = min(prompt, caches.read)
    written = min(prompt - read, caches.written)
    usage = Usage(
        prompt_tokens=prompt,
        cached_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=min(written, caches.kept),
        completion_tokens=completion,
        reasoning_tokens=min(completion, reasoning),
        estimated=lacks is not Lacks.NOTHING,
        web_searches=searches,
        tool_calls=calls,
    )
    return usage, lacks


def _server_tools(given: _Fields) -> tuple[int, int]:
    """Searches on the web, and calls of other tools that are charged, as Anthropic's usage states them."""
    used = _object(given, "server_tool_use") or _NO_FIELDS
    counts = {name: _count(value) or 0 for name, value in used.items()}
    searches = counts.pop("web_search_requests", 0)
    counts.pop("web_fetch_requests", 0)  # costs its tokens alone
    return searches, sum(counts.values())


class _Caches(NamedTuple):
    """Prompt tokens read from a cache, written to one, and of the latter those kept for an hour.

    Args:
        apart: Reads and writes stated outside the details of the prompt.
    """

    read: int = 0
    written: int = 0
    kept: int = 0
    apart: int = 0


def _caches(given: _Fields, inside: _Fields) -> _Caches:
    beside = _count(given.get("cache_read_input_tokens")) or 0  # Anthropic, LiteLLM
    written = _largest(
        inside.get("cache_write_tokens"),  # OpenAI, OpenRouter
        inside.get("cache_creation_tokens"),  # LiteLLM
        inside.get("cache_creation_input_tokens"),  # Qwen
        given.get("cache_creation_input_tokens"),  # Anthropic, LiteLLM
    )
    read = _largest(
        inside.get("cached_tokens"),
        given.get("cached_tokens"),  # Moonshot
        given.get("prompt_cache_hit_tokens"),  # DeepSeek
    )
    lifetimes = (  # Anthropic, LiteLLM
        _object(given, "cache_creation")
        or _object(inside, "cache_creation", "cache_creation_token_details")
        or _NO_FIELDS
    )
    kept = _count(lifetimes.get("ephemeral_1h_input_tokens")) or 0
    return _Caches(read=max(read, beside), written=written, kept=kept, apart=beside + written)


def _additional(prompt: int, completion: int, total: int, caches: _Caches, reasoning: int) -> tuple[int, int]:
    """Tokens in addition to the prompt, and to the completion, instead of within them.

    The total decides: the rest of it beyond the two is either a stated count (cache reads and writes, reasoning of xAI)
    or unstated reasoning (Gemini). Without a total that fits, a count larger than the one it should be part of is
    additional.
    """
    rest, cached = max(total - prompt - completion, 0), caches.read + caches.written
    if not (rest or cached or reasoning):
        return 0, 0
    if total:
        for thought in (0, reasoning):
            for cache in (0, cached, caches.written, caches.read):
                fits = cached <= prompt + cache and reasoning <= completion + thought
                if fits and cache + thought == rest:
                    return cache, thought
    cache = caches.apart if caches.apart > prompt else 0
    beside = reasoning > completion and total != prompt + completion  # SGLang counts one token too many
    return cache, max(rest - cache, reasoning if beside else 0)


def _object(given: _Fields, *names: str) -> _Fields | None:
    """The first of these fields that is an object."""
    for name in names:
        if isinstance(value := given.get(name), dict):
            return cast(_Fields, value)
    return None


def _largest(*values: Any) -> int:
    return max([_count(value) or 0 for value in values])


def _count(value: Any) -> int | None:
    """A count of 0 or more; None if it is absent or cannot be read."""
    if value is None or (type(value) is int and 0 <= value <= MOST_TOKENS):
        return value
    number = _number(value)
    return None if number is None or number < 0 else int(min(number, MOST_TOKENS))


def _number(value: Any) -> Decimal | None:
    """A finite number, also as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _cost(given: _Fields) -> Decimal | None:
    """The charge in USD: `cost` (OpenRouter), or its `total_cost` (Perplexity)."""
    stated = given.get("cost")
    if stated is None:
        return None
    cost = _number(cast(_Fields, stated).get("total_cost") if isinstance(stated, dict) else stated)
    if cost is None or not 0 <= cost < MOST_TOKENS:
        return None
    upstream = _number((_object(given, "cost_details") or _NO_FIELDS).get("upstream_inference_cost"))
    return cost + upstream if given.get("is_byok") is True and upstream else cost
