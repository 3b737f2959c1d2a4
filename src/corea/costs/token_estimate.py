"""Estimated token counts, for calls without counts from a server or tokenizer."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from corea.types import Message, Usage

BYTES_PER_TOKEN = 4  # of UTF-8; OpenAI's rule of thumb for English: https://help.openai.com/en/articles/4936856
TOKENS_PER_MESSAGE = 4  # the role and the marks around a message in a chat template
IN_PROMPT = ("tools", "functions", "response_format")  # request fields that servers write into the prompt
CALLS = ("tool_calls", "function_call")
NO_FIELDS: Mapping[str, Any] = {}


def estimate_usage(
    messages: Iterable[Message], text: str, reasoning: str = "", *, extra: Mapping[str, Any] = NO_FIELDS
) -> Usage:
    """One token per 4 bytes of UTF-8, rounded up, and 4 per message.

    Args:
        extra: Further fields of the request, of which servers write some into the prompt.
    """
    thought = estimate_tokens(reasoning)
    return Usage(
        prompt_tokens=estimate_prompt(messages, extra),
        completion_tokens=estimate_tokens(text) + thought,
        reasoning_tokens=thought,
        estimated=True,
    )


def estimate_prompt(messages: Iterable[Message], extra: Mapping[str, Any] = NO_FIELDS) -> int:
    """The tokens of a conversation with its tool calls, and of the tools and forms in a request's further fields."""
    found = sum(estimate_tokens(message.content) + TOKENS_PER_MESSAGE for message in messages)
    found += sum(_written(message.raw, CALLS) for message in messages if message.raw)
    return found + _written(extra, IN_PROMPT)


def _written(fields: Mapping[str, Any], names: Iterable[str]) -> int:
    if not fields:
        return 0
    return sum(tokens_of_length(len(msgspec.json.encode(fields[name]))) for name in names if fields.get(name))


def estimate_tokens(text: str) -> int:
    """The tokens of a text."""
    return tokens_of_length(len(text.encode("utf-8", "replace")))


def tokens_of_length(length: int) -> int:
    """The tokens of a text of this many bytes, rounded up."""
    return -(-length // BYTES_PER_TOKEN)
