"""Requests per minute to a server, over all stages and workers."""

import pytest
from tests.fakes.server import FakeServer, Say

from corea.backends.openai.client import OpenAIBackend, OpenAISettings
from corea.cascade import Cascade, Stage
from corea.errors import ConfigError
from corea.policies.threshold import Threshold
from corea.run.pace import Pace, pace
from corea.signals.verbalized import Verbalized


async def test_requests_go_one_after_another_with_equal_time_between() -> None:
    waits: list[float] = []
    now = 10.0

    async def sleep(seconds: float) -> None:
        waits.append(round(seconds, 6))

    wait = Pace(0.5, clock=lambda: now, sleep=sleep)
    for _ in range(4):
        await wait()
    assert waits == [0.5, 1.0, 1.5]
    now = 20.0
    await wait()
    assert len(waits) == 3


async def test_all_stages_of_one_server_share_its_limit() -> None:
    async with FakeServer(Say("<answer>1</answer><confidence>0.1</confidence>")) as server:
        first, second = (OpenAIBackend(OpenAISettings(model=name, base_url=server.base_url)) for name in "ab")
        small = Stage(name="small", backend=first, signal=Verbalized(), policy=Threshold(0.5))
        cascade = Cascade(stages=(small, Stage(name="large", backend=second)))
        host = server.base_url.split("/")[2]
        pace(cascade, {host: 600.0})
        assert first.pace is second.pace
        turns: list[float] = []
        assert isinstance(first.pace, Pace)
        assert first.pace.seconds == 0.1

        async def sleep(seconds: float) -> None:
            turns.append(seconds)

        first.pace.sleep = sleep
        await cascade.ask("one")
        assert len(turns) == 1  # the second request waits
        await cascade.close()
        with pytest.raises(ConfigError, match=r"run.requests_per_minute: got 'api.other', expected one of 127.0.0.1:"):
            pace(cascade, {"api.other": 5.0})
