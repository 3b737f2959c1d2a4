"""Spans by OpenTelemetry's GenAI conventions: through a real server, with the SDK's own exporter in memory."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from tests.fakes.server import Fail, FakeServer, Say
from tests.gateway.chat.test_service import never
from tests.gateway.conftest import CHEAP, DEAR, LARGE, SURE, UNSURE, House, make_house

from corea.backends.openai.client import OpenAIBackend, OpenAISettings
from corea.backends.openai.deployments import Deployments
from corea.cascade import Cascade, Stage
from corea.errors import BackendTimeout, ConfigError
from corea.gateway.chat.routing import RoutingTable
from corea.gateway.ops import span_names as names
from corea.gateway.ops.settings import GatewayTraces
from corea.gateway.ops.tracing import Tracing
from corea.policies.threshold import Threshold
from corea.signals.verbalized import Verbalized

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OFF = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


@dataclass
class Seen:
    """A gateway and the spans that it made."""

    house: House
    exporter: InMemorySpanExporter
    tracing: Tracing

    def spans(self) -> list[ReadableSpan]:
        """In the order in which they began; the first is the server's."""
        found = sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)
        self.exporter.clear()
        return found


def watched(house: House, **settings: Any) -> Seen:
    exporter = InMemorySpanExporter()
    tracing = Tracing(GatewayTraces(**settings), SimpleSpanProcessor(exporter))
    house.gateway.tracing = tracing
    inner = house.gateway.chat.record

    def record(completed: Any) -> None:
        inner(completed)
        tracing.completed(completed)

    house.gateway.chat.record = record
    return Seen(house, exporter, tracing)


@asynccontextmanager
async def upstream(*script: Any, servers: int = 1, **settings: Any) -> AsyncIterator[tuple[Seen, FakeServer]]:
    """A gateway whose two stages are one server."""
    async with FakeServer() as server:
        server.script = list(script)
        options: dict[str, Any] = {"base_url": server.base_url, "max_retries": 2, "backoff_base_seconds": 0.0}
        small = OpenAIBackend(OpenAISettings(model="small-model", **options))
        large: Any = OpenAIBackend(OpenAISettings(model="large-model", **options))
        if servers > 1:
            large = Deployments(OpenAISettings(model="large-model", **options), [server.base_url] * servers)
        stages = (
            Stage(name="small", backend=small, price=CHEAP, signal=Verbalized(), policy=Threshold(0.8)),
            Stage(name="large", backend=large, price=DEAR),
        )
        cascade = Cascade(stages=stages, name="corea")
        house = make_house()
        house.gateway.chat.routes = RoutingTable({"corea": cascade}, house.gateway.chat.settings)
        yield watched(house, **settings), server
        await cascade.close()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_a_deferred_request_has_a_server_span_and_a_client_span_a_call() -> None:
    async with upstream(Say(UNSURE), Say(LARGE)) as (seen, server):
        answer = (await seen.house.post(max_tokens=99, temperature=0.5, seed=7, stop=["x"])).json()
        request, small, large = seen.spans()
        assert [s.name for s in (request, small, large)] == [
            "POST /v1/chat/completions", "chat small-model", "chat large-model"
        ]  # fmt: skip
        assert [s.kind for s in (request, small, large)] == [SpanKind.SERVER, SpanKind.CLIENT, SpanKind.CLIENT]
        assert request.context is not None
        for child in (small, large):
            assert child.parent is not None
            assert child.parent.span_id == request.context.span_id
        asked = attributes(large)
        host, port = server.base_url.removeprefix("http://").removesuffix("/v1").split(":")
        expected = {
            "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "large-model",
            "gen_ai.request.max_tokens": 99, "gen_ai.request.temperature": 0.5, "gen_ai.request.seed": 7,
            "gen_ai.request.stop_sequences": ("x",), "gen_ai.response.finish_reasons": ("stop",),
            "server.address": host, "server.port": int(port), "corea.stage": "large",
        }  # fmt: skip
        assert {name: asked.get(name) for name in expected} == expected
        assert asked["gen_ai.usage.output_tokens"] == answer["usage"]["corea_stages"][-1]["completion_tokens"]
        drafted = attributes(small)
        assert (drafted["corea.confidence"], drafted["corea.threshold"], drafted["corea.decision"]) == (
            0.2,
            0.8,
            "defer",
        )
        whole = attributes(request)
        assert whole["corea.trace_id"] == answer["corea"]["trace_id"]
        assert (whole["corea.stage"], whole["corea.cascade"], whole["corea.decision"]) == ("large", "corea", "defer")
        assert (whole["http.response.status_code"], whole["http.route"]) == (200, "/v1/chat/completions")
        assert whole["corea.cost_usd"] == pytest.approx(answer["corea"]["cost_usd"])
        assert drafted["corea.cost_usd"] + asked["corea.cost_usd"] == pytest.approx(whole["corea.cost_usd"])


async def test_the_clients_trace_goes_on_to_the_models_servers() -> None:
    async with upstream(Say(UNSURE), Say(LARGE)) as (seen, server):
        await seen.house.post(headers={"traceparent": PARENT, "tracestate": "a=b"})
        request, small, large = seen.spans()
        assert request.parent is not None
        assert (f"{request.parent.trace_id:032x}", f"{request.parent.span_id:016x}") == tuple(PARENT.split("-")[1:3])
        for asked, span in zip(server.requests, (small, large), strict=True):
            assert span.context is not None
            sent = f"00-{PARENT.split('-')[1]}-{span.context.span_id:016x}-01"
            assert (asked.headers["traceparent"], asked.headers["tracestate"]) == (sent, "a=b")


async def test_what_the_client_does_not_sample_is_passed_on_and_not_recorded() -> None:
    async with upstream(Say(SURE)) as (seen, server):
        await seen.house.post(headers={"traceparent": OFF})
        assert seen.spans() == []
        sent = server.requests[0].headers["traceparent"]
        assert (sent.split("-")[1], sent[-2:]) == (OFF.split("-")[1], "00")


async def test_a_share_of_the_requests_is_sampled() -> None:
    seen = watched(make_house(), sample=0.0)
    await seen.house.post()
    assert seen.spans() == []


async def test_each_retry_is_a_span_and_the_answer_is_at_the_last() -> None:
    async with upstream(Fail(503), Fail(429, retry_after="0"), Say(SURE)) as (seen, server):
        await seen.house.post()
        request, first, second, third = seen.spans()
        assert [attributes(s).get("error.type") for s in (first, second, third)] == ["503", "429", None]
        assert [s.status.status_code for s in (first, third)] == [StatusCode.ERROR, StatusCode.UNSET]
        assert ["corea.confidence" in attributes(s) for s in (first, second, third)] == [False, False, True]
        assert len({asked.headers["traceparent"] for asked in server.requests}) == 3
        assert (first.end_time or 0) <= (second.start_time or 0) <= (request.end_time or 0)


async def test_another_server_of_a_model_is_a_span_of_its_own() -> None:
    async with upstream(Say(UNSURE), Fail(500), Say(LARGE), servers=2) as (seen, _):
        await seen.house.post()
        assert [attributes(s).get("error.type") for s in seen.spans()] == [None, None, "500", None]


async def test_a_stream_has_its_whole_time_and_its_first_chunk() -> None:
    async with upstream(Say(UNSURE), Say(LARGE)) as (seen, _):
        await seen.house.post(stream=True)
        request, _, large = seen.spans()
        asked = attributes(large)
        assert (
            0 <= asked["gen_ai.response.time_to_first_chunk"] <= ((large.end_time or 0) - (large.start_time or 0)) / 1e9
        )
        assert asked["gen_ai.usage.output_tokens"] > 0
        assert attributes(request)["gen_ai.request.stream"] is True


async def test_a_failure_and_a_refusal_are_errors_of_their_kind() -> None:
    async with upstream(*[Fail(500)] * 6) as (seen, _):
        await seen.house.post()
        request, *calls = seen.spans()
        assert len(calls) == 6
        assert attributes(request)["error.type"] == "upstream_error"
        assert request.status.status_code is StatusCode.ERROR
        assert request.status.description is None
        await seen.house.post(n=2)
        (refused,) = seen.spans()
        assert (attributes(refused)["http.response.status_code"], refused.status.status_code) == (400, StatusCode.UNSET)


async def test_a_model_in_this_process_is_internal() -> None:
    seen = watched(make_house(UNSURE, BackendTimeout("slow")))
    await seen.house.post()
    _, small, large = seen.spans()
    assert (small.kind, attributes(small)["gen_ai.provider.name"]) == (SpanKind.INTERNAL, "corea")
    assert attributes(small)["corea.confidence"] == 0.2
    assert attributes(large)["error.type"] == "BackendTimeout"


async def test_a_hedged_call_that_lost_is_a_span_too() -> None:
    seen = watched(make_house(never(), "nineteen", hedge_seconds=0.001))
    assert (await seen.house.post()).json()["corea"]["stage"] == "large"
    found = {attributes(span).get("corea.stage"): attributes(span).get("error.type") for span in seen.spans()[1:]}
    assert found == {"small": "Hedged", "large": None}


async def test_an_answer_from_the_cache_asks_no_model() -> None:
    seen = watched(make_house(SURE, cache={"entries": 10}, small_stage={}))
    body = {"temperature": 0, "model": "corea/1"}
    await seen.house.post(**body)
    seen.spans()
    await seen.house.post(**body)
    (request,) = seen.spans()
    assert attributes(request)["corea.cached"] is True


async def test_content_is_opt_in() -> None:
    for content in (False, True):
        async with upstream(Say(SURE), content=content) as (seen, _):
            await seen.house.post()
            _, call = seen.spans()
            assert ("12 + 7" in str(attributes(call))) is content
            if content:
                asked = json.loads(attributes(call)[names.INPUT_MESSAGES])
                assert asked[-1] == {"role": "user", "parts": [{"type": "text", "content": "12 + 7?"}]}
                (said,) = json.loads(attributes(call)[names.OUTPUT_MESSAGES])
                assert (said["parts"][0]["content"], said["finish_reason"]) == (SURE, "stop")


async def test_an_upstreams_words_are_in_no_span() -> None:
    async with upstream(*[Fail(400, "your prompt was SECRET")] * 2) as (seen, _):
        await seen.house.post()
        assert not any("SECRET" in span.to_json() for span in seen.spans())


@pytest.mark.parametrize(
    ("host", "provider"),
    [("api.openai.com", "openai"), ("x.openai.azure.com", "azure.ai.openai"), ("api.deepseek.com", "deepseek"),
     ("europe-west1-aiplatform.googleapis.com", "gcp.vertex_ai"), ("evilapi.mistral.ai", "openai"), ("vllm", "openai")],
)  # fmt: skip
def test_the_provider_is_known_by_its_host(host: str, provider: str) -> None:
    assert names.provider_of(host) == provider


def test_names_are_the_conventions_own() -> None:
    """Beside the `corea.*` ones; compared with the package where it knows the name."""
    from opentelemetry.semconv._incubating.attributes import error_attributes, gen_ai_attributes, server_attributes

    known = {
        value for module in (gen_ai_attributes, error_attributes, server_attributes) for value in vars(module).values()
        if isinstance(value, str)
    }  # fmt: skip
    ours = {v for n, v in vars(names).items() if n.isupper() and isinstance(v, str) and v.startswith("gen_ai.")}
    newer = {names.RESPONSE_FIRST_CHUNK, names.CACHE_WRITE_TOKENS, names.REASONING_TOKENS, names.REQUEST_STREAM}
    assert ours - newer <= known


@pytest.mark.parametrize("wrong", [{"endpoint": "localhost:4318"}, {"sample": 1.5}])
def test_wrong_settings_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"gateway.traces.{next(iter(wrong))}"):
        GatewayTraces(**wrong)


def test_nothing_of_it_is_imported_where_it_is_off() -> None:
    code = "import corea.gateway.server.serve, sys; print([m for m in sys.modules if m.startswith('opentelemetry')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
