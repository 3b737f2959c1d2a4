"""Workers that are processes of this machine; each asks the coordinator, which is in the driver, through a pipe."""

import asyncio
import multiprocessing
import os
import signal
from dataclasses import dataclass, field
from decimal import Decimal
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Lock
from typing import Any

from corea.run.coordinator import Coordinator, StopLevel
from corea.run.grants import Grant
from corea.run.pool import Died, PoolJob
from corea.run.summary import RunProgress
from corea.run.worker import Ended, WorkerTask, run_worker

END = "end"
ALIVE_SECONDS = 0.5


class PipeLink:
    """A worker's end of the pipe: one request and its reply at a time, in a thread of their own."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._one = Lock()
        self._driver = os.getppid()

    async def report(self, progress: RunProgress | None) -> StopLevel:
        """See `Coordinator.report`."""
        return await self._call("report", progress)

    async def grant(self, spent_usd: Decimal, reserved_usd: Decimal, needed_usd: Decimal) -> Grant:
        """See `Coordinator.grant`."""
        return await self._call("grant", spent_usd, reserved_usd, needed_usd)

    async def _call(self, method: str, *given: Any) -> Any:
        return await asyncio.to_thread(self._exchange, method, given)

    def _exchange(self, method: str, given: tuple[Any, ...]) -> Any:
        try:
            with self._one:  # one that waits for its reply goes on when its task is cancelled
                self._pipe.send((method, given))
                while not self._pipe.poll(ALIVE_SECONDS):
                    if os.getppid() != self._driver:  # a process forked since may hold its end of the pipe
                        raise EOFError
                return self._pipe.recv()
        except (EOFError, OSError) as error:
            raise ConnectionError("the driver is gone") from error


def _main(task: WorkerTask, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the driver too, which asks for a stop
    ended = asyncio.run(run_worker(task, PipeLink(pipe)))
    try:
        pipe.send((END, (ended,)))
    except OSError:  # the driver is gone
        pass


@dataclass(slots=True)
class _Started:
    """A worker under way."""

    process: BaseProcess
    pipe: Connection
    owner: int
    ended: Ended | None = None


@dataclass(slots=True)
class ProcessWorkers:
    """Spawned processes; see `corea.run.pool.Workers`."""

    context: BaseContext = field(default_factory=lambda: multiprocessing.get_context("spawn"))
    started: dict[int, _Started] = field(default_factory=dict[int, _Started])
    coordinator: Coordinator = field(init=False)

    def open(self, grants: Path, job: PoolJob, shards: int) -> None:
        """Opens the file of grants."""
        self.coordinator = Coordinator(grants, job.budget_usd, shards, job.give_up_after)

    def own(self, shard: int) -> int:
        """See `Coordinator.own`."""
        return self.coordinator.own(shard)

    def start(self, task: WorkerTask) -> None:
        """Starts the process of a worker."""
        ours, theirs = self.context.Pipe()
        process: BaseProcess = self.context.Process(target=_main, args=(task, theirs), daemon=True)  # pyright: ignore[reportAttributeAccessIssue]
        process.start()
        theirs.close()
        self.started[task.shard.number] = _Started(process, ours, task.shard.owner or 0)

    def wait(self, seconds: float) -> list[tuple[int, Ended | Died]]:
        """Replies to the workers' requests; the shards whose workers have ended."""
        pipes = {each.pipe: number for number, each in self.started.items()}
        sentinels = {each.process.sentinel: number for number, each in self.started.items()}
        ready = wait([*pipes, *sentinels], seconds)
        for pipe in [each for each in ready if each in pipes]:
            self._reply(pipes[pipe])  # pyright: ignore[reportArgumentType]
        ended: list[tuple[int, Ended | Died]] = []
        for sentinel in [each for each in ready if each in sentinels]:
            number = sentinels[sentinel]  # pyright: ignore[reportArgumentType]
            worker = self.started.pop(number)
            while worker.ended is None and self._read(number, worker):
                pass
            worker.process.join()
            worker.pipe.close()
            ended.append((number, worker.ended or Died(_how(worker.process.exitcode))))
        return ended

    def _reply(self, number: int) -> None:
        self._read(number, self.started[number])

    def _read(self, number: int, worker: _Started) -> bool:
        """Reads and answers one request; False where none is there."""
        try:
            if not worker.pipe.poll():
                return False
            method, given = worker.pipe.recv()
            if method == END:
                worker.ended = given[0]
            else:
                worker.pipe.send(getattr(self.coordinator, method)(number, worker.owner, *given))
        except (EOFError, OSError):
            return False
        return True

    def stop(self, level: StopLevel) -> None:
        """See `Coordinator.stop`."""
        self.coordinator.stop(level)

    def snapshot(self) -> tuple[dict[int, RunProgress], bool]:
        """See `Coordinator.snapshot`."""
        return self.coordinator.snapshot()

    def close(self) -> None:
        """Ends the workers that are still there, and closes the file of grants."""
        for worker in self.started.values():
            worker.process.kill()
            worker.process.join()
        self.coordinator.grants.close()


def _how(code: int | None) -> str:
    return f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"
