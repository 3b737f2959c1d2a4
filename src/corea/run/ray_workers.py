"""Workers on a Ray cluster: an actor for each, which runs the same as a process of one machine; a coordinator actor.

All nodes need this version of corea, the files of the configuration and of the questions under the same names, the
environment variables of the keys, and the folder of the output. Source: https://docs.ray.io/en/latest/ray-core/actors.html
"""

import asyncio
import pickle
import socket
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from corea.backends.openai.wire import one_line
from corea.errors import ConfigError
from corea.registry import import_extra
from corea.run.coordinator import Coordinator, StopLevel
from corea.run.grants import Grant
from corea.run.pool import Died, PoolJob
from corea.run.summary import RunProgress
from corea.run.worker import Ended, WorkerTask, other_version, run_worker
from corea.version import VERSION

REACH_SECONDS = 10.0
RESTARTS = -1  # of the coordinator, without limit: it reads the grants again


class ActorLink:
    """A worker's way to the coordinator actor."""

    def __init__(self, coordinator: Any, task: WorkerTask, gone: type[Exception]) -> None:
        self._coordinator, self._gone = coordinator, gone
        self._of = (task.shard.number, task.shard.owner or 0)

    async def report(self, progress: RunProgress | None) -> StopLevel:
        """See `Coordinator.report`."""
        return await self._answer(self._coordinator.report.remote(*self._of, progress))

    async def grant(self, spent_usd: Decimal, reserved_usd: Decimal, needed_usd: Decimal) -> Grant:
        """See `Coordinator.grant`."""
        return await self._answer(self._coordinator.grant.remote(*self._of, spent_usd, reserved_usd, needed_usd))

    async def _answer(self, reference: Any) -> Any:
        try:
            return await asyncio.wrap_future(reference.future())
        except self._gone as error:
            raise ConnectionError("the coordinator is gone") from error


class RayWorker:
    """The actor of one worker."""

    def run(self, version: str, packed: bytes, coordinator: Any) -> Ended:
        """Answers a shard; see `run_worker`.

        Args:
            version: Of the driver's corea: the task of another one might not unpack.
        """
        if version != VERSION:
            return other_version("worker", version)
        task: WorkerTask = pickle.loads(packed)
        from ray.exceptions import RayError

        return asyncio.run(run_worker(task, ActorLink(coordinator, task, RayError)))


@dataclass(slots=True)
class RayWorkers:
    """The workers of a Ray cluster; see `corea.run.pool.Workers`.

    Args:
        processors: Of the cluster, as Ray counts them.
        gpus: Of each worker.
    """

    ray: Any
    processors: int
    gpus: float
    began: bool
    coordinator: Any = None
    started: dict[Any, tuple[int, Any]] = field(default_factory=dict[Any, tuple[int, Any]])

    @classmethod
    def connect(cls, address: str | None, *, gpus: float = 0.0) -> "RayWorkers":
        """Connects to a cluster, or starts one here.

        Raises:
            ConfigError: Ray is not installed, or there is no cluster at the address.
        """
        ray, began = import_extra("--engine ray", "ray"), False
        if not ray.is_initialized():
            began = True
            more: dict[str, Any] = {} if address else {"include_dashboard": False}
            try:
                _reach(address or "")
                ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **more)
            except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
                why = one_line(str(error))
                raise ConfigError(
                    f"--address: got {address!r}, where no Ray cluster can be joined ({why}); start one with "
                    "`ray start --head`, or leave it out"
                ) from error
        return cls(ray, max(1, int(ray.cluster_resources().get("CPU", 1))), gpus, began)

    def open(self, grants: Path, job: PoolJob, shards: int) -> None:
        """Starts the coordinator, on the driver's node."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(self.ray.get_runtime_context().get_node_id(), soft=False)
        actor = self.ray.remote(Coordinator).options(
            num_cpus=0, max_restarts=RESTARTS, max_task_retries=-1, scheduling_strategy=here
        )
        self.coordinator = actor.remote(grants, job.budget_usd, shards, job.give_up_after)

    def own(self, shard: int) -> int:
        """See `Coordinator.own`."""
        return self._ask("own", shard)

    def start(self, task: WorkerTask) -> None:
        """Starts the actor of a worker; it waits until a node has room."""
        actor = self.ray.remote(RayWorker).options(num_cpus=1, num_gpus=self.gpus, max_restarts=0).remote()
        running = actor.run.remote(VERSION, pickle.dumps(task), self.coordinator)
        self.started[running] = (task.shard.number, actor)

    def wait(self, seconds: float) -> list[tuple[int, Ended | Died]]:
        """Waits for workers that have ended."""
        ready, _ = self.ray.wait(list(self.started), num_returns=1, timeout=seconds)
        ended: list[tuple[int, Ended | Died]] = []
        for running in ready:
            number, actor = self.started.pop(running)
            try:
                ended.append((number, self.ray.get(running)))
            except self.ray.exceptions.RayTaskError as error:
                ended.append((number, Ended(error=f"worker of shard {number}: {error.cause!r}; see its log in Ray")))
            except self.ray.exceptions.RayError as error:
                ended.append((number, Died(type(error).__name__)))
            self.ray.kill(actor)
        return ended

    def stop(self, level: StopLevel) -> None:
        """See `Coordinator.stop`."""
        self._ask("stop", level)

    def snapshot(self) -> tuple[dict[int, RunProgress], bool]:
        """See `Coordinator.snapshot`."""
        return self._ask("snapshot")

    def close(self) -> None:
        """Ends the actors; also Ray, if it was started here."""
        for _, actor in [*self.started.values(), (0, self.coordinator)]:
            self.ray.kill(actor)
        if self.began:
            self.ray.shutdown()

    def _ask(self, method: str, *given: Any) -> Any:
        try:
            return self.ray.get(getattr(self.coordinator, method).remote(*given))
        except self.ray.exceptions.RayTaskError as error:
            cause: Any = error.cause
            raise cause from None


def _reach(address: str) -> None:
    """Connects to HOST:PORT once, as Ray tries for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), REACH_SECONDS).close()
