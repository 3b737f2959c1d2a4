"""One model on several servers: least busy first, failing ones left out, conversations in their place."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from tests.fakes.server import Act, Bytes, Fail, FakeServer, Reset, Say
from tests.gateway.chat.upstreams import streamed
from tests.gateway.conftest import chat

from corea.backends.openai.circuit_breaker import BreakerState
from corea.backends.openai.deployments import SESSION, Deployments
from corea.backends.openai.settings import OpenAISettings
from corea.build import BackendCache, build
from corea.cascade import Cascade, Stage
from corea.config import parse_config
from corea.costs.bounds import attempts_at_most
from corea.errors import BackendError
from corea.gateway.billing.auth import OpenAccounts
from corea.gateway.chat.routing import RoutingTable
from corea.gateway.chat.service import ChatService
from corea.gateway.ops.settings import GatewaySettings
from corea.gateway.server.app import GatewayApp
from corea.types import Completion, Message, Question, Sampling, Usage

PLAIN = Sampling()
QUESTION = Question.of("What is 2 + 2?")


@asynccontextmanager
async def deployed(*acts: Act, **settings: Any) -> AsyncIterator[tuple[Deployments, list[FakeServer], list[float]]]:
    """A backend over a server for each act, those servers, and its waits."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    servers = [FakeServer(act) for act in acts]
    addresses = [await server.start() for server in servers]
    options = {"model": "m", "breaker_failures": 3, "max_retries": 0, **settings}
    backend = Deployments(OpenAISettings(**options), addresses, sleep=sleep, rng=random.Random(0))
    try:
        yield backend, servers, waits
    finally:
        await backend.close()
        for server in servers:
            await server.stop()


def asked(servers: list[FakeServer]) -> list[int]:
    return [len(server.requests) for server in servers]


@pytest.mark.parametrize("fault", [Fail(500), Fail(429), Reset(), Bytes(b'{"choices": [{')])
async def test_no_question_is_lost_while_one_server_fails(fault: Act) -> None:
    async with deployed(fault, Say("four")) as (backend, servers, waits):
        for _ in range(6):
            assert (await backend.complete(QUESTION, PLAIN)).text == "four"
        pieces = [piece async for piece in backend.stream(QUESTION, PLAIN)]
    assert isinstance(pieces[-1], Completion)
    assert pieces[-1].text == "four"
    assert len(servers[1].requests) == 7
    assert waits == []


async def test_a_failing_server_is_left_out_until_it_has_cooled_down_and_then_tried_again() -> None:
    async with deployed(Fail(500), Say("four"), breaker_cool_down_seconds=60.0) as (backend, servers, _):
        for _ in range(20):
            await backend.complete(QUESTION, PLAIN)
        assert asked(servers) == [3, 20]
        assert [each.breaker.state for each in backend.backends] == [BreakerState.OPEN, BreakerState.CLOSED]
    async with deployed(Fail(500), Say("four"), breaker_cool_down_seconds=0.0) as (backend, servers, _):
        for _ in range(10):
            await backend.complete(QUESTION, PLAIN)
        servers[0].otherwise = Say("4")
        assert [(await backend.complete(QUESTION, PLAIN)).text for _ in range(2)].count("4") >= 1
        assert backend.backends[0].breaker.state is BreakerState.CLOSED


async def test_when_all_fail_each_is_asked_in_each_round_and_what_was_billed_counts() -> None:
    usage = {"error": {"message": "no"}, "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    fault = Fail(500, body=usage)
    async with deployed(fault, fault, max_retries=1, breaker_failures=9) as (backend, servers, waits):
        with pytest.raises(BackendError) as caught:
            await backend.complete(QUESTION, PLAIN)
        assert asked(servers) == [2, 2]
        assert (caught.value.retries, len(waits)) == (3, 1)
        assert isinstance(caught.value.spent, Completion)
        assert caught.value.spent.wasted == Usage(prompt_tokens=9, completion_tokens=3)
        assert attempts_at_most(backend) == 4
        servers[1].script = [Say("four")]
        completion = await backend.complete(QUESTION, PLAIN)
    assert (completion.text, completion.retries) == ("four", 1)
    assert completion.wasted == Usage(prompt_tokens=3, completion_tokens=1)


async def test_an_error_that_no_server_can_help_is_not_asked_elsewhere() -> None:
    async with deployed(Fail(400), Fail(400)) as (backend, servers, _):
        with pytest.raises(BackendError, match="400"):
            await backend.complete(QUESTION, PLAIN)
    assert sum(asked(servers)) == 1


async def test_the_least_busy_server_is_asked() -> None:
    async with deployed(Say("a", delay_seconds=0.05), Say("b", delay_seconds=0.05)) as (backend, servers, _):
        await asyncio.gather(*(backend.complete(QUESTION, PLAIN) for _ in range(6)))
    assert asked(servers) == [3, 3]
    assert [server.peak for server in servers] == [3, 3]


def turns(*texts: str, session: str | None = None) -> Question:
    roles = ("user", "assistant")
    messages = tuple(Message(roles[i % 2], text) for i, text in enumerate(texts))
    return Question(id="q", messages=messages, meta={} if session is None else {SESSION: session})


@pytest.mark.parametrize("session", [None, "s"])
async def test_a_conversation_stays_on_its_server_while_that_works(session: str | None) -> None:
    async with deployed(Say("a"), Say("b"), Say("c"), breaker_cool_down_seconds=60.0) as (backend, servers, _):
        for start in ("one", "two", "three"):
            await backend.complete(turns(start, session=session and start), PLAIN)
        for text in ("and?", "more", "still"):
            await backend.complete(turns("two", "b", text, session=session and "two"), PLAIN)
        await backend.complete(turns("two", "b", "still", "b", "last", session=session and "two"), PLAIN)
        assert asked(servers) == [1, 5, 1]
        servers[1].otherwise = Fail(500)
        question = turns("two", "b", "still", "b", "last", "b", "end", session=session and "two")
        assert {(await backend.complete(question, PLAIN)).text for _ in range(4)} <= {"a", "c"}


async def test_a_stream_that_has_begun_is_not_asked_elsewhere() -> None:
    broken = Bytes(
        streamed({"content": "fo"}).body.partition(b'data: {"choices": [{"index": 0, "delta": {}')[0],
        "text/event-stream",
    )
    async with deployed(broken, broken) as (backend, servers, _):
        seen: list[Any] = []
        with pytest.raises(BackendError, match="broke off"):
            async for piece in backend.stream(QUESTION, PLAIN):
                seen.append(piece)
    assert (seen, sum(asked(servers))) == (["fo"], 1)


async def test_a_list_of_addresses_in_a_configuration_is_one_model_on_several_servers() -> None:
    async with FakeServer(Fail(503)) as down, FakeServer(Say("four")) as up:
        backend = {"kind": "openai", "model": "m", "base_url": [down.base_url, up.base_url], "max_retries": 0}
        config = parse_config({"cascade": {"stages": ["only"]}, "stages": {"only": {"backend": backend}}})
        async with build(config, backends=BackendCache()).cascade as cascade:
            trace = await cascade.ask("2 + 2?")
            found = cascade.stages[0].backend
            assert isinstance(found, Deployments)
            assert [each.settings.base_url for each in found.backends] == [down.base_url, up.base_url]
    assert (trace.text, len(down.requests), len(up.requests)) == ("four", 1, 1)


async def test_the_gateway_loses_no_request_while_one_server_fails_and_says_so_when_all_do() -> None:
    async with deployed(Fail(500), Say("four"), breaker_cool_down_seconds=60.0) as (backend, servers, _):
        cascade = Cascade(stages=(Stage(name="only", backend=backend),), name="corea")
        settings = GatewaySettings()
        app = GatewayApp(ChatService(RoutingTable({"corea": cascade}, settings), settings, OpenAccounts()))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:

            async def ask(stream: bool) -> httpx.Response:
                return await client.post(
                    "/v1/chat/completions", json=chat(stream=stream), headers={"x-session-id": "a"}
                )

            for stream in (False, True) * 4:
                response = await ask(stream)
                assert (response.status_code, "four" in response.text) == (200, True)
            assert asked(servers) == [1, 8]  # the session stays where it was answered
            await servers[1].stop()
            assert [(await ask(False)).status_code for _ in range(6)] == [502, 502, 503, 503, 503, 503]
