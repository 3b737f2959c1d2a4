"""Requests of Codex (tests/golden/codex), to a gateway in front of either kind of server; the documented settings."""

import json
import tomllib
from pathlib import Path
from typing import Any

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


def turn(number: int) -> dict[str, Any]:
    """One of the two requests: its headers and body."""
    found: dict[str, Any] = json.loads((FOLDER / f"turn_{number}.json").read_text())
    return found


async def test_codex_gets_its_turns_with_tools_that_run_at_openai_left_out() -> None:
    first, second = turn(1), turn(2)
    call = {**CALL, "id": "call_1", "function": {"name": "exec_command", "arguments": "{}"}}
    act = streamed({"reasoning_content": "hm"}, {"content": "I count them."}, {"tool_calls": [{"index": 0, **call}]})
    async with upstreams(act, sticky_turns=2) as it:
        response = await it.request("POST", "/v1/responses", json=first["body"], headers=first["headers"])
        found = sse(response.content)
        assert response.headers["x-corea-dropped"] == "client_metadata, tools.custom, tools.web_search"
        items = [event["item"] for event in found if event["type"] == "response.output_item.done"]
        assert [item["type"] for item in items] == ["reasoning", "message", "function_call"]
        assert (found[-1]["type"], found[-1]["response"]["output"]) == ("response.completed", items)
        it.large.otherwise = Say("There are 19.")
        second["body"]["input"][3]["encrypted_content"] = items[0]["encrypted_content"]
        response = await it.request("POST", "/v1/responses", json=second["body"], headers=second["headers"])
        assert texts(sse(response.content)[-1]["response"]) == [("message", "There are 19.")]
    one, two = (asked.body for asked in it.large.requests)
    assert [tool["function"]["name"] for tool in one["tools"]] == ["exec_command", "update_plan", "view_image"]
    assert [message["role"] for message in one["messages"]] == ["system", "user", "user"]
    assert one["messages"][0]["content"].startswith("You are a coding agent")
    assert "writable roots" in one["messages"][0]["content"]
    assert two["messages"][:3] == one["messages"]
    assert (two["messages"][3]["reasoning_content"], two["messages"][3]["content"]) == ("hm", "I count them.")
    assert two["messages"][4]["tool_call_id"] == "call_1"
    assert (two["reasoning_effort"], two["verbosity"], two["parallel_tool_calls"]) == ("medium", "medium", False)
    assert "store" not in two
    assert "prompt_cache_key" not in two


async def test_a_server_that_speaks_the_api_is_sent_codexs_requests_as_they_came() -> None:
    first = turn(1)
    async with upstreams(Bytes(as_sse(native_events(RESPONSE)), SSE), server=NATIVE) as it:
        response = await it.request("POST", "/v1/responses", json=first["body"], headers=first["headers"])
    assert sse(response.content) == native_events(RESPONSE)
    assert "x-corea-dropped" not in response.headers
    (asked,) = it.large.requests
    assert asked.body == {**first["body"], "model": "large-model"}
    for name in ("session-id", "thread-id", "x-client-request-id"):
        assert asked.headers[name] == first["headers"][name]
    assert asked.headers["user-agent"] == "corea"


def documented(section: str) -> tuple[RoutingTable, Any]:
    """The routes, and the built cascades, of the configuration in a section of the docs."""
    text = DOCS.read_text().partition(f"## {section}\n")[2]
    config = parse_config(tomllib.loads(text.partition("```toml")[2].partition("```")[0]))
    built, _ = build_all(config, BackendCache())
    return RoutingTable(built, read_settings("gateway", GatewaySettings, config.gateway)), built


def test_the_documented_configuration_passes_codexs_requests_on_to_openai() -> None:
    routes, built = documented("Codex")
    assert [stage.name for stage in routes.find(turn(1)["body"]["model"]).cascade.stages] == ["small", "large"]
    backend: Any = built["corea"].stages[-1].backend
    assert "responses" in backend.apis
    assert backend.settings.url_of("/responses") == "https://api.openai.com/v1/responses"


def test_the_documented_configuration_of_embeddings_names_their_model() -> None:
    routes, _ = documented("Completions and embeddings")
    (stage,) = routes.find("text-embedding-3-small").cascade.stages
    backend: Any = stage.backend
    assert (stage.name, backend.apis) == ("embedder", ("embeddings",))
