"""Responses of OpenAI's `/v1/responses`, whole and streamed, in the form of chat responses.

A stream that ends in `response.failed` has no finish reason here, so it counts as broken off, with the usage so far.

Source: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from typing import Any

import msgspec

from corea.backends.openai.wire import NATIVE, ChatResponse, ResponseChoice

JSON = dict[str, Any]
INCOMPLETE = {"max_output_tokens": "length", "content_filter": "content_filter"}
PIECES = {
    "response.output_text.delta": "content", "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "reasoning_content", "response.reasoning_summary_text.delta": "reasoning_content",
}  # fmt: skip
ARGUMENTS = ("response.function_call_arguments.delta", "response.custom_tool_call_input.delta")
CALLS = ("function_call", "custom_tool_call")
CHARGED = ("file_search_call", "code_interpreter_call", "image_generation_call")  # beside tokens, as is a web search
ENDS = ("response.completed", "response.incomplete")
_decode = msgspec.json.Decoder(JSON).decode
_encode = msgspec.json.encode


def read_response(received: bytes) -> ChatResponse:
    """A whole response.

    Raises:
        msgspec.DecodeError: It is not JSON, or not an object.
    """
    read = _decode(received)
    return _whole(read, received) if read.get("object") == "response" else ChatResponse(error=read.get("error"))


def read_event(received: bytes) -> ChatResponse:
    """An event of a stream; or a whole response, of a server that does not stream.

    Raises:
        msgspec.DecodeError: It is not JSON, or not an object.
    """
    read = _decode(received)
    kind = read.get("type")
    if not isinstance(kind, str):
        return read_response(received)
    response = _object(read.get("response"))
    finish = _finish(response) if kind in ENDS else None
    return _reply({"delta": {**_delta(kind, read), NATIVE: msgspec.Raw(received)}}, response, finish)


def _whole(response: JSON, received: bytes) -> ChatResponse:
    if response.get("status") == "failed":
        return ChatResponse(
            error=_object(response.get("error")) or {"message": "a failed response"}, usage=_usage(response)
        )
    items = _objects(response.get("output"))
    message: JSON = {"role": "assistant", "content": _texts(items, "message", "text")}
    if thought := _texts(items, "reasoning", "text"):
        message["reasoning_content"] = thought
    if refusal := _texts(items, "message", "refusal"):
        message["refusal"] = refusal
    if calls := [_call(item) for item in items if _of_type(item, *CALLS)]:
        message["tool_calls"] = calls
    message[NATIVE] = msgspec.Raw(received)
    return _reply({"message": message}, response, _finish(response))


def _delta(kind: str, event: JSON) -> JSON:
    """A piece as a delta of a chat."""
    index, piece, item = event.get("output_index"), event.get("delta"), _object(event.get("item"))
    if kind in PIECES and isinstance(piece, str):
        return {PIECES[kind]: piece}
    if kind in ARGUMENTS and isinstance(piece, str):
        return {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
    if kind == "response.output_item.added" and _of_type(item, *CALLS):
        return {"tool_calls": [{"index": index, **_call({**item, "arguments": "", "input": ""})}]}
    return {}


def _reply(choice: JSON, response: JSON, finish: str | None) -> ChatResponse:
    model = response.get("model")
    return ChatResponse(
        model=model if isinstance(model, str) else None,
        choices=[ResponseChoice(**choice, finish_reason=finish)],
        usage=_usage(response),
    )


def _usage(response: JSON) -> msgspec.Raw:
    """The usage, with the calls of tools that ran at OpenAI, in Anthropic's form: there it is a part of the usage."""
    usage, items = _object(response.get("usage")), _objects(response.get("output"))
    if not usage:
        return msgspec.Raw()
    searches = sum(_of_type(item, "web_search_call") and _searched(item) for item in items)
    used = {"web_search_requests": searches, "tool_requests": sum(_of_type(item, *CHARGED) for item in items)}
    usage = {**usage, "server_tool_use": used} if any(used.values()) else usage
    return msgspec.Raw(_encode(usage))


def _searched(item: JSON) -> bool:
    """True for a search; opening a page that was found costs nothing more."""
    return _object(item.get("action")).get("type") in (None, "search")


def _finish(response: JSON) -> str:
    reason = _object(response.get("incomplete_details")).get("reason")
    if response.get("status") == "incomplete":
        return INCOMPLETE.get(reason, "length") if isinstance(reason, str) else "length"
    return "tool_calls" if any(_of_type(item, *CALLS) for item in _objects(response.get("output"))) else "stop"


def _call(item: JSON) -> JSON:
    """A tool call in the form of a chat."""
    function = {"name": item.get("name"), "arguments": item.get("arguments") or item.get("input") or ""}
    return {"id": item.get("call_id"), "type": "function", "function": function}


def _texts(items: list[JSON], kind: str, field: str) -> str:
    """The texts in the content and summary of the items of a type."""
    found = [item for item in items if _of_type(item, kind)]
    parts = [part for item in found for name in ("summary", "content") for part in _objects(item.get(name))]
    return "".join(text for part in parts if isinstance(text := part.get(field), str))


def _of_type(item: JSON, *types: str) -> bool:
    return item.get("type") in types


def _objects(value: Any) -> list[JSON]:
    items = value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType]
    return [item for item in items if isinstance(item, dict)]  # pyright: ignore[reportUnknownVariableType]


def _object(value: Any) -> JSON:
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]
