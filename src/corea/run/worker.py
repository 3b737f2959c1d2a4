"""One worker of a run in shards: an ordinary batch run over one shard, in touch with the coordinator."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

from corea.cascade import Cascade
from corea.datasets.question_source import QuestionSource
from corea.errors import ConfigError, CoreaError, DataError
from corea.prices import EXACT
from corea.run.answer_settings import differences, in_one_line
from corea.run.budget import Budget
from corea.run.coordinator import StopLevel
from corea.run.grants import Grant, SharedBudget, last_owner
from corea.run.pace import pace
from corea.run.row_checks import OnBadRow
from corea.run.runner import run_batch
from corea.run.shards import Shard, folder_of
from corea.run.shutdown import Stop
from corea.run.summary import RunOutcome, RunProgress
from corea.version import VERSION

REPORT_SECONDS = 0.2
BuildParts = Callable[[], tuple[Cascade, Mapping[str, Any]]]
"""Builds, in the worker, a cascade and all settings that decide its answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTask:
    """The work of one worker, as it is sent to it.

    Args:
        settings: As the driver has them; the worker's own must be equal.
        size: Bytes of the file of questions.
        concurrency: Questions in flight at once in this worker.
        budgeted: It spends from the coordinator's budget.
        requests_per_minute: By server, this worker's share.
    """

    build: BuildParts
    settings: Mapping[str, Any]
    questions: str
    size: int
    output: str
    shard: Shard
    on_bad_row: OnBadRow
    concurrency: int
    budgeted: bool
    give_up_after: int
    requests_per_minute: Mapping[str, float]
    corea: str = VERSION


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a worker.

    Args:
        error: The message of the error that ended it.
        of_data: It is about a file.
        followed: The journal has lines of another worker; the shard has to be started again.
    """

    outcome: RunOutcome | None = None
    error: str = ""
    of_data: bool = False
    followed: bool = False


class Link(Protocol):
    """A worker's way to the coordinator.

    Raises:
        ConnectionError: From any method: the driver is gone.
    """

    async def report(self, progress: RunProgress | None) -> StopLevel:
        """See `Coordinator.report`."""
        ...

    async def grant(self, spent_usd: Decimal, reserved_usd: Decimal, needed_usd: Decimal) -> Grant:
        """See `Coordinator.grant`."""
        ...


async def run_worker(task: WorkerTask, link: Link) -> Ended:
    """Answers the questions of a shard, and returns how that ended; expected errors are not raised."""
    if task.corea != VERSION:
        return other_version(f"worker of shard {task.shard.number}", task.corea)
    try:
        _check(task)
        cascade, settings = task.build()
        try:
            if found := differences(task.settings, settings):
                raise ConfigError(
                    f"worker of shard {task.shard.number}: got another configuration: {in_one_line(found)}; give all "
                    "workers the files of the driver"
                )
            return await _Worker(task, link, cascade).run(settings)
        finally:
            await cascade.close()
    except CoreaError as error:
        return Ended(error=str(error), of_data=isinstance(error, DataError), followed=getattr(error, "followed", False))


def other_version(where: str, expected: str) -> Ended:
    """The refusal of a worker with another version than the driver's."""
    return Ended(error=f"{where}: has corea {VERSION}, expected {expected}, the driver's; install it there")


def _check(task: WorkerTask) -> None:
    where = f"worker of shard {task.shard.number}"
    if last_owner(folder_of(task.output) / "grants", task.shard.number) != task.shard.owner:
        raise DataError(
            f"{where}: is not the driver's folder there, expected one that all workers share; name such an --out",
            path=str(folder_of(task.output)),
        )
    try:
        size = Path(task.questions).stat().st_size
    except OSError:
        size = -1
    if size != task.size:
        found = "no such file" if size < 0 else f"a file of {size:,} bytes"
        raise DataError(f"{where}: got {found}, expected the driver's, of {task.size:,}", path=task.questions)


@dataclass(slots=True)
class _Worker:
    task: WorkerTask
    link: Link
    cascade: Cascade
    newest: RunProgress | None = None

    async def run(self, settings: Mapping[str, Any]) -> Ended:
        """Runs the batch, and reports meanwhile."""
        task, stop = self.task, Stop()
        pace(self.cascade, task.requests_per_minute)
        budget = SharedBudget(ask=partial(self._ask, stop))
        running = cast("asyncio.Task[Any]", asyncio.current_task())
        reporting = asyncio.create_task(self._report(stop, running))
        try:
            summary = await run_batch(
                self.cascade,
                QuestionSource(task.questions, category=self.cascade.calibrated.category_column),
                task.output,
                shard=task.shard,
                settings=settings,
                concurrency=task.concurrency,
                budget=budget if task.budgeted else Budget(),
                on_bad_row=task.on_bad_row,
                give_up_after=task.give_up_after,
                on_progress=self._note,
                stop=stop,
            )
        finally:
            reporting.cancel()
        if task.budgeted:
            await budget.give_back()
        with suppress(ConnectionError):
            await self.link.report(self.newest)
        return Ended(summary.outcome)

    def _note(self, progress: RunProgress) -> None:
        self.newest = progress

    async def _ask(self, stop: Stop, spent_usd: Decimal, reserved_usd: Decimal, needed_usd: Decimal) -> Grant:
        try:
            given = await self.link.grant(spent_usd, reserved_usd, needed_usd)
        except ConnectionError:
            stop()
            given = Grant(EXACT.add(spent_usd, reserved_usd))
        return given._replace(final=given.final or stop.asked)

    async def _report(self, stop: Stop, running: "asyncio.Task[Any]") -> None:
        """Reports, and does as the coordinator says; without one, finishes what is in flight."""
        while True:
            try:
                level = await self.link.report(self.newest)
            except ConnectionError:
                stop()
                return
            if level >= StopLevel.FINISH and not stop.asked:
                stop()
            if level >= StopLevel.ABANDON:
                running.cancel()
                return
            await asyncio.sleep(REPORT_SECONDS)
