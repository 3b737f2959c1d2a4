"""Limits and settings of a request: what the client sets passes, and what the operator sets is a policy's alone."""

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest
from tests.fakes.server import Drip
from tests.gateway.chat.upstreams import DEFERRED, Upstreams, streamed, upstreams
from tests.gateway.conftest import QUESTION, make_house

from corea.errors import ConfigError
from corea.gateway.chat.request import parse_chat
from corea.gateway.ops.policies import RequestPolicy, apply_policies
from corea.prices import Price
from corea.prompts import load_prompt
from corea.types import Sampling

OWN = Sampling(max_tokens=50, temperature=0.5, top_p=0.4, seed=3, stop=("x",), extra={"reasoning_effort": "low"})
PRICE = Price(input_usd_per_mtok=Decimal(0), output_usd_per_mtok=Decimal(10))
TOOL = {"type": "function", "function": {"name": "add", "description": "adds " * 100}}


@pytest.mark.parametrize("model", ["corea", "corea/large", "gpt"])
@pytest.mark.parametrize("asked", [{}, {"max_completion_tokens": 300}, {"max_tokens": 9, "max_completion_tokens": 300}])
async def test_the_client_names_the_limit_and_the_stage_fills_nothing_in(model: str, asked: dict[str, Any]) -> None:
    async with upstreams(large_stage={"sampling": OWN}, passthrough={"gpt": "large"}) as it:
        await it.choice(model=model, **asked)
    assert it.large.requests[0].body == {"messages": QUESTION, **asked, "model": "large-model"}


async def test_a_last_stage_with_a_prompt_keeps_its_own_settings() -> None:
    prompt = load_prompt("answer_only")
    async with upstreams(large_stage={"sampling": OWN, "prompt": prompt}) as it:
        await it.choice(temperature=0.1)
    sent = it.large.requests[0].body
    assert (sent["max_tokens"], sent["temperature"], sent["reasoning_effort"]) == (50, 0.1, "low")


async def test_an_earlier_stage_keeps_its_own_settings_and_is_capped() -> None:
    async with upstreams(small_stage={"sampling": OWN}) as it:
        await it.choice(max_completion_tokens=70, temperature=0.1)
        await it.choice(max_completion_tokens=64)
    assert [r.body["max_tokens"] for r in it.small.requests] == [50, 50]
    assert it.small.requests[0].body["temperature"] == 0.5


async def permitted(it: Upstreams, policy: RequestPolicy, **body: Any) -> None:
    """Sends a request under a policy."""
    object.__setattr__(it.app.chat.settings, "policies", {"default": policy})
    assert (await it.post(**body)).status_code == 200


async def test_what_the_operator_forces_goes_to_every_stage_and_its_sampling_to_the_last() -> None:
    policy = RequestPolicy(force={"store": False, "temperature": 0.2}, max_tokens=400)
    async with upstreams(small_stage={"sampling": OWN}) as it:
        await permitted(it, policy, store=True, temperature=1.0)
    small, large = it.small.requests[0].body, it.large.requests[0].body
    assert (small["store"], small["temperature"], small["max_tokens"]) == (False, 0.5, 50)
    assert (large["store"], large["temperature"], large["max_tokens"]) == (False, 0.2, 400)


def test_a_forced_field_is_checked_when_it_is_read() -> None:
    with pytest.raises(ConfigError, match=r"force: got .*hot"):
        RequestPolicy(force={"temperature": "hot"})
    with pytest.raises(ConfigError, match="'messages'"):
        RequestPolicy(force={"messages": []})


@pytest.mark.parametrize(
    ("has_budget", "asked", "limit"),
    [(True, {}, 50), (False, {}, None), (True, {"max_tokens": 80}, 80), (True, {"n_predict": 7}, None)],
)
def test_an_answer_is_limited_by_its_stage_where_a_budget_has_to_cover_it(
    has_budget: bool, asked: dict[str, Any], limit: int | None
) -> None:
    request = parse_chat(json.dumps({"model": "corea", "messages": QUESTION, **asked}).encode())
    (stage,) = make_house(small_stage={"sampling": OWN}).gateway.chat.routes.find("corea/small").cascade.stages
    found, _ = apply_policies([], request, [stage], has_key=True, has_budget=has_budget)
    assert found.body.max_tokens == limit


async def test_max_cost_usd_lowers_the_limit_of_an_answer_that_it_would_refuse() -> None:
    async with upstreams(large_stage={"price": PRICE}) as it:
        response = await it.post(model="corea/large", corea={"max_cost_usd": "0.00255"}, max_completion_tokens=9000)
        assert it.large.requests[0].body["max_completion_tokens"] == 255
        assert response.headers["x-corea-max-tokens"] == "255"
        enough = await it.post(model="corea/large", corea={"max_cost_usd": "0.00255"}, max_tokens=200)
        assert "x-corea-max-tokens" not in enough.headers
        assert it.large.requests[1].body["max_tokens"] == 200
        none = await it.post(model="corea/large", corea={"max_cost_usd": "0.000001"})
    assert none.json()["error"]["message"] == (
        "corea.max_cost_usd: got '0.000001', expected at least 0.000010 "
        "(the first stage's worst-case cost with max_tokens 1)."
    )


async def cut_after(begun: bytes, count: int, mark: bytes, **body: Any) -> Any:
    """The record of a streamed request whose client leaves when it has seen a mark so often."""
    done: list[Any] = []
    async with upstreams(Drip(begun), DEFERRED) as it:
        it.app.chat.record = done.append
        seen, counts = asyncio.Event(), list[int]()

        async def receive() -> dict[str, Any]:
            if first:
                return first.pop()
            await seen.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            counts.append(message.get("body", b"").count(mark))
            if sum(counts) >= count:
                seen.set()

        asked = json.dumps({"model": "corea/large", "stream": True, "messages": QUESTION, **body}).encode()
        first = [{"type": "http.request", "body": asked}]
        scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": [], "query_string": b""}
        await it.app(scope, receive, send)
    return done[0]


async def test_reasoning_and_tool_schemas_of_a_stream_that_is_cut_off_are_booked() -> None:
    begun = streamed(*[{"reasoning_content": "x"}] * 40).body
    begun = begun.partition(b'data: {"choices": [{"index": 0, "delta": {}')[0]
    plain = await cut_after(begun, 40, b"reasoning_content")
    tools = await cut_after(begun, 40, b"reasoning_content", tools=[TOOL])
    assert plain.usage.completion_tokens == tools.usage.completion_tokens == 40
    schema = len(json.dumps([TOOL], separators=(",", ":")))
    assert tools.usage.prompt_tokens - plain.usage.prompt_tokens == -(-schema // 4)
