"""A run by many workers: the driver cuts it into shards, starts a worker for each, and merges what they answered.

    summary = run_pool(ProcessWorkers(), job, 4)

The driver, the coordinator and the workers may be killed at any instant: what must survive is in the journals of the
shards and in the file of grants. `corea.run.processes` has the workers of one machine, `corea.run.ray_workers` those of
a Ray cluster.
"""

import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from corea.datasets.question_source import QuestionSource
from corea.errors import ConfigError, DataError
from corea.files.rows import FileFormat, format_of
from corea.ledger import Ledger
from corea.run.coordinator import StopLevel
from corea.run.merge import merge_shards
from corea.run.output import check_is_file, check_output
from corea.run.row_checks import OnBadRow
from corea.run.runner import GIVE_UP_AFTER
from corea.run.shards import ShardPlan, begun_count, folder_of, make_folder, plan_shards
from corea.run.summary import RunOutcome, RunProgress, RunSummary
from corea.run.worker import BuildParts, Ended, WorkerTask

WAIT_SECONDS = 0.2
DEATHS = 5  # of a shard's workers in a row without an answer between them


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolJob:
    """A run by many workers.

    Args:
        build: Builds the cascade in each worker; importable there.
        settings: All settings that decide the answers.
        concurrency: Questions in flight at once, over all workers.
        budget_usd, give_up_after: As for `run_batch`, over all workers.
        requests_per_minute: By server, over all workers.
    """

    build: BuildParts
    settings: Mapping[str, Any]
    questions: str
    output: str
    concurrency: int = 32
    budget_usd: Decimal | None = None
    on_bad_row: OnBadRow = OnBadRow.STOP
    give_up_after: int = GIVE_UP_AFTER
    requests_per_minute: Mapping[str, float] = field(default_factory=dict[str, float])
    format: FileFormat | None = None


@dataclass(frozen=True, slots=True)
class Died:
    """The end of a worker that was killed.

    Args:
        how: For the message.
    """

    how: str


class Workers(Protocol):
    """A way to start workers, with the coordinator that they share."""

    def open(self, grants: Path, job: PoolJob, shards: int) -> None:
        """Starts the coordinator."""
        ...

    def own(self, shard: int) -> int:
        """See `Coordinator.own`."""
        ...

    def start(self, task: WorkerTask) -> None:
        """Starts a worker."""
        ...

    def wait(self, seconds: float) -> list[tuple[int, Ended | Died]]:
        """Waits this long at most; the shards whose workers have ended."""
        ...

    def stop(self, level: StopLevel) -> None:
        """See `Coordinator.stop`."""
        ...

    def snapshot(self) -> tuple[dict[int, RunProgress], bool]:
        """See `Coordinator.snapshot`."""
        ...

    def close(self) -> None:
        """Ends all that was started."""
        ...


def run_pool(
    workers: Workers, job: PoolJob, count: int, *, on_progress: Callable[[RunProgress], None] | None = None
) -> RunSummary:
    """Answers the questions of a file by `count` workers at once; called again, it resumes the run.

    Raises:
        ConfigError, DataError: As `run_batch`; also what a worker was refused with, and workers that die again and
            again. What was answered is safe in the journals.
    """
    if not 1 <= count <= job.concurrency:
        raise ConfigError(
            f"workers: got {count}, expected from 1 to the questions in flight at once, which they share "
            f"({job.concurrency}); raise --concurrency"
        )
    check_is_file(job.output)
    format = job.format or format_of(job.output, written=True)
    plan = plan_shards(QuestionSource(job.questions), begun_count(job.output) or count, job.on_bad_row)
    make_folder(job.output)
    check_output(job.output, format, has_journal=True)
    driver = _Driver(workers, job, plan, count, on_progress)
    workers.open(folder_of(job.output) / "grants", job, plan.count)
    try:
        with driver.stopping_on_signals():
            driver.drive()
    finally:
        workers.close()
    return driver.summary(format)


@dataclass(slots=True)
class _Driver:
    """One start of the driver."""

    workers: Workers
    job: PoolJob
    plan: ShardPlan
    count: int
    on_progress: Callable[[RunProgress], None] | None
    waiting: deque[int] = field(default_factory=deque[int])
    running: set[int] = field(default_factory=set[int])
    outcomes: dict[int, RunOutcome] = field(default_factory=dict[int, RunOutcome])
    deaths: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])
    error: Exception | None = None
    stopping: StopLevel = StopLevel.GO_ON
    gave_up: bool = False
    interrupted: bool = False
    resumed: dict[int, int] = field(default_factory=dict[int, int])
    began: float = field(default_factory=time.monotonic)
    reported: float = 0.0

    def drive(self) -> None:
        """Starts workers until every shard has ended, or the run is stopped."""
        self.waiting.extend(range(1, self.plan.count + 1))
        while self.running or (self.waiting and not self.stopping):
            while self.waiting and len(self.running) < self.count and not self.stopping:
                number = self.waiting.popleft()
                self.running.add(number)
                self.workers.start(self._task(number))
            for number, ended in self.workers.wait(WAIT_SECONDS):
                self.running.discard(number)
                self._ended(number, ended)
            if self.stopping:
                self.workers.stop(self.stopping)
            if time.monotonic() - self.reported >= WAIT_SECONDS:
                self._report()
        self._report()
        if self.error is not None:
            raise self.error

    def _task(self, number: int) -> WorkerTask:
        job, size = self.job, Path(self.job.questions).stat().st_size
        share = job.concurrency // self.count + (number - 1 < job.concurrency % self.count)
        return WorkerTask(
            build=job.build,
            settings=job.settings,
            questions=job.questions,
            size=size,
            output=job.output,
            shard=self.plan.shard(number, self.workers.own(number)),
            on_bad_row=job.on_bad_row,
            concurrency=share,
            budgeted=job.budget_usd is not None,
            give_up_after=job.give_up_after,
            requests_per_minute={server: each / self.count for server, each in job.requests_per_minute.items()},
        )

    def _ended(self, number: int, ended: Ended | Died) -> None:
        if isinstance(ended, Ended) and ended.outcome is not None:
            self.outcomes[number] = ended.outcome
            if ended.outcome is RunOutcome.GAVE_UP:
                self.gave_up = True
                self._stop(StopLevel.FINISH)
        elif isinstance(ended, Ended) and not ended.followed:
            self._fail(DataError(ended.error) if ended.of_data else ConfigError(ended.error))
        else:
            how = ended.how if isinstance(ended, Died) else ended.error
            reports, _ = self.workers.snapshot()
            done = reports[number].done if number in reports else 0
            times, done_before = self.deaths.get(number, (0, -1))
            self.deaths[number] = (times + 1 if done <= done_before else 1, done)
            if self.deaths[number][0] >= DEATHS:
                self._fail(
                    ConfigError(
                        f"shard {number}: its worker died {DEATHS} times without an answer ({how}); give fewer "
                        "workers if memory is short, and start the same command again"
                    )
                )
            self.waiting.append(number)

    def _fail(self, error: Exception) -> None:
        self.error = self.error or error
        self._stop(StopLevel.FINISH)

    def _stop(self, level: StopLevel) -> None:
        self.stopping = max(self.stopping, level)

    def _report(self) -> None:
        self.reported = time.monotonic()
        reports, gave_up = self.workers.snapshot()
        self.gave_up = self.gave_up or gave_up
        if gave_up:
            self._stop(StopLevel.FINISH)
        if self.on_progress is None:
            return
        ledger = Ledger()
        for number, report in reports.items():
            ledger.include(report.ledger)
            self.resumed.setdefault(number, report.done)
        done, seconds = sum(report.done for report in reports.values()), time.monotonic() - self.began
        rate = (done - sum(self.resumed.values())) / seconds if seconds else 0.0
        left = (self.plan.total - done) / rate if rate else None
        self.on_progress(RunProgress(done=done, total=self.plan.total, ledger=ledger, rate=rate, seconds_left=left))

    @contextmanager
    def stopping_on_signals(self) -> Generator[None]:
        """Turns Ctrl-C and SIGTERM into a stop; a second one abandons what is in flight."""

        def handle(number: int, frame: object) -> None:
            self.interrupted = True
            self._stop(StopLevel.ABANDON if self.stopping else StopLevel.FINISH)

        before: dict[int, Any] = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                before[number] = signal.signal(number, handle)
            except ValueError:  # not the main thread
                break
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def summary(self, format: FileFormat) -> RunSummary:
        """Merges the shards."""
        outcomes = set(self.outcomes.values())
        complete = len(self.outcomes) == self.plan.count and outcomes == {RunOutcome.COMPLETE}
        return merge_shards(
            self.job.output,
            self.job.settings,
            format=format,
            partial=not complete,
            budget_usd=self.job.budget_usd,
            outcome=self._outcome(outcomes, complete=complete),
            total=self.plan.total,
            seconds=time.monotonic() - self.began,
        )

    def _outcome(self, outcomes: set[RunOutcome], *, complete: bool) -> RunOutcome:
        if complete:
            return RunOutcome.COMPLETE
        if self.gave_up:
            return RunOutcome.GAVE_UP
        return RunOutcome.BUDGET if RunOutcome.BUDGET in outcomes and not self.interrupted else RunOutcome.INTERRUPTED
