"""The one thread that writes the database: spending at once, decisions along with it or a little later.

Two steps make a write safe. A *commit* survives the death of this process; a *sync* survives a power cut. An answer
waits for the commit of its cost, which takes a tenth of a millisecond. Only budget holds are waited for until their
sync, which takes a disk a millisecond or more, and covers everything committed until then.
"""

import asyncio
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import msgspec

from corea.gateway.billing.budget_holds import add_days, boot_id, release_holds
from corea.gateway.billing.database import connect
from corea.gateway.billing.decision_log import DecisionLog
from corea.types import ZERO_USD

log: logging.Logger = logging.getLogger("corea.gateway")

GATHER_SECONDS = 0.005  # maximum delay of a batch that is not pressing: fewer thread switches
SYNC_SECONDS = 0.05  # maximum delay before committed spending is synced
DECISIONS_SECONDS = 0.2  # maximum delay before decisions are written
RETRY_SECONDS = 0.5
DRAIN_SECONDS = 10.0  # for the texts that are still to be redacted at the end
CHECKPOINT_CHANGES = 2000
MOST_TOKENS = 2**53  # of one request; a server may claim more than SQLite's integers hold
# all keys in one statement, as JSON: at each statement this thread gives up the interpreter
UPDATE = """UPDATE keys SET spent_usd = add_usd(spent_usd, j.value ->> 1), tokens = tokens + (j.value ->> 2),
requests = requests + (j.value ->> 3), held_usd = coalesce(j.value ->> 4, held_usd), held_boot = ?,
spent_days = add_days(spent_days, j.value ->> 5)
FROM json_each(?) AS j WHERE keys.id = j.value ->> 0"""
_encode = msgspec.json.Encoder(decimal_format="string").encode
Committed = asyncio.Future[bool]  # False: it could not be written yet, and is tried again


class _Write(msgspec.Struct):
    """One settlement, or one hold, of a key."""

    key_id: str
    done: Committed
    usd: Decimal = ZERO_USD
    tokens: int = 0
    requests: int = 0
    held: Decimal | None = None
    days: dict[int, Decimal] = {}


class DbWriter:
    """Writes in batches: one transaction for all that has arrived while the last was under way.

    Each time the thread is woken it competes with the event loop for the interpreter, so it is woken once a batch.

    Args:
        durable: False leaves out the syncs (for a temporary file).

    Attributes:
        on_commit, on_sync: Called with the seconds that a transaction of spending, and a sync, took.
        failing: The last write failed; it is retried until it succeeds, and no spending is forgotten meanwhile.
    """

    def __init__(self, path: str | Path, decisions: DecisionLog, *, durable: bool = True) -> None:
        self.path: Path = Path(path)
        self.decisions = decisions
        self.durable = durable
        self.on_commit: Callable[[float], None] = _ignore
        self.on_sync: Callable[[float], None] = _ignore
        self.failing: bool = False
        self._arrived: list[_Write] = []  # on the event loop's side, as `_gathering`
        self._gathering: asyncio.TimerHandle | None = None
        self._queue: queue.SimpleQueue[list[_Write] | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="corea-writer", daemon=True)
        self._ended = False
        self._stopping = False  # on the thread's side, as all below
        self._uncommitted: list[_Write] = []
        self._unsynced: list[_Write] = []
        self._decisions_at = self._synced_at = 0.0
        self._checkpointed = 0
        self._boot = boot_id()

    def start(self) -> None:
        """Starts the thread; called on the event loop whose tasks wait for it."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Writes and syncs all that is left, and ends."""
        self._hand_over()
        await asyncio.to_thread(self.decisions.drain, DRAIN_SECONDS)
        self._queue.put(None)
        self._ended = True
        await asyncio.to_thread(self._thread.join, 30)

    def spend(self, key_id: str, usd: Decimal, tokens: int, *, day: int, pressing: bool = True) -> Committed:
        """Books a request; the future is done when that is committed, or cannot be.

        Args:
            day: Of the booking, since 1970.
            pressing: Write it at once, rather than with the next few milliseconds' writes.
        """
        return self._add(_Write(key_id, self._future(), usd, min(tokens, MOST_TOKENS), 1, days={day: usd}), pressing)

    def hold(self, key_id: str, usd: Decimal, *, pressing: bool = True) -> Committed:
        """Sets how much of its budget a key may spend until its next hold; the future is done when that is synced."""
        return self._add(_Write(key_id, self._future(), held=usd), pressing)

    def _future(self) -> Committed:
        assert self._loop is not None
        return self._loop.create_future()

    def _add(self, write: _Write, pressing: bool) -> Committed:
        self._arrived.append(write)
        if self.failing or self._ended:
            write.done.set_result(False)
        if pressing:
            self._hand_over()
        elif self._gathering is None and self._loop is not None:
            self._gathering = self._loop.call_later(GATHER_SECONDS, self._hand_over)
        return write.done

    def _hand_over(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        if self._arrived:
            self._queue.put(self._arrived)
            self._arrived = []

    def _run(self) -> None:
        connection = connect(self.path)
        connection.create_function("add_usd", 2, lambda a, b: str(Decimal(a) + Decimal(b)), deterministic=True)
        connection.create_function("add_days", 2, add_days, deterministic=True)
        connection.execute("PRAGMA wal_autocheckpoint=0")  # done between batches instead, when no request waits
        wal = os.open(f"{self.path}-wal", os.O_RDONLY) if self.durable else None
        try:
            while not self._stopping:
                self._take()
                try:
                    self._write(connection, wal)
                    self._tidy(connection)
                except (sqlite3.Error, OSError) as error:
                    self._fail(connection, error)
            self._write(connection, wal)  # again, if it failed
            release_holds(connection, self._boot)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except (sqlite3.Error, OSError) as error:
            lost = [(write.key_id, str(write.usd)) for write in self._uncommitted]
            log.critical("%s: cannot be written (%s); lost %s", self.path, error, lost)
        finally:
            if wal is not None:
                os.close(wal)
            connection.close()

    def _take(self) -> None:
        """Waits for something to do, then takes all there is."""
        try:
            writes = self._queue.get(timeout=SYNC_SECONDS if self._unsynced else DECISIONS_SECONDS)
            while True:
                if writes is None:
                    self._stopping = True
                else:
                    self._uncommitted += writes
                writes = self._queue.get_nowait()
        except queue.Empty:
            pass

    def _write(self, connection: sqlite3.Connection, wal: int | None) -> None:
        if self._uncommitted:
            began = time.perf_counter()
            self._commit(connection)
            self.on_commit(time.perf_counter() - began)
        now = time.monotonic()
        if self._stopping or now - self._decisions_at >= DECISIONS_SECONDS or self.decisions.full:
            self._decisions_at = now
            while self.decisions.write(connection) and self._stopping:
                pass
        waited_for = any(write.held is not None for write in self._unsynced)
        due = waited_for or self._stopping or self.failing or now - self._synced_at >= SYNC_SECONDS
        if self._unsynced and due:
            if wal is not None:
                began = time.perf_counter()
                os.fsync(wal)  # SQLite keeps its locks on the -shm file, so a descriptor of our own disturbs nothing
                self.on_sync(time.perf_counter() - began)
            self._synced_at = now
            self._release(self._unsynced, True)
            self._unsynced = []
        if self.failing:
            log.warning("%s: can be written again", self.path)
            self.failing = False

    def _commit(self, connection: sqlite3.Connection) -> None:
        """One transaction of all that was taken, a row per key."""
        sums: dict[str, _Write] = {}
        for write in self._uncommitted:
            if (into := sums.get(write.key_id)) is None:
                sums[write.key_id] = msgspec.structs.replace(write, days=dict(write.days))
            else:
                into.usd, into.tokens = into.usd + write.usd, into.tokens + write.tokens
                into.requests += write.requests
                for day, usd in write.days.items():
                    into.days[day] = into.days.get(day, ZERO_USD) + usd
                into.held = into.held if write.held is None else write.held
        rows = [(w.key_id, w.usd, w.tokens, w.requests, w.held, w.days) for w in sums.values()]
        changed = connection.execute(UPDATE, (self._boot, _encode(rows).decode())).rowcount
        if changed < len(rows):  # deleted by hand
            log.error("keys are missing in the file, among: %s", ", ".join(sums))
        self._unsynced += self._uncommitted
        self._release([write for write in self._uncommitted if write.held is None], True)
        self._uncommitted = []

    def _fail(self, connection: sqlite3.Connection, error: Exception) -> None:
        """Keeps what could not be written, and releases the requests that wait for it."""
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if not self.failing:
            log.error("%s: cannot be written (%s); until it can, no key with a budget is admitted", self.path, error)
        self.failing = True
        self._release([*self._uncommitted, *self._unsynced], False)
        if not self._stopping:
            time.sleep(RETRY_SECONDS)

    def _release(self, writes: list[_Write], committed: bool) -> None:
        if writes and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_set_results, writes, committed)

    def _tidy(self, connection: sqlite3.Connection) -> None:
        """Moves the log into the file now and then, and deletes old decisions, some at a time."""
        self.decisions.delete_old(connection)
        if connection.total_changes - self._checkpointed > CHECKPOINT_CHANGES:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self._checkpointed = connection.total_changes


def _ignore(seconds: float) -> None:
    """The default of `on_commit` and `on_sync`."""


def _set_results(writes: list[_Write], committed: bool) -> None:
    for write in writes:
        if not write.done.done():
            write.done.set_result(committed)
