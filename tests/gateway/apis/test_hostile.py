"""Hostile clients and servers in every API: nothing of theirs is a fault of ours, or a header, or another event."""

import json
from typing import Any

import pytest
from tests.fakes.server import SSE, Bytes, Say
from tests.gateway.apis.messages_wire import ask
from tests.gateway.chat.upstreams import Upstreams, streamed, upstreams, whole

DEEP = b"[" * 200_000 + b"]" * 200_000
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "corea/large", "messages": [{"role": "user", "content": "x"}]},
    "/v1/messages": ask(model="corea/large", thinking={"type": "adaptive"}),
    "/v1/responses": {"model": "corea/large", "input": "x"},
}


@pytest.mark.parametrize(
    ("name", "shown"),
    [("\r\nset-cookie: a=1", "%0D%0Aset-cookie%3A%20a%3D1"), ("\u4e2d", "%E4%B8%AD"), ("a" * 9999, "a" * 74)],
)
async def test_names_of_a_client_make_no_header_of_their_own(name: str, shown: str) -> None:
    async with upstreams() as it:
        asked = {"model": "corea", "input": "x", "tools": [{"type": name}]}
        by_type = await it.request("POST", "/v1/responses", json=asked)
        by_field = await it.request(
            "POST", "/v1/messages", json=ask(tools=[{"name": "a", "input_schema": {}, name: 1}])
        )
    for response in (by_type, by_field):
        assert (response.status_code, response.headers["x-corea-dropped"]) == (200, f"tools.{shown}")


async def test_no_more_than_fifty_dropped_names_are_listed() -> None:
    async with upstreams() as it:
        response = await it.request("POST", "/v1/messages", json=ask(metadata={f"f{i:03}": 1 for i in range(5000)}))
    assert response.headers["x-corea-dropped"] == ", ".join(f"metadata.f{i:03}" for i in range(50))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages/count_tokens", b'{"model": "corea", "messages": %s}'),
        ("/v1/messages", b'{"model": "corea", "max_tokens": 5, "messages": %s}'),
        ("/v1/responses", b'{"model": "corea", "input": %s}'),
        ("/v1/completions", b'{"model": "corea/large", "prompt": %s}'),
        ("/v1/embeddings", b'{"model": "corea/large", "input": %s}'),
        ("/openai/deployments/corea/chat/completions", b'{"messages": %s}'),
    ],
)
async def test_deep_and_broken_bodies_are_refused(path: str, body: bytes) -> None:
    async with upstreams(server={"apis": ["completions", "embeddings", "chat"]}) as it:
        for inside in (DEEP, b'"\xff"', b"{", b"1e999999"):
            response = await it.request("POST", path, content=body % inside)
            assert response.status_code == 400, (inside[:9], response.text)


WEIRD: list[dict[str, Any]] = [
    {"tool_calls": "x"},
    {"tool_calls": ["x"]},
    {"tool_calls": [{"function": "x"}]},
    {"tool_calls": [{"function": {"name": 5, "arguments": {"a": 1}}}]},
    {"tool_calls": [{"id": 5, "index": "a", "function": {"name": None, "arguments": 5}}]},
    {"tool_calls": [{"id": "c", "kind": "k", "prefix": "p", "self": 1, "function": {"name": "f", "arguments": "{}"}}]},
    {"refusal": 5},
    {"refusal": {"a": 1}},
    {"annotations": [{"type": {"a": 1}}]},
    {"content": 5},
    {"content": [5, None]},
    {"reasoning_content": 5},
    {"function_call": "x"},
]


@pytest.mark.parametrize("fields", WEIRD, ids=str)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_servers_odd_fields_are_no_fault_of_ours(fields: dict[str, Any], stream: bool) -> None:
    message = {"content": "nineteen", **fields}
    async with upstreams(streamed(message) if stream else whole(message)) as it:
        for path, body in BODIES.items():
            response = await it.request("POST", path, json={**body, "stream": stream})
            assert response.status_code == 200, (path, response.text)
            assert "nineteen" in response.text or "content" in fields, (path, response.text)
            assert "internal_error" not in response.text, (path, response.text)
        assert [done.error for done in it.done] == [None] * 3


async def test_fields_of_a_server_do_not_replace_those_of_a_response() -> None:
    odd = {"status": "odd", "output": 5, "error": "e", "tools": 7, "new": 1}
    async with upstreams(Say("nineteen", fields=odd)) as it:
        found = (await it.request("POST", "/v1/responses", json=BODIES["/v1/responses"])).json()
    assert (found["status"], found["error"], found["tools"], found["new"]) == ("completed", None, [], 1)
    assert found["output"][0]["content"][0]["text"] == "nineteen"


def pretty(event: dict[str, Any]) -> bytes:
    """An event over several lines, as a server may write it, one of them blank."""
    text = json.dumps(event, indent=1).replace("{", "{\n\n", 1)
    return "".join(f"data: {line}\r\n" for line in text.split("\n")).encode() + b"\r\n"


async def test_an_event_over_several_lines_stays_one_event() -> None:
    message = {"id": "m", "type": "message", "role": "assistant", "model": "c", "content": [], "usage": {}}
    sent: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "nineteen"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]
    act = Bytes(b"".join(map(pretty, sent)), SSE)
    async with upstreams(act, server={"apis": ["chat", "messages"]}) as it:
        response = await it.request("POST", "/v1/messages", json={**BODIES["/v1/messages"], "stream": True})
    assert data(response.text) == sent


async def test_log_probabilities_over_several_lines_stay_in_one_event() -> None:
    tokens = {"content": [{"token": "19", "logprob": -0.1, "bytes": None, "top_logprobs": []}]}
    choice = {"index": 0, "delta": {"content": "19"}, "logprobs": tokens, "finish_reason": "stop"}
    async with upstreams(Bytes(pretty({"choices": [choice]}) + b"data: [DONE]\n\n", SSE)) as it:
        body = {**BODIES["/v1/chat/completions"], "stream": True, "logprobs": True}
        response = await it.request("POST", "/v1/chat/completions", json=body)
    found = [e["choices"][0] for e in data(response.text.removesuffix("data: [DONE]\n\n")) if e["choices"]]
    assert [each["logprobs"] for each in found if each["logprobs"]] == [tokens]


def data(text: str) -> list[Any]:
    """The data of each event, which has one line of it."""
    return [json.loads(block.rpartition("data: ")[2]) for block in text.split("\n\n") if block]


async def interleaved(it: Upstreams, path: str) -> str:
    response = await it.request("POST", path, json={**BODIES[path], "stream": True})
    assert response.status_code == 200
    return response.text


async def test_two_calls_whose_pieces_are_mixed_arrive_apart() -> None:
    pieces = [("a", "0", '{"x'), ("b", "1", '{"y'), ("", "0", '": 1'), ("", "1", '": 2}'), ("", "0", "}")]
    deltas = [
        {"tool_calls": [{"index": int(i), "function": {"arguments": text}, **({"id": n} if n else {})}]}
        for n, i, text in pieces
    ]
    for delta, name in zip(deltas, "fg", strict=False):
        delta["tool_calls"][0]["function"]["name"] = name  # pyright: ignore[reportArgumentType]
    async with upstreams(streamed(*deltas, finish="tool_calls")) as it:
        messages, responses = [data(await interleaved(it, path)) for path in ("/v1/messages", "/v1/responses")]
    found: dict[int, str] = {}
    for event in messages:
        if event["type"] == "content_block_delta":
            found[event["index"]] = found.get(event["index"], "") + event["delta"]["partial_json"]
    assert found == {0: '{"x": 1}', 1: '{"y": 2}'}
    calls = responses[-1]["response"]["output"]
    assert [(c["call_id"], c["name"], c["arguments"]) for c in calls] == [
        ("a", "f", '{"x": 1}'),
        ("b", "g", '{"y": 2}'),
    ]
