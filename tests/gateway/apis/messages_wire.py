"""Requests and answers of the Messages API for tests: what a client sends, and what a server of that API writes."""

import json
from typing import Any

import httpx
from tests.fakes.server import SSE, Bytes
from tests.gateway.chat.upstreams import Upstreams

TOOL: dict[str, Any] = {
    "name": "add",
    "description": "Adds two numbers.",
    "input_schema": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
}
USE: dict[str, Any] = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 12, "b": 7}}
USAGE: dict[str, Any] = {
    "input_tokens": 20, "cache_creation_input_tokens": 100, "cache_read_input_tokens": 300,
    "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40}, "output_tokens": 9,
    "service_tier": "standard",
}  # fmt: skip


def ask(**body: Any) -> dict[str, Any]:
    """A request body."""
    return {"model": "corea", "max_tokens": 500, "messages": [{"role": "user", "content": "12 + 7?"}], **body}


async def post(it: Upstreams, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    """A request to the gateway."""
    return await it.request("POST", "/v1/messages", headers=headers, json=ask(**body))


def events(response: httpx.Response | bytes) -> list[dict[str, Any]]:
    """The events of a stream; each has a line with its type."""
    body = response if isinstance(response, bytes) else response.content
    found: list[dict[str, Any]] = []
    for block in body.decode().split("\n\n"):
        lines = block.split("\n")
        if lines[0].startswith("event: "):
            found.append(json.loads(lines[1].removeprefix("data: ")))
            assert found[-1]["type"] == lines[0].removeprefix("event: ")
        else:
            assert not block or block.startswith(":"), block
    return found


def blocks(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The content that a stream adds up to; each block is started, filled and stopped before the next."""
    made: list[dict[str, Any]] = []
    arguments = ""
    stopped = True
    for event in found:
        match event["type"]:
            case "content_block_start":
                assert stopped
                assert event["index"] == len(made)
                made.append(dict(event["content_block"]))
                arguments, stopped = "", False
            case "content_block_delta":
                assert not stopped
                assert event["index"] == len(made) - 1
                delta = dict(event["delta"])
                if delta.pop("type") == "input_json_delta":
                    arguments += delta["partial_json"]
                    continue
                for name, piece in delta.items():
                    made[-1][name] = made[-1].get(name, "") + piece
            case "content_block_stop":
                if made[-1]["type"] == "tool_use":
                    made[-1]["input"] = json.loads(arguments or "{}")
                stopped = True
            case _:
                pass
    assert stopped
    return made


def message(*content: Any, **fields: Any) -> dict[str, Any]:
    """A whole answer of a server that speaks the API."""
    return {
        "id": "msg_01", "type": "message", "role": "assistant", "model": "claude-large", "content": list(content),
        "stop_reason": "end_turn", "stop_sequence": None, "usage": USAGE, **fields,
    }  # fmt: skip


def streamed(answer: dict[str, Any], *, pieces: int = 2) -> bytes:
    """The same answer as a stream: each text in so many pieces; the blocks that have no deltas come whole."""
    head = {**answer, "content": [], "stop_reason": None, "usage": {**answer["usage"], "output_tokens": 1}}
    found: list[dict[str, Any]] = [{"type": "message_start", "message": head}, {"type": "ping"}]
    kinds = {"text": ("text", "text_delta"), "thinking": ("thinking", "thinking_delta")}
    for index, block in enumerate(answer["content"]):
        kind, deltas, start = block["type"], list[dict[str, Any]](), dict(block)
        if kind in kinds:
            name, delta = kinds[kind]
            start |= {name: ""} | ({"signature": ""} if "signature" in block else {})
            deltas = [{"type": delta, name: piece} for piece in _cut(block[name], pieces)]
            deltas += [{"type": "citations_delta", "citation": c} for c in block.get("citations") or ()]
            deltas += [{"type": "signature_delta", "signature": block["signature"]}] if "signature" in block else []
            start |= {"citations": []} if block.get("citations") else {}
        elif kind in ("tool_use", "server_tool_use"):
            start |= {"input": {}}
            text = json.dumps(block["input"])
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in _cut(text, pieces)]
        found.append({"type": "content_block_start", "index": index, "content_block": start})
        found += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        found.append({"type": "content_block_stop", "index": index})
    stop = {name: answer[name] for name in ("stop_reason", "stop_sequence")}
    found.append({"type": "message_delta", "delta": stop, "usage": {"output_tokens": answer["usage"]["output_tokens"]}})
    return sse(*found, {"type": "message_stop"})


def sse(*found: dict[str, Any]) -> bytes:
    """Events as bytes."""
    return b"".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in found)


def served(answer: dict[str, Any], stream: bool) -> Bytes:
    """A server's act."""
    return Bytes(streamed(answer), SSE) if stream else Bytes(json.dumps(answer).encode())


def _cut(text: str, pieces: int) -> list[str]:
    size = max(1, -(-len(text) // pieces))
    return [text[i : i + size] for i in range(0, len(text), size)]
