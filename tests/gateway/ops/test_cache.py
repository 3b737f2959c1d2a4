"""The response cache: equal plans only, bounded, one call for equal requests under way, honest at start."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.conftest import SURE, House, make_house
from tests.gateway.server.test_serve import Running, servers, start, write

from corea.backends.fake import FakeBackend
from corea.gateway.ops.cache import AnswerCache
from corea.types import Completion, Question, Sampling

assert servers  # the fixture
EXACT = {"small_stage": {"sampling": Sampling(temperature=0)}, "cache": {"entries": 100}}
HALF = "<answer>18</answer><confidence>0.7</confidence>"


async def cached(house: House, **body: Any) -> bool:
    return (await house.post(temperature=0, **body)).json()["corea"]["cached"]


async def test_another_threshold_or_a_stage_asked_directly_is_another_request() -> None:
    house = make_house(HALF, **EXACT)
    bodies: list[dict[str, Any]] = [
        {"corea": {"threshold": 0.6}},
        {"corea": {"threshold": 0.8}},
        {"corea": {"threshold": 0.8}},
        {"model": "corea/1"},
        {"corea": {"stage": "large"}},
        {"corea": {"threshold": 0.6}},
    ]
    found = [(await house.post(temperature=0, **body)).json()["corea"] for body in bodies]
    assert [(each["stage"], each["cached"]) for each in found] == [
        ("small", False),
        ("large", False),
        ("large", True),
        ("large", False),
        ("large", False),
        ("small", True),
    ]


async def test_the_oldest_answers_make_room_by_bytes() -> None:
    house = make_house(**EXACT)
    cache = house.gateway.chat.cache
    assert cache is not None
    await house.post(temperature=0)
    one = cache.size
    assert one > 100
    cache.max_bytes = int(2.5 * one)
    for text in ("a", "b", "c"):
        assert not await cached(house, messages=[{"role": "user", "content": text}])
    assert (len(cache.entries), cache.size <= cache.max_bytes) == (2, True)
    assert [await cached(house, messages=[{"role": "user", "content": text}]) for text in ("c", "b", "a")] == [
        True, True, False,
    ]  # fmt: skip
    cache.max_bytes = one // 2
    assert not await cached(house, messages=[{"role": "user", "content": "d"}])
    assert (len(cache.entries), cache.size) == (0, 0)


class Gate(FakeBackend):
    """A model that answers once it may."""

    def __init__(self) -> None:
        super().__init__("small-model", SURE)
        self.asked = self.most = 0
        self.arrived, self.open = asyncio.Event(), asyncio.Event()

    async def complete(self, question: Question, sampling: Sampling) -> Completion:
        self.asked += 1
        self.arrived.set()
        await self.open.wait()
        return await super().complete(question, sampling)


async def test_equal_requests_under_way_share_one_call() -> None:
    gate = Gate()
    house = make_house(gate, **EXACT)
    tasks = [asyncio.create_task(cached(house)) for _ in range(5)]
    await gate.arrived.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    gate.open.set()
    assert sorted(await asyncio.gather(*tasks)) == [False, True, True, True, True]
    assert gate.asked == 1


async def test_a_request_that_fails_leaves_the_next_to_ask_for_itself() -> None:
    cache = AnswerCache(1, 1.0)
    async with cache.turn(b"k"):
        waiting = asyncio.create_task(_enter(cache))
        await asyncio.sleep(0)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 5)
    assert cache.under_way == {}


async def _enter(cache: AnswerCache) -> None:
    async with cache.turn(b"k"):
        assert cache.get(b"k") is None


def test_a_cache_that_can_never_hit_says_so_at_start(tmp_path: Path, servers: list[Running]) -> None:
    write(tmp_path, gateway="cache.entries = 10")
    server = start(tmp_path)
    servers.append(server)
    server.wait_for("gateway.cache: can never hit at corea, since small, large may answer differently each time")
    text = (tmp_path / "corea.toml").read_text()
    text = text.replace("threshold = 0.8", "threshold = 0.8\nsampling.temperature = 0")
    (tmp_path / "corea.toml").write_text(text)
    second = start(tmp_path, "--set", 'gateway.storage.path=""')
    servers.append(second)
    second.wait_for("gateway.cache: hits only requests with temperature = 0 at corea, since large")


@pytest.mark.parametrize("size", [1, 3])
async def test_capacity_counts_answers_too(size: int) -> None:
    house = make_house(small_stage={"sampling": Sampling(temperature=0)}, cache={"entries": size})
    for text in "abcd":
        await cached(house, messages=[{"role": "user", "content": text}])
    cache = house.gateway.chat.cache
    assert cache is not None
    assert len(cache.entries) == size
