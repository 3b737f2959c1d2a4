"""The part of a run in shards that all its workers share: the budget, the stop, the failures in a row, the progress.

It is a plain object, called in the driver's process by the workers of one machine, or as an actor by those of many.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum
from pathlib import Path

from corea.ledger import Ledger
from corea.prices import EXACT
from corea.run.grants import Grant, Grants
from corea.run.summary import RunProgress


class StopLevel(IntEnum):
    """A request to the workers."""

    GO_ON = 0
    FINISH = 1  # start no further question, finish those in flight
    ABANDON = 2  # abandon those in flight, too


@dataclass(frozen=True, slots=True)
class _Counted:
    """The counts of a worker's last report: all its shard's questions and failures, earlier starts included."""

    owner: int
    questions: int
    failed: int


@dataclass(slots=True)
class Coordinator:
    """The state shared by all workers; only the grants must survive it.

    Args:
        path: The file of grants.
        limit_usd: The budget of all shards; None: no limit.
        give_up_after: Failed questions in a row, over all workers.
    """

    path: Path
    limit_usd: Decimal | None
    shards: int
    give_up_after: int
    stopping: StopLevel = StopLevel.GO_ON
    gave_up: bool = False
    grants: Grants = field(init=False)
    reports: dict[int, RunProgress] = field(default_factory=dict[int, RunProgress])
    _counted: dict[int, _Counted] = field(default_factory=dict[int, _Counted])
    _failed_in_a_row: int = 0
    _short: dict[int, bool] = field(default_factory=dict[int, bool])  # of workers under way: idle for lack of budget

    def __post_init__(self) -> None:
        self.grants = Grants(self.path, self.limit_usd, self.shards)

    def own(self, shard: int) -> int:
        """The number of a new worker of a shard; the one before is refused from now on."""
        self._short[shard] = False
        return self.grants.own(shard)

    def report(self, shard: int, owner: int, progress: RunProgress | None) -> StopLevel:
        """Takes the progress of a worker; returns what it has to do."""
        if owner != self.grants.owners.get(shard):
            return StopLevel.ABANDON
        if progress is not None:
            self.reports[shard] = progress
            self._count(shard, owner, progress.ledger)
        return self.stopping

    def _count(self, shard: int, owner: int, ledger: Ledger) -> None:
        now, before = _Counted(owner, ledger.questions, ledger.failed), self._counted.get(shard)
        self._counted[shard] = now
        if before is None or before.owner != owner:
            return
        questions, failed = now.questions - before.questions, now.failed - before.failed
        if failed < questions:
            self._failed_in_a_row = 0
        else:
            self._failed_in_a_row += failed
        if self._failed_in_a_row >= self.give_up_after and not self.gave_up:
            self.gave_up = True
            self.stop(StopLevel.FINISH)

    def grant(self, shard: int, owner: int, spent_usd: Decimal, reserved_usd: Decimal, needed_usd: Decimal) -> Grant:
        """A part of the budget, see `Grants.grant`; none for a worker that another has followed.

        Args:
            needed_usd: 0 at the worker's end.
        """
        committed = EXACT.add(spent_usd, reserved_usd)
        if owner != self.grants.owners.get(shard):
            return Grant(committed, final=True)
        allowed = self.grants.grant(shard, committed, needed_usd)
        if not needed_usd:
            self._short.pop(shard, None)
            return Grant(allowed)
        self._short[shard] = allowed == committed and not reserved_usd
        return Grant(allowed, final=all(self._short.values()))

    def stop(self, level: StopLevel) -> None:
        """Asks all workers to stop."""
        self.stopping = max(self.stopping, level)

    def snapshot(self) -> tuple[dict[int, RunProgress], bool]:
        """The newest report of each shard, and True once too many questions failed in a row."""
        return dict(self.reports), self.gave_up
