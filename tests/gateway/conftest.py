"""A gateway over fake backends, driven in this process over ASGI."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx
import pytest
from tests.fakes.postgres import PostgresServer

from corea.backends.fake import FakeBackend
from corea.cascade import Cascade, OnLastDown, Stage
from corea.config import settings as read_settings
from corea.gateway.billing.auth import Accounts, OpenAccounts
from corea.gateway.chat.request_state import CompletedRequest
from corea.gateway.chat.routing import RoutingTable
from corea.gateway.chat.service import ChatService
from corea.gateway.ops.cache import AnswerCache
from corea.gateway.ops.settings import GatewaySettings
from corea.gateway.server.app import GatewayApp
from corea.policies.threshold import Threshold
from corea.prices import Price
from corea.signals.verbalized import Verbalized

CHEAP = Price(input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(2))
DEAR = Price(input_usd_per_mtok=Decimal(10), output_usd_per_mtok=Decimal(20))
SURE = "<think>12 + 7 = 19</think><answer>19</answer><confidence>0.9</confidence>"
UNSURE = "<think>12 + 7 = 18?</think><answer>18</answer><confidence>0.2</confidence>"
LARGE = "It is <answer>nineteen</answer>, surely."
QUESTION = [{"role": "user", "content": "12 + 7?"}]


@dataclass
class House:
    """A gateway, its backends, and what it recorded."""

    small: FakeBackend
    large: FakeBackend
    gateway: GatewayApp
    app: Any
    done: list[CompletedRequest] = field(default_factory=list)

    @property
    def last(self) -> CompletedRequest:
        return self.done[-1]

    async def post(self, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        """A chat request."""
        return await self.request("POST", "/v1/chat/completions", headers=headers, json=chat(**body))

    async def request(self, method: str, path: str, **named: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.request(method, path, **named)

    async def call(self, body: dict[str, Any], receive_more: Callable[[], Any]) -> list[dict[str, Any]]:
        """The same without httpx, where the test itself is the client: all that was sent to it."""
        first = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]
        sent: list[dict[str, Any]] = []

        async def receive() -> Any:
            return first.pop() if first else await receive_more()

        async def send(message: Any) -> None:
            sent.append(dict(message))

        scope = {
            "type": "http", "method": "POST", "path": "/v1/chat/completions", "raw_path": b"/v1/chat/completions",
            "query_string": b"", "headers": [], "http_version": "1.1", "scheme": "http", "root_path": "",
        }  # fmt: skip
        await self.app(scope, receive, send)
        return sent


def chat(**body: Any) -> dict[str, Any]:
    """A request body."""
    return {"model": "corea", "messages": QUESTION, **body}


def make_house(
    small: Any = SURE,
    large: Any = LARGE,
    *,
    accounts: Accounts | None = None,
    on_last_down: OnLastDown = OnLastDown.FAIL,
    small_stage: dict[str, Any] | None = None,
    **settings: Any,
) -> House:
    """A gateway with one cascade "corea" of stages small and large."""
    backends = [
        reply if isinstance(reply, FakeBackend) else FakeBackend(name, reply)
        for name, reply in (("small-model", small), ("large-model", large))
    ]
    stages = (
        Stage(name="small", backend=backends[0], price=CHEAP,
              **{"signal": Verbalized(), "policy": Threshold(0.8), **(small_stage or {})}),
        Stage(name="large", backend=backends[1], price=DEAR),
    )  # fmt: skip
    cascade = Cascade(stages=stages, name="corea", on_last_down=on_last_down)
    configured = read_settings("gateway", GatewaySettings, settings)
    entries = configured.cache.entries
    house: House
    gateway = GatewayApp(
        ChatService(
            RoutingTable({"corea": cascade}, configured),
            configured,
            accounts=accounts or OpenAccounts(),
            record=lambda done: house.done.append(done),
            cache=AnswerCache(entries, configured.cache.seconds) if entries else None,
        )
    )
    gateway.ready = True
    house = House(backends[0], backends[1], gateway, gateway)
    return house


@pytest.fixture
def house() -> Callable[..., House]:
    """Makes a gateway."""
    return make_house


def events(response: httpx.Response | bytes) -> list[Any]:
    """The events of a stream, comments left out; the last is "[DONE]"."""
    body = response if isinstance(response, bytes) else response.content
    lines = [part.removeprefix("data: ") for part in body.decode().split("\n\n") if part.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def text_of(found: list[Any]) -> str:
    """The text that a stream adds up to."""
    choices = [event["choices"][0] for event in found if event != "[DONE]" and event.get("choices")]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL, of all tests of this process."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    """The URL of an empty database."""
    return postgres.new_database()
