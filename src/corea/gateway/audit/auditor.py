"""The audit of a running gateway: draws questions, asks the last stage about kept ones, and watches what it finds.

No request waits for any of it: `record` takes a completed request, the rest is done by tasks and a thread of their own.
A question is drawn with a probability that depends neither on its text nor on any answer.
"""

import asyncio
import logging
import os
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

from corea.gateway.audit.budget import AuditBudget
from corea.gateway.audit.calls import AuditCalls, PairJudge
from corea.gateway.audit.items import AuditItem, RecentAnswer, compare
from corea.gateway.audit.store import (
    ASKED,
    DAY_SECONDS,
    DONE,
    FAILED,
    OVER_BUDGET,
    AuditStore,
    DrawnRow,
    add_drawn,
    begin_batch,
    cost_on,
    delete_before,
    finish_drawn,
    lose_asked,
    set_notified,
)
from corea.gateway.audit.traffic import (
    AnswerComparer,
    GraderComparer,
    TextComparer,
    Traffic,
    can_judge,
    encoded,
    is_chat,
    traffic_of,
)
from corea.gateway.audit.watch import CascadeWatch, observe_label
from corea.gateway.audit.webhook import post_alarm
from corea.gateway.billing.connection import SqlConnection
from corea.gateway.billing.database import DatabaseUnavailable
from corea.gateway.chat.request_state import CompletedRequest
from corea.gateway.ops.settings import GatewaySettings, OnAlarm
from corea.types import ZERO_USD

log: logging.Logger = logging.getLogger("corea.gateway")
T = TypeVar("T")
CAPACITY = 1000  # questions that wait to be asked or compared; further ones are dropped and counted
RECENT = 10_000  # answers that feedback can be graded against although no text is stored
BATCH = 200
TIDY_SECONDS = 3600.0
LOSE_SECONDS = 20.0  # between looks for calls of other servers that have died
POLL_SECONDS = 1.0  # while an alarm stands: someone may acknowledge it elsewhere; on a shared database, always
RETRY_SECONDS = 0.5
LONGEST_OUTAGE = 600.0  # of the database, after which a batch is dropped and counted
LOG_SECONDS = 10.0
UNJUDGED = "unjudged"  # the outcome of a question that the last stage answered and the judge did not compare


@dataclass(slots=True, kw_only=True)
class Auditor:
    """The audit of all cascades.

    Args:
        watches: By cascade.
        redact: Applied to every text before it is stored.
        judge: Compares the answers of chats, and of cascades that were calibrated with it; None: there is none.
        comparer, texts: Compare the two answers to a question; `texts` those that a judge compares.
        draw: Uniform in [0, 1).
        clock: Seconds since 1970.

    Attributes:
        alarms: Cascades with an alarm that no one has acknowledged.
        outcomes: Number of drawn kept questions, by cascade and outcome. `spent`: USD, by cascade.
        dropped: Questions that came faster than they could be compared, or could not be stored for long.
        failing: The database cannot be used now.
        notifying: Alarms that are being posted.
        busy: Questions that wait, or are being asked or compared.
    """

    settings: GatewaySettings
    store: AuditStore
    watches: Mapping[str, CascadeWatch]
    redact: Callable[[str], str] = str
    judge: PairJudge | None = None
    comparer: AnswerComparer = field(default_factory=GraderComparer)
    texts: AnswerComparer = field(default_factory=TextComparer)
    draw: Callable[[], float] = field(default_factory=lambda: random.Random(os.urandom(32)).random)
    clock: Callable[[], float] = time.time
    alarms: dict[str, OnAlarm] = field(default_factory=dict[str, OnAlarm])
    outcomes: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    spent: dict[str, Decimal] = field(default_factory=dict[str, Decimal])
    dropped: int = 0
    failing: bool = False
    busy: int = 0
    notifying: "set[asyncio.Task[None]]" = field(default_factory=lambda: set[asyncio.Task[None]]())
    recent: "OrderedDict[str, RecentAnswer]" = field(default_factory=OrderedDict[str, RecentAnswer])
    budget: AuditBudget = field(default_factory=AuditBudget)
    _to_ask: "asyncio.Queue[AuditItem]" = field(default_factory=lambda: asyncio.Queue[AuditItem]())
    _to_watch: "asyncio.Queue[AuditItem]" = field(default_factory=lambda: asyncio.Queue[AuditItem]())
    _tasks: "set[asyncio.Task[None]]" = field(default_factory=lambda: set[asyncio.Task[None]]())
    _logged_at: float = float("-inf")
    _batch: int = 0

    # --- what the gateway calls -------------------------------------------------------------------------------------

    @property
    def watching(self) -> bool:
        """True where a cascade has detectors."""
        return any(watch.monitor is not None for watch in self.watches.values())

    def record(self, completed: CompletedRequest) -> None:
        """Takes a completed request; does not block."""
        self._remember(completed)
        if not self.settings.audit.share and not self.watching:
            return
        if (traffic := traffic_of(completed)) is None:
            return
        watch = self.watches.get(traffic.plan.route)
        row = None if watch is None else self._drawn(traffic, watch)
        if row is None and (traffic.kept or watch is None or watch.monitor is None):
            return
        if self.busy >= CAPACITY:
            self._drop()
            return
        self.busy += 1
        (self._to_ask if traffic.kept else self._to_watch).put_nowait(AuditItem(traffic, row))

    async def start(self) -> None:
        """Takes the stored state, and starts the tasks."""
        await self.run(self._begin)
        self._follow_alarms()
        for _ in range(self.settings.audit.concurrency):
            self._spawn(self._ask_all())
        for work in (self._watch_all(), self._poll(), self._every(TIDY_SECONDS, self.delete_old)):
            self._spawn(work)
        if self.store.shared:
            self._spawn(self._every(LOSE_SECONDS, self._lose))
        for watch in self.watches.values():
            if watch.alarm is not None and watch.row is not None and watch.row.notified_at is None:
                self._notify_soon(watch)

    async def stop(self) -> None:
        """Ends the tasks; calls in flight are cut off, and count at their reserve at the next start."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.store.close()

    async def use(
        self,
        settings: GatewaySettings,
        watches: Mapping[str, CascadeWatch],
        redact: Callable[[str], str],
        judge: PairJudge | None = None,
    ) -> None:
        """Applies a reloaded configuration; the number of calls at once stays until a restart."""
        self.settings, self.watches, self.redact, self.judge = settings, watches, redact, judge
        await self.run(self._begin_watches)
        self._follow_alarms()

    async def refresh(self) -> None:
        """Takes the stored state of the detectors, which another process may have changed or acknowledged."""
        await self.run(self._refresh_watches)
        self._follow_alarms()

    async def run(self, work: Callable[[SqlConnection], T]) -> T | None:
        """Runs some work on the database; None, with a line in the log, if it cannot be used."""
        try:
            done = await self.store.run(work)
        except DatabaseUnavailable as error:
            if not self.failing:
                log.error("audit: the database cannot be used (%s)", error)
            self.failing = True
            return None
        if self.failing:
            log.warning("audit: the database can be used again")
        self.failing = False
        return done

    def observe(self, connection: SqlConnection, work: Callable[[SqlConnection], T]) -> T:
        """Runs some work that shows observations to the detectors, and stores their state; on the store's thread.

        The detectors are those that the last transaction has left, of whichever server: each observation counts once.
        """
        self._refresh_watches(connection)
        found = work(connection)
        for watch in self.watches.values():
            watch.save(connection, self.clock())
        return found

    async def report(self) -> None:
        """Reports new alarms: in the log, to the webhook, and to the cascades."""
        self._follow_alarms()
        for watch in self.watches.values():
            new, watch.new_alarm = watch.new_alarm, None
            if new is not None and watch.alarm is not None:
                self._notify_soon(watch)

    def delete_old(self, connection: SqlConnection) -> None:
        """Deletes rows that are older than stored decisions may be."""
        if days := self.settings.storage.retention_days:
            delete_before(connection, self.clock() - days * DAY_SECONDS)

    # --- drawing ----------------------------------------------------------------------------------------------------

    def _drawn(self, traffic: Traffic, watch: CascadeWatch) -> DrawnRow | None:
        """The row of a question that is drawn; None for one that is not."""
        share, now = self.settings.audit.share, self.clock()
        if self.judge is not None and (is_chat(traffic) or watch.judged) and can_judge(traffic):
            traffic.judge = self.judge.model
        if not share or not (traffic.judge or self.settings.storage.store_text or not is_chat(traffic)):
            return None
        day = self.budget.today(now)
        if self.budget.closed or (draw := self.draw()) >= share:
            return None
        return DrawnRow(
            trace_id=traffic.trace.trace_id, at=now, day=day, cascade=watch.cascade, kept=traffic.kept,
            probability=share, calibration=watch.calibration, draw=draw, state=ASKED if traffic.kept else DONE,
        )  # fmt: skip

    def _remember(self, completed: CompletedRequest) -> None:
        trace, state = completed.trace, completed.state
        if completed.error is None:
            recent = RecentAnswer(key_id=state.admission.key_id, cascade=state.plan.route, answer=trace.answer)
            self.recent[trace.trace_id] = recent
            if len(self.recent) > RECENT:
                self.recent.popitem(last=False)

    def _drop(self, count: int = 1) -> None:
        self.dropped += count
        if (now := time.monotonic()) - self._logged_at >= LOG_SECONDS:
            self._logged_at = now
            log.warning("audit: questions come faster than they are stored: %d dropped so far", self.dropped)

    # --- asking the last stage --------------------------------------------------------------------------------------

    async def _ask_all(self) -> None:
        while True:
            item = await self._to_ask.get()
            if await self._ask(item):
                self._to_watch.put_nowait(item)
            else:
                self.busy -= 1

    async def _ask(self, item: AuditItem) -> bool:
        """Asks the last stage about a kept question; False where it was not asked."""
        traffic, row = item.traffic, item.row
        assert row is not None
        calls = AuditCalls(self.settings, self.judge)
        reserve = calls.reserve(traffic)
        row.day = self.budget.today(self.clock())
        row.facts, row.replica = encoded(traffic), self.store.replica
        fits = await self.run(lambda connection: self._reserve(connection, row, reserve))
        if fits is None:
            return False
        if not fits:
            self._count(row)
            return False
        cost, step = await calls.ask(traffic, reserve), traffic.reference
        self.spent[row.cascade] = self.spent.get(row.cascade, ZERO_USD) + cost
        row.cost_usd, row.state = str(cost), FAILED if step is None or step.error is not None else DONE
        return True

    def _reserve(self, connection: SqlConnection, row: DrawnRow, reserve: Decimal) -> bool:
        """Stores a question before it is asked, with its reserve if the day's budget covers that."""
        was_closed = self.budget.closed
        fits = self.budget.take(connection, row.day, reserve, self.settings.audit.budget_day_usd)
        if not fits and not was_closed:
            log.warning("audit: the budget of the day is used up; no further question is drawn on it")
        row.reserved_usd, row.state = (str(reserve), ASKED) if fits else ("0", OVER_BUDGET)
        add_drawn(connection, row)
        return fits

    def _count(self, row: DrawnRow, *, unjudged: bool = False) -> None:
        key = row.cascade, UNJUDGED if unjudged and row.state == DONE else row.state
        self.outcomes[key] = self.outcomes.get(key, 0) + 1

    # --- comparing and watching -------------------------------------------------------------------------------------

    async def _watch_all(self) -> None:
        while True:
            batch = [await self._to_watch.get()]
            while not self._to_watch.empty() and len(batch) < BATCH:
                batch.append(self._to_watch.get_nowait())
            try:
                await asyncio.to_thread(compare, batch, (self.comparer, self.texts), self.settings.storage, self.redact)
                await self._store(batch)
                await self.report()
            except Exception:
                log.exception("audit: an error inside the gateway")
            self.busy -= len(batch)

    async def _store(self, batch: list[AuditItem]) -> None:
        """Stores a batch and shows it to the detectors: once, also where the database is away for a while."""
        self._batch += 1
        until = time.monotonic() + LONGEST_OUTAGE
        while await self.run(lambda c: self.observe(c, lambda c: self._take(c, batch))) is None:
            if time.monotonic() > until:
                self._drop(len(batch))
                return
            await asyncio.sleep(RETRY_SECONDS)
        for item in batch:
            if item.row is not None and item.traffic.kept:
                self._count(item.row, unjudged=bool(item.traffic.judge) and item.traffic.preferred is None)
            known = self.recent.get(item.traffic.trace.trace_id)
            if known is not None and item.traffic.reference is not None:
                known.reference = item.traffic.reference.answer

    def _take(self, connection: SqlConnection, batch: list[AuditItem]) -> bool:
        """Stores a batch and shows it to the detectors, on the store's thread; True."""
        if not begin_batch(connection, self.store.server, self._batch, self.clock()):
            return True  # it was committed, though the answer was lost
        for item in batch:
            watch, row, kept = self.watches.get(item.traffic.plan.route), item.row, item.traffic.kept
            if row is not None and not kept:
                add_drawn(connection, row)
            seen = item.traffic.worse if item.traffic.judge or (watch and watch.judged) else item.differ
            if watch is not None and seen is not None:
                watch.observe("audited" if kept else "deferred", float(seen))
            if watch is not None and item.differ is not None and row is not None and kept:
                row.settled = False
                observe_label(connection, watch, row)
            if row is not None and kept:
                change = Decimal(row.cost_usd or row.reserved_usd) - cost_on(connection, row.trace_id)
                self.budget.settle(connection, row.day, change)
                finish_drawn(connection, row)
        return True

    def _begin(self, connection: SqlConnection) -> None:
        """Takes the stored state at the start."""
        self._lose(connection)
        self.budget.read(connection, self.budget.today(self.clock()))
        self._begin_watches(connection)

    def _begin_watches(self, connection: SqlConnection) -> None:
        for watch in self.watches.values():
            watch.refresh(connection, self.clock(), begin=True)

    def _refresh_watches(self, connection: SqlConnection) -> None:
        for watch in self.watches.values():
            watch.refresh(connection, self.clock())

    def _lose(self, connection: SqlConnection) -> None:
        lose_asked(connection, self.store.replica)

    # --- alarms and tidying -----------------------------------------------------------------------------------------

    def _follow_alarms(self) -> None:
        for name, watch in self.watches.items():
            if watch.alarm is None:
                self.alarms.pop(name, None)
                continue
            if name not in self.alarms:
                doing = "defers everything" if self.settings.audit.on_alarm is OnAlarm.DEFER else "goes on"
                line = "audit alarm: cascade %s, %s; it %s until `corea audit --acknowledge`"
                log.warning(line, name, watch.alarm, doing)
            self.alarms[name] = self.settings.audit.on_alarm

    def _notify_soon(self, watch: CascadeWatch) -> None:
        task = self._spawn(self._notify(watch))
        self.notifying.add(task)
        task.add_done_callback(self.notifying.discard)

    async def _notify(self, watch: CascadeWatch) -> None:
        audit, row = self.settings.audit, watch.row
        if audit.webhook is None or row is None:
            return
        said = {
            "cascade": watch.cascade, "alarm": row.alarm, "at": row.alarmed_at, "on_alarm": audit.on_alarm,
            "detectors": watch.evidence(),
        }  # fmt: skip
        if await post_alarm(audit.webhook, said, seconds=audit.webhook_seconds):
            await self.run(lambda connection: set_notified(connection, watch.cascade, self.clock()))

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if self.alarms or (self.store.shared and self.watching):
                await self.refresh()

    async def _every(self, seconds: float, work: Callable[[SqlConnection], None]) -> None:
        while True:
            await self.run(work)
            await asyncio.sleep(seconds)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
