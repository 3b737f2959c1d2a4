"""The gateway's accounts against a server that keeps its own bill: budgets, hang-ups, time limits, hedges."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.costs.scene import (
    BY_LARGE,
    answer,
    bill_usd,
    booked,
    by_checker,
    checking,
    hanging,
    make_cascade,
    told,
)
from tests.fakes.server import Asked, FakeServer, serving
from tests.gateway.conftest import House, chat

from corea.cascade import Cascade
from corea.config import settings as read_settings
from corea.costs.bounds import question_bound
from corea.gateway.billing.budgets import KeyAccounts
from corea.gateway.billing.database import connect
from corea.gateway.billing.db_writer import DbWriter
from corea.gateway.billing.decision_log import DecisionLog
from corea.gateway.billing.keys import KeyLimits, create_key, list_keys
from corea.gateway.chat.request import ChatRequest, parse_chat
from corea.gateway.chat.routing import RoutingTable
from corea.gateway.chat.service import ChatService
from corea.gateway.ops.policies import apply_policies
from corea.gateway.ops.settings import GatewaySettings
from corea.gateway.server.app import GatewayApp
from corea.types import Message, Question

PROMPT = [{"role": "user", "content": "what is number 3"}]


@dataclass
class Shop:
    """A gateway with accounts, before a server."""

    server: FakeServer
    cascade: Cascade
    house: House
    key: dict[str, str]
    path: Path

    def spent(self) -> Decimal:
        """What the key has spent, in the file."""
        connection = connect(self.path)
        try:
            return list_keys(connection)[0].spent_usd
        finally:
            connection.close()

    async def hang_up(self, when: Callable[[], bool], **body: Any) -> None:
        """One request whose client leaves."""

        async def leave() -> Any:
            while not when():
                await asyncio.sleep(0)
            for _ in range(200):  # what the server sent before has come
                await asyncio.sleep(0)
            return {"type": "http.disconnect"}

        app, headers = self.house.app, [(name.encode(), value.encode()) for name, value in self.key.items()]

        async def with_key(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "headers": headers}, receive, send)

        await replace(self.house, app=with_key).call(chat(messages=PROMPT, **body), leave)


Open = Callable[..., Any]


@pytest.fixture
async def open_shop(tmp_path: Path) -> AsyncIterator[Open]:
    closing: list[Any] = []

    async def opened(otherwise: Any, signal: Callable[[str], Any], *, budget: str = "100", **settings: Any) -> Shop:
        serves = serving(otherwise=otherwise)
        server = await serves.__aenter__()
        cascade = make_cascade(server.base_url, signal(server.base_url))
        path, configured = tmp_path / "corea.db", read_settings("gateway", GatewaySettings, settings)
        writer = DbWriter(path, DecisionLog(configured.storage))
        accounts = KeyAccounts.at(path, writer)
        writer.start()
        file = connect(path)
        _, secret = create_key(file, "alice", KeyLimits(budget_usd=Decimal(budget)))
        file.close()
        done: list[Any] = []
        gateway = GatewayApp(
            ChatService(RoutingTable({"corea": cascade}, configured), configured, accounts=accounts, record=done.append)
        )
        gateway.ready = True
        house = House(None, None, gateway, gateway, done)  # type: ignore[arg-type]
        closing.append((serves, cascade, writer, accounts))
        return Shop(server, cascade, house, {"authorization": f"Bearer {secret}"}, path)

    yield opened
    for serves, cascade, writer, accounts in closing:
        await writer.stop()
        accounts.close()
        await cascade.close()
        await serves.__aexit__(None, None, None)


@pytest.mark.parametrize("signal", [lambda url: BY_LARGE, by_checker], ids=["large", "checker"])
async def test_a_key_spends_no_more_than_its_budget_whoever_is_asked(open_shop: Open, signal: Any) -> None:
    shop = await open_shop(answer, signal, budget="0.05")
    asked = [shop.house.post(shop.key, messages=PROMPT, max_tokens=20) for _ in range(60)]
    codes = [each.status_code for each in await asyncio.gather(*asked)]
    while (more := await shop.house.post(shop.key, messages=PROMPT, max_tokens=20)).status_code == 200:
        codes.append(more.status_code)
    assert codes.count(200) > 10
    assert more.json()["error"]["code"] == "insufficient_quota"
    assert shop.spent() == bill_usd(shop.server.charges) <= Decimal("0.05")
    assert booked(done.trace for done in shop.house.done) == told(shop.server.charges)


def _third(model: str) -> Callable[[Asked], bool]:
    """Of every three requests to a model, the last."""
    count = 0

    def when(asked: Asked) -> bool:
        nonlocal count
        count += asked.body["model"] == model
        return asked.body["model"] == model and count % 3 == 0

    return when


@pytest.mark.parametrize("stream", [False, True])
async def test_forty_hang_ups_are_booked_to_the_last_token_that_was_told(open_shop: Open, stream: bool) -> None:
    shop = await open_shop(hanging(_third("checker")), by_checker)
    for n in range(1, 41):
        await shop.hang_up(lambda n=n: shop.server.hanging == n, stream=stream)
    charges = shop.server.charges
    assert sum(charge.told for charge in charges) == 40 * 3  # a draft and two samples
    assert booked(done.trace for done in shop.house.done) == told(charges)
    finished, in_flight = (bill_usd(c for c in charges if c.told is whether) for whether in (True, False))
    assert finished <= shop.spent()
    assert bill_usd(charges) - shop.spent() <= in_flight
    assert all(done.client_disconnected for done in shop.house.done)


async def test_a_request_whose_time_is_over_is_booked_with_its_draft_and_its_check(
    open_shop: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_the_large_answer(asked: Asked) -> bool:
        return asked.body["model"] == "large" and not checking(asked)

    shop = await open_shop(hanging(only_the_large_answer), lambda url: BY_LARGE, timeouts={"request_seconds": 30})
    asking = asyncio.create_task(shop.house.post(shop.key, messages=PROMPT))
    while len(shop.server.requests) < 3:
        await asyncio.sleep(0.001)
    loop = asyncio.get_running_loop()
    ticks = count(loop.time(), 10)
    monkeypatch.setattr(loop, "time", lambda: next(ticks))  # ten seconds a look: its time is soon over
    response = await asking
    monkeypatch.undo()
    assert response.json()["error"]["code"] == "request_timeout"
    while shop.server.running:
        await asyncio.sleep(0)
    charges = shop.server.charges
    assert [(charge.model, charge.told) for charge in charges] == [("small", True), ("large", True), ("large", False)]
    assert booked([shop.house.last.trace]) == told(charges)
    assert bill_usd(charges[:2]) <= shop.spent() <= bill_usd(charges) * 2


async def test_a_lost_hedge_is_booked(open_shop: Open) -> None:
    shop = await open_shop(hanging(checking), by_checker, hedge_seconds=0.05)
    response = await shop.house.post(shop.key, messages=PROMPT)
    assert response.json()["corea"]["stage"] == "large"
    while shop.server.running:
        await asyncio.sleep(0)
    charges = shop.server.charges
    assert booked([shop.house.last.trace]) == told(charges)
    assert bill_usd(c for c in charges if c.told) <= shop.spent() == Decimal(response.headers["x-corea-cost-usd"])


@pytest.mark.parametrize("draft", [False, True])
@pytest.mark.parametrize("signal", [lambda url: "verbalized", lambda url: BY_LARGE, by_checker])
def test_batch_and_gateway_set_the_same_aside(signal: Any, draft: bool) -> None:
    url = "http://127.0.0.1:1/v1"
    cascade = make_cascade(url, signal(url), small={"pass_draft": draft})
    settings = GatewaySettings()
    plan = RoutingTable({"corea": cascade}, settings).plan(_budgeted(cascade, _request()))
    bound = question_bound(cascade.stages, Question(id="q", messages=(Message("user", PROMPT[0]["content"]),)))
    assert plan.reserve_usd == bound
    tools = [{"type": "function", "function": {"name": "f", "description": "x" * 1000, "parameters": {}}}]
    taking_tools = GatewaySettings(accepts={"small": ("tools",)})
    asked = _budgeted(cascade, _request(tools=tools))
    with_tools = RoutingTable({"corea": cascade}, taking_tools).plan(asked)
    assert with_tools.reserve_usd - plan.reserve_usd >= 1000 * Decimal("0.0000125") * 3  # of the last stage, thrice


def _budgeted(cascade: Cascade, request: ChatRequest) -> ChatRequest:
    """As for a key with a budget: a request without a limit gets the last stage's."""
    return apply_policies((), request, cascade.stages, has_key=True, has_budget=True)[0]


def _request(**fields: Any) -> ChatRequest:
    return parse_chat(json.dumps(chat(messages=PROMPT, **fields)).encode())
