"""`POST /v1/messages` in front of a server that speaks it: the request goes up, and the answer down, as they came."""

import asyncio
import dataclasses
import json
from decimal import Decimal
from typing import Any

import httpx
import pytest
from tests.fakes.server import SSE, Bytes, Drip, Fail, FakeServer, Say
from tests.gateway.apis.messages_wire import TOOL, USAGE, USE, ask, events, message, post, served, sse, streamed
from tests.gateway.chat.upstreams import KEPT, Upstreams, upstreams

from corea.backends.openai.client import KeyStyle, OpenAIBackend, OpenAISettings
from corea.backends.openai.deployments import Deployments
from corea.cascade import COST_INCOMPLETE
from corea.gateway.billing.auth import OpenAccounts, Principal
from corea.prices import Price
from corea.prompts import load_prompt
from corea.types import Completion, NativeRequest, Question, Sampling, replace

SPEAKS = {"apis": ["chat", "messages"]}
PRICE = Price(
    input_usd_per_mtok=Decimal(10), output_usd_per_mtok=Decimal(20), cached_input_usd_per_mtok=Decimal(1),
    cache_write_usd_per_mtok=Decimal(12),
)  # fmt: skip
TEXT = {"type": "text", "text": "It is nineteen."}
CITED = {**TEXT, "citations": [{"type": "char_location", "cited_text": "19", "document_index": 0,
                                "start_char_index": 0, "end_char_index": 2, "document_title": None}]}  # fmt: skip
THOUGHT = {"type": "thinking", "thinking": "12 + 7 = 19", "signature": "EqQBCgIYAhIM"}
CORPUS: dict[str, dict[str, Any]] = {
    "a text": message(TEXT),
    "another script, and an escaped line": message({"type": "text", "text": "neunzehn: 19 \u2260 \U0001f600\n\"\\"}),
    "citations": message(CITED),
    "a call": message(TEXT, USE, stop_reason="tool_use"),
    "two calls": message(USE, {**USE, "id": "toolu_2"}, stop_reason="tool_use"),
    "thinking": message(THOUGHT, TEXT),
    "redacted thinking": message({"type": "redacted_thinking", "data": "EmwK"}, TEXT),
    "a tool of the server": message(
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "12 + 7"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [
            {"type": "web_search_result", "url": "https://a.example", "title": "A", "encrypted_content": "Eo8",
             "page_age": None}
        ]},
        TEXT,
    ),
    "cut by the limit": message(TEXT, stop_reason="max_tokens"),
    "a stop sequence": message(TEXT, stop_reason="stop_sequence", stop_sequence="END"),
    "a pause": message(TEXT, stop_reason="pause_turn"),
    "a refusal": message(stop_reason="refusal", stop_details={"type": "refusal", "category": "cyber"}),
    "unknown fields": message({"type": "new_block", "made_up": [1, {"a": None}]}, TEXT, later=1.5),
}  # fmt: skip


async def both(it: Upstreams, body: dict[str, Any]) -> tuple[httpx.Response, httpx.Response]:
    """The response of the gateway, and the one of the server itself."""
    through = await it.request("POST", "/v1/messages", json=body)
    async with httpx.AsyncClient() as client:
        return through, await client.post(f"{it.large.base_url}/messages", json=body)


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_is_what_the_server_itself_gives(name: str, stream: bool) -> None:
    body = ask(model="corea/large", stream=stream, tools=[TOOL], thinking={"type": "adaptive"})
    async with upstreams(served(CORPUS[name], stream), server=SPEAKS) as it:
        through, direct = await both(it, body)
    if stream:
        assert events(through) == events(direct)
    else:
        assert through.json() == direct.json() == CORPUS[name]
    assert it.large.requests[0].path == "/v1/messages"
    assert it.large.requests[0].body == {**body, "model": "large-model"} if stream else True
    assert "x-corea-dropped" not in through.headers


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_anthropic_client_parses_the_same(name: str, stream: bool) -> None:
    anthropic = pytest.importorskip("anthropic")
    asked: Any = {"model": "corea/large", "max_tokens": 500, "messages": ask()["messages"]}

    async def parsed(base_url: str, http_client: Any = None) -> Any:
        made = anthropic.AsyncAnthropic(api_key="k", base_url=base_url, max_retries=0, http_client=http_client)
        async with made as client:
            if not stream:
                return await client.messages.create(**asked)
            async with client.messages.stream(**asked) as opened:
                return await opened.get_final_message()

    async with upstreams(served(CORPUS[name], stream), server=SPEAKS) as it:
        httpx2 = pytest.importorskip("httpx2")
        inside = httpx2.AsyncClient(transport=httpx2.ASGITransport(it.app))
        through = await parsed("http://gateway", inside)
        direct = await parsed(it.large.base_url.removesuffix("/v1"))
    assert through.to_dict(warnings=False) == direct.to_dict(warnings=False)


@pytest.mark.parametrize("stream", [False, True])
async def test_usage_and_costs_are_booked_as_the_server_counts_them(stream: bool) -> None:
    async with upstreams(served(CORPUS["a call"], stream), server=SPEAKS, large_stage={"price": PRICE}) as it:
        await post(it, model="corea/large", stream=stream)
    done = it.done[0]
    used = done.usage
    assert (used.prompt_tokens, used.cached_tokens, used.cache_write_tokens, used.cache_write_1h_tokens) == (
        420, 300, 100, 40
    )  # fmt: skip
    assert (used.completion_tokens, used.estimated) == (9, False)
    step = done.trace.steps[0]
    assert step.completion is not None
    assert done.trace.cost_usd == PRICE.cost(used)
    assert (step.completion.text, step.completion.finish_reason) == ("It is nineteen.", "tool_calls")
    assert step.completion.model == "claude-large"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_deferred_request_reaches_the_last_stage_as_it_came(stream: bool) -> None:
    async with upstreams(served(message(TEXT), stream), server=SPEAKS) as it:
        response = await post(it, stream=stream, thinking={"type": "adaptive"})
    assert len(it.small.requests) == 1
    body = ask(thinking={"type": "adaptive"}, model="large-model") | ({"stream": True} if stream else {})
    assert (it.large.requests[0].path, it.large.requests[0].body) == ("/v1/messages", body)
    assert events(response) == events(streamed(message(TEXT))) if stream else response.json() == message(TEXT)
    assert it.done[0].trace.deferred


async def test_a_kept_answer_is_translated() -> None:
    async with upstreams(small=KEPT, server=SPEAKS) as it:
        response = await post(it)
    assert response.json()["content"] == [{"type": "text", "text": "19"}]
    assert it.large.requests == []


@pytest.mark.parametrize("case", ["prompt", "hedge"])
async def test_a_stage_with_a_prompt_or_a_hedge_is_asked_by_chat(case: str) -> None:
    stage = {"prompt": load_prompt("answer_only")} if case == "prompt" else {}
    settings: dict[str, Any] = {} if case == "prompt" else {"hedge_seconds": 5.0}
    async with upstreams(Say("big"), server=SPEAKS, large_stage=stage, **settings) as it:
        response = await post(it, thinking={"type": "adaptive"})
    assert it.large.requests[0].path == "/v1/chat/completions"
    assert response.json()["content"] == [{"type": "text", "text": "big"}]
    assert response.headers["x-corea-dropped"] == "thinking"


async def test_fields_that_only_the_api_knows_reach_the_server_and_skip_the_small_model() -> None:
    tool = {"type": "web_search_20250305", "name": "web_search"}
    async with upstreams(served(message(TEXT), False), KEPT, server=SPEAKS) as it:
        response = await post(it, tools=[tool], mcp_servers=[{"url": "https://a.example"}])
    assert response.status_code == 200
    assert it.small.requests == []
    sent = it.large.requests[0].body
    assert (sent["tools"], sent["mcp_servers"]) == ([tool], [{"url": "https://a.example"}])
    assert it.done[0].trace.flags == ("small not asked: the request has messages API, tools",)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("known", [False, True])
async def test_searches_that_the_server_makes_are_booked_or_the_cost_is_flagged(stream: bool, known: bool) -> None:
    searched = message(TEXT, usage={**USAGE, "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1}})
    price = dataclasses.replace(PRICE, usd_per_web_search=Decimal("0.01")) if known else PRICE
    stage = {"price": price}
    tool = {"type": "web_search_20250305", "name": "web_search"}
    async with upstreams(served(searched, stream), server=SPEAKS, large_stage=stage) as it:
        await post(it, model="corea/large", tools=[tool], stream=stream)
        tokens = replace(it.done[0].usage, web_searches=0)
        assert (it.done[0].usage.web_searches, it.done[0].usage.tool_calls) == (2, 0)
        assert it.done[0].trace.cost_usd == PRICE.cost(tokens) + (Decimal("0.02") if known else 0)
        assert (COST_INCOMPLETE in it.done[0].trace.flags) is not known


async def test_the_headers_that_a_server_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LARGE_KEY", "sk-ant-upstream")
    server = {**SPEAKS, "api_key_env": "LARGE_KEY", "key_style": KeyStyle.X_API_KEY}
    headers = {"x-api-key": "corea-mine", "anthropic-beta": "a-2025,b-2026", "cookie": "c=1", "x-other": "1"}
    async with upstreams(served(message(TEXT), False), server=server) as it:
        await post(it, headers, model="corea/large", corea={"raw": True})
        await post(it, {**headers, "anthropic-version": "2024-01-01"}, model="corea/large")
    first, second = (request.headers for request in it.large.requests)
    assert (first["x-api-key"], first["anthropic-version"], first["anthropic-beta"]) == (
        "sk-ant-upstream", "2023-06-01", "a-2025,b-2026"
    )  # fmt: skip
    assert not {"cookie", "x-other", "authorization"} & {name.lower() for name in first}
    assert second["anthropic-version"] == "2024-01-01"
    assert it.large.requests[0].body == ask(model="large-model")


class Keyed(OpenAccounts):
    """Accounts of one key."""

    def identify(self, secret: str | None) -> Principal:
        return Principal(id="k1", policy=None)


async def test_the_operators_policies_apply() -> None:
    policies = {
        "default": {"max_tokens": 100, "force": {"top_k": 5}, "drop": ["metadata", "mcp_servers", "anthropic-beta"]}
    }
    async with upstreams(served(message(TEXT), False), server=SPEAKS, policies=policies) as it:
        response = await post(
            it,
            {"anthropic-beta": "context-1m-2025-08-07"},
            model="corea/large",
            metadata={"user_id": "u"},
            mcp_servers=[{"url": "u"}],
            top_k=9,
            top_p=0.5,
        )
        policies["default"] = {"allow": ["metadata"]}
    assert it.large.requests[0].body == ask(model="large-model", max_tokens=100, top_k=5, top_p=0.5)
    assert response.headers["x-corea-dropped"] == "anthropic-beta, mcp_servers, metadata"
    assert "anthropic-beta" not in it.large.requests[0].headers
    async with upstreams(served(message(TEXT), False), server=SPEAKS, policies=policies) as it:
        refused = await post(it, model="corea/large", thinking={"type": "adaptive"})
    assert (refused.status_code, refused.json()["error"]["message"]) == (
        400, "thinking is not supported here: the operator does not allow it."
    )  # fmt: skip
    async with upstreams(served(message(TEXT), False), server=SPEAKS, accounts=Keyed()) as it:
        response = await post(it, model="corea/large", service_tier="auto", speed="fast")
    assert it.large.requests[0].body == ask(model="large-model")
    assert response.headers["x-corea-dropped"] == "service_tier, speed"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (400, "invalid_request_error", "prompt is too long: 250000 tokens > 200000 maximum"),
        (413, "request_too_large", "prompt is too long: 250000 tokens > 200000 maximum"),
        (429, "rate_limit_error", "The model behind this server is over its rate limit; try again later."),
        (529, "overloaded_error", None),
        (500, "api_error", None),
    ],
)
async def test_errors_of_the_server(stream: bool, status: int, kind: str, told: str | None) -> None:
    upstream = {"type": kind, "message": "prompt is too long: 250000 tokens > 200000 maximum"}
    act = Fail(status, body={"type": "error", "error": upstream, "request_id": "req_1"}, retry_after="3")
    async with upstreams(act, server=SPEAKS) as it:
        response = await post(it, model="corea/large", stream=stream)
    error = response.json()["error"]
    assert error["type"] == kind
    assert told is None or error["message"] == told


async def test_an_error_within_a_stream() -> None:
    head = streamed(message(TEXT)).partition(b"event: content_block_stop")[0]
    fault = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    async with upstreams(Bytes(head + sse(fault), SSE), server=SPEAKS) as it:
        found = events(await post(it, model="corea/large", stream=True))
    assert found[:-1] == events(head)
    assert (found[-1]["type"], found[-1]["error"]["type"]) == ("error", "overloaded_error")


async def test_a_stream_without_its_end_is_an_error_and_booked() -> None:
    head = streamed(message(TEXT)).partition(b"event: message_delta")[0]
    async with upstreams(Bytes(head, SSE), server=SPEAKS) as it:
        found = events(await post(it, model="corea/large", stream=True))
    assert found[-1]["error"]["type"] == "api_error"
    used = it.done[0].usage
    assert (used.prompt_tokens, used.cached_tokens, used.completion_tokens, used.estimated) == (420, 300, 4, True)


async def test_a_client_that_disconnects_is_booked_what_was_received() -> None:
    words = [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "word "}}] * 40
    start = events(streamed(message(TEXT)))[:3]
    async with upstreams(Drip(sse(*start, *words)), server=SPEAKS, large_stage={"price": PRICE}) as it:
        gone = asyncio.Event()
        body = [{"type": "http.request", "body": json.dumps(ask(model="corea/large", stream=True)).encode()}]
        seen = bytearray()

        async def receive() -> Any:
            if body:
                return body.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(sent: Any) -> None:
            seen.extend(sent.get("body", b""))
            if seen.count(b'"word "') == 40:
                gone.set()

        scope = {
            "type": "http", "method": "POST", "path": "/v1/messages", "raw_path": b"/v1/messages", "query_string": b"",
            "headers": [], "http_version": "1.1", "scheme": "http", "root_path": "",
        }  # fmt: skip
        await it.app(scope, receive, send)
    done = it.done[0]
    assert done.client_disconnected
    # 200 bytes of text are 50 tokens; the server said 20 + 100 + 300 of the prompt, and nothing final of the answer
    assert (done.usage.prompt_tokens, done.usage.cached_tokens, done.usage.completion_tokens) == (420, 300, 50)
    assert done.trace.cost_usd == PRICE.cost(done.usage)


async def test_the_server_counts_tokens_where_it_can() -> None:
    async with upstreams(Bytes(b'{"input_tokens": 77}'), server=SPEAKS) as it:
        body = ask(system="Be brief.", tools=[TOOL], temperature=0.5)
        counted = await it.request("POST", "/v1/messages/count_tokens", json=body)
        it.large.otherwise = Fail(404, "no such path")
        estimated = await it.request("POST", "/v1/messages/count_tokens", json=body)
        it.large.otherwise = Bytes(b'{"input_tokens": -1}')
        wrong = await it.request("POST", "/v1/messages/count_tokens", json=body)
    assert counted.json() == {"input_tokens": 77}
    assert "x-corea-estimated" not in counted.headers
    sent = it.large.requests[0]
    assert sent.path == "/v1/messages/count_tokens"
    assert sent.body == {
        "model": "large-model", "system": "Be brief.", "tools": [TOOL], "messages": body["messages"]
    }  # fmt: skip
    assert estimated.headers["x-corea-estimated"] == wrong.headers["x-corea-estimated"] == "true"
    assert estimated.json() == wrong.json() != {"input_tokens": 77}
    assert it.done == []


async def test_the_answer_cache_holds_no_answer_that_was_passed_on() -> None:
    async with upstreams(served(message(TEXT), False), server=SPEAKS, cache={"entries": 5}) as it:
        for _ in range(2):
            assert (await post(it, model="corea/large", temperature=0)).json() == message(TEXT)
    assert len(it.large.requests) == 2


async def test_a_server_that_answers_a_stream_with_a_whole_message_is_read() -> None:
    async with FakeServer(served(message(TEXT), False)) as server:
        settings = OpenAISettings(base_url=server.base_url, model="m", apis=("messages",), stream=True)
        backend = OpenAIBackend(settings)
        native = NativeRequest(api="messages", body=ask(), server=backend)
        question = Question(id="q", messages=(), native=native)
        pieces = [piece async for piece in backend.stream(question, Sampling())]
        whole = await backend.complete(question, Sampling(max_tokens=5))
        await backend.close()
    assert isinstance(pieces[-1], Completion)
    assert (pieces[-1].text, whole.text) == ("It is nineteen.", "It is nineteen.")
    assert [request.body.get("stream") for request in server.requests] == [True, None]
    assert server.requests[1].body["max_tokens"] == 5


def test_usage_of_the_corpus_is_what_the_tests_say() -> None:
    assert USAGE["input_tokens"] + USAGE["cache_creation_input_tokens"] + USAGE["cache_read_input_tokens"] == 420


async def test_one_of_several_servers_is_sent_the_request_as_it_came() -> None:
    async with FakeServer(Fail(500, "no luck")) as broken, FakeServer(served(message(TEXT), False)) as works:
        settings = OpenAISettings(model="m", apis=("messages",), max_retries=0)
        backend = Deployments(settings, [broken.base_url, works.base_url])
        native = NativeRequest(api="messages", body=ask(), server=backend)
        completion = await backend.complete(Question(id="q", messages=(), native=native), Sampling())
        works.otherwise = Bytes(b'{"input_tokens": 7}')
        broken.otherwise = Bytes(b'{"input_tokens": 7}')
        counted = await backend.count_tokens(ask(), {})
        await backend.close()
    assert (completion.text, completion.retries) == ("It is nineteen.", 1)
    assert broken.requests[0].path == works.requests[0].path == "/v1/messages"
    assert works.requests[0].body == ask(model="m")
    assert (counted, backend.apis) == (7, ("messages",))
