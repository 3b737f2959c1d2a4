"""Whatever comes from a client or a server in OpenAI's other APIs: it is read or refused, never a fault of ours."""

import json
from typing import Any

import msgspec
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from tests.fakes.server import SSE, Bytes
from tests.fuzzing import examples
from tests.gateway.chat.upstreams import KEPT, upstreams

from corea.backends.openai.responses_api import read_event
from corea.backends.openai.texts_api import CompletionsReader, read_embeddings
from corea.gateway.apis.responses import responses_request
from corea.gateway.apis.responses_stream import RESPONSES, ResponseAnswers
from corea.gateway.apis.texts import COMPLETIONS, EMBEDDINGS
from corea.gateway.chat.request import chat_request
from corea.gateway.errors import GatewayError

LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def of(types: list[str], *fields: str, **more: Any) -> Any:
    """Objects of these types with some of the fields, each with any value."""
    optional = {**dict.fromkeys(fields, VALUES), **more}
    return st.fixed_dictionaries({"type": st.sampled_from(types) | VALUES}, optional=optional)


PART = of(
    ["input_text", "input_image", "input_file", "input_audio", "output_text", "refusal", "reasoning_text", "other"],
    "text", "image_url", "detail", "file_data", "filename", "input_audio", "refusal", "annotations",
)  # fmt: skip
CONTENT = VALUES | st.lists(PART, max_size=3)
ITEM = of(
    ["message", "reasoning", "function_call", "function_call_output", "item_reference", "other"],
    "call_id", "name", "arguments", "id", "summary",
    role=st.sampled_from(["user", "assistant", "developer"]) | VALUES, content=CONTENT, output=CONTENT,
    encrypted_content=VALUES | st.sampled_from(["corea.e30=", "corea.eyJyZWFzb25pbmciOjV9", "corea.\u00e9", "gAAA"]),
)  # fmt: skip
TOOL = of(["function", "web_search"], "name", "description", "parameters", "strict")
FIELDS = (
    "instructions", "tool_choice", "parallel_tool_calls", "max_output_tokens", "top_logprobs", "text", "reasoning",
    "include", "metadata", "stream", "store", "corea", "temperature", "previous_response_id", "n", "stop", "seed",
)  # fmt: skip
BODIES = st.fixed_dictionaries(
    {"model": st.just("corea"), "input": VALUES | st.lists(ITEM, min_size=1, max_size=4)},
    optional={
        **dict.fromkeys(FIELDS, VALUES), "tools": VALUES | st.lists(TOOL, max_size=2),
        "tool_choice": VALUES | of(["function", "allowed_tools"], "name", "tools", "mode"),
    },
)  # fmt: skip
PIECE = st.dictionaries(
    st.sampled_from(
        ["content", "reasoning_content", "reasoning", "reasoning_details", "refusal", "annotations", "tool_calls"]
    ),
    VALUES | st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(("index", "id", "function", "type"), VALUES))),
)
EVENT = of(
    ["response.created", "response.output_text.delta", "response.output_item.added", "response.completed",
     "response.incomplete", "response.failed", "response.function_call_arguments.delta", "error"],
    "delta", "output_index", "code", "object",
    item=VALUES | ITEM,
    response=VALUES | st.fixed_dictionaries({}, optional={
        **dict.fromkeys(("id", "model", "status", "usage", "error", "incomplete_details"), VALUES),
        "output": VALUES | st.lists(ITEM, max_size=2)}),
)  # fmt: skip
WHOLE = st.fixed_dictionaries(
    {"object": st.just("response")},
    optional={**dict.fromkeys(("model", "status", "usage", "error", "incomplete_details"), VALUES),
              "output": VALUES | st.lists(ITEM, max_size=3)},
)  # fmt: skip


@examples(40, suppress_health_check=list(HealthCheck))
@given(BODIES)
def test_a_responses_request_is_translated_or_refused(body: dict[str, Any]) -> None:
    try:
        found = responses_request(msgspec.json.decode(msgspec.json.encode(body)))
        chat_request(msgspec.json.decode(msgspec.json.encode(found.chat)))
    except GatewayError as error:
        assert error.status == 400
        assert RESPONSES.error(error.body()["error"], 400, "r")["error"]["message"]


@examples(40, suppress_health_check=list(HealthCheck))
@given(st.lists(PIECE, min_size=1, max_size=4))
def test_any_chat_answer_is_a_response_whole_or_streamed(pieces: list[dict[str, Any]]) -> None:
    request = responses_request({"model": "corea", "input": "12?", "include": ["reasoning.encrypted_content"]})
    head = {"id": "chatcmpl-t", "created": 5}
    whole = ResponseAnswers(request).whole({**head, "choices": [{"message": pieces[0], "finish_reason": "stop"}]})
    assert whole["status"] == "completed"
    answers = ResponseAnswers(request)
    found = [e for piece in pieces for e in answers.events({**head, "choices": [{"delta": piece}]})]
    found += answers.end()
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    done = [event["item"] for event in found if event["type"] == "response.output_item.done"]
    assert sorted(item["id"] for item in done) == sorted(item["id"] for item in found[-1]["response"]["output"])
    msgspec.json.encode(found)


@examples(40, suppress_health_check=list(HealthCheck))
@given(st.lists(EVENT | WHOLE, max_size=3))
def test_any_event_of_a_server_is_read(found: list[dict[str, Any]]) -> None:
    for event in found:
        reply = read_event(msgspec.json.encode(event))
        assert reply.choices is not None or event.get("status") == "failed" or not isinstance(event.get("type"), str)


@examples(40, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(
        st.sampled_from(["prompt", "input", "max_tokens", "n", "best_of", "stream", "stream_options", "corea"]),
        VALUES,
    )
)
def test_a_request_for_texts_is_taken_or_refused(fields: dict[str, Any]) -> None:
    for api in (COMPLETIONS, EMBEDDINGS):
        try:
            chat_request(api.translate({"model": "corea", **fields}, cache_control=False).chat)
        except GatewayError as error:
            assert error.status == 400
        else:
            CompletionsReader(fields)


async def test_garbage_of_a_server_is_an_error_of_openais_form() -> None:
    server = {"apis": ["responses", "completions", "embeddings"]}
    for body in (
        b"",
        b"nonsense",
        b"[]",
        b"{}",
        json.dumps({"type": 5}).encode(),
        b'{"choices": 5}',
        b'{"object": 1}',
        b'{"type": "\xc5"}',
        b'{"type": ' + b"[" * 5_000,
    ):
        async with upstreams(Bytes(body), KEPT, server=server) as it:
            if body == b"{}":
                it.large.script = [Bytes(b'{"type": "x"}')]  # an event instead of a response
            for path, field in (("responses", "input"), ("completions", "prompt"), ("embeddings", "input")):
                for stream in (False, *((True,) if path != "embeddings" else ())):
                    asked = {"model": "corea/large", field: "12?", "stream": stream}
                    response = await it.request("POST", f"/v1/{path}", json=asked)
                    assert response.status_code == 502, (path, body, response.text)
                    assert response.json()["error"]["code"] == "upstream_error"


async def test_a_stream_without_an_end_is_an_error() -> None:
    event = json.dumps({"type": "response.created", "response": {"id": "r"}, "sequence_number": 0})
    async with upstreams(Bytes(f"data: {event}\n\n".encode(), SSE), server={"apis": ["responses"]}) as it:
        sent = {"model": "corea/large", "input": "12?", "stream": True}
        response = await it.request("POST", "/v1/responses", json=sent)
    last = json.loads(response.content.decode().strip().rpartition("\n")[2].removeprefix("data: "))
    assert (last["type"], last["code"], last["sequence_number"]) == ("error", "server_error", 1)


def test_an_embedding_without_data_is_an_error() -> None:
    assert read_embeddings(b'{"error": {"message": "no"}}').error == {"message": "no"}
    assert read_embeddings(b"{}").choices is None
