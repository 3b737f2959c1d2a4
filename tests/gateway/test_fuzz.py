"""Whatever bytes come, from the client or from upstream, the gateway answers in OpenAI's form and stays alive."""

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from tests.fakes.server import SSE, Bytes, Fail, FakeServer, Say
from tests.fuzzing import examples

from corea.backends.fake import FakeBackend
from corea.backends.openai.client import OpenAIBackend, OpenAISettings
from corea.cascade import Cascade, Stage
from corea.gateway.billing.auth import OpenAccounts
from corea.gateway.chat.request_state import CompletedRequest
from corea.gateway.chat.routing import RoutingTable
from corea.gateway.chat.service import ChatService
from corea.gateway.ops.settings import GatewaySettings, GatewayTimeouts
from corea.gateway.server.app import GatewayApp
from corea.policies.threshold import Threshold
from corea.prices import Price
from corea.protocols import Backend
from corea.signals.verbalized import Verbalized

SURE = "<think>12 + 7 = 19</think><answer>19</answer><confidence>0.9</confidence>"
SETTINGS = examples(80, suppress_health_check=list(HealthCheck))
WORTH = Price(input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(2))

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELDS = (
    "stream", "stream_options", "n", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed",
    "logprobs", "top_logprobs", "corea", "tools", "tool_choice", "response_format", "user", "metadata", "functions",
)  # fmt: skip
MESSAGE = st.one_of(
    JSON_VALUES,
    st.fixed_dictionaries(
        {},
        optional={
            "role": st.sampled_from(["user", "system", "assistant", "tool", "developer", "function", "wizard"]),
            "content": JSON_VALUES,
            "tool_calls": JSON_VALUES,
            "name": JSON_VALUES,
        },
    ),
)
BODIES = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["corea", "corea/0", "corea/1", "corea/small", "corea/9"]) | JSON_VALUES,
        "messages": st.just([{"role": "user", "content": "12 + 7?"}]) | st.lists(MESSAGE, max_size=4) | JSON_VALUES,
    },
    optional=dict.fromkeys(FIELDS, JSON_VALUES),
)
HEADERS = st.dictionaries(
    st.sampled_from(["authorization", "api-key", "content-type", "content-length", "accept", "x-any", "expect"]),
    st.binary(max_size=40).map(lambda b: b.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"").strip()),
)


def gateway(small: Backend, large: Backend, done: list[CompletedRequest] | None = None) -> Any:
    stages = (
        Stage(name="small", backend=small, signal=Verbalized(), policy=Threshold(0.8), price=WORTH),
        Stage(name="large", backend=large, price=WORTH),
    )
    configured = GatewaySettings(timeouts=GatewayTimeouts(read_seconds=2))
    record: Callable[[CompletedRequest], None] = (
        (lambda ended: done.append(ended)) if done is not None else (lambda ended: None)
    )
    routes = RoutingTable({"corea": Cascade(stages=stages, name="corea")}, configured)
    chat = ChatService(routes, configured, OpenAccounts(), record=record)
    made = GatewayApp(chat)
    made.ready = True
    return made


APP = gateway(FakeBackend("small", SURE), FakeBackend("large", "It is nineteen."))


def check(response: httpx.Response) -> None:
    """A whole answer, a whole stream, or an error as OpenAI writes it; never an error of ours."""
    assert response.status_code < 500, response.text
    if response.status_code == 200 and response.headers["content-type"].startswith("text/event-stream"):
        assert response.text.endswith("data: [DONE]\n\n")
    elif response.status_code == 200:
        assert response.json()["object"] == "chat.completion"
    else:
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def post(
    app: Any, content: bytes, headers: dict[str, bytes] | None = None, path: str = "/v1/chat/completions"
) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            raw = [(name.encode(), value) for name, value in (headers or {}).items()]
            return await client.post(path, content=content, headers=raw)

    return asyncio.run(send())


@SETTINGS
@given(st.binary(max_size=200) | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_answered(body: bytes) -> None:
    check(post(APP, body))


@SETTINGS
@given(BODIES)
def test_any_field_may_hold_anything(body: Any) -> None:
    check(post(APP, json.dumps(body).encode()))


@SETTINGS
@given(HEADERS, st.booleans())
def test_any_header_may_hold_anything(headers: dict[str, bytes], stream: bool) -> None:
    body = {"model": "corea", "messages": [{"role": "user", "content": "12 + 7?"}], "stream": stream}
    check(post(APP, json.dumps(body).encode(), headers))


@pytest.mark.parametrize("depth", [100, 5_000, 200_000])
def test_deep_nesting_is_refused_or_answered(depth: int) -> None:
    check(post(APP, b'{"model": "corea", "messages": ' + b"[" * depth + b"]" * depth + b"}"))
    message = b'{"role": "user", "content": "hi"}'
    nested = b'{"model": "corea", "messages": [' + message + b'], "metadata": ' + b'{"a":' * depth + b"1" + b"}" * depth
    check(post(APP, nested + b"}"))


@pytest.mark.parametrize("split", [0, 1000])
@pytest.mark.parametrize("sent", [b"[" * 5_000, b'{"choices": ' + b"[" * 5_000, b'{"error": "\xc5"}', b'"\xc5'])
@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_from_upstream_that_cannot_be_read_is_its_fault(sent: bytes, status: int, split: int) -> None:
    for stream in (False, True):
        body = b"data: " + sent + b"\n\n" if stream else sent
        async with FakeServer(
            Bytes(body, content_type=SSE if stream else "application/json", split_bytes=split)
        ) as far:
            far.script = [Fail(status, body=sent.decode("latin-1"))] if status != 200 else far.script
            large = OpenAIBackend(OpenAISettings(model="large", base_url=far.base_url, max_retries=0, stream=stream))
            app = gateway(FakeBackend("small", SURE.replace("0.9", "0.1")), large)
            asked = {"model": "corea", "messages": [{"role": "user", "content": "12 + 7?"}]}
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
                response = await client.post("/v1/chat/completions", json=asked)
            await large.close()
        assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")


EVENTS = st.lists(
    st.one_of(
        st.binary(max_size=30),
        JSON_VALUES.map(lambda value: b"data: " + json.dumps(value).encode() + b"\n\n"),
        st.fixed_dictionaries(
            {},
            optional={
                "choices": st.lists(
                    st.fixed_dictionaries(
                        {}, optional={"index": JSON_VALUES, "delta": JSON_VALUES, "finish_reason": JSON_VALUES}
                    ),
                    max_size=2,
                ),
                "usage": JSON_VALUES,
                "error": JSON_VALUES,
            },
        ).map(lambda value: b"data: " + json.dumps(value).encode() + b"\n\n"),
        st.text(max_size=8).map(
            lambda text: (
                b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}).encode() + b"\n\n"
            )
        ),
        st.sampled_from([b"data: [DONE]\n\n", b": comment\n\n", b"\r\n", b"event: x\n", b"data:", b"\n\n"]),
    ),
    max_size=8,
).map(b"".join)


@examples(60, suppress_health_check=list(HealthCheck))
@given(EVENTS, st.booleans(), st.sampled_from([0, 1, 3]))
def test_any_stream_from_upstream_is_an_answer_or_a_proper_error(sent: bytes, stream: bool, split: int) -> None:
    done: list[CompletedRequest] = []

    async def ask() -> httpx.Response:
        async with FakeServer(Say(SURE.replace("0.9", "0.1"))) as far:
            far.script = [Bytes(sent, content_type=SSE, split_bytes=split)]
            large = OpenAIBackend(OpenAISettings(model="large", base_url=far.base_url, max_retries=0, stream=True))
            app = gateway(FakeBackend("small", SURE.replace("0.9", "0.1")), large, done)
            body = {"model": "corea", "messages": [{"role": "user", "content": "12 + 7?"}], "stream": stream}
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
                response = await client.post("/v1/chat/completions", json=body)
            await large.close()
            return response

    response = asyncio.run(ask())
    assert response.status_code in (200, 400, 404, 413, 422, 429, 502, 503, 504), response.text
    if response.status_code == 200 and stream:
        assert response.text.endswith("data: [DONE]\n\n")
    elif response.status_code != 200:
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    (ended,) = done  # booked once, whatever happened
    assert ended.trace.cost_usd is not None
    assert ended.error is None or ended.error.code != "internal_error", ended.error
