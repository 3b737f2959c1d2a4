"""Whatever bytes come, from the client or from a server that speaks the Messages API: an answer in the API's form."""

import json
from typing import Any

import msgspec
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from tests.fakes.server import SSE, Bytes
from tests.fuzzing import examples
from tests.gateway.apis.messages_wire import TOOL, message, post, sse
from tests.gateway.chat.upstreams import KEPT, upstreams

from corea.backends.openai.messages_api import MessagesReader
from corea.gateway.apis.messages import MESSAGES
from corea.gateway.chat.request import chat_request
from corea.gateway.errors import GatewayError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
KINDS = ["text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking", "other"]
BLOCK = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS) | VALUES},
    optional=dict.fromkeys(
        ("text", "source", "id", "name", "input", "tool_use_id", "content", "is_error", "thinking", "signature"), VALUES
    ),
)
TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]) | VALUES, "content": VALUES | st.lists(BLOCK, max_size=3)}
)
FIELDS = (
    "system", "temperature", "top_p", "top_k", "stop_sequences", "stream", "tool_choice", "metadata", "thinking",
    "output_config", "output_format", "service_tier", "mcp_servers", "cache_control", "corea", "n", "models",
)  # fmt: skip
BODIES = st.fixed_dictionaries(
    {"model": st.just("corea"), "max_tokens": st.just(500) | VALUES, "messages": st.lists(TURN, max_size=3) | VALUES},
    optional={**dict.fromkeys(FIELDS, VALUES), "tools": VALUES | st.lists(st.just(TOOL) | BLOCK, max_size=2)},
)
EVENT = st.fixed_dictionaries(
    {"type": st.sampled_from(
        ["message", "message_start", "content_block_start", "content_block_delta", "message_delta", "error", "ping"]
    ) | VALUES},
    optional={
        **dict.fromkeys(("message", "content", "usage", "error", "index", "stop_reason"), VALUES),
        "delta": VALUES | BLOCK, "content_block": VALUES | BLOCK,
    },
)  # fmt: skip


@examples(60, suppress_health_check=list(HealthCheck))
@given(BODIES, st.booleans())
def test_a_request_is_translated_or_refused(body: dict[str, Any], cache_control: bool) -> None:
    try:
        found = MESSAGES.translate(body, cache_control=cache_control)
        chat_request(msgspec.json.decode(msgspec.json.encode(found.chat)))
    except GatewayError as error:
        assert error.status == 400
        told = MESSAGES.error(error.body()["error"], error.status, "r")
        assert (told["type"], told["error"]["type"]) == ("error", "invalid_request_error")


@examples(60, suppress_health_check=list(HealthCheck))
@given(st.lists(EVENT, max_size=4))
def test_any_event_of_a_server_is_read(found: list[dict[str, Any]]) -> None:
    read = MessagesReader()
    for event in found:
        reply = read(msgspec.json.encode(event))
        assert reply.error is not None or reply.choices is not None or not isinstance(event["type"], str)


async def test_garbage_of_a_server_is_an_error_of_the_api() -> None:
    bodies = (b"", b"nonsense", b"[]", b"{}", json.dumps({"type": 5}).encode(), b'{"object": "chat.completion"}')
    for body in (*bodies, b'{"type": "\xc5"}', b'{"type": ' + b"[" * 5_000):
        async with upstreams(Bytes(body), KEPT, server={"apis": ["messages"]}) as it:
            for stream in (False, True):
                response = await post(it, model="corea/large", stream=stream)
                assert response.status_code == 502, (body, response.text)
                assert response.json()["error"]["type"] == "api_error"


async def test_events_without_an_end_are_an_error_of_the_stream() -> None:
    head = {"type": "message_start", "message": message(stop_reason=None)}
    async with upstreams(Bytes(sse(head), SSE), server={"apis": ["messages"]}) as it:
        response = await post(it, model="corea/large", stream=True)
    last = response.content.decode().strip().rpartition("\n")[2].removeprefix("data: ")
    assert json.loads(last)["error"]["type"] == "api_error"
