"""A gateway in front of two scripted OpenAI-compatible servers, and what a client would have got from them itself."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from tests.fakes.server import SSE, Act, Bytes, FakeServer, Say
from tests.gateway.conftest import SURE, UNSURE, chat, events

from corea.backends.openai.client import OpenAIBackend, OpenAISettings
from corea.cascade import Cascade, Stage
from corea.config import settings as read_settings
from corea.gateway.billing.auth import Accounts, OpenAccounts
from corea.gateway.chat.request_state import CompletedRequest
from corea.gateway.chat.routing import RoutingTable
from corea.gateway.chat.service import ChatService
from corea.gateway.ops.settings import GatewaySettings
from corea.gateway.server.app import GatewayApp
from corea.policies.threshold import Threshold
from corea.prompts import load_prompt
from corea.signals.verbalized import Verbalized

KEPT, DEFERRED = Say(SURE), Say(UNSURE)


@dataclass
class Upstreams:
    """The gateway, and the servers behind its two stages."""

    small: FakeServer
    large: FakeServer
    app: GatewayApp
    done: list[CompletedRequest]

    async def post(self, **body: Any) -> httpx.Response:
        """A chat request."""
        return await self.request("POST", "/v1/chat/completions", json=chat(**body))

    async def request(self, method: str, path: str, **named: Any) -> httpx.Response:
        """Any request."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.request(method, path, **named)

    async def choice(self, **body: Any) -> dict[str, Any]:
        """The choice of a whole answer."""
        response = await self.post(**body)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()["choices"][0]
        return found

    async def deltas(self, **body: Any) -> list[dict[str, Any]]:
        """The deltas of a streamed answer but for the first, which has only the role, and the empty last."""
        response = await self.post(stream=True, **body)
        assert response.status_code == 200, response.text
        found = [e["choices"][0]["delta"] for e in events(response)[:-1] if e["choices"]]
        assert (found[0], found[-1]) == ({"role": "assistant", "content": ""}, {})
        return found[1:-1]


@asynccontextmanager
async def upstreams(
    large: Act | None = None,
    small: Act = DEFERRED,
    *,
    small_stage: Mapping[str, Any] | None = None,
    large_stage: Mapping[str, Any] | None = None,
    server: Mapping[str, Any] | None = None,
    accounts: Accounts | None = None,
    **settings: Any,
) -> AsyncIterator[Upstreams]:
    """A gateway with the cascade "corea": `small` with the default prompt, deferring to `large` without one.

    Args:
        server: Settings of the large stage's backend.
    """
    async with FakeServer(small) as first, FakeServer(large or Say("nineteen")) as second:
        backends = [
            OpenAIBackend(OpenAISettings(base_url=fake.base_url, model=name, max_retries=0, **own))
            for fake, name, own in ((first, "small-model", {}), (second, "large-model", server or {}))
        ]
        own = {"prompt": load_prompt("default"), **(small_stage or {})}
        stages = (
            Stage(name="small", backend=backends[0], signal=Verbalized(), policy=Threshold(0.8), **own),
            Stage(name="large", backend=backends[1], **(large_stage or {})),
        )
        configured = read_settings("gateway", GatewaySettings, settings)
        routes = RoutingTable({"corea": Cascade(stages=stages, name="corea")}, configured)
        done: list[CompletedRequest] = []
        app = GatewayApp(ChatService(routes, configured, accounts or OpenAccounts(), record=done.append))
        app.ready = True
        try:
            yield Upstreams(first, second, app, done)
        finally:
            for backend in backends:
                await backend.close()


def whole(message: Mapping[str, Any], **choice: Any) -> Bytes:
    """A whole answer with this message."""
    found = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop", **choice}
    return Bytes(json.dumps({"model": "large-model", "choices": [found]}).encode())


def streamed(*deltas: Mapping[str, Any], finish: str = "stop", between: str = "") -> Bytes:
    """A streamed answer of these deltas; `between` stands before each event."""
    choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "logprobs": None, "finish_reason": finish})
    found = [f"{between}data: {json.dumps({'choices': [choice]})}\n\n" for choice in choices]
    return Bytes("".join([*found, "data: [DONE]\n\n"]).encode(), SSE)
