"""Token usage in the forms of many servers, converted to OpenAI's way of counting.

Sources: https://platform.openai.com/docs/api-reference/chat/object (`usage`);
https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching (counts next to `input_tokens`); LiteLLM,
litellm/llms/anthropic/chat/transformation.py (the same counts within `prompt_tokens`).
"""

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from types import NoneType
from typing import Any, NamedTuple, TypeVar, get_args

import msgspec

from corea.costs.token_estimate import estimate_prompt, estimate_tokens, estimate_usage
from corea.types import Message, Usage, replace

MOST_TOKENS = 2**53  # the largest count accepted from a server; SQLite has 64 bits
USAGE = re.compile(rb'"usage"\s*:\s*(\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})')


class _Upstream(msgspec.Struct):
    upstream_inference_cost: Decimal | None = None


class _Kept(msgspec.Struct):
    """Cache writes by their lifetime (Anthropic)."""

    ephemeral_1h_input_tokens: float | None = None


class _Details(msgspec.Struct):
    cached_tokens: float | None = None
    reasoning_tokens: float | None = None
    cache_write_tokens: float | None = None  # OpenAI, OpenRouter
    cache_creation_tokens: float | None = None  # LiteLLM
    cache_creation_input_tokens: float | None = None  # Qwen
    cache_creation: _Kept | None = None
    cache_creation_token_details: _Kept | None = None  # LiteLLM


class _Usage(msgspec.Struct):
    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    total_tokens: float | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens: float | None = None  # Anthropic, OpenAI's responses, and proxies that pass their usage on
    output_tokens: float | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None
    cached_tokens: float | None = None  # Moonshot
    prompt_cache_hit_tokens: float | None = None  # DeepSeek
    cache_read_input_tokens: float | None = None  # Anthropic, LiteLLM
    cache_creation_input_tokens: float | None = None
    cache_creation: _Kept | None = None
    cost: Decimal | None = None  # OpenRouter, in USD; Perplexity has an object with `total_cost`
    is_byok: bool | None = None
    cost_details: _Upstream | None = None


_read_usage = msgspec.json.Decoder(_Usage).decode
_read_any = msgspec.json.Decoder(float_hook=Decimal).decode
_NO_DETAILS = _Details()
_NOT_KEPT = _Kept()


class Lacks(StrEnum):
    """The count that a server left out; the usage is then marked as estimated, with 0 in its place."""

    NOTHING = "nothing"
    PROMPT = "prompt"
    COMPLETION = "completion"
    DIVISION = "division"  # only their total is known, and is in the completion


class Billed(msgspec.Struct, frozen=True):
    """The usage of a call as its server states it and, if stated, the charge."""

    usage: Usage
    cost_usd: Decimal | None = None
    lacks: Lacks = Lacks.NOTHING


def read_usage(raw: msgspec.Raw | bytes) -> Billed | None:
    """The counts of a usage object; None if it has none. Fields that cannot be read count as absent."""
    try:
        given = _read_usage(raw)
    except msgspec.DecodeError:
        given = _readable(raw)
    if given is None:  # pyright: ignore[reportUnnecessaryComparison]  # null
        return None
    if plain := _plain_usage(given):
        return Billed(plain)
    found = _usage(given)
    return None if found is None else Billed(found[0], _cost(given), found[1])


def find_usage(received: bytes) -> Billed | None:
    """The usage object in bytes that are not valid JSON: the rest of a response that was billed."""
    found = USAGE.search(received)
    return read_usage(found[1]) if found else None


def whole_usage(billed: Billed | None, messages: Iterable[Message], text: str, reasoning: str = "") -> Usage:
    """The usage of a call, with estimates of absent counts, and of a completion of 0 that has a text."""
    if billed is None:
        return estimate_usage(messages, text, reasoning)
    usage, lacks = billed.usage, billed.lacks
    if lacks is Lacks.NOTHING and (usage.completion_tokens or not (text or reasoning)):
        return usage
    if not usage.total_tokens and (text or reasoning):
        return estimate_usage(messages, text, reasoning)
    if lacks is Lacks.PROMPT:
        known = usage.cached_tokens + usage.cache_write_tokens
        return replace(usage, prompt_tokens=max(known, estimate_prompt(messages)), estimated=True)
    if lacks is Lacks.DIVISION:
        prompt = min(usage.completion_tokens, estimate_prompt(messages))
        return replace(usage, prompt_tokens=prompt, completion_tokens=usage.completion_tokens - prompt)
    thought = usage.reasoning_tokens or estimate_tokens(reasoning)
    return replace(usage, completion_tokens=estimate_tokens(text) + thought, reasoning_tokens=thought, estimated=True)


T = TypeVar("T", bound=msgspec.Struct)


def _readable(raw: msgspec.Raw | bytes) -> _Usage | None:
    """The readable fields of a usage object."""
    try:
        given = _read_any(raw)
    except msgspec.DecodeError:
        return None
    return _fields_of(_Usage, given) if isinstance(given, dict) else None


def _fields_of(kind: type[T], given: dict[str, Any]) -> T:
    readable: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        of, value = next(part for part in get_args(field.type) if part is not NoneType), given.get(field.name)
        if issubclass(of, msgspec.Struct):
            readable[field.name] = _fields_of(of, value) if isinstance(value, dict) else None
        elif of is bool:
            readable[field.name] = value if isinstance(value, bool) else None
        else:
            number = _number(value["total_cost"] if isinstance(value, dict) and "total_cost" in value else value)
            readable[field.name] = None if number is None else of(number)
    return kind(**readable)


def _number(value: Any) -> Decimal | None:
    """A number, also as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() and -MOST_TOKENS < number < MOST_TOKENS else None


def _plain_usage(given: _Usage) -> Usage | None:
    """The counts of most servers: a prompt, a completion and their sum, without further fields."""
    prompt, completion, total = given.prompt_tokens, given.completion_tokens, given.total_tokens
    if prompt is None or completion is None or total is None or prompt < 0 or completion < 0:
        return None
    if prompt + completion != total or total > MOST_TOKENS or given != _Usage(prompt, completion, total):
        return None
    return Usage(prompt_tokens=int(prompt), completion_tokens=int(completion))


def _usage(given: _Usage) -> tuple[Usage, Lacks] | None:
    """OpenAI's counts: cached tokens are part of the prompt, reasoning is part of the completion."""
    inside = given.prompt_tokens_details or given.input_tokens_details or _NO_DETAILS
    outside = given.completion_tokens_details or given.output_tokens_details or _NO_DETAILS
    total = _count(given.total_tokens)
    prompt = _first(given.prompt_tokens, given.input_tokens)
    completion = _first(given.completion_tokens, given.output_tokens)
    if prompt is None and completion is None:
        return (Usage(completion_tokens=total, estimated=True), Lacks.DIVISION) if total else None
    lacks = Lacks.NOTHING
    if prompt is None:
        prompt, lacks = max(total - (completion or 0), 0), Lacks.NOTHING if total else Lacks.PROMPT
    if completion is None:
        completion, lacks = max(total - prompt, 0), Lacks.NOTHING if total else Lacks.COMPLETION
    caches, reasoning = _caches(given, inside), _count(outside.reasoning_tokens)
    if given.prompt_tokens is None and inside is _NO_DETAILS:  # Anthropic's own names, and so its way of counting
        prompt += caches.read + caches.written
        more = (0, max(total - prompt - completion, 0))
    else:
        if lacks is Lacks.PROMPT:
            prompt = caches.read + caches.written
        more = _additional(prompt, completion, total, caches, reasoning)
    prompt, completion = prompt + more[0], completion + more[1]
    reasoning += 0 if more[1] == reasoning else more[1]
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
    )
    return usage, lacks


class _Caches(NamedTuple):
    """Prompt tokens read from a cache, written to one, and of the latter those kept for an hour.

    Args:
        apart: Reads and writes stated outside the details of the prompt.
    """

    read: int
    written: int
    kept: int
    apart: int


def _caches(given: _Usage, inside: _Details) -> _Caches:
    read = _count(given.cache_read_input_tokens)
    written = _most(
        inside.cache_write_tokens,
        inside.cache_creation_tokens,
        inside.cache_creation_input_tokens,
        given.cache_creation_input_tokens,
    )
    kept = given.cache_creation or inside.cache_creation or inside.cache_creation_token_details or _NOT_KEPT
    return _Caches(
        read=max(read, _most(inside.cached_tokens, given.cached_tokens, given.prompt_cache_hit_tokens)),
        written=written,
        kept=_count(kept.ephemeral_1h_input_tokens),
        apart=read + written,
    )


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
    return cache, max(rest - cache, reasoning if reasoning > completion else 0)


def _first(*numbers: float | None) -> int | None:
    return next((_count(number) for number in numbers if number is not None and number >= 0), None)


def _most(*numbers: float | None) -> int:
    return max(map(_count, numbers))


def _count(number: float | None) -> int:
    return int(min(number, MOST_TOKENS)) if number is not None and number > 0 else 0


def _cost(usage: _Usage) -> Decimal | None:
    cost = usage.cost
    if cost is None or not cost.is_finite() or cost < 0:
        return None
    upstream = usage.cost_details.upstream_inference_cost if usage.cost_details else None
    return cost + upstream if usage.is_byok and upstream else cost
