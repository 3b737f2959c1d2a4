"""Recorded requests of Claude Code (tests/golden/claude_code), to a gateway in front of either kind of server."""

import json
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.fakes.server import Bytes, Say
from tests.gateway.apis.messages_wire import blocks, events, message, served
from tests.gateway.chat.upstreams import Upstreams, upstreams

from corea.build import BackendCache, build_all
from corea.config import parse_config
from corea.config import settings as read_settings
from corea.gateway.chat.routing import RoutingTable
from corea.gateway.ops.settings import GatewaySettings

FOLDER = Path(__file__).parents[2] / "golden/claude_code"
ALIASES = {"claude-haiku-*": "corea", "claude-*": "corea/large"}
TEXT = {"type": "text", "text": "It says hello."}
DROPPED = "cache_control, context_management, metadata.user_id, output_config.effort, thinking"


def recorded(name: str) -> dict[str, Any]:
    """One of the requests."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


async def send(it: Upstreams, name: str) -> httpx.Response:
    """Sends it; the answer."""
    asked = recorded(name)
    response = await it.request("POST", asked["path"], headers=asked["headers"], json=asked["body"])
    assert response.status_code == 200, response.text
    return response


async def test_a_turn_is_translated() -> None:
    async with upstreams(Say("It says hello."), aliases=ALIASES) as it:
        response = await send(it, "turn")
    assert blocks(events(response)) == [TEXT]
    assert events(response)[0]["message"]["model"] == "claude-opus-4-8"
    asked = recorded("turn")["body"]
    sent = it.large.requests[0].body
    said, note = asked["messages"]
    assert sent["messages"] == [
        {"role": "system", "content": "\n\n".join(block["text"] for block in asked["system"])},
        {"role": "user", "content": [{"type": "text", "text": block["text"]} for block in said["content"]]},
        note,
    ]
    assert (note["role"], len(asked["tools"])) == ("system", 25)
    assert [tool["function"]["parameters"] for tool in sent["tools"]] == [t["input_schema"] for t in asked["tools"]]
    assert (sent["max_tokens"], sent["stream"]) == (64000, True)
    assert set(sent) == {"model", "messages", "max_tokens", "tools", "stream", "stream_options"}
    assert response.headers["x-corea-dropped"] == DROPPED


async def test_results_of_tools_are_translated() -> None:
    async with upstreams(Say("It says hello."), aliases=ALIASES) as it:
        response = await send(it, "tool_results")
    assert blocks(events(response)) == [TEXT]
    *_, assistant, missing, picture, printed, rest = it.large.requests[0].body["messages"]
    assert (assistant["role"], assistant["content"]) == ("assistant", "I'll look.")
    calls = [(call["id"], call["function"]["name"]) for call in assistant["tool_calls"]]
    assert calls == [("toolu_01A", "Bash"), ("toolu_01B", "Read"), ("toolu_01C", "Read")]
    assert (missing["tool_call_id"], missing["content"].partition(".")[0]) == (
        "toolu_01C", "Error:\nFile does not exist"
    )  # fmt: skip
    assert picture == {"role": "tool", "tool_call_id": "toolu_01B", "content": ""}
    assert printed == {"role": "tool", "tool_call_id": "toolu_01A", "content": "hello"}
    ((part,), role) = rest["content"], rest["role"]
    assert (role, part["image_url"]["url"][:22]) == ("user", "data:image/png;base64,")
    assert response.headers["x-corea-dropped"] == ", ".join(sorted([*DROPPED.split(", "), "messages.thinking"]))


async def test_a_whole_answer_and_a_call_of_a_tool_come_in_the_form_of_the_api() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "Bash", "arguments": '{"command": "echo hello"}'}}
    act = Say("", finish_reason="tool_calls", message={"tool_calls": [call]})
    async with upstreams(act, aliases=ALIASES) as it:
        streamed = await send(it, "turn")
        asked = recorded("turn")
        body = {**asked["body"], "stream": False}
        whole = (await it.request("POST", asked["path"], headers=asked["headers"], json=body)).json()
    used = {"type": "tool_use", "id": "call_1", "name": "Bash", "input": {"command": "echo hello"}}
    assert (whole["content"], whole["stop_reason"]) == ([used], "tool_use")
    assert blocks(events(streamed)) == [used]


async def test_a_title_is_asked_of_a_stage_that_accepts_its_form() -> None:
    async with upstreams(Say('{"title": "Hello"}'), aliases={"claude-*": "corea"}) as it:
        title = await send(it, "title")
        assert blocks(events(title)) == [{"type": "text", "text": '{"title": "Hello"}'}]
        assert it.small.requests == []
    form = it.large.requests[0].body["response_format"]
    assert (form["type"], form["json_schema"]["schema"]["required"]) == ("json_schema", ["title"])


async def test_a_search_reaches_only_a_server_that_speaks_the_api() -> None:
    asked = recorded("web_search")
    async with upstreams(aliases=ALIASES) as it:
        response = await it.request("POST", asked["path"], headers=asked["headers"], json=asked["body"])
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")
    assert "web_search_20250305" in response.json()["error"]["message"]
    server = {"apis": ["chat", "messages"]}
    async with upstreams(served(message(TEXT), True), aliases=ALIASES, server=server) as it:
        await send(it, "web_search")
    assert it.large.requests[0].body == {**asked["body"], "model": "large-model"}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", ["turn", "tool_results", "small"])
async def test_a_server_that_speaks_the_api_gets_them_as_they_came(name: str, stream: bool) -> None:
    server, asked = {"apis": ["chat", "messages"]}, recorded(name)
    body = {k: v for k, v in asked["body"].items() if stream or k != "stream"}
    async with upstreams(served(message(TEXT), stream), aliases=ALIASES, server=server) as it:
        response = await it.request("POST", asked["path"], headers=asked["headers"], json=body)
    sent = it.large.requests[0]
    assert sent.body == {**body, "model": "large-model"}
    forwarded = {k: v for k, v in asked["headers"].items() if k in ("anthropic-version", "anthropic-beta")}
    assert {k: v for k, v in sent.headers.items() if k.lower().startswith(("anthropic-", "x-"))} == forwarded
    assert (blocks(events(response)) if stream else response.json()["content"]) == [TEXT]


def test_the_configuration_in_the_docs_sends_each_model_where_the_docs_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-key")
    text = (FOLDER.parents[2] / "docs/apis.md").read_text().partition("## Claude Code")[2]
    config = parse_config(tomllib.loads(text.partition("```toml")[2].partition("```")[0]))
    built, _ = build_all(config, BackendCache())
    routes = RoutingTable(built, read_settings("gateway", GatewaySettings, config.gateway))
    for name in ("turn", "title", "small", "tool_results", "web_search"):
        model = recorded(name)["body"]["model"]
        stages = [stage.name for stage in routes.find(model).cascade.stages]
        assert stages == (["small", "large"] if "haiku" in model else ["large"])
    backend: Any = built["corea"].stages[-1].backend
    assert "messages" in backend.apis
    assert backend.settings.key_header("/messages") == "x-api-key"
    assert backend.settings.url_of("/messages") == "https://api.anthropic.com/v1/messages"


async def test_tokens_are_counted() -> None:
    server = {"apis": ["chat", "messages"]}
    async with upstreams(Bytes(b'{"input_tokens": 512}'), aliases=ALIASES, server=server) as it:
        assert (await send(it, "count_tokens")).json() == {"input_tokens": 512}
    asked = recorded("count_tokens")["body"]
    assert it.large.requests[0].body == {**asked, "model": "large-model"}
    async with upstreams(aliases=ALIASES) as it:
        estimated = (await send(it, "count_tokens")).json()["input_tokens"]
    assert 100 < estimated < 400
