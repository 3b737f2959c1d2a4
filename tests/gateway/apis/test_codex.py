"""Recorded requests of Codex (tests/golden/codex), before either kind of server; the documented settings."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.server import SSE, Bytes, Say
from tests.gateway.apis.test_responses_wire import CALL, NATIVE, RESPONSE, as_sse, native_events, sse, texts
from tests.gateway.chat.upstreams import streamed, upstreams

from corea.build import BackendCache, build_all
from corea.config import parse_config
from corea.config import settings as read_settings
from corea.gateway.chat.routing import RoutingTable
from corea.gateway.ops.settings import GatewaySettings

FOLDER = Path(__file__).parents[2] / "golden/codex"
DOCS = FOLDER.parents[2] / "docs/apis.md"


def turn(name: str) -> dict[str, Any]:
    """One of the requests: its headers and body."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


async def test_codex_gets_its_turns_with_the_tools_that_a_chat_can_offer() -> None:
    first, second = turn("turn_1"), turn("turn_2")
    function = {"name": "exec_command", "arguments": '{"cmd": "echo hello"}'}
    call = {**CALL, "id": "call_1", "function": function}
    act = streamed({"reasoning_content": "hm"}, {"content": "I'll look."}, {"tool_calls": [{"index": 0, **call}]})
    async with upstreams(act, sticky_turns=2) as it:
        response = await it.request("POST", "/v1/responses", json=first["body"], headers=first["headers"])
        found = sse(response.content)
        assert response.headers["x-corea-dropped"] == "client_metadata, tools.namespace, tools.web_search"
        items = [event["item"] for event in found if event["type"] == "response.output_item.done"]
        assert [item["type"] for item in items] == ["reasoning", "message", "function_call"]
        assert (found[-1]["type"], found[-1]["response"]["output"]) == ("response.completed", items)
        it.large.otherwise = Say("It says hello.")
        second["body"]["input"][4]["encrypted_content"] = items[0]["encrypted_content"]
        response = await it.request("POST", "/v1/responses", json=second["body"], headers=second["headers"])
        assert texts(sse(response.content)[-1]["response"]) == [("message", "It says hello.")]
        whole = {**second["body"], "stream": False}
        response = await it.request("POST", "/v1/responses", json=whole, headers=second["headers"])
        assert texts(response.json()) == [("message", "It says hello.")]
    one, two, _ = (asked.body for asked in it.large.requests)
    assert [tool["function"]["name"] for tool in one["tools"]] == [
        "exec_command", "write_stdin", "request_user_input", "view_image", "get_goal", "create_goal", "update_goal"
    ]  # fmt: skip
    assert [message["role"] for message in one["messages"]] == ["system", "user", "user"]
    instructions = one["messages"][0]["content"]  # three texts of role developer, as parts of one message
    assert len(instructions) == 3
    assert two["messages"][:3] == one["messages"]
    assert (two["messages"][3]["reasoning_content"], two["messages"][3]["content"]) == ("hm", "I'll look.")
    assert two["messages"][3]["tool_calls"][0]["function"] == function
    assert two["messages"][4]["tool_call_id"] == "call_1"
    assert two["messages"][4]["content"].endswith("hello\n")
    assert two["parallel_tool_calls"] is True
    assert two.keys().isdisjoint({"store", "prompt_cache_key", "include", "client_metadata"})


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", ["turn_1", "turn_2", "lite"])
async def test_a_server_that_speaks_the_api_is_sent_codexs_requests_as_they_came(name: str, stream: bool) -> None:
    asked = turn(name)
    body = {k: v for k, v in asked["body"].items() if stream or k != "stream"}
    answer = Bytes(as_sse(native_events(RESPONSE)), SSE) if stream else Bytes(json.dumps(RESPONSE).encode())
    async with upstreams(answer, server=NATIVE, aliases={"gpt-*": "corea"}) as it:
        response = await it.request("POST", "/v1/responses", json=body, headers=asked["headers"])
    assert (sse(response.content) == native_events(RESPONSE)) if stream else response.json() == RESPONSE
    assert "x-corea-dropped" not in response.headers
    (sent,) = it.large.requests
    assert sent.body == {**body, "model": "large-model"}
    for header in ("session-id", "thread-id", "x-client-request-id"):
        assert sent.headers[header] == asked["headers"][header]
    assert sent.headers["user-agent"] == "corea"


async def test_tools_that_no_chat_can_offer_are_refused_rather_than_left_out() -> None:
    asked = turn("lite")  # of a model that Codex knows: its only way to act is a tool of type custom, in the input
    async with upstreams(aliases={"gpt-*": "corea"}) as it:
        response = await it.request("POST", "/v1/responses", json=asked["body"], headers=asked["headers"])
    assert (response.status_code, response.json()["error"]["param"]) == (400, "input[0]")
    assert "'additional_tools' has no counterpart in a chat" in response.json()["error"]["message"]
    assert it.large.requests == []


def documented(section: str) -> tuple[RoutingTable, Any]:
    """The routes, and the built cascades, of the configuration in a section of the docs."""
    text = DOCS.read_text().partition(f"## {section}\n")[2]
    config = parse_config(tomllib.loads(text.partition("```toml")[2].partition("```")[0]))
    built, _ = build_all(config, BackendCache())
    return RoutingTable(built, read_settings("gateway", GatewaySettings, config.gateway)), built


def test_the_documented_configuration_passes_codexs_requests_on_to_openai() -> None:
    routes, built = documented("Codex")
    assert [stage.name for stage in routes.find(turn("turn_1")["body"]["model"]).cascade.stages] == ["small", "large"]
    backend: Any = built["corea"].stages[-1].backend
    assert "responses" in backend.apis
    assert backend.settings.url_of("/responses") == "https://api.openai.com/v1/responses"


def test_the_documented_configuration_of_embeddings_names_their_model() -> None:
    routes, _ = documented("Completions and embeddings")
    (stage,) = routes.find("text-embedding-3-small").cascade.stages
    backend: Any = stage.backend
    assert (stage.name, backend.apis) == ("embedder", ("embeddings",))
