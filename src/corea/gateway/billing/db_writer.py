"""The one thread that writes the database: money as soon as it comes, decisions along with it or a little later.

Two steps make a write safe. A *commit* survives the death of this process (it is in the kernel's hands); a *sync*
survives a power cut. Money waits for the commit before its answer goes out, which costs a tenth of a millisecond; only
what is held of a budget is waited for until its sync, which costs a disk its millisecond or more, and is shared by all
that was committed until then.
"""

import asyncio
import logging
import os
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from corea.gateway.billing.budget_holds import boot_id, release_holds
from corea.gateway.billing.database import connect
from corea.types import ZERO_USD

log: logging.Logger = logging.getLogger("corea.gateway")

IDLE_SECONDS = 0.2  # decisions wait so long for company
GATHER_SECONDS = 0.005  # money that is not pressing waits so long for company: fewer commits, fewer wakings
SYNC_SECONDS = 0.05  # committed money is synced after so long even if nobody waits for it
RETRY_SECONDS = 0.5
CHECKPOINT_ROWS = 2000
DECISIONS_PER_BATCH = 500
COLUMNS = 23
ROWS_AT_ONCE = 32  # in one statement: at each, this thread gives up the interpreter
ROW = f"({', '.join('?' * COLUMNS)})"
SPEND = """UPDATE keys SET spent_usd = j.value ->> 1, tokens = tokens + (j.value ->> 2),
requests = requests + (j.value ->> 3), held_usd = coalesce(j.value ->> 4, held_usd), held_boot = ?
FROM json_each(?) AS j WHERE keys.id = j.value ->> 0"""
_encode = msgspec.json.Encoder().encode
Row = tuple[Any, ...]


@dataclass(slots=True)
class _Spending:
    """One key's part of a batch."""

    usd: Decimal = ZERO_USD
    tokens: int = 0
    requests: int = 0
    held: Decimal | None = None

    def add(self, more: "_Spending") -> None:
        self.usd += more.usd
        self.tokens += more.tokens
        self.requests += more.requests
        self.held = self.held if more.held is None else more.held


@dataclass(slots=True)
class _WriteBatch:
    """Money by key, up to a number."""

    money: dict[str, _Spending]
    upto: int


class DbWriter:
    """Writes in batches: one transaction for all that has come while the last was under way.

    Each time that the thread is woken it fights the event loop for the interpreter, so it is woken once a batch.

    Args:
        rows: Decisions on their way, with their text still unredacted; bounded by whoever fills it.
        prepare: Makes a row of what is in `rows`; runs in the thread.
        durable: False leaves out the syncs (for a file that is forgotten anyway).

    Attributes:
        committed, synced: The numbers up to which `spend` is committed, and synced.
        failing: The last write failed; it is tried again until it succeeds, and no money is forgotten meanwhile.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        rows: "deque[Any]",
        prepare: Callable[[Any], Row],
        retention_days: int = 0,
        durable: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path: Path = Path(path)
        self.rows = rows
        self.prepare = prepare
        self.retention_days = retention_days
        self.durable = durable
        self.clock = clock
        self.submitted: int = 0
        self.committed: int = 0
        self.synced: int = 0
        self.failing: bool = False
        self.written_rows: int = 0
        self._coming: dict[str, _Spending] = {}  # on the event loop's side, as all until `_queue`
        self._handed = 0
        self._pressing = False
        self._gathering: asyncio.TimerHandle | None = None
        self._queue: queue.SimpleQueue[_WriteBatch | int | None] = queue.SimpleQueue()
        self._waiting: deque[tuple[int, bool, asyncio.Future[None]]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="corea-writer", daemon=True)
        self._next_cleaning = 0.0
        self._pending: dict[str, _Spending] = {}
        self._batch: list[Row] = []
        self._upto = 0
        self._untidy = 0
        self._inserted_at = 0.0
        self._spent: dict[str, Decimal] = {}
        self._sync_to = 0
        self._synced_at = 0.0
        self._stopping = self._ended = False
        self._boot = boot_id()

    def start(self) -> None:
        """Begins to write; called on the event loop whose tasks wait for it."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Writes and syncs all that is left, and ends."""
        self._hand_over()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join, 30)
        self._ended = True

    def spend(self, key_id: str, usd: Decimal, tokens: int, *, pressing: bool = True) -> int:
        """Takes money to be written, and gives its number.

        Args:
            pressing: Write it at once, rather than with what else comes in the next few milliseconds.
        """
        return self._take_in(key_id, _Spending(usd, tokens, 1), pressing)

    def hold(self, key_id: str, usd: Decimal, *, pressing: bool = True) -> int:
        """Takes how much of its budget a key may have spent by the next hold, and gives its number, as `spend` does."""
        return self._take_in(key_id, _Spending(held=usd), pressing)

    def _take_in(self, key_id: str, money: _Spending, pressing: bool) -> int:
        self.submitted += 1
        if (coming := self._coming.get(key_id)) is None:
            self._coming[key_id] = money
        else:
            coming.add(money)
        self._pressing = self._pressing or pressing
        self._offer()
        return self.submitted

    def _offer(self) -> None:
        """Hands over what has come, unless the thread is busy: it calls this when it is not."""
        if not self._coming or self._handed != self.committed:
            return
        if self._pressing or self._loop is None:
            self._hand_over()
        elif self._gathering is None:
            self._gathering = self._loop.call_later(GATHER_SECONDS, self._hand_over)

    def _hand_over(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        if self._coming:
            self._handed = self.submitted
            self._queue.put(_WriteBatch(self._coming, self.submitted))
            self._coming, self._pressing = {}, False

    async def until(self, number: int, *, synced: bool = False) -> None:
        """Waits until all up to `number` is committed, or even synced; no longer while writing fails, or has ended."""
        if self.failing or self._ended or (self.synced if synced else self.committed) >= number:
            return
        if synced:
            self._queue.put(number)
        assert self._loop is not None
        waiter = self._loop.create_future()
        self._waiting.append((number, synced, waiter))
        if self.failing or (self.synced if synced else self.committed) >= number:  # while the waiter was put down
            self._wake()
        await waiter

    def _wake(self) -> None:
        """Wakes who waited, on the event loop."""
        still: deque[tuple[int, bool, asyncio.Future[None]]] = deque()
        for number, synced, waiter in self._waiting:
            if (self.synced if synced else self.committed) < number and not self.failing:
                still.append((number, synced, waiter))
            elif not waiter.done():
                waiter.set_result(None)
        self._waiting = still
        self._offer()

    def _run(self) -> None:
        connection = connect(self.path)
        connection.execute("PRAGMA wal_autocheckpoint=0")  # done between batches instead, when nobody waits
        wal = os.open(f"{self.path}-wal", os.O_RDONLY) if self.durable else None
        try:
            while not self._stopping:
                self._take()
                try:
                    self._write(connection)
                    self._sync(wal)
                    self._tidy(connection)
                except (sqlite3.Error, OSError) as error:
                    self._fail(connection, error)
            self._write(connection)  # again, if it failed
            self._sync(wal, now=True)
            release_holds(connection, self._boot)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except (sqlite3.Error, OSError) as error:
            log.critical("%s: cannot be written (%s); lost %s", self.path, error, self._pending)
        finally:
            if wal is not None:
                os.close(wal)
            connection.close()

    def _fail(self, connection: sqlite3.Connection, error: Exception) -> None:
        """What could not be written is kept and tried again with the next batch."""
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if not self.failing:
            log.error("%s: cannot be written (%s); until it can, no key with a budget is let in", self.path, error)
        self.failing = True
        self._advance()
        if not self._stopping:
            time.sleep(RETRY_SECONDS)

    def _take(self) -> None:
        """Waits for something to do, then takes all there is."""
        unsynced = self.durable and self.synced < self.committed
        try:
            item = self._queue.get(timeout=SYNC_SECONDS if unsynced else IDLE_SECONDS)
            while True:
                if item is None:
                    self._stopping = True
                elif isinstance(item, int):
                    self._sync_to = max(self._sync_to, item)
                else:
                    for key_id, money in item.money.items():
                        self._pending.setdefault(key_id, _Spending()).add(money)
                    self._upto = item.upto
                item = self._queue.get_nowait()
        except queue.Empty:
            pass
        if (
            self._stopping
            or time.monotonic() - self._inserted_at >= IDLE_SECONDS
            or len(self.rows) >= DECISIONS_PER_BATCH
        ):
            while self.rows and (self._stopping or len(self._batch) < DECISIONS_PER_BATCH):
                self._batch.append(self.prepare(self.rows.popleft()))

    def _write(self, connection: sqlite3.Connection) -> None:
        """One transaction of all that was taken."""
        if not self._pending and not self._batch:
            return
        if self._pending:
            self._spend(connection)
            self._recovered()
            self._advance(committed=self._upto)
        if self._batch:
            try:
                self._insert(connection)
            except (OverflowError, ValueError, TypeError) as error:
                self._insert_each(connection, error)
            self._inserted_at = time.monotonic()
            self.written_rows += len(self._batch)
            self._untidy += len(self._batch)
            self._batch = []
            self._recovered()

    def _insert(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        for start in range(0, len(self._batch), ROWS_AT_ONCE):
            rows = self._batch[start : start + ROWS_AT_ONCE]
            connection.execute(f"INSERT INTO decisions VALUES {', '.join([ROW] * len(rows))}", list(chain(*rows)))
        connection.execute("COMMIT")

    def _insert_each(self, connection: sqlite3.Connection, error: Exception) -> None:
        """Leaves out what SQLite cannot hold, such as a number beyond 64 bits; tried again, it would stop the rest."""
        connection.execute("ROLLBACK")
        for row in self._batch:
            try:
                connection.execute(f"INSERT INTO decisions VALUES {ROW}", row)
            except (OverflowError, ValueError, TypeError):
                log.error("decision %s cannot be stored (%s)", row[0], error)

    def _recovered(self) -> None:
        if self.failing:
            log.warning("%s: can be written again", self.path)
        self.failing = False

    def _spend(self, connection: sqlite3.Connection) -> None:
        unknown = [key_id for key_id in self._pending if key_id not in self._spent]
        for key_id in unknown:  # once: nobody else writes what was spent
            row = connection.execute("SELECT spent_usd FROM keys WHERE id = ?", (key_id,)).fetchone()
            if row is not None:
                self._spent[key_id] = Decimal(row[0])
        now = {k: self._spent.get(k, ZERO_USD) + money.usd for k, money in self._pending.items()}
        # all of it in one statement, as JSON: at each, this thread gives up the interpreter
        rows = [
            (k, str(now[k]), money.tokens, money.requests, None if money.held is None else str(money.held))
            for k, money in self._pending.items()
        ]
        changed = connection.execute(SPEND, (self._boot, _encode(rows).decode())).rowcount
        if changed < len(rows):  # somebody has deleted a key by hand
            log.error("keys are not in the file any more, among: %s", ", ".join(self._pending))
        self._spent.update(now)
        self._pending = {}
        self._untidy += 1

    def _sync(self, wal: int | None, *, now: bool = False) -> None:
        if self.synced >= self.committed:
            return
        due = time.monotonic() - self._synced_at >= SYNC_SECONDS
        if not (now or due or self._sync_to > self.synced or wal is None):
            return
        upto = self.committed
        if wal is not None:
            # SQLite keeps its locks on the -shm file, so that a descriptor of our own on the -wal disturbs nothing
            os.fsync(wal)
        self._synced_at = time.monotonic()
        self._recovered()
        self._advance(synced=upto)

    def _advance(self, *, committed: int | None = None, synced: int | None = None) -> None:
        self.committed = committed if committed is not None else self.committed
        self.synced = synced if synced is not None else self.synced
        if (self._waiting or self._coming) and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def _tidy(self, connection: sqlite3.Connection) -> None:
        """Moves the log into the file now and then, and deletes what is too old, a little at a time."""
        if self._untidy > CHECKPOINT_ROWS:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self._untidy = 0
        now = self.clock()
        if self.retention_days and now >= self._next_cleaning:
            oldest = now - self.retention_days * 86400
            old = "SELECT rowid FROM decisions WHERE at < ? LIMIT 1000"
            gone = connection.execute(f"DELETE FROM decisions WHERE rowid IN ({old})", (oldest,)).rowcount
            self._next_cleaning = now + (1 if gone == 1000 else 3600)
