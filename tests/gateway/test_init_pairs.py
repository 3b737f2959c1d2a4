"""Each pair of `corea init`, in both modes: it passes `corea check`; the large model is asked as the client asked."""

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.cli.conftest import Command, corea
from tests.fakes.gateway import upstream
from tests.fakes.server import Act, Asked, Say

from corea.build import BackendCache, build_all
from corea.cli.init import pairs
from corea.config import Config, load_config
from corea.config import settings as read_settings
from corea.gateway.billing.auth import OpenAccounts
from corea.gateway.chat.routing import RoutingTable
from corea.gateway.chat.service import ChatService
from corea.gateway.ops.settings import GatewaySettings
from corea.gateway.server.app import GatewayApp
from corea.signals.self_check import ASK

__all__ = ["corea"]
SAID = Say("It is nineteen. <answer>19</answer> <confidence>0.2</confidence>", logprob=-0.01)
PRICE = '\n[prices."{}"]\ninput_usd_per_mtok = "1"\noutput_usd_per_mtok = "2"\n'
ASKED: dict[str, Any] = {
    "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "12 + 7?"}],
    "tools": [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}],
    "max_tokens": 20,
}


def reply(asked: Asked) -> Act:
    """An unsure answer; to `self_check`, which asks for yes or no, a "no"."""
    last = str(asked.body["messages"][-1]["content"])
    return Say("no", logprob=-0.01) if "tools" not in asked.body and ASK in last else SAID


async def ask(config: Config) -> tuple[httpx.Response, Any]:
    """The gateway's answer to the chat, and the large model's backend."""
    built, _ = build_all(config, BackendCache())
    gateway = read_settings("gateway", GatewaySettings, config.gateway)
    app = GatewayApp(ChatService(RoutingTable(built, gateway), gateway, OpenAccounts()))
    app.ready = True
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        response = await client.post("/v1/chat/completions", json={"model": "corea", **ASKED})
    backends: list[Any] = [stage.backend for stage in built["corea"].stages]
    for backend in backends:
        await backend.close()
    return response, backends[-1]


@pytest.mark.parametrize("mode", ["answer", "chat"])
@pytest.mark.parametrize("pair", sorted(pairs()))
def test_the_large_model_of_a_pair_gets_what_the_client_sent(
    pair: str, mode: str, corea: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI", "AZURE_OPENAI", "ANTHROPIC", "GEMINI", "DEEPSEEK", "OPENROUTER"):
        monkeypatch.setenv(f"{name}_API_KEY", "a-key")
    assert corea("init", "--pair", pair, "--mode", mode, "--force").code == 0
    with upstream(reply, record=True) as far:
        text = re.sub("^base_url = .*", f'base_url = "{far.base_url}"', Path("corea.toml").read_text(), flags=re.M)
        models = set(re.findall('^model = "(.*?)"', text, re.M))  # a hired model on loopback needs a price of its own
        text += "".join(PRICE.format(model) for model in sorted(models) if f'[prices."{model}"]' not in text)
        Path("corea.toml").write_text(text)
        checked = corea("check")
        assert checked.code == 0, checked.out
        far.requests.clear()
        response, large = asyncio.run(ask(load_config("corea.toml")))
    assert response.status_code == 200, response.text
    assert response.json()["choices"][0]["message"]["content"] == SAID.text
    (sent,) = far.requests
    assert sent.body == {**ASKED, "model": large.model}
