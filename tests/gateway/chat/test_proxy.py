"""A request and an answer pass through whole: what each upstream is sent, and what the client gets of its answer."""

import asyncio
import json
from typing import Any

import pytest
from tests.fakes.server import SSE, Bytes, Drip, Say
from tests.gateway.chat.upstreams import DEFERRED, KEPT, streamed, upstreams, whole
from tests.gateway.conftest import QUESTION, SURE, UNSURE, events

from corea.prompts import load_prompt

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
TEXT = "  <think>a tag</think> `<answer>` and <answer>19</answer>\n"
MESSAGES: list[dict[str, Any]] = [
    {"content": TEXT},
    {"content": "19", "reasoning_content": "12 + 7", "refusal": None, "annotations": []},
    {"content": None, "refusal": "I cannot help with that."},
    {"content": None, "tool_calls": [CALL], "reasoning": "a tool", "reasoning_details": [{"type": "x", "data": "e"}]},
    {"content": None, "function_call": {"name": "add", "arguments": "{}"}},
    {"content": "see", "annotations": [{"type": "url_citation", "url_citation": {"url": "u", "title": "t"}}]},
    {"content": None, "audio": {"id": "a", "data": "UklG", "transcript": "nineteen", "expires_at": 5}},
    {"content": "", "images": [{"type": "image_url", "image_url": {"url": "data:,"}}], "made_up": {"a": [None, 1]}},
    {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "19"}]},
]  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: "+".join(message))
@pytest.mark.parametrize("model", ["corea", "corea/large", "gpt"])
async def test_the_large_models_message_is_given_as_it_came(message: dict[str, Any], model: str) -> None:
    async with upstreams(whole(message), passthrough={"gpt": "large"}) as it:
        given = (await it.choice(model=model))["message"]
    assert {key: value for key, value in given.items() if value is not None} == {
        key: value for key, value in {"role": "assistant", **message}.items() if value is not None
    }
    assert given["content"] == message["content"]


DELTAS: list[list[dict[str, Any]]] = [
    [{"content": "  <think>a"}, {"content": " tag</think> <answer>"}, {"content": "19</answer>\n"}],
    [{"reasoning_content": "12 "}, {"reasoning_content": "+ 7"}, {"content": "19"}],
    [{"refusal": "I cannot"}, {"refusal": " help."}],
    [{"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "add", "arguments": ""}}]},
     {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]},
     {"tool_calls": [{"index": 0, "function": {"arguments": " 1}"}}]}],
    [{"function_call": {"name": "add", "arguments": ""}}, {"function_call": {"arguments": "{}"}}],
    [{"audio": {"id": "a"}}, {"audio": {"transcript": "nine"}}, {"audio": {"data": "UklG"}}],
    [{"content": "see", "annotations": [{"type": "url_citation"}]}, {"made_up": {"a": [1]}}],
]  # fmt: skip


@pytest.mark.parametrize("deltas", DELTAS, ids=lambda deltas: "+".join(deltas[0]))
@pytest.mark.parametrize("model", ["corea", "corea/large"])
async def test_the_large_models_deltas_are_passed_on_one_by_one(deltas: list[dict[str, Any]], model: str) -> None:
    async with upstreams(streamed({"role": "assistant", "content": ""}, *deltas)) as it:
        assert await it.deltas(model=model) == deltas


async def test_tool_calls_without_an_index_and_blank_events_stream_as_calls() -> None:
    pieces = [{"id": "c1", "function": {"name": "add", "arguments": ""}}, {"function": {"arguments": "{}"}}]
    answer = streamed(*({"tool_calls": [p]} for p in pieces), finish="tool_calls", between="data:\n\ndata: \n\n")
    async with upstreams(answer) as it:
        assert await it.deltas(tools=[TOOL]) == [{"tool_calls": [{"index": 0, **piece}]} for piece in pieces]


async def test_the_other_fields_of_a_kept_draft_come_with_it_and_those_of_a_deferred_one_never() -> None:
    kept = {"content": SURE, "reasoning_content": "of the small one", "made_up": 1}
    async with upstreams(small=whole(kept)) as it:
        message = (await it.choice())["message"]
        assert await it.deltas() == [{"content": "19"}, {"reasoning_content": "of the small one", "made_up": 1}]
    assert message == {"role": "assistant", "content": "19", "reasoning_content": "of the small one", "made_up": 1}
    async with upstreams(Say("nineteen"), whole({**kept, "content": UNSURE})) as it:
        assert (await it.choice())["message"] == {"role": "assistant", "content": "nineteen"}
        assert await it.deltas() == [{"content": "nineteen"}]


async def test_a_draft_that_streams_shows_its_fields_only_when_it_is_kept() -> None:
    think = {"reasoning_content": "of the small one"}
    for sure, expected in ((0.9, [think, {"content": "19"}]), (0.2, [{"content": "nineteen"}])):
        draft = streamed(think, {"content": f"<confidence>{sure}</confidence>"}, {"content": "<answer>19</answer>"})
        stage = {"confidence_first": True, "prompt": load_prompt("confidence_first")}
        async with upstreams(small=draft, small_stage=stage) as it:
            assert await it.deltas() == expected


@pytest.mark.parametrize("stream", [False, True])
async def test_log_probabilities_come_from_the_stage_that_was_asked_alone(stream: bool) -> None:
    async with upstreams(Say("nine teen", logprob=-0.5)) as it:
        for model in ("corea/large", "corea"):
            response = await it.post(model=model, logprobs=True, top_logprobs=2, stream=stream)
            found = events(response)[:-1] if stream else [response.json()]
            tokens = [t for e in found for t in (e["choices"][0]["logprobs"] or {"content": []})["content"]]
            assert [(t["token"], t["logprob"], len(t["top_logprobs"])) for t in tokens] == [
                ("nine", -0.5, 2),
                (" teen", -0.5, 2),
            ]
        assert it.small.requests == []
        quiet = await it.post(model="corea/large", stream=stream)
    assert '"logprobs":{' not in quiet.text


TOKENS = {
    "content": [{"token": "19", "logprob": -0.25, "bytes": [49, 57], "top_logprobs": [], "token_id": 7}],
    "refusal": None, "made_up": {"a": [1]},
}  # fmt: skip
USAGE: dict[str, Any] = {
    "prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "queue_time": 0.25, "cost": 0.125,
    "prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 1, "accepted_prediction_tokens": 1},
}  # fmt: skip


@pytest.mark.parametrize("model", ["corea", "corea/large", "gpt"])
async def test_log_probabilities_and_unknown_counts_of_a_whole_answer_are_given_as_they_came(model: str) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "19"}, "finish_reason": "stop"}
    body = {"model": "m", "choices": [{**choice, "logprobs": TOKENS}], "usage": USAGE}
    async with upstreams(Bytes(json.dumps(body).encode()), passthrough={"gpt": "large"}) as it:
        response = (await it.post(model=model, logprobs=True)).json()
        quiet = (await it.post(model="gpt")).json()
    assert response["choices"][0]["logprobs"] == TOKENS
    assert quiet["choices"][0]["logprobs"] is None
    own = {**USAGE["prompt_tokens_details"], "cache_write_tokens": 0}
    assert quiet["usage"] == {**USAGE, "prompt_tokens_details": own, "corea_stages": quiet["usage"]["corea_stages"]}


@pytest.mark.parametrize("model", ["corea", "corea/large"])
async def test_unknown_fields_of_chunks_and_of_their_choices_come_with_their_chunk(model: str) -> None:
    def chunk(number: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "token_ids": [number]}
        choice |= {"prompt_token_ids": [5]} if number == 0 else {}
        return {"id": "c", "choices": [choice], "system_fingerprint": "fp", "obfuscation": f"o{number}"}

    chunks = [
        chunk(0, {"role": "assistant", "content": ""}),
        chunk(1, {"content": "nine"}),
        chunk(2, {"content": "teen"}),
    ]
    chunks += [chunk(3, {}, "stop"), {"choices": [], "usage": USAGE, "obfuscation": "o4"}]
    body = "".join(f"data: {json.dumps(each)}\n\n" for each in chunks) + "data: [DONE]\n\n"
    async with upstreams(Bytes(body.encode(), SSE)) as it:
        found = events(await it.post(model=model, stream=True, stream_options={"include_usage": True}))[:-1]
    seen = [(e["choices"][0]["delta"].get("content"), e["choices"][0].get("token_ids")) for e in found[:-1]]
    assert seen == [("", None), ("nine", [1]), ("teen", [2]), (None, [3])]
    assert [e["choices"][0].get("prompt_token_ids") for e in found[:-1]] == [None, [5], None, None]
    assert [each.get("obfuscation") for each in found] == ["o1", "o1", "o2", "o4", "o4"]
    assert {each.get("system_fingerprint") for each in found} == {"fp"}
    assert (found[-1]["usage"]["queue_time"], found[-1]["usage"]["prompt_tokens_details"]["audio_tokens"]) == (0.25, 1)


SYSTEM = {"role": "developer", "content": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "e"}}]}
PARTS = {"role": "user", "content": [{"type": "text", "text": "12 + 7?", "cache_control": {"type": "e"}}]}
REQUESTS: list[dict[str, Any]] = [
    {},
    {"messages": [SYSTEM, PARTS]},
    {"temperature": 0.3, "top_p": 0.9, "seed": 7, "stop": ["x"], "max_tokens": 300, "made_up": [1, {"a": None}]},
    {"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": False},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}},
    {"messages": [*QUESTION, {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "r"},
                  {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "19"}]}]},
    {"logit_bias": {"5": 1}, "web_search_options": {"size": "low"}, "modalities": ["text", "audio"], "audio": {"v": 1}},
]  # fmt: skip


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request_: "+".join(request_) or "plain")
async def test_the_last_stage_is_asked_exactly_as_the_client_asked(request_: dict[str, Any]) -> None:
    async with upstreams() as it:
        await it.choice(**request_)
    assert it.large.requests[0].body == {"messages": QUESTION, **request_, "model": "large-model"}


@pytest.mark.parametrize("field", [{"tools": [TOOL]}, {"response_format": {"type": "json_object"}}])
async def test_a_prompt_and_a_draft_for_the_last_stage_are_left_out_with_tools_and_forms(field: dict[str, Any]) -> None:
    stages: dict[str, Any] = {
        "large_stage": {"prompt": load_prompt("answer_only")},
        "small_stage": {"pass_draft": True},
        "accepts": {"small": ["tools", "structured"]},
    }
    async with upstreams(**stages) as it:
        await it.choice(**field)
        await it.choice()
    assert len(it.small.requests) == 2
    assert it.large.requests[0].body["messages"] == QUESTION
    assert "<draft>" in it.large.requests[1].question


async def test_the_small_stage_gets_its_prompt_behind_the_applications_own_instructions() -> None:
    async with upstreams() as it:
        await it.choice(messages=[SYSTEM, PARTS])
    system, user = it.small.requests[0].body["messages"]
    assert system["role"] == "developer"
    assert system["content"][0] == SYSTEM["content"][0]
    assert system["content"][1]["text"].strip() == load_prompt("default").system
    assert user == PARTS


@pytest.mark.parametrize(("limit", "asked"), [(20, False), (63, False), (64, True), (None, True)])
async def test_a_draft_without_room_for_its_tags_is_not_asked(limit: int | None, asked: bool) -> None:
    async with upstreams() as it:
        response = await it.post(max_completion_tokens=limit)
    assert bool(it.small.requests) is asked
    flags = [] if asked else [f"small not asked: max_tokens {limit} is too few for a draft"]
    assert response.json()["corea"]["flags"] == flags


async def test_an_accepting_small_stage_is_sent_what_it_accepts_and_no_other_constraint() -> None:
    asked: dict[str, Any] = {
        "tools": [TOOL], "tool_choice": "required", "response_format": {"type": "json_object"},
        "guided_json": {"type": "object"}, "made_up": 1, "user": "u",
    }  # fmt: skip
    async with upstreams(accepts={"small": ["tools", "structured"]}) as it:
        await it.choice(**asked)
        sent = it.small.requests[0].body
        assert {key: sent.get(key) for key in asked} == {**asked, "made_up": None}
        for field in ({"logit_bias": {"5": 1}}, {"web_search_options": {"size": "low"}}, {"modalities": ["audio"]}):
            assert (await it.post(**field)).json()["corea"]["flags"] == [
                f"small not asked: the request has {next(iter(field))}"
            ]
        assert len(it.small.requests) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_stop_cuts_the_visible_text_of_a_draft(stream: bool) -> None:
    draft = "<think>a STOP here</think><answer>one STOP two</answer><confidence>0.9</confidence>"
    async with upstreams(small=Say(draft)) as it:
        response = await it.post(stop=["STOP", "never"], stream=stream)
    assert "stop" not in it.small.requests[0].body
    found = events(response)[:-1] if stream else [response.json()]
    parts = [e["choices"][0].get("delta") or e["choices"][0].get("message") for e in found]
    assert "".join(part.get("content") or "" for part in parts if part) == "one "
    assert found[-1]["choices"][0]["finish_reason"] == "stop"


DRAFTS = [
    "<think>a <b> c</think>\n\n<answer> 19 </answer>\n<confidence>0.9</confidence>\n",
    "<think>x</think>\n<answer>```html\n<answer>shown</answer>\n```</answer> done <confidence>0.9</confidence>",
    "no opening mark</think> <answer>19</answer><confidence>0.9</confidence>",
    "<confidence>0.9</confidence> <think>in it <answer>19</answer></think>",
]


@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize("large", [False, True])
async def test_streamed_and_whole_give_the_same_text(draft: str, large: bool) -> None:
    prompt = {"prompt": load_prompt("default")} if large else {}
    async with upstreams(Say(draft), DEFERRED if large else Say(draft), large_stage=prompt) as it:
        text = (await it.choice())["message"]["content"]
        assert "".join(delta["content"] for delta in await it.deltas()) == text
    assert "19" in text or "shown" in text
    assert "<think>" not in text
    assert "0.9" not in text


async def test_a_broken_answer_is_asked_twice() -> None:
    async with upstreams(Bytes(b'{"choices": [{"message": {"content": "19"'), KEPT) as it:
        for backend in (s.backend for s in it.app.chat.routes.cascades["corea"].stages):
            object.__setattr__(backend.settings, "max_retries", 4)  # pyright: ignore[reportAttributeAccessIssue]
        assert (await it.post(model="corea/large")).status_code == 502
    assert len(it.large.requests) == 2


def parsed(body: bytes) -> Any:
    """The object of openai's Python client, but for what names the call and counts it."""
    chat = pytest.importorskip("openai.types.chat")
    found = chat.ChatCompletion.construct(**json.loads(body)).to_dict(warnings=False)
    for name in ("id", "created", "model", "corea", "object"):
        found.pop(name, None)
    usage = found.get("usage") or {}
    usage.pop("corea_stages", None)
    if not (details := usage.get("prompt_tokens_details") or {}).get("cache_write_tokens"):
        details.pop("cache_write_tokens", None)  # 0 is added
    return found


TOGETHER: dict[str, Any] = {
    "content": "see", "refusal": None, "reasoning_content": "12 + 7", "tool_calls": [CALL], "made_up": {"a": [None, 1]},
    "function_call": {"name": "add", "arguments": "{}"}, "annotations": [{"type": "url_citation", "x": 1}],
    "audio": {"id": "a", "data": "UklG"}, "images": [{"type": "image_url", "image_url": {"url": "data:,"}}],
}  # fmt: skip


async def test_openais_client_makes_the_same_object_of_all_fields_at_once() -> None:
    """Log-probabilities and details of the usage among them, whole and streamed, where a stage is asked directly."""
    end = {"index": 0, "logprobs": TOKENS, "made_up": 1}
    choice = {**end, "message": {"role": "assistant", **TOGETHER}, "finish_reason": "tool_calls"}
    outside = {"model": "m", "usage": USAGE, "system_fingerprint": "fp", "service_tier": "flex", "citations": ["u"]}
    body = json.dumps({**outside, "choices": [choice]}).encode()
    called = {**TOGETHER, "tool_calls": [{"index": 0, **CALL}]}
    chunks: list[Any] = [
        {**outside, "usage": None, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
        {**outside, "usage": None, "choices": [{**end, "delta": called, "finish_reason": None}]},
        {**outside, "usage": None, "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
        {**outside, "choices": []},
    ]
    stream = Bytes(b"".join(b"data: " + json.dumps(c).encode() + b"\n\n" for c in chunks) + b"data: [DONE]\n\n", SSE)
    asked: dict[str, Any] = {"logprobs": True, "stream_options": {"include_usage": True}}
    async with upstreams(Bytes(body), passthrough={"gpt": "large"}) as it:
        for model in ("corea/large", "gpt"):
            it.large.otherwise = Bytes(body)
            assert parsed((await it.post(model=model, logprobs=True)).content) == parsed(body)
            it.large.otherwise = stream
            given = await it.post(model=model, stream=True, **asked)
            assert accumulated(given.content) == accumulated(stream.body)
    usage = it.done[0].usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.reasoning_tokens) == (5, 2, 3, 1)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: "+".join(message))
async def test_openais_client_makes_the_same_object_with_and_without_the_gateway(message: dict[str, Any]) -> None:
    outside = {"id": "c", "created": 5, "object": "chat.completion", "system_fingerprint": "fp", "citations": ["u"]}
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop", "stop_reason": 5}
    body = json.dumps({**outside, "model": "m", "choices": [{**choice, "logprobs": None}]}).encode()
    async with upstreams(Bytes(body)) as it:
        for model in ("corea/large", "corea"):
            given = parsed((await it.post(model=model)).content)
            assert given.pop("usage")["total_tokens"] > 0  # estimated, since this server gives none
            assert given == parsed(body)


def accumulated(stream: bytes) -> Any:
    """The same object from the chunks of a stream, as openai's Python client adds them up."""
    chat, streaming = pytest.importorskip("openai.types.chat"), pytest.importorskip("openai.lib.streaming.chat")
    state = streaming.ChatCompletionStreamState()
    for event in events(stream)[:-1]:
        state.handle_chunk(chat.ChatCompletionChunk.construct(**event))
    return parsed(state.current_completion_snapshot.to_json().encode())


@pytest.mark.parametrize("deltas", DELTAS, ids=lambda deltas: "+".join(deltas[0]))
async def test_openais_client_adds_up_the_same_object_with_and_without_it(deltas: list[dict[str, Any]]) -> None:
    upstream = streamed({"role": "assistant", "content": ""}, *deltas)
    async with upstreams(upstream) as it:
        for model in ("corea/large", "corea"):
            assert accumulated((await it.post(model=model, stream=True)).content) == accumulated(upstream.body)


async def test_a_tool_call_that_a_client_cuts_off_is_booked_by_its_pieces() -> None:
    pieces = [{"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "add", "arguments": "x"}}]}] * 50
    begun = streamed(*pieces).body.partition(b'data: {"choices": [{"index": 0, "delta": {}')[0]
    done: list[Any] = []
    async with upstreams(Drip(begun)) as it:
        it.app.chat.record = done.append
        seen = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if first:
                return first.pop()
            await seen.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            count.append(message.get("body", b"").count(b'"arguments"'))
            if sum(count) >= 50:
                seen.set()

        count: list[int] = []
        asked = json.dumps({"model": "corea/large", "stream": True, "messages": QUESTION}).encode()
        first = [{"type": "http.request", "body": asked, "more_body": False}]
        scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": [], "query_string": b""}
        await it.app(scope, receive, send)
    assert done[0].usage.completion_tokens == 50
