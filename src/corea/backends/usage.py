"""Usage objects of servers, each with its own way of counting, read as OpenAI counts.

Sources: https://platform.openai.com/docs/api-reference/chat/object (`usage`);
https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching (counts beside `input_tokens`); LiteLLM,
litellm/llms/anthropic/chat/transformation.py (the same counts within `prompt_tokens`).
"""

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

import msgspec

from corea.costs.token_estimate import estimate_prompt
from corea.types import Message, Usage

MOST_TOKENS = 2**53  # of what a server claims: more fits no database, and is no truth
USAGE = re.compile(rb'"usage"\s*:\s*(\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})')


class _Upstream(msgspec.Struct):
    upstream_inference_cost: Decimal | None = None


class _Kept(msgspec.Struct):
    """Cache writes by how long they are kept (Anthropic)."""

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
    cost: Decimal | None = None  # OpenRouter, in USD
    is_byok: bool | None = None
    cost_details: _Upstream | None = None


_read_usage = msgspec.json.Decoder(_Usage).decode
_NO_DETAILS = _Details()
_NOT_KEPT = _Kept()


class Billed(msgspec.Struct, frozen=True):
    """The tokens that a call used by its server's account and, if the server says so, the charge."""

    usage: Usage
    cost_usd: Decimal | None = None


def read_usage(raw: msgspec.Raw | bytes) -> Billed | None:
    """The counts of a usage object; None if it has none. Where only a total is given, it is marked as estimated."""
    try:
        given = _read_usage(raw)
    except msgspec.DecodeError:
        return None  # counts that cannot be read are counts that were not given
    if given is None:  # pyright: ignore[reportUnnecessaryComparison]  # null
        return None
    usage = _usage(given)
    return None if usage is None else Billed(usage, _cost(given))


def find_usage(received: bytes) -> Usage | None:
    """The usage object in bytes that are otherwise no JSON: what is left of a response that was billed."""
    found = USAGE.search(received)
    billed = read_usage(found[1]) if found else None
    return billed.usage if billed else None


def split_total(total: int, messages: Iterable[Message]) -> Usage:
    """A total that nothing divides: the prompt is estimated, the rest was written."""
    prompt = min(total, estimate_prompt(messages))
    return Usage(prompt_tokens=prompt, completion_tokens=total - prompt, estimated=True)


def _usage(given: _Usage) -> Usage | None:
    """The counts as OpenAI counts: cached tokens part of the prompt, reasoning part of the completion."""
    inside = given.prompt_tokens_details or given.input_tokens_details or _NO_DETAILS
    outside = given.completion_tokens_details or given.output_tokens_details or _NO_DETAILS
    total = _count(given.total_tokens)
    prompt = _first(given.prompt_tokens, given.input_tokens)
    completion = _first(given.completion_tokens, given.output_tokens)
    if prompt is None and completion is None:
        return Usage(completion_tokens=total, estimated=True) if total else None
    if prompt is None:
        prompt = max(total - (completion or 0), 0)
    if completion is None:
        completion = max(total - prompt, 0)
    caches, reasoning = _caches(given, inside), _count(outside.reasoning_tokens)
    if given.prompt_tokens is None and inside is _NO_DETAILS:  # Anthropic's own names, and so its way to count
        prompt += caches.read + caches.written
        more = (0, max(total - prompt - completion, 0))
    else:
        more = _beside(prompt, completion, total, caches, reasoning)
    prompt, completion = prompt + more[0], completion + more[1]
    reasoning += 0 if more[1] == reasoning else more[1]
    read = min(prompt, caches.read)
    written = min(prompt - read, caches.written)
    return Usage(
        prompt_tokens=prompt,
        cached_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=min(written, caches.kept),
        completion_tokens=completion,
        reasoning_tokens=min(completion, reasoning),
    )


class _Caches(NamedTuple):
    """Prompt tokens read from a cache, written to one, and of the latter those that are kept for an hour.

    Args:
        apart: Reads and writes that are named outside the details of the prompt.
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


def _beside(prompt: int, completion: int, total: int, caches: _Caches, reasoning: int) -> tuple[int, int]:
    """Tokens that stand beside the prompt, and beside the completion, instead of within.

    The total says so: its rest beyond the two is either a count that is named (cache reads and writes, reasoning of
    xAI) or reasoning that is not (Gemini). Without a total that fits, a count that is larger than what it should be
    part of stands beside it.
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
    return next((_count(number) for number in numbers if number is not None), None)


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
