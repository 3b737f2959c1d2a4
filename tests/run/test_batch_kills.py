"""A client that is killed at any step of a batch, and started again: one batch, every row once, the bill exact."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_batches import STEPS, all_right, answers, bill, cascade, reply, run
from tests.fakes.batches import BatchServer, running_batches

from corea.run import runner
from corea.run.journal import Journal


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with running_batches(reply) as made:
        yield made


def start(folder: Path, server: BatchServer, apis: tuple[str, ...], kill_at: int = 0) -> bool:
    """One start in a process of its own; True if it was killed."""
    child = os.fork()
    if child == 0:
        try:
            writes = 0

            def write(descriptor: int, data: bytes) -> int:
                nonlocal writes
                writes += 1
                if writes == kill_at:
                    os.write(descriptor, data[: len(data) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                return os.write(descriptor, data)

            runner.Journal = lambda path: Journal(path, write=write)  # pyright: ignore
            sys.stdout = sys.stderr = (folder / "printed").open("w")
            asyncio.run(run(folder, cascade(server.base_url, apis=apis)))
        finally:
            os._exit(0)
    server.on_step = server.on_step and _killer(server, child, *server.on_step)  # pyright: ignore
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def _killer(server: BatchServer, child: int, step: str, when: str):
    async def kill(at: str, now: str) -> None:
        if (at, now) == (step, when):
            server.on_step = None
            os.kill(child, signal.SIGKILL)

    return kill


def check(folder: Path, server: BatchServer, *, exact: bool = True) -> None:
    summary = asyncio.run(run(folder, cascade(server.base_url)))
    assert answers(folder) == all_right(12)
    assert server.created == 1
    assert server.batch_tokens["calls"] == 4
    paid_twice = bill(server) - summary.ledger.cost_usd
    assert paid_twice == 0 if exact else server.live_tokens["calls"] - 12 <= summary.lost


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("apis", [("chat",), ("messages",)])
def test_killed_while_a_request_is_under_way(
    tmp_path: Path, server: BatchServer, apis: tuple[str, ...], step: str, when: str
) -> None:
    if step == "upload" and apis == ("messages",):
        return  # it has none
    if step == "list":
        server.on_step = ("create", "after")  # pyright: ignore
        assert start(tmp_path, server, apis)
    server.on_step = (step, when)  # pyright: ignore
    assert start(tmp_path, server, apis)
    assert not start(tmp_path, server, apis)
    check(tmp_path, server)


@pytest.mark.parametrize("kill_at", range(3, 12))
def test_killed_in_the_middle_of_a_write(tmp_path: Path, server: BatchServer, kill_at: int) -> None:
    server.on_step = None
    killed = start(tmp_path, server, ("chat",), kill_at)
    start(tmp_path, server, ("chat",))
    check(tmp_path, server, exact=False)
    assert killed or kill_at > 8
