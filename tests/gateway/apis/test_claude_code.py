"""Requests as Claude Code makes them (tests/golden/claude_code), to a gateway in front of either kind of server."""

import json
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.fakes.server import Bytes, Say
from tests.gateway.apis.messages_wire import blocks, events, message, served
from tests.gateway.chat.upstreams import KEPT, Upstreams, upstreams

from corea.build import BackendCache, build_all
from corea.config import parse_config
from corea.config import settings as read_settings
from corea.gateway.chat.routing import RoutingTable
from corea.gateway.ops.settings import GatewaySettings

FOLDER = Path(__file__).parents[2] / "golden/claude_code"
ALIASES = {"claude-haiku-*": "corea", "claude-*": "corea/large"}
TEXT = {"type": "text", "text": "It needs 3.11."}


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
    async with upstreams(Say("It needs 3.11."), aliases=ALIASES) as it:
        response = await send(it, "turn")
    assert blocks(events(response)) == [TEXT]
    assert events(response)[0]["message"]["model"] == "claude-sonnet-4-5-20250929"
    asked = recorded("turn")["body"]
    sent = it.large.requests[0].body
    assert sent["messages"] == [
        {"role": "system", "content": "\n\n".join(block["text"] for block in asked["system"])},
        {"role": "user", "content": [
            {"type": "text", "text": block["text"]} for block in asked["messages"][0]["content"]
        ]},
    ]  # fmt: skip
    assert [tool["function"]["parameters"] for tool in sent["tools"]] == [t["input_schema"] for t in asked["tools"]]
    assert (sent["max_tokens"], sent["stream"]) == (32000, True)
    assert set(sent) == {"model", "messages", "max_tokens", "tools", "stream", "stream_options"}
    assert response.headers["x-corea-dropped"] == (
        "cache_control, context_management, metadata.user_id, output_config.effort, thinking, "
        "tools.eager_input_streaming"
    )


async def test_results_of_tools_are_translated() -> None:
    async with upstreams(Say("It needs 3.11."), aliases=ALIASES) as it:
        response = await send(it, "tool_results")
    assert blocks(events(response)) == [TEXT]
    *_, assistant, first, second, rest = it.large.requests[0].body["messages"]
    assert (assistant["role"], assistant["content"]) == ("assistant", "I'll look.")
    assert [(c["id"], c["function"]["name"]) for c in assistant["tool_calls"]] == [
        ("toolu_01A09q90qw90lq917835lq9", "Bash"), ("toolu_01B", "Read")
    ]  # fmt: skip
    assert first == {
        "role": "tool", "tool_call_id": "toolu_01A09q90qw90lq917835lq9", "content": 'requires-python = ">=3.11"'
    }  # fmt: skip
    assert second == {"role": "tool", "tool_call_id": "toolu_01B", "content": ""}
    url = "data:image/png;base64,iVBORw0KGgo="
    assert rest == {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
    assert "messages.thinking" in response.headers["x-corea-dropped"]


async def test_the_small_models_requests_reach_the_cascade() -> None:
    async with upstreams(Say('{"title": "Python"}'), KEPT, aliases=ALIASES) as it:
        title = await send(it, "title")  # a form: only a stage that accepts one is asked
        assert blocks(events(title)) == [{"type": "text", "text": '{"title": "Python"}'}]
        assert it.small.requests == []
        form = it.large.requests[0].body["response_format"]
        assert (form["type"], form["json_schema"]["schema"]["required"]) == ("json_schema", ["title"])
        quota = (await send(it, "quota")).json()
    assert len(quota["content"]) == 1
    assert it.large.requests[1].body["max_tokens"] == 1


@pytest.mark.parametrize("name", ["turn", "tool_results"])
async def test_a_server_that_speaks_the_api_gets_them_as_they_came(name: str) -> None:
    server = {"apis": ["chat", "messages"]}
    async with upstreams(served(message(TEXT), True), aliases=ALIASES, server=server) as it:
        response = await send(it, name)
    asked, sent = recorded(name), it.large.requests[0]
    assert sent.body == {**asked["body"], "model": "large-model"}
    forwarded = {k: v for k, v in asked["headers"].items() if k.startswith("anthropic-")}
    assert {k: v for k, v in sent.headers.items() if k.lower().startswith(("anthropic-", "x-"))} == forwarded
    assert blocks(events(response)) == [TEXT]


def test_the_configuration_in_the_docs_sends_each_model_where_the_docs_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-key")
    text = (FOLDER.parents[2] / "docs/apis.md").read_text().partition("## Claude Code")[2]
    config = parse_config(tomllib.loads(text.partition("```toml")[2].partition("```")[0]))
    built, _ = build_all(config, BackendCache())
    routes = RoutingTable(built, read_settings("gateway", GatewaySettings, config.gateway))
    for name in ("turn", "title", "quota", "tool_results"):
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
    assert 200 < estimated < 800
