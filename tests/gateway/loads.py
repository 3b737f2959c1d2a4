"""Requests of every API for a load, the answers of a server to them, and what a client received and has to pay."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from tests.fakes.server import SSE, Act, Asked, Bytes, Say

KINDS = ("chat", "tools", "messages", "responses", "completions", "embeddings")
SPOKEN = 'apis = ["chat", "messages", "responses", "completions", "embeddings"]'
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
NAMED = ("messages", "responses")  # each of their events has a line with its type


class Received(NamedTuple):
    """What a client received: the text, or a tool's arguments; None if a stream broke off."""

    text: str | None
    cost_usd: Decimal


def request(kind: str, text: str, *, stream: bool) -> tuple[str, dict[str, Any]]:
    """Path and body of a request; embeddings are not streamed."""
    body: dict[str, Any] = {"model": "corea", "stream": stream and kind != "embeddings"}
    said = [{"role": "user", "content": text}]
    match kind:
        case "chat":
            return "chat/completions", {**body, "messages": said}
        case "tools":
            return "chat/completions", {**body, "messages": said, "tools": [TOOL]}
        case "messages":
            return kind, {**body, "messages": said, "max_tokens": 500}
        case "completions":
            return kind, {**body, "prompt": text, "max_tokens": 500, "stream_options": {"include_usage": True}}
        case _:
            return kind, {**body, "input": text}


def answer(asked: Asked, text: str, *, split_bytes: int = 0) -> Act:
    """A good answer; that of a chat with tools is a call whose arguments are the text."""
    if asked.path.endswith("/chat/completions") and "tools" not in asked.body:
        return Say(text, split_bytes=split_bytes)
    words = text.split(" ")
    if asked.streamed:
        found = [*_events(asked, words), *_ending(asked, words)]
        end = b"" if _api(asked) in NAMED else b"data: [DONE]\n\n"
        body = b"".join(map(_sse, found)) + end
        return Bytes(body, content_type=SSE, billed=len(words), split_bytes=split_bytes)
    return Bytes(json.dumps(_whole(asked, text)).encode(), billed=_billed(asked, words))


def half(asked: Asked, text: str) -> Bytes:
    """An answer that ends in the middle of an event or of the body, after the usage."""
    words = text.split(" ")
    if not asked.streamed:
        return Bytes(json.dumps(_whole(asked, text)).encode()[:-2], billed=_billed(asked, words))
    found = _events(asked, words[:3])
    return Bytes(b"".join(map(_sse, found)) + b'data: {"choices": [{"ind', content_type=SSE, billed=len(words[:3]))


def failing(asked: Asked, text: str) -> Bytes:
    """A stream with an error in its midst."""
    words = text.split(" ")[:2]
    error = {"type": "error", "error": {"type": "api_error", "message": "the server failed"}}
    body = b"".join(map(_sse, [*_events(asked, words), error]))
    return Bytes(body, content_type=SSE, billed=len(words))


def received(kind: str, body: str, headers: Mapping[str, str], *, stream: bool) -> Received:
    """What a response holds; asserts that it is whole, or an error where a stream broke off."""
    if not stream or kind == "embeddings":
        return Received(_text(kind, json.loads(body)), Decimal(headers["x-corea-cost-usd"]))
    blocks = [block for block in body.split("\n\n") if block and not block.startswith(":")]
    if kind not in NAMED:
        assert blocks.pop() == "data: [DONE]", body
    found = [json.loads(block.rpartition("data: ")[2]) for block in blocks]
    last = found[-1]
    if "error" in last or last["type" if kind in NAMED else "object"] in ("error", "response.failed"):
        error = last.get("error") or last.get("response", last).get("error") or last
        assert error["message"], body
        return Received(None, Decimal(0))
    text = "".join(_piece(kind, event) for event in found)
    if kind in NAMED:
        assert last["type"] == {"messages": "message_stop", "responses": "response.completed"}[kind], body
    told = next((e["corea"] for e in reversed(found) if "corea" in e), None) or last.get("response", {}).get("corea")
    return Received(text, Decimal(str(told["cost_usd"])) if told else _price(kind, found))


def _price(kind: str, found: list[Any]) -> Decimal:
    """The price of a stream that was passed on as the large model's server sent it."""
    usage: dict[str, int] = {}
    for event in found:
        for held in (event, event.get("message") or {}, event.get("response") or {}):
            usage |= held.get("usage") or {}
    names = ("prompt_tokens", "completion_tokens") if kind == "completions" else ("input_tokens", "output_tokens")
    return Decimal(usage[names[0]] * 10 + usage[names[1]] * 20) / 1_000_000


def _text(kind: str, whole: Any) -> str:
    match kind:
        case "chat":
            return whole["choices"][0]["message"]["content"]
        case "tools":
            return whole["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
        case "messages":
            return "".join(block["text"] for block in whole["content"])
        case "responses":
            return "".join(part["text"] for item in whole["output"] for part in item["content"])
        case "completions":
            return whole["choices"][0]["text"]
        case _:
            return whole["data"][0]["text"]


def _piece(kind: str, event: Any) -> str:
    choice = (event.get("choices") or [{}])[0]
    match kind:
        case "chat":
            return choice.get("delta", {}).get("content", "")
        case "tools":
            calls = choice.get("delta", {}).get("tool_calls") or []
            return "".join(call["function"].get("arguments", "") for call in calls)
        case "messages":
            return event["delta"]["text"] if event["type"] == "content_block_delta" else ""
        case "responses":
            return event["delta"] if event["type"] == "response.output_text.delta" else ""
        case _:
            return choice.get("text", "")


def _api(asked: Asked) -> str:
    return asked.path.rpartition("/v1/")[2]


def _billed(asked: Asked, words: list[str]) -> int:
    return 0 if _api(asked) == "embeddings" else len(words)


def _usage(asked: Asked, words: list[str]) -> dict[str, int]:
    prompt, written = asked.prompt_tokens, _billed(asked, words)
    if _api(asked) in NAMED:
        return {"input_tokens": prompt, "output_tokens": written}
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}


def _whole(asked: Asked, text: str) -> dict[str, Any]:
    """A whole answer, in which the bill stands first."""
    head: dict[str, Any] = {"usage": _usage(asked, text.split(" ")), "model": "large"}
    match _api(asked):
        case "messages":
            content = [{"type": "text", "text": text}]
            return {**head, "id": "m", "type": "message", "role": "assistant", "content": content,
                    "stop_reason": "end_turn"}  # fmt: skip
        case "responses":
            part = {"type": "output_text", "text": text, "annotations": []}
            item = {"type": "message", "id": "i", "role": "assistant", "status": "completed", "content": [part]}
            return {**head, "id": "r", "object": "response", "status": "completed", "output": [item]}
        case "completions":
            return {**head, "choices": [{"index": 0, "text": text, "finish_reason": "stop"}]}
        case "embeddings":
            return {**head, "data": [{"embedding": [0.5], "text": text}]}
        case _:
            message = {"role": "assistant", "content": None, "tool_calls": [_call(text, 0)]}
            if "tools" not in asked.body:
                message = {"role": "assistant", "content": text}
            return {**head, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


def _call(arguments: str, number: int) -> dict[str, Any]:
    if number:
        return {"index": 0, "function": {"arguments": arguments}}
    return {"index": 0, "id": "c", "type": "function", "function": {"name": "add", "arguments": arguments}}


def _events(asked: Asked, words: list[str]) -> list[dict[str, Any]]:
    """The events up to the last word. Each tells what was used so far, as vLLM can."""
    found: list[dict[str, Any]] = []
    api = _api(asked)
    if api == "messages":
        message = {"id": "m", "type": "message", "role": "assistant", "model": "large", "content": []}
        found.append({"type": "message_start", "message": {**message, "usage": _usage(asked, [])}})
        found.append({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    for number, word in enumerate(words):
        piece, usage = " " * bool(number) + word, _usage(asked, words[: number + 1])
        if api == "messages":
            found.append({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}})
            found.append({"type": "message_delta", "delta": {"stop_reason": None}, "usage": usage})
        elif api == "responses":
            found.append({"type": "response.output_text.delta", "delta": piece})
            found.append({"type": "response.in_progress", "response": {"id": "r", "usage": usage}})
        elif api == "completions":
            found.append({"object": "text_completion", "choices": [{"index": 0, "text": piece}], "usage": usage})
        else:
            delta = {"tool_calls": [_call(piece, number)]} if "tools" in asked.body else {"content": piece}
            found.append({"object": "chunk", "choices": [{"index": 0, "delta": delta}], "usage": usage})
    return found


def _ending(asked: Asked, words: list[str]) -> list[dict[str, Any]]:
    usage = _usage(asked, words)
    match _api(asked):
        case "messages":
            stop = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}
            return [{"type": "content_block_stop", "index": 0}, stop, {"type": "message_stop"}]
        case "responses":
            return [{"type": "response.completed", "response": _whole(asked, " ".join(words))}]
        case "completions":
            choice = {"index": 0, "text": "", "finish_reason": "stop"}
            return [{"object": "text_completion", "choices": [choice], "usage": usage}]
        case _:
            return [{"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}], "usage": usage}]


def _sse(event: Mapping[str, Any]) -> bytes:
    name = f"event: {event['type']}\n" if "type" in event and event["type"] != "error" else ""
    return f"{name}data: {json.dumps(event)}\n\n".encode()
