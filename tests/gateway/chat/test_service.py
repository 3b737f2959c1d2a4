"""What a client gets: whole and streamed answers, who wrote them, what they cost, and every error."""

import asyncio
import json
import math
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from tests.gateway.conftest import LARGE, QUESTION, SURE, UNSURE, chat, events, make_house, text_of

from corea.backends.fake import FakeBackend
from corea.build import build, bundled_config
from corea.cascade import OnLastDown
from corea.errors import BackendError, BackendRefused, BackendTimeout, ConfigError
from corea.gateway.billing.auth import Admission, OpenAccounts
from corea.gateway.billing.decision_log import steps_of
from corea.gateway.chat.request import parse_chat
from corea.gateway.chat.routing import RoutingTable
from corea.gateway.errors import GatewayError
from corea.gateway.ops.metrics import Metrics
from corea.gateway.ops.settings import GatewaySettings
from corea.metrics.score_map import BlendMap, IsotonicMap, LinearModel
from corea.policies.calibrated import Calibrated, ThresholdRule
from corea.prompts import load_prompt
from corea.signals.calibrated_signal import CalibratedSignal
from corea.signals.verbalized import Verbalized
from corea.types import Completion, Decision, Message, Sampling, Status, Usage


def never() -> FakeBackend:
    """A backend that never answers."""

    async def sleep(seconds: float) -> None:
        await asyncio.Event().wait()

    return FakeBackend("large-model", LARGE, latency_seconds=1, sleep=sleep)


async def test_a_kept_answer_looks_like_any_models() -> None:
    house = make_house()
    response = await house.post()
    body = response.json()
    assert response.status_code == 200
    assert body["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "19"}, "finish_reason": "stop", "logprobs": None}
    ]
    assert (body["object"], body["model"]) == ("chat.completion", "corea")
    assert body["id"] == f"chatcmpl-{body['corea']['trace_id']}"
    assert house.large.calls == []


async def test_headers_and_the_corea_object_say_who_answered_and_what_it_cost() -> None:
    response = await make_house().post()
    corea = response.json()["corea"]
    usage = response.json()["usage"]
    cost = Decimal(usage["prompt_tokens"]) / 10**6 + 2 * Decimal(usage["completion_tokens"]) / 10**6
    assert (corea["stage"], corea["model"], corea["confidence"], corea["threshold"]) == (
        "small",
        "small-model",
        0.9,
        0.8,
    )
    assert (corea["deferred"], corea["cached"], corea["fallback"]) == (False, False, False)
    assert Decimal(str(corea["cost_usd"])) == cost
    assert corea["saved_usd"] == pytest.approx(9 * float(cost))
    headers = {name: value for name, value in response.headers.items() if name.startswith("x-corea")}
    assert headers == {
        "x-corea-trace-id": corea["trace_id"],
        "x-corea-cascade": "corea",
        "x-corea-stage": "small",
        "x-corea-confidence": "0.9",
        "x-corea-threshold": "0.8",
        "x-corea-cost-usd": f"{cost:f}",
        "x-corea-saved-usd": f"{9 * cost:f}",
    }


async def test_the_saving_is_against_the_request_as_it_came_not_with_our_prompt() -> None:
    house = make_house(small_stage={"prompt": load_prompt("default")})
    for question in ("12 + 7?", "12 + 7? " * 100):
        body = (await house.post(messages=[{"role": "user", "content": question}])).json()
        asked, corea = house.small.calls[-1].question, body["corea"]
        sent = sum(len(message.content) for message in asked.messages)
        prompt = round(body["usage"]["prompt_tokens"] * len(question) / sent)
        baseline = (10 * prompt + 20 * body["usage"]["completion_tokens"]) / 10**6
        assert corea["stage"] == "small"
        assert corea["baseline_cost_usd"] == pytest.approx(baseline, abs=1e-12)
        assert corea["saved_usd"] == pytest.approx(baseline - corea["cost_usd"], abs=1e-12)
        assert sent > len(question) + 100


def by_calibration(kept: float, limits: tuple[float, float] | None = None) -> dict[str, Any]:
    """A stage whose score rises with the stated confidence; the probability of a right answer is half the score."""
    blend = BlendMap(
        confidences=["confidence"], length="completion_tokens", categories={}, category_default=[0.0] * 4,
        lengths=limits, right=LinearModel(mean=[0.5, 0, 0], scale=[1.0, 1, 1], weights=[2.0, 0, 0], bias=0.0),
    )  # fmt: skip
    half = IsotonicMap(x=[0.0, 1.0], y=[0.0, 0.5])
    signal = CalibratedSignal(Verbalized(), blend, probability=half)
    return {"signal": signal, "policy": Calibrated.of(ThresholdRule(tau=kept))}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_calibration_gives_a_probability_and_beside_it_what_decided(stream: bool) -> None:
    house = make_house(small_stage=by_calibration(0.6))
    response = await house.post(stream=stream)
    score = round(1 / (1 + math.exp(-0.8)), 6)  # of the log-odds 2 (0.9 - 0.5)
    shown = {n: float(response.headers[f"x-corea-{n}"]) for n in ("confidence", "score", "threshold")}
    assert shown == pytest.approx({"confidence": score / 2, "score": score, "threshold": 0.6})
    if not stream:
        corea = response.json()["corea"]
        assert {n: corea[n] for n in shown} == pytest.approx(shown)
    step = house.last.trace.steps[0]
    assert (step.threshold, step.decision) == (0.6, Decision.KEEP)
    assert steps_of(house.last.trace)[0] == {**steps_of(house.last.trace)[0], "score": score, "threshold": 0.6}
    asked = await house.post(corea={"threshold": 0.9})  # a client's threshold is for the score too
    assert (asked.headers["x-corea-threshold"], asked.headers["x-corea-stage"]) == ("0.9", "large")


async def test_answers_unlike_all_that_calibrated_are_deferred_and_counted() -> None:
    house = make_house(small_stage=by_calibration(0.0, limits=(900.0, 1000.0)))
    response = await house.post()
    assert response.headers["x-corea-stage"] == "large"
    assert "x-corea-score" not in response.headers
    metrics = Metrics(dict, lambda: 0, dict)
    metrics.record(house.last)
    assert 'corea_outside_calibration_total{cascade="corea",stage="small"} 1.0' in metrics.text().decode()


async def test_usage_counts_all_stages_with_a_breakdown() -> None:
    body = (await make_house(UNSURE).post()).json()
    stages = body["usage"]["corea_stages"]
    assert [stage["stage"] for stage in stages] == ["small", "large"]
    for kind in ("prompt_tokens", "completion_tokens"):
        assert body["usage"][kind] == sum(stage[kind] for stage in stages)
    assert body["corea"]["deferred"] is True
    assert body["choices"][0]["message"]["content"] == LARGE


async def test_nothing_of_a_draft_leaks() -> None:
    whole = await make_house(UNSURE).post()
    streamed = await make_house(UNSURE).post(stream=True, stream_options={"include_usage": True})
    content = json.dumps(whole.json()["choices"])
    assert "18" not in content + text_of(events(streamed))
    assert "18?" not in whole.text + streamed.text


async def test_a_stream_has_the_events_that_clients_expect() -> None:
    response = await make_house().post(stream=True, stream_options={"include_usage": True})
    found = events(response)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["x-corea-stage"] == "small"
    assert response.headers["x-corea-confidence"] == "0.9"
    assert [e if e == "[DONE]" else [c["delta"] for c in e["choices"]] for e in found] == [
        [{"role": "assistant", "content": ""}],
        [{"content": "19"}],
        [{}],
        [],
        "[DONE]",
    ]
    assert [e["usage"] for e in found[:-2]] == [None, None, None]
    assert found[-2]["usage"]["corea_stages"][0]["stage"] == "small"
    assert (found[-3]["choices"][0]["finish_reason"], found[-3]["corea"]["stage"]) == ("stop", "small")
    assert len({e["id"] for e in found[:-1]}) == 1


async def test_without_include_usage_no_chunk_has_it() -> None:
    found = events(await make_house().post(stream=True))
    assert all("usage" not in event for event in found[:-1])


async def test_a_deferred_answer_streams_piece_by_piece_unchanged() -> None:
    found = events(await make_house(UNSURE).post(stream=True))
    pieces = [e["choices"][0]["delta"].get("content") for e in found[:-1]]
    assert [piece for piece in pieces if piece] == ["It", " is", " <answer>nineteen</answer>,", " surely."]


async def test_the_whole_text_only_if_asked_for() -> None:
    house = make_house()
    assert (await house.post(corea={"raw": True})).json()["choices"][0]["message"]["content"] == SURE
    assert text_of(events(await house.post(corea={"raw": True}, stream=True))) == SURE


async def test_a_stage_is_asked_directly_by_number_name_or_passthrough() -> None:
    house = make_house(passthrough={"gpt-4.1": "large"})
    for model in ("corea/1", "corea/large", "gpt-4.1"):
        body = (await house.post(model=model, temperature=0.3)).json()
        assert body["choices"][0]["message"]["content"] == LARGE
        assert (body["model"], body["corea"]["stage"], body["corea"]["threshold"]) == (model, "large", None)
    assert house.small.calls == []
    assert house.large.calls[0].question.messages == (Message("user", "12 + 7?"),)
    assert house.large.calls[0].sampling.temperature == 0.3


async def test_models_are_listed() -> None:
    house = make_house(passthrough={"gpt-4.1": "large"})
    listed = (await house.request("GET", "/v1/models")).json()
    assert [model["id"] for model in listed["data"]] == ["corea", "corea/0", "corea/1", "gpt-4.1"]
    assert (await house.request("GET", "/v1/models/corea/1")).json()["id"] == "corea/1"
    missing = await house.request("GET", "/v1/models/gpt-9")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


async def test_a_request_may_set_threshold_stage_and_cost() -> None:
    house = make_house()
    assert (await house.post(corea={"threshold": 0.95})).json()["corea"]["stage"] == "large"
    assert (await house.post(corea={"stage": "large"})).json()["corea"]["stage"] == "large"
    capped = (await house.post(corea={"threshold": 0.95, "max_cost_usd": 0.02}, max_tokens=100)).json()["corea"]
    assert (capped["stage"], capped["deferred"]) == ("large", True)
    cheap = (await house.post(corea={"threshold": 0.95, "max_cost_usd": 0.001}, max_tokens=100)).json()["corea"]
    assert (cheap["stage"], cheap["deferred"]) == ("small", False)
    poor = await house.post(corea={"max_cost_usd": 0}, max_tokens=100)
    assert (poor.status_code, poor.json()["error"]["param"]) == (400, "corea.max_cost_usd")


async def test_an_operator_can_forbid_it() -> None:
    house = make_house(security={"allow": ["stage"]})
    for control in ({"threshold": 0.5}, {"max_cost_usd": 1}, {"raw": True}):
        refused = await house.post(corea=control)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unsupported_parameter")
        assert refused.json()["error"]["param"] == f"corea.{next(iter(control))}"
    assert (await house.post(corea={"stage": "large"})).status_code == 200


@pytest.mark.parametrize(
    ("more", "need"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "structured"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "images"),
    ],
)
async def test_what_a_stage_cannot_take_goes_to_one_that_can(more: dict[str, Any], need: str) -> None:
    house = make_house()
    corea = (await house.post(**more)).json()["corea"]
    assert (corea["stage"], corea["flags"]) == ("large", [f"small not asked: the request has {need}"])
    able = make_house(accepts={"small": (need,)})
    assert (await able.post(**more)).json()["corea"]["stage"] == "small"


class TextOnly(FakeBackend):
    """As a model in this process."""

    capabilities: ClassVar[frozenset[str]] = frozenset()


@pytest.mark.parametrize("model", ["corea", "corea/1"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
         "messages[0].content"),
        ({"messages": [*QUESTION, {"role": "tool", "content": "19", "tool_call_id": "a"}]}, "messages[1].role"),
    ],
)  # fmt: skip
async def test_what_no_stage_can_take_is_refused_by_name(
    more: dict[str, Any], field: str, stream: bool, model: str
) -> None:
    house = make_house(TextOnly("tiny", SURE), TextOnly("small-too", LARGE))
    asked: dict[str, Any] = {"model": model, "stream": stream, **more}
    refused = await house.post(**asked)
    error = refused.json()["error"]
    assert (refused.status_code, error["param"], error["code"]) == (400, field, "unsupported_parameter")
    assert "small-too (corea/large) takes no" in error["message"]
    assert house.done == []


async def test_a_last_stage_that_cannot_take_it_is_passed_over() -> None:
    house = make_house(FakeBackend("with-tools", SURE), TextOnly("tiny", LARGE), accepts={"small": ("tools",)})
    tools = [{"type": "function", "function": {"name": "f"}}]
    corea = (await house.post(tools=tools)).json()["corea"]
    assert (corea["stage"], corea["flags"]) == ("small", ["large not asked: the request has tools"])


def test_accepts_must_name_a_stage_and_what_it_can_take() -> None:
    with pytest.raises(ConfigError, match=r"gateway.accepts: got 'smal', .* Did you mean 'small'"):
        make_house(accepts={"smal": ("tools",)})
    with pytest.raises(ConfigError, match=r"gateway.accepts.small: got 'tools', .*tiny"):
        make_house(TextOnly("tiny", SURE), accepts={"small": ("tools",)})


def test_the_bundled_pair_refuses_tools() -> None:
    cascade = build(bundled_config()).cascade
    routes = RoutingTable({cascade.name: cascade}, GatewaySettings())
    tools = {"tools": [{"type": "function", "function": {"name": "f"}}]}
    for model in routes.names():
        assert routes.plan(parse_chat(json.dumps(chat(model=model)).encode())).cascade.stages
        with pytest.raises(GatewayError, match="tools is not supported here"):
            routes.plan(parse_chat(json.dumps(chat(model=model, **tools)).encode()))


async def test_fields_of_others_reach_the_last_stage_untouched_and_not_the_small_one() -> None:
    house = make_house(UNSURE)
    await house.post(made_up=[1, {"a": None}], user="u", temperature=0.7, stop=["surely"], seed=7)
    small, large = house.small.calls[0].sampling, house.large.calls[0].sampling
    assert large == Sampling(
        temperature=0.7, stop=("surely",), seed=7, extra={"made_up": [1, {"a": None}], "user": "u"}
    )
    assert small == Sampling(seed=7, extra={"user": "u"})


async def test_tool_calls_come_through_whole_and_streamed() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    said = Completion(text="", model="large", finish_reason="tool_calls", raw={"content": None, "tool_calls": [call]})
    tools = [{"type": "function", "function": {"name": "add"}}]
    house = make_house(large=said)
    choice = (await house.post(tools=tools)).json()["choices"][0]
    assert (choice["message"]["tool_calls"], choice["finish_reason"]) == ([call], "tool_calls")
    found = events(await house.post(tools=tools, stream=True))
    assert [e["choices"][0]["delta"].get("tool_calls") for e in found[:-1]] == [None, [{"index": 0, **call}], None]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 2}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"n_predict": -1}, "n_predict"),
        ({"best_of": "5"}, "best_of"),
        ({"models": ["large"]}, "models"),
        ({"model": 3}, "model"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(body: dict[str, Any], param: str) -> None:
    house = make_house()
    refused = await house.post(**body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
    assert refused.json()["error"]["type"] == "invalid_request_error"
    assert (house.done, house.gateway.chat.running) == ([], 0)


async def test_logprobs_of_a_stage_asked_directly() -> None:
    house = make_house(large=FakeBackend("large-model", "nine teen", probability=0.5))
    logprobs = (await house.post(model="corea/1", logprobs=True)).json()["choices"][0]["logprobs"]
    assert [item["token"] for item in logprobs["content"]] == ["nine", " teen"]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (BackendTimeout("slow"), 504, "upstream_timeout"),
        (BackendRefused("busy", status=429), 429, "upstream_rate_limited"),
        (BackendRefused("breaker is open"), 503, "upstream_unavailable"),
        (BackendError("no such thing", status=400), 400, "upstream_refused"),
        (BackendError("garbage"), 502, "upstream_error"),
        (BackendError("key refused", status=401), 502, "upstream_error"),
        (ZeroDivisionError("a bug of a plug"), 500, "internal_error"),
        (ConfigError("environment variable KEY: got nothing"), 502, "upstream_not_configured"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_every_failure_upstream_has_its_status(error: Exception, status: int, code: str, stream: bool) -> None:
    house = make_house(UNSURE, error)
    failed = await house.post(stream=stream)
    assert (failed.status_code, failed.json()["error"]["code"]) == (status, code)
    assert (house.last.error.code if house.last.error else None, house.gateway.chat.running) == (code, 0)


async def test_a_stream_that_breaks_ends_with_an_error_event() -> None:
    spent = Completion(text="It is", model="large-model", usage=Usage(prompt_tokens=5, completion_tokens=2))
    house = make_house(UNSURE, BackendError("broke off", spent=spent))
    found = events(await house.post(stream=True))
    assert (text_of(found[:-2]), found[-1]) == ("It is", "[DONE]")
    assert found[-2]["error"]["code"] == "upstream_error"
    assert house.last.usage.total_tokens == sum(
        step.completion.usage.total_tokens for step in house.last.trace.steps if step.completion
    )


async def test_a_fallback_says_so() -> None:
    house = make_house(UNSURE, BackendTimeout("slow"), on_last_down=OnLastDown.BEST)
    body = (await house.post()).json()
    assert (body["choices"][0]["message"]["content"], body["corea"]["fallback"]) == ("18", True)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_has_a_time_limit(stream: bool) -> None:
    house = make_house(UNSURE, never(), timeouts={"request_seconds": 0.02})
    late = await house.post(stream=stream)
    assert (late.status_code, late.json()["error"]["code"]) == (504, "request_timeout")
    assert (house.large.cancelled, house.gateway.chat.running) == (1, 0)
    assert [step.stage for step in house.last.trace.steps] == ["small", "large"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_hangs_up_stops_the_work_and_is_counted(stream: bool) -> None:
    house = make_house(UNSURE, never())

    async def leave() -> Any:
        while not house.large.running:
            await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    await house.call(chat(stream=stream), leave)
    assert (house.large.cancelled, house.last.client_disconnected, house.gateway.chat.running) == (1, True, 0)
    assert house.last.trace.status is Status.FAILED
    small = house.last.trace.steps[0].cost_usd
    assert small is not None
    assert house.last.trace.cost_usd is not None
    assert house.last.trace.cost_usd >= small > 0


async def test_a_stream_is_kept_alive_by_comments() -> None:
    house = make_house(UNSURE, never(), timeouts={"keep_alive_seconds": 0.01})
    sent: list[bytes] = []

    async def leave() -> Any:
        while len(sent) < 3:
            await asyncio.sleep(0.001)
        return {"type": "http.disconnect"}

    original = house.app

    async def spying(scope: Any, receive: Any, send: Any) -> None:
        async def spy(message: Any) -> None:
            if message.get("body"):
                sent.append(message["body"])
            await send(message)

        await original(scope, receive, spy)

    house.app = spying
    await house.call(chat(stream=True), leave)
    assert sent[:3] == [b": still working\n\n"] * 3


async def test_too_many_at_once_are_told_to_come_back() -> None:
    house = make_house(UNSURE, never(), limits={"max_concurrency": 1})
    left = asyncio.Event()

    async def leave() -> Any:
        await left.wait()
        return {"type": "http.disconnect"}

    first = asyncio.create_task(house.call(chat(), leave))
    while not house.large.running:
        await asyncio.sleep(0)
    busy = await house.post()
    assert (busy.status_code, busy.json()["error"]["code"], busy.headers["retry-after"]) == (429, "overloaded", "1")
    left.set()
    await first
    assert house.gateway.chat.running == 0


async def test_a_deferred_conversation_stays_deferred_for_a_while() -> None:
    house = make_house([UNSURE, SURE, SURE], sticky_turns=2)
    more = [{"role": "assistant", "content": LARGE}, {"role": "user", "content": "and 3 more?"}]
    turns = [[*QUESTION, *more * count] for count in range(4)]
    stages = [(await house.post(messages=messages)).json()["corea"]["stage"] for messages in turns]
    assert stages == ["large", "large", "large", "small"]
    assert "sticky" in house.done[1].trace.flags
    other = await house.post(messages=[{"role": "user", "content": "something else"}])
    assert other.json()["corea"]["stage"] == "small"


async def test_the_cache_gives_the_same_answer_for_nothing() -> None:
    house = make_house(small_stage={"sampling": Sampling(temperature=0)}, cache={"entries": 2})
    asked: dict[str, Any] = {"temperature": 0}
    first, again = await house.post(**asked), await house.post(**asked)
    streamed = await house.post(**asked, stream=True)
    assert len(house.small.calls) == 1
    assert (first.json()["corea"]["cached"], again.json()["corea"]["cached"]) == (False, True)
    assert (again.headers["x-corea-cached"], streamed.headers["x-corea-cached"]) == ("true", "true")
    assert again.json()["choices"] == first.json()["choices"]
    assert (again.json()["corea"]["cost_usd"], again.json()["usage"]["total_tokens"]) == (0, 0)
    assert text_of(events(streamed)) == "19"
    assert [done.state.cached for done in house.done] == [False, True, True]
    assert len({done.trace.trace_id for done in house.done}) == 3
    await house.post()  # the large model's temperature is its own: left to chance, so never cached
    await house.post(**asked, messages=[{"role": "user", "content": "13 + 7?"}])
    assert len(house.small.calls) == 3


async def test_a_fallback_is_never_cached() -> None:
    house = make_house(
        UNSURE, BackendTimeout("slow"), on_last_down=OnLastDown.BEST, cache={"entries": 2},
        small_stage={"sampling": Sampling(temperature=0)},
    )  # fmt: skip
    assert [(await house.post(temperature=0)).json()["corea"]["cached"] for _ in range(2)] == [False, False]


async def test_a_body_may_be_too_long_or_no_json() -> None:
    house = make_house(limits={"max_body_bytes": 200})
    long = await house.post(user="x" * 300)
    assert (long.status_code, long.json()["error"]["code"]) == (413, "body_too_large")
    junk = await house.request("POST", "/v1/chat/completions", content=b"{")
    assert (junk.status_code, junk.json()["error"]["code"]) == (400, "invalid_json")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/chat/completions", 405), ("GET", "/nope", 404), ("POST", "/readyz", 405)],
)
async def test_wrong_paths_and_methods_are_told_in_openais_form(method: str, path: str, status: int) -> None:
    response = await make_house().request(method, path)
    assert (response.status_code, response.json()["error"]["type"]) == (status, "invalid_request_error")


async def test_health_readiness_and_the_document() -> None:
    house = make_house()
    assert (await house.request("GET", "/healthz")).json() == {"status": "ok"}
    assert (await house.request("GET", "/readyz")).json() == {"status": "ready"}
    house.gateway.draining = True
    draining = await house.request("GET", "/readyz")
    assert (draining.status_code, draining.json()) == (503, {"status": "draining"})
    assert "/v1/chat/completions" in (await house.request("GET", "/openapi.json")).json()["paths"]


class Slow(OpenAccounts):
    """A disk that takes for ever."""

    async def settle(self, admission: Admission, *, cost_usd: Decimal | None, tokens: int) -> None:
        await asyncio.Event().wait()


async def test_a_decision_is_kept_when_the_server_breaks_off_while_its_money_is_written() -> None:
    house = make_house(accounts=Slow())
    asked = asyncio.create_task(house.post())
    async with asyncio.timeout(10):
        while not house.small.calls:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
    assert (len(house.done), house.last.trace.stage, house.gateway.chat.running) == (1, "small", 0)
