"""Estimated token counts, for calls without counts from a server or tokenizer."""

from collections.abc import Iterable

from corea.types import Message, Usage

BYTES_PER_TOKEN = 4  # of UTF-8; OpenAI's rule of thumb for English: https://help.openai.com/en/articles/4936856
TOKENS_PER_MESSAGE = 4  # the role and the marks around a message in a chat template


def estimate_usage(messages: Iterable[Message], text: str, reasoning: str = "") -> Usage:
    """One token per 4 bytes of UTF-8, rounded up, and 4 per message."""
    thought = estimate_tokens(reasoning)
    return Usage(
        prompt_tokens=estimate_prompt(messages),
        completion_tokens=estimate_tokens(text) + thought,
        reasoning_tokens=thought,
        estimated=True,
    )


def estimate_prompt(messages: Iterable[Message]) -> int:
    """The tokens of a conversation."""
    return sum(estimate_tokens(message.content) + TOKENS_PER_MESSAGE for message in messages)


def estimate_tokens(text: str) -> int:
    """The tokens of a text."""
    return tokens_of_length(len(text.encode("utf-8", "replace")))


def tokens_of_length(length: int) -> int:
    """The tokens of a text of this many bytes, rounded up."""
    return -(-length // BYTES_PER_TOKEN)
