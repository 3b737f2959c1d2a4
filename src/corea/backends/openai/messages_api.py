"""Responses of Anthropic's `/v1/messages`, whole and streamed, in the form of chat responses.

Source: https://docs.anthropic.com/en/api/messages and https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from corea.backends.openai.wire import NATIVE, ChatResponse, ResponseChoice

JSON = dict[str, Any]
FINISH = {
    "end_turn": "stop", "stop_sequence": "stop", "pause_turn": "stop", "max_tokens": "length",
    "model_context_window_exceeded": "length", "tool_use": "tool_calls", "refusal": "content_filter",
}  # fmt: skip
STATUS = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "api_error": 500, "timeout_error": 504,
    "overloaded_error": 529,
}  # fmt: skip
_decode = msgspec.json.Decoder(JSON).decode
_encode = msgspec.json.encode


class MessagesReader:
    """Reads one response: whole, or its events in order."""

    def __init__(self) -> None:
        self._usage: JSON = {}

    def __call__(self, received: bytes) -> ChatResponse:
        """A whole message or an event.

        Raises:
            msgspec.DecodeError: It is not JSON, or not an object.
        """
        read = _decode(received)
        kind = read.get("type")
        if kind == "error":
            return ChatResponse(error=_error(_object(read.get("error"))))
        if kind == "message":
            return self._message(read, received)
        if kind == "message_start":
            return self._started(_object(read.get("message")), received)
        if kind in ("content_block_start", "content_block_delta"):
            return self._piece(_delta(read), received)
        if kind == "message_delta":
            self._usage.update({k: v for k, v in _object(read.get("usage")).items() if v is not None})
            stop = _object(read.get("delta")).get("stop_reason")
            return self._piece({}, received, finish=stop, usage=self._usage)
        return self._piece({}, received) if isinstance(kind, str) else ChatResponse()

    def _message(self, message: JSON, received: bytes) -> ChatResponse:
        content: Any = message.get("content")
        blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
        found: JSON = {"role": "assistant", "content": "".join(b["text"] for b in blocks if _has(b, "text"))}
        if thought := "".join(b["thinking"] for b in blocks if _has(b, "thinking")):
            found["reasoning_content"] = thought
        if calls := [_call(block) for block in blocks if block.get("type") == "tool_use"]:
            found["tool_calls"] = calls
        found[NATIVE] = msgspec.Raw(received)
        choice = ResponseChoice(message=found, finish_reason=_finish(message.get("stop_reason")))
        return _reply(choice, message.get("model"), message.get("usage"))

    def _started(self, message: JSON, received: bytes) -> ChatResponse:
        """The start of a stream: its count of the answer is not the final one, and left out."""
        self._usage = {k: v for k, v in _object(message.get("usage")).items() if k != "output_tokens"}
        choice = ResponseChoice(delta={NATIVE: msgspec.Raw(received)})
        return _reply(choice, message.get("model"), self._usage)

    def _piece(self, delta: JSON, received: bytes, finish: Any = None, usage: JSON | None = None) -> ChatResponse:
        delta[NATIVE] = msgspec.Raw(received)
        return _reply(ResponseChoice(delta=delta, finish_reason=_finish(finish)), None, usage)


def _reply(choice: ResponseChoice, model: Any, usage: Any) -> ChatResponse:
    reply = ChatResponse(model=model if isinstance(model, str) else None, choices=[choice])
    if usage:
        reply.usage = msgspec.Raw(_encode(usage))
    return reply


def _delta(event: JSON) -> JSON:
    """The start or a piece of a block as a delta of a chat."""
    index = event.get("index")
    block = _object(event.get("content_block"))
    if block.get("type") == "tool_use":
        call = _call(block)
        call["function"]["arguments"] = ""
        return {"tool_calls": [{"index": index, **call}]}
    piece = block or _object(event.get("delta"))
    if _has(piece, "text"):
        return {"content": piece["text"]}
    if _has(piece, "thinking"):
        return {"reasoning_content": piece["thinking"]}
    if isinstance(written := piece.get("partial_json"), str):
        return {"tool_calls": [{"index": index, "function": {"arguments": written}}]}
    return {}


def _call(block: Mapping[str, Any]) -> JSON:
    """A tool call in the form of a chat."""
    arguments = _encode(block.get("input") or {}).decode()
    function = {"name": block.get("name"), "arguments": arguments}
    return {"id": block.get("id"), "type": "function", "function": function}


def _has(block: Mapping[str, Any], name: str) -> bool:
    return isinstance(block.get(name), str)


def _finish(reason: Any) -> str | None:
    return FINISH.get(reason, "stop") if isinstance(reason, str) else None


def _error(error: JSON) -> JSON:
    """The error of a stream, with a status as `wire.error_of` reads it."""
    return {
        "message": error.get("message") or "an error without a message",
        "code": STATUS.get(str(error.get("type")), 500),
    }


def _object(value: Any) -> JSON:
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]
