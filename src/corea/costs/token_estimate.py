"""Estimated token counts, for calls without counts from a server or tokenizer."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

from corea.types import Message, Usage

BYTES_PER_TOKEN = 4  # of UTF-8; OpenAI's rule of thumb for English: https://help.openai.com/en/articles/4936856
TOKENS_PER_MESSAGE = 4  # the role and the marks around a message in a chat template
IN_PROMPT = ("tools", "functions", "response_format")  # request fields that servers write into the prompt
CALLS = ("tool_calls", "function_call")
# A picture of 1024 x 1024, and one of low detail, at gpt-4o: https://platform.openai.com/docs/guides/images-vision
PICTURE_TOKENS, LOW_DETAIL_TOKENS = 765, 85
# 10 tokens a second of sound (OpenAI), of 48,000 bytes as wav (24 kHz, 16 bit), else 16,000 (128 kbit/s)
WAV_BYTES_PER_TOKEN, SOUND_BYTES_PER_TOKEN = 4800, 1600
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
    """The tokens of a conversation with its tool calls, pictures and sounds, and of the request's tools and forms.

    A picture counts as one of 1024 x 1024, a file as one picture (its first page); a sound by its bytes.
    """
    found = 0
    for message in messages:
        found += estimate_tokens(message.content) + TOKENS_PER_MESSAGE
        if message.raw:
            content = message.raw.get("content")
            parts = cast(list[Any], content) if isinstance(content, list) else []
            found += _written(message.raw, CALLS) + sum(map(_part_tokens, parts))
    return found + _written(extra, IN_PROMPT)


def _part_tokens(part: Any) -> int:
    """The tokens of a part of a message beside its text."""
    if not isinstance(part, Mapping):
        return 0
    held = cast(Mapping[str, Any], part)
    kind = held.get("type")
    inner = held.get(kind) if isinstance(kind, str) else None
    fields = cast(Mapping[str, Any], inner) if isinstance(inner, Mapping) else held
    if kind in ("image_url", "input_image"):
        return LOW_DETAIL_TOKENS if fields.get("detail") == "low" else PICTURE_TOKENS
    if kind == "file":
        return PICTURE_TOKENS
    if kind != "input_audio" or not isinstance(data := fields.get("data"), str):
        return 0
    return -(-len(data) * 3 // (4 * (WAV_BYTES_PER_TOKEN if fields.get("format") == "wav" else SOUND_BYTES_PER_TOKEN)))


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
