"""Chat answers, whole and in chunks, as those of Anthropic's Messages API.

Source: https://docs.anthropic.com/en/api/messages and https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from corea.backends.openai.wire import REASONING
from corea.cascade import new_id
from corea.gateway.apis.api import JSON, objects, text_of

SIGNED = "corea:"  # signature of thinking that a server behind this gateway wrote; then the field that it came in
STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "function_call": "tool_use",
         "content_filter": "refusal"}  # fmt: skip
INVALID = "invalid_json"  # the field of a tool's input that is not JSON
_decode = msgspec.json.Decoder(JSON).decode


class ToolCall(msgspec.Struct):
    """A tool call whose arguments are arriving."""

    id: str
    name: str
    arguments: str = ""
    sent: int = 0


@dataclass(slots=True)
class MessageAnswers:
    """The answer to one request.

    Args:
        model: As the client named it.
        stops: The client's stop sequences.
        thinking: The client takes blocks of thinking.
    """

    model: str
    stops: tuple[str, ...] = ()
    thinking: bool = False
    _index: int = -1  # of the newest block
    _open: str | None = None  # the kind of the open block
    _signature: str = ""
    _begun: bool = False
    _calls: dict[Any, ToolCall] = field(default_factory=dict[Any, ToolCall])
    _waiting: list[ToolCall] = field(default_factory=list[ToolCall])  # calls from the open one on
    _late: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])  # text amid a call
    _refused: bool = False
    _finish: str | None = None
    _stop: Any = None
    _usage: JSON = field(default_factory=dict[str, Any])
    _corea: JSON | None = None
    _id: str = ""

    def whole(self, answer: JSON) -> JSON:
        """See `Answers`."""
        choice = answer["choices"][0]
        message, content = choice["message"], list[JSON]()
        name, thought = _reasoning(message)
        if thought and self.thinking:
            content.append({"type": "thinking", "thinking": thought, "signature": SIGNED + name})
        if text := _text(message):
            content.append({"type": "text", "text": text})
        calls = objects(message.get("tool_calls"))
        for call in calls:
            function = _function(call)
            name, given = text_of(function.get("name")), _input(function.get("arguments"))
            content.append(
                {"type": "tool_use", "id": text_of(call.get("id")) or _new_id("toolu"), "name": name, "input": given}
            )
        refused = bool(message.get("refusal"))
        reason, stop = self._reason(choice.get("finish_reason"), choice.get("stop_reason"), bool(calls), refused)
        made: JSON = {
            "id": _message_id(answer["id"]), "type": "message", "role": "assistant", "model": self.model,
            "content": content, "stop_reason": reason, "stop_sequence": stop, "usage": _usage(answer["usage"]),
        }  # fmt: skip
        return made | ({"corea": answer["corea"]} if "corea" in answer else {})

    def events(self, chunk: JSON) -> list[JSON]:
        """See `Answers`."""
        found: list[JSON] = []
        if not self._begun:
            self._begun = True
            found.append({"type": "message_start", "message": {
                "id": _message_id(chunk["id"]), "type": "message", "role": "assistant", "model": self.model,
                "content": [], "stop_reason": None, "stop_sequence": None, "usage": _usage({}),
            }})  # fmt: skip
        self._usage = chunk.get("usage") or self._usage
        self._corea = chunk.get("corea") or self._corea
        for choice in chunk["choices"]:
            self._finish = choice.get("finish_reason") or self._finish
            self._stop = choice.get("stop_reason") or self._stop
            delta = choice["delta"]
            (name, thought), text = _reasoning(delta), _text(delta)
            if thought and self.thinking:
                self._signature = SIGNED + name
                found += self._written("thinking", thought)
            if text:
                found += self._written("text", text)
            self._refused = self._refused or bool(delta.get("refusal"))
            for call in objects(delta.get("tool_calls")):
                self._take(call)
            found += self._flush()
        return found

    def failed(self, error: JSON, sent: int) -> list[JSON]:
        """See `Answers`."""
        return []

    def end(self) -> list[JSON]:
        """See `Answers`."""
        found = self._flush(last=True)
        self._waiting.clear()
        for kind, text in self._late:
            found += self._written(kind, text)
        found += self._close()
        reason, stop = self._reason(self._finish, self._stop, bool(self._calls), self._refused)
        ended: JSON = {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": stop},
            "usage": _usage(self._usage),
        }
        return [*found, ended | ({"corea": self._corea} if self._corea else {}), {"type": "message_stop"}]

    def _written(self, kind: str, text: str) -> list[JSON]:
        """The events for a piece of text or thinking; one amid the arguments of a call waits for the end."""
        if self._waiting and not _is_whole(self._waiting[-1].arguments):
            self._late.append((kind, text))
            return []
        self._waiting.clear()
        start = self._switch(kind, {"thinking": "", "signature": ""} if kind == "thinking" else {"text": ""})
        return [*start, self._delta({"type": f"{kind}_delta", kind: text})]

    def _take(self, piece: JSON) -> None:
        """Adds a piece of a tool call."""
        function = _function(piece)
        call = self._calls.get(piece["index"])
        if call is None:
            name = text_of(function.get("name"))
            call = self._calls[piece["index"]] = ToolCall(text_of(piece.get("id")) or _new_id("toolu"), name)
            self._waiting.append(call)
        call.arguments += text_of(function.get("arguments"))

    def _flush(self, *, last: bool = False) -> list[JSON]:
        """The events for what has arrived of the calls. One whose arguments are not complete keeps later ones waiting.

        Blocks follow each other, where the pieces of a chat's calls may be mixed.
        """
        found: list[JSON] = []
        while self._waiting:
            call = self._waiting[0]
            if self._open != call.id:
                start = {"id": call.id, "name": call.name, "input": {}}
                found += self._switch("tool_use", start, mark=call.id)
            if new := call.arguments[call.sent :]:
                call.sent = len(call.arguments)
                found.append(self._delta({"type": "input_json_delta", "partial_json": new}))
            if len(self._waiting) == 1 or not (last or _is_whole(call.arguments)):
                break
            self._waiting.pop(0)
        return found

    def _switch(self, kind: str, start: JSON, mark: str | None = None) -> list[JSON]:
        """The events that end the open block and start one, unless the one of this kind is open."""
        if self._open == (mark or kind):
            return []
        found = self._close()
        self._index += 1
        self._open = mark or kind
        return [*found, {"type": "content_block_start", "index": self._index, "content_block": {"type": kind, **start}}]

    def _close(self) -> list[JSON]:
        if self._open is None:
            return []
        found: list[JSON] = []
        if self._open == "thinking":
            found.append(self._delta({"type": "signature_delta", "signature": self._signature}))
        self._open = None
        return [*found, {"type": "content_block_stop", "index": self._index}]

    def _delta(self, delta: JSON) -> JSON:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}

    def _reason(self, finish: Any, stopped_by: Any, calls: bool, refused: bool) -> tuple[str, str | None]:
        """The reason of the stop, and the sequence, where the server names it (vLLM, SGLang)."""
        if refused:
            return "refusal", None
        if calls and finish == "stop":  # as some servers say
            return "tool_use", None
        if finish == "stop" and isinstance(stopped_by, str) and stopped_by in self.stops:
            return "stop_sequence", stopped_by
        return STOPS.get(finish, "end_turn"), None


def _usage(usage: JSON) -> JSON:
    """Tokens as Anthropic counts them: those of a cache stand apart."""
    details = usage.get("prompt_tokens_details") or {}
    read, written = details.get("cached_tokens", 0), details.get("cache_write_tokens", 0)
    thought = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens", 0)
    return {
        "input_tokens": usage.get("prompt_tokens", 0) - read - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": usage.get("completion_tokens", 0),
        **({"output_tokens_details": {"thinking_tokens": thought}} if thought else {}),
    }


def _text(message: JSON) -> str:
    """The text of a message or delta, in a string or in parts; else the refusal."""
    content = message.get("content")
    if isinstance(content, list):
        parts: list[Any] = content
        content = "".join(str(part.get("text") or "") for part in parts if isinstance(part, dict))
    return text_of(content) or text_of(message.get("refusal"))


def _reasoning(message: JSON) -> tuple[str, str]:
    """The name of the field with the reasoning, and its text; servers that send it twice send the same."""
    return next(((name, text) for name in REASONING if isinstance(text := message.get(name), str) and text), ("", ""))


def _function(call: JSON) -> JSON:
    return next(iter(objects([call.get("function")])), {})


def _input(arguments: Any) -> JSON:
    """The input of a tool; arguments that are not a JSON object, which a model may write, stand in one."""
    if not arguments or isinstance(arguments, dict):  # as Ollama's own API gives them
        return arguments or {}
    try:
        return _decode(arguments)
    except (msgspec.DecodeError, TypeError, RecursionError):
        return {INVALID: arguments}


def _is_whole(arguments: str) -> bool:
    try:
        _decode(arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _message_id(chat_id: str) -> str:
    return f"msg_{chat_id.removeprefix('chatcmpl-')}"


def _new_id(kind: str) -> str:
    return f"{kind}_{new_id()}"
