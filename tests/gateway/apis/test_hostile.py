"""Hostile clients and servers in every API: nothing of theirs is a fault of ours, or a header, or another event."""

import asyncio
import json
from decimal import Decimal
from typing import Any

import httpx
import pytest
from tests.fakes.server import SSE, Asked, Bytes, Drip, Fail, Say
from tests.gateway.apis.messages_wire import ask
from tests.gateway.chat.upstreams import DEFERRED, KEPT, Upstreams, streamed, upstreams, whole
from tests.gateway.conftest import DEAR
from tests.gateway.loads import KINDS, answer, failing, request

from corea.gateway.billing.auth import Accounts, Admission, OpenAccounts, Principal, SpendRequest
from corea.gateway.ops.policies import RequestPolicy
from corea.types import Sampling

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
    blocks = [block.split("\n") for block in text.split("\n\n") if block]
    assert all(line.startswith(("event: ", "data: ")) for block in blocks for line in block)
    return [json.loads(block[-1].removeprefix("data: ")) for block in blocks]


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


class Keyed(OpenAccounts):
    """Accounts of one key, with a budget or without, that keep what was reserved."""

    def __init__(self, budget: bool = False) -> None:
        self.budget = budget
        self.reserved: list[Decimal] = []

    def identify(self, secret: str | None) -> Principal:
        return Budgeted(id="k") if self.budget else Principal(id="k")

    async def admit(self, principal: Principal, request: SpendRequest) -> Admission:
        self.reserved.append(request.reserve_usd)
        return await super().admit(principal, request)


class Budgeted(Principal, frozen=True):
    """The principal of a key with a budget."""

    @property
    def has_budget(self) -> bool:
        return True


NATIVE = {"apis": ["chat", "messages", "responses", "completions", "embeddings"]}
PRICED = {"price": DEAR, "sampling": Sampling(max_tokens=100)}
DRAW = {"type": "image_generation"}
RUN = {"type": "function", "name": "f", "parameters": {}}
REPLIES = {
    "/messages": {"type": "message", "role": "assistant", "content": [], "stop_reason": "end_turn", "usage": {}},
    "/responses": {"object": "response", "status": "completed", "output": [], "usage": {}},
    "/completions": {"choices": [{"text": "x", "finish_reason": "stop"}]},
    "/embeddings": {"data": [{"embedding": [0.1]}]},
}


def served(asked: Asked) -> Bytes:
    """An answer of a server that speaks all APIs."""
    reply = next(reply for path, reply in REPLIES.items() if asked.path.endswith(path))
    return Bytes(json.dumps(reply).encode())


async def sent(path: str, accounts: Accounts | None = None, **fields: Any) -> tuple[dict[str, Any], httpx.Response]:
    """What reaches the server of a request, and the response."""
    async with upstreams(server=NATIVE, accounts=accounts, large_stage=PRICED) as it:
        it.large.otherwise = served
        body = {"model": "corea/large", **(ask() if path == "messages" else {}), **fields}
        response = await it.request("POST", f"/v1/{path}", json=body)
        return (it.large.requests[0].body if it.large.requests else {}), response


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("messages", {"tools": [{"type": "web_search_20250305", "name": "s"}], "tool_choice": {"type": "any"}}),
        ("messages", {"mcp_servers": [{"url": "u"}], "inference_geo": "us", "speed": "fast"}),
        ("responses", {"input": "x", "tools": [DRAW], "background": True, "service_tier": "priority"}),
    ],
)
async def test_a_key_reaches_nothing_that_costs_more_than_tokens(path: str, fields: dict[str, Any]) -> None:
    with_key, response = await sent(path, Keyed(), **fields)
    assert response.status_code == 200, response.text
    left = {"input"} if path == "responses" else set[str]()
    assert not (fields.keys() - left) & with_key.keys()
    named = set(response.headers["x-corea-dropped"].split(", "))
    assert named >= fields.keys() - left - {"tools", "tool_choice"}
    without, _ = await sent(path, **fields)
    assert {name: without[name] for name in fields} == fields


async def test_a_key_keeps_the_tools_that_the_client_runs() -> None:
    tools = [RUN, DRAW, {"type": "custom", "name": "apply_patch"}]
    body, response = await sent("responses", Keyed(), input="x", tools=tools, tool_choice="auto")
    assert (body["tools"], body["tool_choice"]) == ([tools[0], tools[2]], "auto")
    assert "tools.image_generation" in response.headers["x-corea-dropped"]


async def test_a_policy_names_the_tools_that_are_dropped() -> None:
    policies = {"default": {"drop": ["tools.image"]}}
    async with upstreams(server=NATIVE, policies=policies, accounts=Keyed()) as it:
        it.large.otherwise = served
        tools = [DRAW, {"type": "web_search"}]
        await it.request("POST", "/v1/responses", json={"model": "corea/large", "input": "x", "tools": tools})
    assert it.large.requests[0].body["tools"] == [{"type": "web_search"}]


@pytest.mark.parametrize(
    ("path", "field", "limit"),
    [("messages", "max_tokens", 500), ("responses", "max_output_tokens", 100), ("completions", "max_tokens", 7)],
)
async def test_no_other_name_of_the_limit_reaches_a_server(path: str, field: str, limit: int) -> None:
    texts: dict[str, dict[str, Any]] = {"responses": {"input": "x"}, "completions": {"prompt": "x"}, "messages": {}}
    given = {"n_predict": 9_000_000} if path != "completions" else {"n_predict": 9_000_000, "max_tokens": 7}
    accounts = Keyed(budget=True)
    body, response = await sent(path, accounts, **texts[path], **given)
    assert response.status_code == 200, response.text
    assert ("n_predict" in body, body.get(field)) == (False, limit)
    assert accounts.reserved[0] >= limit * DEAR.output_usd_per_mtok / 1_000_000


async def test_a_completion_names_no_other_model() -> None:
    for path, field in (("completions", "prompt"), ("embeddings", "input")):
        named: dict[str, Any] = {field: "x", "models": ["large-pro"]}
        body, response = await sent(path, **named)
        assert (body, response.status_code, response.json()["error"]["param"]) == ({}, 400, "models")


@pytest.mark.parametrize(
    "fields",
    [
        {"previous_response_id": "r"},
        {"conversation": "c"},
        {"prompt": {"id": "p"}},
        {"input": [{"type": "item_reference", "id": "i"}]},
    ],
    ids=str,
)
async def test_a_stored_prompt_is_not_for_a_key_with_a_budget(fields: dict[str, Any]) -> None:
    body, response = await sent("responses", Keyed(budget=True), **{"input": "x", **fields})
    assert (body, response.status_code) == ({}, 400)
    assert "this key has a budget" in response.json()["error"]["message"]
    body, response = await sent("responses", Keyed(), **{"input": "x", **fields})
    assert (response.status_code, {name: body[name] for name in fields}) == (200, fields)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("responses", {"input": [{"type": "reasoning", "summary": [], "encrypted_content": "x" * 9000}]}),
        ("responses", {"input": "x", "tools": [{"type": "custom", "name": "a", "description": "x" * 9000}]}),
        ("messages", {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": [
            {"type": "redacted_thinking", "data": "x" * 9000}]}, {"role": "user", "content": "y"}]}),
        ("completions", {"prompt": "x", "suffix": "x" * 9000}),
        ("embeddings", {"input": "x", "messages": [{"role": "user", "content": "x" * 9000}]}),
    ],
)  # fmt: skip
async def test_the_reserve_counts_what_a_chat_would_not_carry(path: str, fields: dict[str, Any]) -> None:
    accounts = Keyed(budget=True)
    _, response = await sent(path, accounts, **fields)
    assert response.status_code == 200, response.text
    assert accounts.reserved[0] >= 9000 * DEAR.input_usd_per_mtok / 1_000_000


async def test_the_reserve_of_a_picture_is_not_of_its_bytes() -> None:
    accounts = Keyed(budget=True)
    source = {"type": "base64", "media_type": "image/png", "data": "x" * 900_000}
    block = {"role": "user", "content": [{"type": "image", "source": source}]}
    _, response = await sent("messages", accounts, messages=[block])
    assert response.status_code == 200
    assert (
        accounts.reserved[0] < 10_000 * DEAR.input_usd_per_mtok / 1_000_000 + 500 * DEAR.output_usd_per_mtok / 1_000_000
    )


@pytest.mark.parametrize("path", ["completions", "embeddings"])
async def test_azures_paths_name_the_model(path: str) -> None:
    async with upstreams(server=NATIVE) as it:
        it.large.otherwise = served
        asked = {"prompt": "x", "input": "x", "model": "other"}
        response = await it.request("POST", f"/openai/deployments/corea/large/{path}?api-version=1", json=asked)
    assert (response.status_code, it.large.requests[0].path) == (200, f"/v1/{path}")


def begun(asked: Asked) -> Drip:
    """A stream of two words, each with the usage so far, and then nothing."""
    return Drip(failing(asked, "two words more").body.rpartition(b"data: ")[0])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "embeddings"])
async def test_a_client_that_hangs_up_pays_what_the_server_had_told(kind: str) -> None:
    path, body = request(kind, "12 + 7?", stream=True)
    async with upstreams(server=NATIVE, large_stage=PRICED) as it:
        it.large.otherwise = begun
        await hang_up(it, f"/v1/{path}", body | {"model": "corea/large"})
        (done,) = it.done
    assert (done.usage.prompt_tokens, done.usage.completion_tokens, done.usage.estimated) == (3, 2, False)
    assert done.error is not None
    assert (done.error.code, done.trace.cost_usd) == ("client_closed_request", Decimal("0.00007"))


async def hang_up(it: Upstreams, path: str, body: dict[str, Any]) -> None:
    """Asks, and leaves with the second word."""
    first = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]
    second = asyncio.Event()

    async def receive() -> Any:
        if first:
            return first.pop()
        await second.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if b"words" in message.get("body", b""):
            second.set()

    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": [],
        "http_version": "1.1", "scheme": "http", "root_path": "",
    }  # fmt: skip
    await it.app(scope, receive, send)


@pytest.mark.parametrize("stream", [False, True])
async def test_dropped_fields_are_those_of_the_stage_that_answered(stream: bool) -> None:
    for small, dropped in ((KEPT, "thinking"), (DEFERRED, None)):
        async with upstreams(small=small, server=NATIVE) as it:
            it.large.otherwise = lambda asked: answer(asked, "nineteen")
            body = ask(thinking={"type": "adaptive"}, stream=stream)
            response = await it.request("POST", "/v1/messages", json=body)
        assert (response.status_code, response.headers.get("x-corea-dropped")) == (200, dropped)


class Limited(OpenAccounts):
    """Accounts of a key that may ask no model here."""

    def identify(self, secret: str | None) -> Principal:
        return Principal(id="k", cascades=frozenset({"other"}))


@pytest.mark.parametrize("path", ["/chat/completions", "/responses", "/messages", "/messages/count_tokens"])
async def test_an_unknown_model_is_answered_with_the_names_that_the_key_may_use(path: str) -> None:
    asked = {"model": "nope", "max_tokens": 9, "input": "1", "messages": [{"role": "user", "content": "1"}]}
    no_stages = {"default": RequestPolicy(direct=False)}
    for accounts, policies, names in (
        (Keyed(), {}, "corea, corea/0, corea/1."), (Keyed(), no_stages, "corea."),
        (Limited(), {}, "none: this key may use no model."),
    ):  # fmt: skip
        async with upstreams(accounts=accounts, policies=policies) as it:
            response = await it.request("POST", f"/v1{path}", json=asked)
        assert response.status_code == 404
        assert response.json()["error"]["message"].rpartition("expected one of")[2].strip() == names


@pytest.mark.parametrize("path", ["/chat/completions", "/responses", "/messages"])
async def test_the_id_of_a_request_is_that_of_its_trace_also_where_it_fails(path: str) -> None:
    asked = {"model": "corea", "max_tokens": 99, "input": "1", "messages": [{"role": "user", "content": "1"}]}
    async with upstreams(Say("19"), KEPT) as it:
        for act in (KEPT, DEFERRED, Fail(400, "no")):
            it.small.otherwise = it.large.otherwise = act
            response = await it.request("POST", f"/v1{path}", json=asked)
            assert response.headers["x-request-id"] == it.done[-1].trace.trace_id
        assert response.status_code == 400
        assert len({done.trace.trace_id for done in it.done}) == 3
