"""Which models are available: what the log says when they go and come back, and what /readyz?deep answers."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from tests.fakes.server import Fail, FakeServer, Say
from tests.gateway.conftest import UNSURE, make_house

from corea.backends.fake import FakeBackend
from corea.backends.openai.client import OpenAIBackend, OpenAISettings
from corea.backends.openai.deployments import Deployments
from corea.cascade import Cascade, Stage
from corea.gateway.ops.health import Availability, watch
from corea.policies.threshold import Threshold
from corea.signals.verbalized import Verbalized
from corea.types import Question, Sampling


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def cascade_of(small: Any, large: Any) -> Cascade:
    stages = (
        Stage(name="small", backend=small, signal=Verbalized(), policy=Threshold(0.8)),
        Stage(name="large", backend=large),
    )
    return Cascade(stages=stages, name="corea")


def at(url: str, clock: Clock | None = None, **settings: Any) -> OpenAIBackend:
    options = {"max_retries": 0, "breaker_failures": 2, "breaker_cool_down_seconds": 30.0, **settings}
    return OpenAIBackend(OpenAISettings(model="m", base_url=url, **options), clock=clock or time.monotonic)


async def ask(backend: Any, times: int = 1) -> None:
    for _ in range(times):
        with suppress(Exception):
            await backend.complete(Question.of("?"), Sampling())


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with FakeServer() as made:
        made.otherwise = Say(UNSURE)
        yield made


async def test_the_last_stage_is_unavailable_while_its_breaker_is_open(server: FakeServer) -> None:
    clock = Clock()
    large = at(server.base_url, clock)
    availability = Availability(lambda: {"corea": cascade_of(FakeBackend("s", UNSURE), large)})
    assert await availability.unavailable() == {}
    server.otherwise = Fail(500)
    await ask(large, 2)
    assert await Availability(availability.cascades).unavailable() == {"large": "breaker_open"}
    clock.now = 31  # only a request can close it now, so the server takes some again
    assert await Availability(availability.cascades).unavailable() == {}
    await large.close()


async def test_a_server_that_takes_no_connection_is_unavailable_and_is_not_asked() -> None:
    async with FakeServer() as gone:
        url = gone.base_url
        assert await Availability(lambda: {"c": cascade_of(FakeBackend("s", UNSURE), at(url))}).unavailable() == {}
        assert gone.requests == []
    assert await Availability(lambda: {"c": cascade_of(FakeBackend("s", UNSURE), at(url))}).unavailable() == {
        "large": "unreachable"
    }
    both = Deployments(OpenAISettings(model="m", base_url=url), [url, url])
    assert await Availability(lambda: {"c": cascade_of(FakeBackend("s", UNSURE), both)}).unavailable() == {
        "large": "unreachable"
    }
    early = Availability(lambda: {"c": cascade_of(at(url), FakeBackend("l", "x"))})
    assert await early.unavailable() == {}  # the last stage answers


async def test_a_missing_key_is_unavailable(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    large = at(server.base_url, api_key_env="NO_SUCH_KEY")
    found = await Availability(lambda: {"c": cascade_of(FakeBackend("s", UNSURE), large)}).unavailable()
    assert found == {"large": "not_configured"}


async def test_a_look_is_used_for_some_seconds() -> None:
    connections: list[str] = []

    async def connect(host: str, port: int) -> Any:
        connections.append(f"{host}:{port}")
        raise OSError

    large = at("https://models.example/v1")
    found = Availability(lambda: {"c": cascade_of(FakeBackend("s", UNSURE), large)}, connect)
    assert [await found.unavailable() for _ in range(3)] == [{"large": "unreachable"}] * 3
    assert connections == ["models.example:443"]


async def test_readyz_is_deep_only_where_it_is_asked_to_be() -> None:
    house = make_house()

    async def unavailable() -> dict[str, str]:
        return {"large": "breaker_open"}

    house.gateway.unavailable = unavailable
    assert (await house.request("GET", "/readyz")).json() == {"status": "ready"}
    for query in ("deep", "deep=1"):
        deep = await house.request("GET", f"/readyz?{query}")
        assert (deep.status_code, deep.json()) == (503, {"status": "unavailable", "stages": {"large": "breaker_open"}})
    house.gateway.draining = True
    assert (await house.request("GET", "/readyz?deep")).json() == {"status": "draining"}
    assert (await make_house().request("GET", "/readyz?deep")).status_code == 200


async def test_the_log_says_once_which_models_are_down_and_when_they_are_back(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    small, large = at(server.base_url, clock), at(server.base_url, clock)
    availability = Availability(lambda: {"corea": cascade_of(small, large)})

    def said() -> list[tuple[int, str]]:
        availability.log_changes()
        availability.log_changes()
        found = [(r.levelno, r.getMessage()) for r in caplog.records if r.name == "corea.gateway"]
        caplog.clear()
        return found

    assert said() == []
    server.otherwise = Fail(500)
    await ask(small, 2)
    assert said() == [(logging.ERROR, "cascade corea: stage small is down; its questions go to the stages after it")]
    await ask(large, 2)
    assert said() == [(logging.CRITICAL, "cascade corea: all its models are down; no request is answered")]
    clock.now = 31
    await ask(large)
    assert said() == []  # tried, and still down
    clock.now = 62
    server.otherwise = Say(UNSURE)
    await ask(small)
    assert said() == [
        (logging.WARNING, "cascade corea: stage small is available again"),
        (logging.ERROR, "cascade corea: its last stage large is down; only answers that earlier stages keep are given"),
    ]
    await ask(large)
    assert said() == [(logging.WARNING, "cascade corea: stage large is available again")]
    for backend in (small, large):
        await backend.close()


async def test_a_model_on_several_servers_is_down_when_all_are(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    settings = OpenAISettings(model="m", base_url=server.base_url, max_retries=0, breaker_failures=1)
    large = Deployments(settings, [server.base_url] * 2)
    availability = Availability(lambda: {"corea": cascade_of(FakeBackend("s", UNSURE), large)})
    server.otherwise = Fail(500)
    await ask(large.backends[0])
    availability.log_changes()
    assert availability.down == set()
    await ask(large.backends[1])
    availability.log_changes()
    assert availability.down == {("corea", "large")}
    await large.close()


async def test_the_breakers_changes_are_a_line_each(server: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    backend = at(server.base_url, clock)
    server.otherwise = Fail(500, "the prompt")
    await ask(backend, 5)
    server.otherwise = Say("x")
    clock.now = 31
    await ask(backend, 3)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("corea")]
    assert [line.partition(": ")[2] for line in lines] == [
        "2 failures in a row, so calls are held back for 30 s",
        "one call may go, to see if it answers",
        "answered, so all calls may go again",
    ]
    await backend.close()


async def test_the_event_loops_lag_is_measured() -> None:
    lags, works = list[float](), list[int]()

    async def busy() -> None:
        await asyncio.sleep(0.005)
        until = asyncio.get_running_loop().time() + 0.05
        while asyncio.get_running_loop().time() < until:
            pass

    task = asyncio.create_task(watch(lags.append, [lambda: works.append(1)], 0.01))
    await busy()
    await asyncio.sleep(0.03)
    task.cancel()
    assert max(lags) > 0.02
    assert len(works) == len(lags)
