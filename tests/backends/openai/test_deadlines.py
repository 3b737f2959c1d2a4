import asyncio
import time

import pytest

from corea.backends.openai.deadlines import Deadlines


@pytest.fixture
async def deadlines() -> Deadlines:
    return Deadlines(asyncio.get_running_loop())


async def test_what_ends_in_time_is_left_alone(deadlines: Deadlines) -> None:
    with deadlines.within(0.01):
        value = await asyncio.sleep(0, "done")
    await asyncio.sleep(0.02)
    assert value == "done"


async def test_each_call_has_its_own_end(deadlines: Deadlines) -> None:
    ended: list[str] = []

    async def call(name: str, seconds: float, needs: float) -> None:
        try:
            with deadlines.within(seconds):
                await asyncio.sleep(needs)
            ended.append(f"{name} done")
        except TimeoutError:
            ended.append(f"{name} late")

    await asyncio.gather(
        call("long", 0.06, 9), call("quick", 0.05, 0.005), call("short", 0.02, 9), call("never", 9, 0.08)
    )
    assert ended == ["quick done", "short late", "long late", "never done"]


async def test_a_cancellation_from_outside_stays_one(deadlines: Deadlines) -> None:
    async def call() -> None:
        with deadlines.within(5):
            await asyncio.sleep(9)

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_both_at_once_count_as_a_cancellation(deadlines: Deadlines) -> None:
    async def call() -> None:
        with deadlines.within(0.01):
            await asyncio.sleep(9)

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.01, task.cancel)
    await asyncio.sleep(0)
    time.sleep(0.02)  # both fall due in one turn of the loop
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_another_error_passes_through(deadlines: Deadlines) -> None:
    with pytest.raises(ZeroDivisionError), deadlines.within(5):
        raise ZeroDivisionError


async def test_a_task_goes_on_after_its_timeout(deadlines: Deadlines) -> None:
    with pytest.raises(TimeoutError), deadlines.within(0.01):
        await asyncio.sleep(9)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)
