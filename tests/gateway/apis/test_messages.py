"""`POST /v1/messages`, translated into chat requests: every value on both sides."""

import json
from typing import Any

import pytest
from tests.fakes.server import SSE, Bytes, Fail, Say
from tests.gateway.apis.messages_wire import TOOL, USE, ask, blocks, events, post
from tests.gateway.chat.upstreams import KEPT, streamed, upstreams, whole

from corea.backends.openai.client import OpenAISettings
from corea.errors import ConfigError

CHAT_TOOL = {
    "type": "function",
    "function": {"name": "add", "description": TOOL["description"], "parameters": TOOL["input_schema"]},
}


def call(index: int | None, name: str = "add", arguments: str = '{"a": 12, "b": 7}', call_id: str = "c1") -> Any:
    place = {} if index is None else {"index": index}
    return {**place, "id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


async def sent(headers: dict[str, str] | None = None, server: dict[str, Any] | None = None, **body: Any) -> Any:
    """The chat request that the large model gets for a request, and the response's header about dropped fields."""
    async with upstreams(server=server) as it:
        response = await post(it, headers, model="corea/large", **body)
        assert response.status_code == 200, response.text
        return it.large.requests[0].body, response.headers.get("x-corea-dropped")


async def test_a_kept_answer() -> None:
    async with upstreams(small=KEPT) as it:
        response = await post(it)
    body = response.json()
    trace_id = response.headers["x-corea-trace-id"]
    assert (body["id"], body["type"], body["role"], body["model"]) == (
        f"msg_{trace_id}",
        "message",
        "assistant",
        "corea",
    )
    assert (body["content"], body["stop_reason"], body["stop_sequence"]) == (
        [{"type": "text", "text": "19"}], "end_turn", None
    )  # fmt: skip
    assert (body["corea"]["stage"], body["corea"]["confidence"]) == ("small", 0.9)
    assert response.headers["request-id"] == response.headers["x-request-id"] == trace_id
    assert it.large.requests == []


async def test_a_deferred_answer_streams() -> None:
    async with upstreams(Say("It is nineteen.")) as it:
        found = events(await post(it, stream=True))
    assert [e["type"] for e in found] == [
        "message_start", "content_block_start", *["content_block_delta"] * 3, "content_block_stop", "message_delta",
        "message_stop",
    ]  # fmt: skip
    assert blocks(found) == [{"type": "text", "text": "It is nineteen."}]
    assert found[0]["message"]["content"] == []
    assert found[0]["message"]["stop_reason"] is None
    ended = found[-2]
    assert ended["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    used = it.done[0].usage
    assert ended["usage"] == {
        "input_tokens": used.prompt_tokens, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
        "output_tokens": used.completion_tokens,
    }  # fmt: skip
    assert ended["corea"]["deferred"] is True


async def test_the_settings_of_a_request() -> None:
    body, dropped = await sent(
        system="Be brief.", temperature=0.5, top_p=0.9, top_k=20, stop_sequences=["END"],
        metadata={"user_id": "u1"}, service_tier="standard_only", made_up=[1],
    )  # fmt: skip
    assert body == {
        "model": "large-model", "max_tokens": 500, "temperature": 0.5, "top_p": 0.9, "stop": ["END"], "top_k": 20,
        "user": "u1", "service_tier": "default", "made_up": [1],
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "12 + 7?"}],
    }  # fmt: skip
    assert dropped is None


async def test_fields_without_a_counterpart_are_named_in_a_header() -> None:
    thought = {"type": "thinking", "thinking": "a", "signature": "EqQB"}
    body, dropped = await sent(
        messages=[
            {"role": "user", "content": "1?"},
            {"role": "assistant", "content": [thought, {"type": "text", "text": "2"}]},
            {"role": "user", "content": [{"type": "text", "text": "3?", "cache_control": {"type": "ephemeral"}}]},
        ],
        thinking={"type": "enabled", "budget_tokens": 1024},
        context_management={"edits": []},
        metadata={"user_id": "u" * 65},
        output_config={"effort": "low"},
        tools=[{**TOOL, "eager_input_streaming": True}],
    )
    assert dropped == (
        "cache_control, context_management, messages.thinking, metadata.user_id, output_config.effort, thinking, "
        "tools.eager_input_streaming"
    )
    assert body["messages"] == [
        {"role": "user", "content": "1?"}, {"role": "assistant", "content": "2"}, {"role": "user", "content": "3?"}
    ]  # fmt: skip
    assert set(body) == {"model", "messages", "max_tokens", "tools"}


async def test_cache_control_is_kept_where_the_server_takes_it() -> None:
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    text = {"type": "text", "text": "Long.", **mark}
    body, dropped = await sent(
        server={"cache_control": True}, system=[text], tools=[{**TOOL, **mark}],
        messages=[{"role": "user", "content": [text]}], **mark,
    )  # fmt: skip
    assert body["messages"] == [{"role": "system", "content": [text]}, {"role": "user", "content": [text]}]
    assert body["tools"] == [{**CHAT_TOOL, **mark}]
    assert body["cache_control"] == mark["cache_control"]
    assert dropped is None


async def test_content_in_blocks() -> None:
    body, _ = await sent(
        system=[{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}],
        messages=[
            {"role": "user", "content": [
                {"type": "text", "text": "See:"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}},
                {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}},
                {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Paper."}},
            ]},
            {"role": "system", "content": "Now in French."},
        ],
    )  # fmt: skip
    assert body["messages"] == [
        {"role": "system", "content": "One.\n\nTwo."},
        {"role": "user", "content": [
            {"type": "text", "text": "See:"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}},
            {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
            {"type": "file", "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
            {"type": "text", "text": "Paper."},
        ]},
        {"role": "system", "content": "Now in French."},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("choice", "chat"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        ({"type": "tool", "name": "add"}, {"tool_choice": {"type": "function", "function": {"name": "add"}}}),
        (
            {"type": "auto", "disable_parallel_tool_use": True},
            {"tool_choice": "auto", "parallel_tool_calls": False},
        ),
    ],
)
async def test_tools_and_their_choice(choice: Any, chat: dict[str, Any]) -> None:
    body, _ = await sent(tools=[TOOL, {**TOOL, "type": "custom", "strict": True}], tool_choice=choice)
    strict = {"type": "function", "function": {**CHAT_TOOL["function"], "strict": True}}  # type: ignore[dict-item]
    assert body["tools"] == [CHAT_TOOL, strict]
    assert {k: v for k, v in body.items() if k in ("tool_choice", "parallel_tool_calls")} == chat


async def test_a_form_of_the_answer() -> None:
    schema = {"type": "object", "properties": {"sum": {"type": "integer"}}}
    for field in ({"output_config": {"format": {"type": "json_schema", "schema": schema}}},
                  {"output_format": {"type": "json_schema", "schema": schema}}):  # fmt: skip
        body, dropped = await sent(**field)
        wanted = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
        assert (body["response_format"], dropped) == (wanted, None)


@pytest.mark.parametrize("stream", [False, True])
async def test_two_turns_with_tools(stream: bool) -> None:
    message = {"content": "Let me add.", "tool_calls": [call(0 if stream else None)]}
    act = streamed(message, finish="tool_calls") if stream else whole(message, finish_reason="tool_calls")
    async with upstreams(act) as it:
        first = await post(it, tools=[TOOL], stream=stream)
        content = blocks(events(first)) if stream else first.json()["content"]
        assert content == [{"type": "text", "text": "Let me add."}, {**USE, "id": "c1"}]
        stop = events(first)[-2]["delta"] if stream else first.json()
        assert stop["stop_reason"] == "tool_use"
        it.large.otherwise = Say("19")
        result = {"type": "tool_result", "tool_use_id": "c1", "content": "19"}
        after = [
            {"role": "user", "content": "12 + 7?"},
            {"role": "assistant", "content": content},
            {"role": "user", "content": [result, {"type": "text", "text": "And?"}]},
        ]
        second = await post(it, tools=[TOOL], messages=after)
    assert second.json()["content"] == [{"type": "text", "text": "19"}]
    assert it.small.requests == []  # a stage that does not accept tools is not asked
    told = it.large.requests[1].body["messages"]
    assert told[1] == {
        "role": "assistant", "content": "Let me add.", "tool_calls": [call(None, arguments='{"a":12,"b":7}')]
    }  # fmt: skip
    assert told[2:] == [{"role": "tool", "tool_call_id": "c1", "content": "19"}, {"role": "user", "content": "And?"}]


async def test_results_of_tools_in_blocks() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}}
    body, _ = await sent(
        messages=[
            {"role": "user", "content": "1?"},
            {"role": "assistant", "content": [USE, {**USE, "id": "toolu_2"}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "a"}, image]},
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": "no file", "is_error": True},
            ]},
        ],
        tools=[TOOL],
    )  # fmt: skip
    assert body["messages"][1]["content"] is None
    assert [c["id"] for c in body["messages"][1]["tool_calls"]] == ["toolu_1", "toolu_2"]
    assert body["messages"][2:] == [
        {"role": "tool", "tool_call_id": "toolu_1", "content": "a"},
        {"role": "tool", "tool_call_id": "toolu_2", "content": "Error:\nno file"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}]},
    ]


@pytest.mark.parametrize("stream", [False, True])
async def test_reasoning_comes_as_thinking_and_goes_back_to_the_field_that_it_came_in(stream: bool) -> None:
    act = Say("19", reasoning="12 + 7", reasoning_field="reasoning")
    async with upstreams(act) as it:
        asked = {"model": "corea/large", "thinking": {"type": "adaptive"}}
        response = await post(it, stream=stream, **asked)
        content = blocks(events(response)) if stream else response.json()["content"]
        thought = "12 + 7 " if stream else "12 + 7"  # the scripted server's own spaces
        assert content == [
            {"type": "thinking", "thinking": thought, "signature": "corea:reasoning"}, {"type": "text", "text": "19"}
        ]  # fmt: skip
        turns = [{"role": "user", "content": "1?"}, {"role": "assistant", "content": content}]
        await post(it, messages=[*turns, {"role": "user", "content": "2?"}], **asked)
        assert it.large.requests[-1].body["messages"][1] == {"role": "assistant", "content": "19", "reasoning": thought}
        unasked = await post(it, model="corea/large", stream=stream)
        content = blocks(events(unasked)) if stream else unasked.json()["content"]
        assert content == [{"type": "text", "text": "19"}]


async def test_no_signature_names_another_field_of_a_message() -> None:
    thought = {"type": "thinking", "thinking": "user", "signature": "corea:role"}
    turns = [
        {"role": "user", "content": "1?"},
        {"role": "assistant", "content": [thought, {"type": "text", "text": "2"}]},
    ]
    body, dropped = await sent(messages=[*turns, {"role": "user", "content": "3?"}])
    assert (body["messages"][1], dropped) == ({"role": "assistant", "content": "2"}, "messages.thinking")


@pytest.mark.parametrize(
    ("choice", "stop"),
    [
        ({"finish_reason": "length"}, ("max_tokens", None)),
        ({"finish_reason": "content_filter"}, ("refusal", None)),
        ({"finish_reason": "stop", "stop_reason": "END"}, ("stop_sequence", "END")),
        ({"finish_reason": "stop", "stop_reason": 5}, ("end_turn", None)),
        ({"finish_reason": "stop"}, ("end_turn", None)),
        ({"finish_reason": "eos"}, ("end_turn", None)),
    ],
)
async def test_reasons_of_the_stop(choice: dict[str, Any], stop: tuple[str, str | None]) -> None:
    async with upstreams(whole({"content": "a"}, **choice)) as it:
        body = (await post(it, model="corea/large", stop_sequences=["END"])).json()
    assert (body["stop_reason"], body["stop_sequence"]) == stop


async def test_a_refusal_is_a_text_with_its_reason() -> None:
    for stream in (False, True):
        message = {"content": None, "refusal": "I cannot."}
        async with upstreams(streamed(message) if stream else whole(message)) as it:
            response = await post(it, model="corea/large", stream=stream)
        content = blocks(events(response)) if stream else response.json()["content"]
        stop = events(response)[-2]["delta"] if stream else response.json()
        assert (content, stop["stop_reason"]) == ([{"type": "text", "text": "I cannot."}], "refusal")


async def test_tokens_of_a_cache_stand_apart() -> None:
    usage = {
        "prompt_tokens": 420, "completion_tokens": 9, "total_tokens": 429,
        "prompt_tokens_details": {"cached_tokens": 300, "cache_write_tokens": 100},
        "completion_tokens_details": {"reasoning_tokens": 4},
    }  # fmt: skip
    for stream in (False, True):
        async with upstreams(Say("19", usage=usage)) as it:
            response = await post(it, model="corea/large", stream=stream)
        found = events(response)[-2]["usage"] if stream else response.json()["usage"]
        assert found == {
            "input_tokens": 20, "cache_creation_input_tokens": 100, "cache_read_input_tokens": 300,
            "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4},
        }  # fmt: skip


async def test_calls_whose_pieces_are_mixed_become_blocks_one_after_the_other() -> None:
    act = streamed(
        {"tool_calls": [call(0, arguments='{"a"')]},
        {"tool_calls": [call(1, arguments='{"b": ', call_id="c2")]},
        {"content": "amid"},
        {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "2}"}}]},
        finish="tool_calls",
    )
    async with upstreams(act) as it:
        found = events(await post(it, model="corea/large", stream=True))
    assert blocks(found) == [
        {"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1}},
        {"type": "tool_use", "id": "c2", "name": "add", "input": {"b": 2}},
        {"type": "text", "text": "amid"},
    ]


async def test_a_call_without_arguments_or_with_broken_ones() -> None:
    calls = [call(None, arguments=""), call(None, arguments="{oops", call_id="c2")]
    async with upstreams(whole({"content": None, "tool_calls": calls})) as it:
        body = (await post(it, model="corea/large")).json()
    assert [block["input"] for block in body["content"]] == [{}, {"invalid_json": "{oops"}]
    assert body["stop_reason"] == "tool_use"  # some servers say "stop"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("changes", "status", "kind", "text"),
    [
        ({"model": "nope"}, 404, "not_found_error", "model: got 'nope', expected one of corea, corea/0, corea/1."),
        ({"max_tokens": None}, 400, "invalid_request_error", "max_tokens: got None, expected a whole number of"),
        ({"messages": []}, 400, "invalid_request_error", "messages: got [], expected a list of at least one"),
        ({"messages": [{"role": "tool", "content": ""}]}, 400, "invalid_request_error", "messages[0].role: got 'tool'"),
        ({"messages": ["a"]}, 400, "invalid_request_error", "messages[0]: got 'a', expected an object."),
        ({"system": 5}, 400, "invalid_request_error", "system: got 5, expected a list"),
        ({"tools": [{"input_schema": {}}]}, 400, "invalid_request_error", "tools[0].name: got None, expected a string"),
        ({"tool_choice": {"type": "some"}}, 400, "invalid_request_error", "tool_choice: got {'type': 'some'}, "),
        ({"temperature": 3}, 400, "invalid_request_error", "temperature: got 3, expected `float` <= 2.0"),
        ({"stop_sequences": "END"}, 400, "invalid_request_error", "stop_sequences: got 'END', expected a list"),
        ({"stop_sequences": [""]}, 400, "invalid_request_error", "stop_sequences: got [''], expected a list of texts"),
        ({"stop_sequences": ["a"] * 5}, 400, "invalid_request_error", "stop_sequences is not supported here: a chat"),
        ({"tool_choice": {"type": ["any"]}}, 400, "invalid_request_error", "tool_choice: got {'type': ['any']}, "),
        ({"fallbacks": [1]}, 400, "invalid_request_error", "fallbacks: got [1], expected it left out"),
        ({"mcp_servers": [{"url": "a"}]}, 400, "invalid_request_error", "mcp_servers is not supported here: a chat"),
        (
            {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, 400, "invalid_request_error",
            "tools[0].type is not supported here: the tool 'web_search_20250305' is not a function: a chat request",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "url", "url": "u"}}]}]},
            400, "invalid_request_error", "messages[0].content[0] is not supported here: a block of the type ",
        ),
    ],
)  # fmt: skip
async def test_requests_that_are_refused(stream: bool, changes: Any, status: int, kind: str, text: str) -> None:
    async with upstreams() as it:
        response = await post(it, stream=stream, **changes)
    error = response.json()
    assert (response.status_code, error["type"], error["error"]["type"]) == (status, "error", kind)
    assert error["error"]["message"].startswith(text)
    assert error["request_id"] == response.headers["request-id"]
    assert it.small.requests == it.large.requests == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("act", "status", "kind", "code"),
    [
        (Fail(400, "too long", "context_length_exceeded"), 400, "invalid_request_error", "context_length_exceeded"),
        (Fail(413, "too large"), 413, "request_too_large", "upstream_refused"),
        (Fail(429, "slow down", retry_after="7"), 429, "rate_limit_error", "upstream_rate_limited"),
        (Fail(500, "no luck"), 502, "api_error", "upstream_error"),
        (Fail(503, "busy"), 503, "overloaded_error", "upstream_unavailable"),
        (Fail(401, "bad key"), 502, "api_error", "upstream_error"),
    ],
)
async def test_errors_of_the_models_server(stream: bool, act: Fail, status: int, kind: str, code: str) -> None:
    async with upstreams(act) as it:
        response = await post(it, model="corea/large", stream=stream)
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["details"]) == (status, kind, {"error_code": code})
    assert response.headers.get("retry-after") == {429: "7", 503: "1"}.get(status)


async def test_a_stream_that_breaks_ends_in_an_error() -> None:
    async with upstreams(Say("It is nineteen.", break_after=2)) as it:
        response = await post(it, model="corea/large", stream=True)
    *found, last = events(response)
    assert [e["type"] for e in found][:2] == ["message_start", "content_block_start"]
    assert last == {
        "type": "error",
        "error": {
            "type": "api_error", "message": "The model behind this server failed, or its answer broke off.",
            "details": {"error_code": "upstream_error"},
        },
        "request_id": response.headers["request-id"],
    }  # fmt: skip


async def test_bodies_and_pages_that_there_are_not() -> None:
    async with upstreams() as it:
        got = [
            await it.request("POST", "/v1/messages", content=b"{"),
            await it.request("POST", "/v1/messages", json={"max_tokens": 5}),
            await it.request("GET", "/v1/messages"),
            await it.request("POST", "/v1/messages/batches", json={}, headers={"anthropic-version": "2023-06-01"}),
        ]
    assert [(r.status_code, r.json()["error"]["type"]) for r in got] == [
        (400, "invalid_request_error"), (400, "invalid_request_error"), (405, "invalid_request_error"),
        (404, "not_found_error"),
    ]  # fmt: skip
    assert got[2].headers["allow"] == "POST"


ALIASES = {"claude-sonnet-4-5": "corea", "claude-opus-*": "corea/large", "claude-haiku-*": "corea/0"}


async def test_aliases_name_a_cascade_or_a_stage() -> None:
    allow: dict[str, Any] = {"security": {"allow": []}}  # no stage by its own name
    async with upstreams(Say("big"), KEPT, aliases=ALIASES, **allow) as it:
        for name, text in (("claude-sonnet-4-5", "19"), ("claude-opus-4-1-20250805", "big")):
            body = (await post(it, model=name)).json()
            assert (body["model"], body["content"][0]["text"]) == (name, text)
        assert (await post(it, model="corea/1")).status_code == 404
        await post(it, model="claude-haiku-4-5")
        assert it.small.requests[-1].body["messages"] == ask()["messages"]  # without our prompt
        headers = {"anthropic-version": "2023-06-01"}
        page = (await it.request("GET", "/v1/models?limit=1000", headers=headers)).json()
        one = (await it.request("GET", "/v1/models/claude-sonnet-4-5", headers=headers)).json()
        unknown = await it.request("GET", "/v1/models/claude-x", headers=headers)
    assert [model["id"] for model in page["data"]] == ["corea", "claude-sonnet-4-5"]
    assert (page["has_more"], page["first_id"], page["last_id"]) == (False, "corea", "claude-sonnet-4-5")
    assert {k: v for k, v in one.items() if k != "created_at"} == {
        "type": "model", "id": "claude-sonnet-4-5", "display_name": "claude-sonnet-4-5", "lifecycle": "active"
    }  # fmt: skip
    assert unknown.json()["error"]["type"] == "not_found_error"


@pytest.mark.parametrize(
    ("aliases", "text"),
    [
        ({"claude-*": "nope"}, r"gateway.aliases.claude-\*: got 'nope', expected one of corea, corea/0"),
        ({"corea": "corea/0"}, "gateway.aliases.corea: got the name of a model here, expected another one"),
    ],
)
async def test_an_alias_of_nothing_or_of_a_model_is_refused(aliases: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        async with upstreams(aliases=aliases):
            pass


def test_an_unknown_api_of_a_server_is_refused() -> None:
    with pytest.raises(ConfigError, match="apis: got 'massages', expected some of chat, messages"):
        OpenAISettings(model="m", apis=("chat", "massages"))


async def test_tokens_are_counted_without_asking_a_model() -> None:
    async with upstreams() as it:
        body = {**ask(tools=[TOOL]), "max_tokens": None}
        response = await it.request("POST", "/v1/messages/count_tokens?beta=true", json=body)
        plain = await it.request("POST", "/v1/messages/count_tokens", json=ask())
        longer = await it.request("POST", "/v1/messages/count_tokens", json=ask(system="four" * 100))
        wrong = await it.request("POST", "/v1/messages/count_tokens", json={"model": "nope", "messages": []})
    assert response.status_code == 200
    assert response.json()["input_tokens"] > plain.json()["input_tokens"] + 40
    assert 100 <= longer.json()["input_tokens"] - plain.json()["input_tokens"] <= 110
    assert plain.headers["x-corea-estimated"] == "true"
    assert (wrong.status_code, wrong.json()["error"]["type"]) == (404, "not_found_error")
    assert it.small.requests == it.large.requests == []
    assert it.done == []  # neither booked nor logged


async def test_a_session_is_named_by_claude_codes_header() -> None:
    async with upstreams(Say("hard"), sticky_turns=5) as it:
        headers = {"x-claude-code-session-id": "s1"}
        await post(it, headers)
        await it.request("POST", "/v1/messages/count_tokens", headers=headers, json=ask())
        again = await post(it, headers, messages=[{"role": "user", "content": "another"}])
        other = await post(it, {"x-claude-code-session-id": "s2"}, messages=[{"role": "user", "content": "another"}])
    assert (again.json()["corea"]["flags"], other.json()["corea"]["flags"]) == (["sticky"], [])


async def test_the_settings_of_the_cascade_go_in_the_corea_object() -> None:
    async with upstreams() as it:
        body = (await post(it, corea={"threshold": 0.1})).json()
    assert (body["corea"]["stage"], body["corea"]["threshold"]) == ("small", 0.1)


async def test_a_stream_that_ends_early_has_no_stop() -> None:
    cut = json.dumps({"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]})
    async with upstreams(Bytes(f"data: {cut}\n\n".encode(), SSE)) as it:
        found = events(await post(it, model="corea/large", stream=True))
    assert [e["type"] for e in found] == ["message_start", "content_block_start", "content_block_delta", "error"]
