"""The configurations of docs/in_front_of.md: each is built, and sends requests where the page says."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from tests.gateway.conftest import chat

from corea.build import BackendCache, build_all
from corea.config import parse_config
from corea.config import settings as read_settings
from corea.gateway.chat.request import parse_chat
from corea.gateway.chat.routing import RoutingTable
from corea.gateway.ops.settings import GatewaySettings
from corea.stage import Mode

PAGE = (Path(__file__).parents[2] / "docs/in_front_of.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n)*)", PAGE, re.MULTILINE))
BLOCKS = {
    name: text.partition("```toml\n")[2].partition("```")[0] for name, text in SECTIONS.items() if "```toml" in text
}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
PICTURE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]


def routed(section: str, monkeypatch: pytest.MonkeyPatch) -> RoutingTable:
    """The routes of its configuration."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-key")
    config = parse_config(tomllib.loads(BLOCKS[section]))
    built, _ = build_all(config, BackendCache())
    return RoutingTable(built, read_settings("gateway", GatewaySettings, config.gateway))


def test_the_page_has_a_configuration_each() -> None:
    assert list(BLOCKS) == ["An OpenAI application", "LangChain", "Open WebUI"]
    assert {"Claude Code", "Codex"} < SECTIONS.keys()  # theirs stand in docs/apis.md


@pytest.mark.parametrize(
    ("section", "mode"), [("An OpenAI application", "answer"), ("LangChain", "chat"), ("Open WebUI", "chat")]
)
def test_plain_chats_are_drafted_and_the_rest_goes_to_the_large_model(
    section: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = routed(section, monkeypatch)
    found: list[list[str]] = []
    for changes in ({}, {"tools": [TOOL]}, {"response_format": {"type": "json_object"}}, {"messages": PICTURE}):
        plan = routes.plan(parse_chat(json.dumps(chat(**changes)).encode()))
        found.append([stage.name for stage in plan.cascade.stages])
    assert found == [["small", "large"], ["large"], ["large"], ["large"]]
    small, large = routes.find("corea").cascade.stages
    assert small.mode is Mode(mode)
    assert large.prompt is None or large.prompt.is_plain
    assert small.price is not None
    assert large.price is not None


def test_langchains_agent_asks_the_large_model_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    (stage,) = routed("LangChain", monkeypatch).find("gpt-4.1").cascade.stages
    assert stage.name == "large"
