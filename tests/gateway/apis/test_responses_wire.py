"""The Responses API over the wire: kept, deferred, asked directly, passed through; what is sent up and booked."""

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest
from tests.fakes.server import SSE, Bytes, Drip, Fail, Say
from tests.gateway.chat.upstreams import DEFERRED, KEPT, Upstreams, streamed, upstreams, whole

from corea.gateway.ops.policies import RequestPolicy
from corea.prices import Price

TOOL = {"type": "function", "name": "add", "parameters": {"type": "object"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
NATIVE = {"apis": ["chat", "responses"]}


async def ask(it: Upstreams, *, headers: dict[str, str] | None = None, **body: Any) -> Any:
    """A response, whole or of a stream's last event."""
    body = {"model": "corea", "input": "12 + 7?", **body}
    response = await it.request("POST", "/v1/responses", json=body, headers=headers)
    assert response.status_code == 200, response.text
    if not body.get("stream"):
        return response.json()
    found = sse(response.content)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found[-1]["response"]


def sse(body: bytes) -> list[dict[str, Any]]:
    """The events of a stream, each of which has its type twice; comments are left out."""
    blocks = [block.split("\n") for block in body.decode().split("\n\n") if block and not block.startswith(":")]
    found = [json.loads(data.removeprefix("data: ")) for _, data in blocks]
    assert [name.removeprefix("event: ") for name, _ in blocks] == [event["type"] for event in found]
    return found


def texts(response: Any) -> list[tuple[str, Any]]:
    """Type and text, or arguments, of each item."""

    def of(item: Any) -> Any:
        if item["type"] == "function_call":
            return item["name"], item["arguments"]
        return "".join(part.get("text") or part.get("refusal") for part in item["content"])

    return [(item["type"], of(item)) for item in response["output"]]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_kept_and_a_deferred_answer(stream: bool) -> None:
    async with upstreams(Say("nineteen"), KEPT) as it:
        kept = await ask(it, stream=stream, instructions="Be kind.")
        assert (texts(kept), kept["status"], kept["corea"]["stage"]) == ([("message", "19")], "completed", "small")
        assert kept["usage"]["total_tokens"] == kept["usage"]["input_tokens"] + kept["usage"]["output_tokens"] > 0
        assert it.small.requests[0].body["messages"][0]["content"].startswith("Be kind.")
    async with upstreams(Say("nine teen")) as it:
        deferred = await ask(it, stream=stream, instructions="Be kind.", max_output_tokens=99, temperature=0.5)
        assert (texts(deferred), deferred["corea"]["deferred"]) == ([("message", "nine teen")], True)
        system = {"role": "system", "content": "Be kind."}
        more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        assert it.large.requests[0].body == {
            "model": "large-model", "messages": [system, {"role": "user", "content": "12 + 7?"}],
            "max_tokens": 99, "temperature": 0.5, **more,
        }  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_a_loop_of_two_turns_with_a_tool_and_an_upstream_that_demands_its_reasoning_back(
    stream: bool, name: str
) -> None:
    message = {"content": None, name: "hm", "tool_calls": [CALL]}
    deltas = [{name: "h"}, {name: "m"}, {"tool_calls": [{"index": 0, **CALL}]}]
    act = streamed(*deltas, finish="tool_calls") if stream else whole(message, finish_reason="tool_calls")
    asked: Any = {"tools": [TOOL], "stream": stream, "store": False, "include": ["reasoning.encrypted_content"]}
    async with upstreams(act) as it:
        first = await ask(it, **asked)
        assert texts(first) == [("reasoning", "hm"), ("function_call", ("add", '{"a": 1}'))]
        it.large.otherwise = Say("nineteen")
        output = {"type": "function_call_output", "call_id": first["output"][1]["call_id"], "output": "19"}
        history = [{"role": "user", "content": "12 + 7?"}, *first["output"], output]
        assert texts(await ask(it, **{**asked, "input": history})) == [("message", "nineteen")]
    sent = it.large.requests[1].body
    assert sent["messages"] == [
        {"role": "user", "content": "12 + 7?"},
        {"role": "assistant", "content": None, name: "hm", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "19"},
    ]
    assert sent["tools"] == [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
    assert it.small.requests == []


async def test_a_form_and_a_stage_that_accepts_it() -> None:
    form = {"type": "json_schema", "name": "sum", "schema": {"type": "object"}, "strict": True}
    async with upstreams(Say('{"sum": 19}'), KEPT, accepts={"small": ["structured"]}) as it:
        assert texts(await ask(it, model="corea/large", text={"format": form})) == [("message", '{"sum": 19}')]
        await ask(it, text={"format": form})
    wanted = {"type": "json_schema", "json_schema": {k: v for k, v in form.items() if k != "type"}}
    assert [server.requests[0].body["response_format"] for server in (it.large, it.small)] == [wanted, wanted]


@pytest.mark.parametrize("stream", [False, True])
async def test_errors_have_openais_form_and_the_clients_own_field(stream: bool) -> None:
    fault = {"error": {"message": "too long", "code": "context_length_exceeded", "param": "messages"}}
    async with upstreams(Fail(400, body=fault)) as it:
        for body, status, code, param in (
            ({"previous_response_id": "resp_1"}, 400, "unsupported_parameter", "previous_response_id"),
            ({"input": [{"type": "item_reference", "id": "i"}]}, 400, "unsupported_parameter", "input[0]"),
            ({"max_output_tokens": 0}, 400, "invalid_value", "max_output_tokens"),
            ({"temperature": 3}, 400, "invalid_value", "temperature"),
            ({"model": "gpt-9"}, 404, "model_not_found", "model"),
            ({}, 400, "context_length_exceeded", "input"),
        ):
            sent = {"model": "corea", "input": "12 + 7?", "stream": stream, **body}
            response = await it.request("POST", "/v1/responses", json=sent)
            error = response.json()["error"]
            assert (response.status_code, error["code"], error["param"]) == (status, code, param)
            assert "\n" not in error["message"]


async def test_a_stream_that_breaks_off_ends_as_failed() -> None:
    async with upstreams(Say("nine teen", break_after=1)) as it:
        response = await it.request("POST", "/v1/responses", json={"model": "corea", "input": "12?", "stream": True})
    found = sse(response.content)
    assert (found[0]["type"], found[-1]["type"]) == ("response.created", "response.failed")
    assert found[-1]["response"]["error"]["code"] == "server_error"
    assert found[-1]["response"]["id"] == found[0]["response"]["id"]
    assert [event["delta"] for event in found if "delta" in event] == ["nine"]


async def test_a_conversation_is_the_thread_that_codex_names() -> None:
    headers = {"thread-id": "t", "session-id": "s"}
    async with upstreams(sticky_turns=1) as it:
        await ask(it, headers=headers)
        assert (await ask(it, input="13?", headers=headers))["corea"]["flags"] == ["sticky"]
        assert (await ask(it, input="14?", headers={**headers, "thread-id": "u"}))["corea"]["flags"] == []


RESPONSE: dict[str, Any] = {
    "id": "resp_up", "object": "response", "created_at": 5.0, "status": "completed", "model": "gpt-up", "error": None,
    "incomplete_details": None, "instructions": None, "metadata": {}, "parallel_tool_calls": True, "temperature": 1.0,
    "tool_choice": "auto", "tools": [{"type": "web_search"}], "top_p": 1.0, "made_up": [1, {"a": None}],
    "output": [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}],
         "encrypted_content": "gAAAA"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [
            {"type": "output_text", "text": "nine teen", "annotations": [{"type": "url_citation", "url": "u",
             "title": "t", "start_index": 0, "end_index": 4}], "logprobs": []}]},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "add", "arguments": "{}",
         "status": "completed"},
    ],
    "usage": {"input_tokens": 50, "input_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 0},
              "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 57},
}  # fmt: skip
REFUSED = {**RESPONSE, "output": [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                                   "content": [{"type": "refusal", "refusal": "No."}]}]}  # fmt: skip
CUT = {**RESPONSE, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"},
       "output": RESPONSE["output"][:1]}  # fmt: skip
CORPUS = [RESPONSE, REFUSED, CUT, {**RESPONSE, "usage": None}]


def native_events(response: dict[str, Any]) -> list[dict[str, Any]]:
    """The stream of a response, as OpenAI sends it."""
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    found: list[dict[str, Any]] = [
        {"type": f"response.{kind}", "response": begun} for kind in ("created", "in_progress")
    ]
    for index, item in enumerate(response["output"]):
        place = {"output_index": index, "item_id": item["id"]}
        empty = {**item, **({"content": []} if "content" in item else {})}
        found.append({"type": "response.output_item.added", "output_index": index, "item": empty})
        parts: list[dict[str, Any]] = item.get("content") or []
        for number, part in enumerate(parts):
            place["content_index"] = number
            text = {"text": ""} if "text" in part else {"refusal": ""}
            found.append({"type": "response.content_part.added", **place, "part": {**part, **text}})
            kind = "output_text" if "text" in part else "refusal"
            for piece in (part.get("text") or part["refusal"]).split(" "):
                found.append({"type": f"response.{kind}.delta", **place, "delta": piece, "logprobs": [], "x": 1})
            found.append({"type": "response.content_part.done", **place, "part": part})
        if item["type"] == "function_call":
            found.append({"type": "response.function_call_arguments.delta", **place, "delta": item["arguments"]})
        found.append({"type": "response.output_item.done", "output_index": index, "item": item})
    found.append({"type": f"response.{response['status']}", "response": response})
    return [{**event, "sequence_number": number} for number, event in enumerate(found)]


def as_sse(events: list[dict[str, Any]]) -> bytes:
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()


def parsed(response: Any) -> Any:
    """The object of openai's Python client."""
    return pytest.importorskip("openai.types.responses").Response.construct(**response).to_dict(warnings=False)


def accumulated(events: list[dict[str, Any]]) -> Any:
    """What openai's Python client makes of a stream: each event, and the final response."""
    types = pytest.importorskip("openai.types.responses")
    from openai._models import construct_type
    from openai.lib.streaming.responses._responses import ResponseStreamState

    state: Any = ResponseStreamState(input_tools=[], text_format=pytest.importorskip("openai").omit)
    made: list[Any] = []
    for event in events:
        built: Any = construct_type(type_=types.ResponseStreamEvent, value=event)
        made += [each.to_dict(warnings=False) for each in state.handle_event(built)]
    return made


@pytest.mark.parametrize("response", CORPUS, ids=["all", "refusal", "cut", "no usage"])
async def test_openais_client_makes_the_same_object_with_and_without_the_gateway(response: dict[str, Any]) -> None:
    async with upstreams(Bytes(json.dumps(response).encode()), server=NATIVE, passthrough={"gpt": "large"}) as it:
        for model in ("gpt", "corea/large"):
            assert parsed(await ask(it, model=model)) == parsed(response)
        it.large.otherwise = Bytes(as_sse(native_events(response)), SSE)
        for model in ("gpt", "corea/large", "corea"):
            body = {"model": model, "input": "12 + 7?", "stream": True}
            given = await it.request("POST", "/v1/responses", json=body)
            assert sse(given.content) == native_events(response)
            assert accumulated(sse(given.content)) == accumulated(native_events(response))
    usage = it.done[0].usage
    if response["usage"]:
        assert {(done.usage.prompt_tokens, done.usage.completion_tokens) for done in it.done[:4]} == {(50, 7)}
        assert (usage.cached_tokens, usage.reasoning_tokens) == (20, 2)


async def test_a_server_that_speaks_the_api_is_sent_the_request_as_it_came() -> None:
    body = {
        "input": [{"type": "item_reference", "id": "i"}, {"type": "computer_call_output", "call_id": "c"}],
        "tools": [{"type": "web_search"}, TOOL], "previous_response_id": "resp_1", "store": True,
        "metadata": {"a": "b"},
        "include": ["reasoning.encrypted_content"], "text": {"verbosity": "low"}, "made_up": [1],
    }  # fmt: skip
    async with upstreams(Bytes(json.dumps(RESPONSE).encode()), server=NATIVE) as it:
        sent = {"model": "corea/large", **body, "corea": {"raw": True}}
        headers = {"session-id": "s", "x-other": "o"}
        response = await it.request("POST", "/v1/responses", json=sent, headers=headers)
        assert response.json() == RESPONSE
        assert "x-corea-dropped" not in response.headers
        assert (await ask(it, **body))["id"] == "resp_up"  # of a cascade, the last stage alone can take it
    for asked in it.large.requests:
        assert asked.path.endswith("/responses")
        assert asked.body == {"model": "large-model", **body}
    assert (it.large.requests[0].headers.get("session-id"), it.large.requests[0].headers.get("x-other")) == ("s", None)
    assert it.small.requests == []


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_that_run_at_the_server_are_counted_and_priced(stream: bool) -> None:
    opened = {"type": "web_search_call", "id": "ws_2", "status": "completed", "action": {"type": "open_page"}}
    found = {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["q"]}
    response = {**RESPONSE, "output": [*RESPONSE["output"], opened, found]}
    price = Price(usd_per_web_search=Decimal("0.01"), usd_per_tool_call=Decimal("0.0025"))
    answer = Bytes(as_sse(native_events(response)), SSE) if stream else Bytes(json.dumps(response).encode())
    async with upstreams(answer, server=NATIVE, large_stage={"price": price}) as it:
        await it.request("POST", "/v1/responses", json={"model": "corea/large", "input": "12?", "stream": stream})
    done = it.done[0]
    assert (done.usage.web_searches, done.usage.tool_calls) == (1, 1)
    assert (done.trace.cost_usd, done.trace.flags) == (Decimal("0.0125"), ())


async def test_a_policy_that_drops_store_keeps_an_answer_from_being_stored() -> None:
    async with upstreams(
        Bytes(json.dumps(RESPONSE).encode()), server=NATIVE, policies={"default": RequestPolicy(drop=("store",))}
    ) as it:
        for more, dropped in (({"store": True}, "store"), ({}, None)):
            response = await it.request("POST", "/v1/responses", json={"model": "corea/large", "input": "1", **more})
            assert response.headers.get("x-corea-dropped") == dropped
    assert [asked.body["store"] for asked in it.large.requests] == [False, False]


async def test_a_failed_response_of_the_server_is_an_error_and_its_use_is_booked() -> None:
    failed = {**RESPONSE, "status": "failed", "error": {"code": "rate_limit_exceeded", "message": "Slow down."}}
    async with upstreams(Bytes(json.dumps(failed).encode()), server=NATIVE) as it:
        response = await it.request("POST", "/v1/responses", json={"model": "corea/large", "input": "12?"})
        assert (response.status_code, response.json()["error"]["code"]) == (429, "upstream_rate_limited")
        events = native_events(RESPONSE)[:-1]
        events.append({"type": "response.failed", "response": failed, "sequence_number": len(events)})
        it.large.otherwise = Bytes(as_sse(events), SSE)
        sent = {"model": "corea/large", "input": "12?", "stream": True}
        found = sse((await it.request("POST", "/v1/responses", json=sent)).content)
    assert found[:-1] == events
    assert (found[-1]["type"], found[-1]["sequence_number"]) == ("error", len(events))
    assert [(done.usage.prompt_tokens, done.usage.completion_tokens) for done in it.done] == [(50, 7), (50, 7)]


@pytest.mark.parametrize("native", [False, True])
async def test_a_client_that_disconnects_pays_for_what_it_was_sent(native: bool) -> None:
    pieces = [{"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "add", "arguments": "x"}}]}] * 50
    begun = streamed(*pieces).body.partition(b'data: {"choices": [{"index": 0, "delta": {}')[0]
    if native:
        delta = {"type": "response.function_call_arguments.delta", "output_index": 0, "item_id": "f", "delta": "x"}
        begun = as_sse([*native_events({**RESPONSE, "output": []})[:2], *[delta] * 50])
    async with upstreams(Drip(begun), server=NATIVE if native else {}) as it:
        seen, count = asyncio.Event(), list[int]()
        asked = json.dumps({"model": "corea/large", "stream": True, "input": "12?"}).encode()
        first = [{"type": "http.request", "body": asked, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if first:
                return first.pop()
            await seen.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            count.append(message.get("body", b"").count(b"event: response.function_call_arguments.delta"))
            if sum(count) >= 50:
                seen.set()

        scope = {"type": "http", "method": "POST", "path": "/v1/responses", "headers": [], "query_string": b""}
        await it.app(scope, receive, send)
    events = 2 if native else 0  # the two before: an estimate counts each event of a server as a token
    assert (it.done[0].usage.completion_tokens, it.done[0].client_disconnected) == (50 + events, True)


async def test_a_draft_is_never_seen_by_a_server_that_speaks_the_api() -> None:
    async with upstreams(Bytes(json.dumps(RESPONSE).encode()), KEPT, server=NATIVE) as it:
        assert texts(await ask(it)) == [("message", "19")]
        assert it.large.requests == []
        it.small.otherwise = DEFERRED
        assert (await ask(it))["id"] == "resp_up"
    assert it.small.requests[0].path.endswith("/chat/completions")
