"""Responses of OpenAI's `/v1/completions` and `/v1/embeddings`, in the form of chat responses.

Source: https://platform.openai.com/docs/api-reference/completions and .../embeddings
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from corea.backends.openai.wire import NATIVE, NOTHING, ChatResponse, ResponseChoice


class _Text(msgspec.Struct):
    text: str | None = None
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    model: str | None = None
    choices: list[_Text] | None = None
    usage: msgspec.Raw = NOTHING
    error: Any = None


class _Embeddings(msgspec.Struct):
    model: str | None = None
    data: msgspec.Raw = NOTHING
    usage: msgspec.Raw = NOTHING
    error: Any = None


_decode_completion = msgspec.json.Decoder(_Completion).decode
_decode_embeddings = msgspec.json.Decoder(_Embeddings).decode


class CompletionsReader:
    """Reads one response: whole, or its events in order. All its texts count as one answer.

    Args:
        fields: Of the client's request: a last event with the usage alone is only passed on if it asked for that.
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._streamed = bool(fields.get("stream"))
        self._wants_usage = bool((fields.get("stream_options") or {}).get("include_usage"))

    def __call__(self, received: bytes) -> ChatResponse:
        """A whole completion or an event.

        Raises:
            msgspec.DecodeError: It is not JSON, or not a completion.
        """
        read = _decode_completion(received)
        if read.error or read.choices is None:
            return ChatResponse(error=read.error, usage=read.usage)
        message: dict[str, Any] = {"content": "".join(choice.text or "" for choice in read.choices)}
        if read.choices or self._wants_usage:
            message[NATIVE] = msgspec.Raw(received)
        finish = next((choice.finish_reason for choice in read.choices if choice.finish_reason), None)
        choice = ResponseChoice(finish_reason=finish)
        if self._streamed:
            choice.delta = message
        else:
            choice.message = message
        return ChatResponse(model=read.model, choices=[choice], usage=read.usage)


def read_embeddings(received: bytes) -> ChatResponse:
    """A list of embeddings.

    Raises:
        msgspec.DecodeError: It is not JSON, or no such list.
    """
    read = _decode_embeddings(received)
    if read.error or not read.data:
        return ChatResponse(error=read.error, usage=read.usage)
    message = {"content": "", NATIVE: msgspec.Raw(received)}
    return ChatResponse(
        model=read.model, choices=[ResponseChoice(message=message, finish_reason="stop")], usage=read.usage
    )
