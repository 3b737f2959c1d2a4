"""Completions and embeddings over the wire: passed on as they came, booked from their usage, limited as chats are."""

import json
from decimal import Decimal
from typing import Any

import pytest
from tests.fakes.server import SSE, Bytes, Fail
from tests.gateway.chat.upstreams import Upstreams, upstreams
from tests.gateway.conftest import CHEAP

from corea.gateway.billing.auth import Admission, OpenAccounts, Principal, SpendRequest
from corea.gateway.errors import GatewayError

USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
WHOLE = {
    "id": "cmpl-1", "object": "text_completion", "created": 5, "model": "base", "made_up": 1, "usage": USAGE,
    "choices": [{"text": " nineteen", "index": 0, "logprobs": {"tokens": ["a"]}, "finish_reason": "length"}],
}  # fmt: skip
EMBEDDED = {
    "object": "list", "model": "embedder", "data": [{"object": "embedding", "index": 0, "embedding": [0.1, -0.25]}],
    "usage": {"prompt_tokens": 5, "total_tokens": 5},
}  # fmt: skip
SERVER = {"apis": ["completions", "embeddings"]}
STAGE = {"price": CHEAP}


def chunks(*texts: str, usage: bool = True) -> bytes:
    """A streamed completion of these texts; its last event has only the usage."""
    found = [{**WHOLE, "usage": None, "choices": [{"text": t, "index": 0, "finish_reason": None}]} for t in texts]
    found[-1]["choices"][0]["finish_reason"] = "stop"  # type: ignore[index]
    found += [{**WHOLE, "choices": []}] if usage else []
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in found) + b"data: [DONE]\n\n"


async def post(it: Upstreams, path: str, **body: Any) -> Any:
    return await it.request("POST", path, json={"model": "corea/large", **body})


async def test_a_completion_is_passed_on_as_it_came_and_booked() -> None:
    asked = {"prompt": "12 + 7 =", "max_tokens": 7, "echo": True, "logprobs": 1, "suffix": "!", "n": 1, "stop": ["x"]}
    async with upstreams(Bytes(json.dumps(WHOLE).encode()), server=SERVER, large_stage=STAGE) as it:
        response = await post(it, "/v1/completions", **asked)
        assert (response.status_code, response.json()) == (200, WHOLE)
        assert response.headers["x-corea-stage"] == "large"
        assert (it.large.requests[0].path, it.large.requests[0].body) == (
            "/v1/completions", {"model": "large-model", **asked}
        )  # fmt: skip
        await post(it, "/completions", prompt=["a", "b"])
        assert it.large.requests[1].body == {"model": "large-model", "prompt": ["a", "b"], "max_tokens": 16}
    assert [done.trace.cost_usd for done in it.done] == [Decimal("0.000011")] * 2


@pytest.mark.parametrize("usage", [False, True])
async def test_a_streamed_completion_has_its_usage_event_only_if_the_client_asked_for_it(usage: bool) -> None:
    options = {"stream_options": {"include_usage": True, "a": 1}} if usage else {}
    async with upstreams(Bytes(chunks(" nine", "teen"), SSE), server=SERVER, large_stage=STAGE) as it:
        response = await post(it, "/v1/completions", prompt="12 + 7 =", stream=True, **options)
        assert response.content == chunks(" nine", "teen", usage=usage)
    assert it.large.requests[0].body["stream_options"] == {"include_usage": True, **({"a": 1} if usage else {})}
    assert it.done[0].trace.cost_usd == Decimal("0.000011")


@pytest.mark.parametrize("text", ["twelve", ["twelve", "seven"], [1, 2], [[1, 2], [3]]])
async def test_embeddings_are_passed_on_as_they_came_and_booked(text: Any) -> None:
    asked = {"input": text, "encoding_format": "float", "dimensions": 2, "user": "u"}
    async with upstreams(
        Bytes(json.dumps(EMBEDDED).encode()), server=SERVER, large_stage=STAGE, passthrough={"text-embedder": "large"}
    ) as it:
        response = await post(it, "/v1/embeddings", **asked, model="text-embedder")
        assert (response.status_code, response.json()) == (200, EMBEDDED)
        assert "text-embedder" in [model["id"] for model in (await it.request("GET", "/v1/models")).json()["data"]]
    assert it.large.requests[0].body == {"model": "large-model", **asked}
    assert it.done[0].trace.cost_usd == Decimal("0.000005")


@pytest.mark.parametrize(("path", "field"), [("/v1/completions", "prompt"), ("/v1/embeddings", "input")])
async def test_a_model_whose_server_has_none_is_not_found_and_the_error_says_what_to_set(path: str, field: str) -> None:
    async with upstreams() as it:
        for model in ("corea", "corea/large"):
            response = await post(it, path, model=model, **{field: "12"})
            error = response.json()["error"]
            assert (response.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
            assert f'apis = ["{path.removeprefix("/v1/")}"]' in error["message"]
        assert (it.small.requests, it.large.requests) == ([], [])
    async with upstreams(Bytes(json.dumps(WHOLE | EMBEDDED).encode()), server=SERVER) as it:
        assert (await post(it, path, model="corea", **{field: "12"})).status_code == 200
        assert (len(it.small.requests), len(it.large.requests)) == (0, 1)


async def test_a_server_that_speaks_no_chat_is_sent_none() -> None:
    async with upstreams(server=SERVER) as it:
        for response in (await it.post(model="corea/large"), await post(it, "/v1/responses", input="12")):
            assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")
        assert it.large.requests == []


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("completions", {}, "prompt"), ("completions", {"prompt": []}, "prompt"), ("completions", {"prompt": 5}, "prompt"),
    ("completions", {"prompt": "a", "max_tokens": 0}, "max_tokens"), ("completions", {"prompt": "a", "n": 0}, "n"),
    ("completions", {"prompt": "a", "stream": 5}, "stream"),
    ("completions", {"prompt": "a", "stream_options": 5}, "stream_options"),
    ("embeddings", {"input": None}, "input"), ("embeddings", {"input": "a", "stream": True}, "stream"),
    ("embeddings", {"input": "a", "model": "gpt-9"}, "model"), ("embeddings", {"input": "a", "model": None}, "model"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fields", "param"), WRONG)
async def test_a_wrong_value_is_refused_with_its_field(name: str, fields: dict[str, Any], param: str) -> None:
    async with upstreams(server=SERVER) as it:
        response = await post(it, f"/v1/{name}", **fields)
        assert (response.status_code, response.json()["error"]["param"]) == (
            404 if "gpt-9" in str(fields) else 400,
            param,
        )
        assert it.large.requests == []


async def test_an_error_of_the_server_keeps_its_code() -> None:
    fault = {"error": {"message": "too long", "code": "context_length_exceeded", "param": "input"}}
    async with upstreams(Fail(400, body=fault), server=SERVER) as it:
        response = await post(it, "/v1/embeddings", input="12")
    assert response.json() == {"error": {**fault["error"], "type": "invalid_request_error"}}


class OneKey(OpenAccounts):
    """Accounts with one key, which may spend a little; each reserve and cost is noted."""

    def __init__(self, left_usd: str) -> None:
        self.left = Decimal(left_usd)
        self.reserves: list[Decimal] = []
        self.costs: list[Decimal | None] = []

    def identify(self, secret: str | None) -> Principal:
        return Principal(id="k", cascades=frozenset({"corea"}))

    async def admit(self, principal: Principal, request: SpendRequest) -> Admission:
        self.reserves.append(request.reserve_usd)
        if request.reserve_usd > self.left:
            raise GatewayError(429, "over", "insufficient_quota", "insufficient_quota")
        return Admission(key_id="k", request=request, reserved_usd=request.reserve_usd)

    async def settle(self, admission: Admission, *, cost_usd: Decimal | None, tokens: int) -> None:
        self.costs.append(cost_usd)


async def test_a_key_reserves_the_worst_case_and_pays_what_was_used() -> None:
    accounts = OneKey("0.01")
    async with upstreams(Bytes(json.dumps(WHOLE).encode()), server=SERVER, large_stage=STAGE, accounts=accounts) as it:
        assert (await post(it, "/v1/completions", prompt="12", max_tokens=100)).status_code == 200
        assert (await post(it, "/v1/completions", prompt="12", max_tokens=100, n=3)).status_code == 200
        assert (await post(it, "/v1/completions", prompt=["12"] * 4, max_tokens=9000)).status_code == 429
    prompt = accounts.reserves[0] - 100 * Decimal("0.000002")
    assert accounts.reserves[1] == prompt + 3 * 100 * Decimal("0.000002")
    assert accounts.reserves[2] > 4 * 9000 * Decimal("0.000002")
    assert accounts.costs == [Decimal("0.000011")] * 2


async def test_policies_hold_for_embeddings_and_completions() -> None:
    policy = {"default": {"max_tokens": 10, "allow": ["user"], "force": {"user": "operator"}}}
    async with upstreams(Bytes(json.dumps(WHOLE).encode()), server=SERVER, policies=policy) as it:
        await post(it, "/v1/completions", prompt="12", max_tokens=100, user="me")
        assert it.large.requests[0].body == {
            "model": "large-model", "prompt": "12", "max_tokens": 10, "user": "operator"
        }  # fmt: skip
        refused = await post(it, "/v1/completions", prompt="12", service_tier="flex")
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "service_tier")
