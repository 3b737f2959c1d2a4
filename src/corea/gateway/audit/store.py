"""Rows of the audit in the database: drawn questions, labels, and the state of the detectors."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import msgspec

from corea.gateway.billing.database import connect
from corea.types import ZERO_USD

T = TypeVar("T")
DAY_SECONDS = 86_400
ASKED, DONE, FAILED, LOST, OVER_BUDGET = "asked", "done", "failed", "lost", "budget"
LONG = ("facts", "served", "reference")
INSERT = "INSERT OR IGNORE INTO audits VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
LOSE = "UPDATE audits SET state = 'lost', cost_usd = reserved_usd WHERE state = 'asked'"
FINISH = """UPDATE audits SET state = ?, cost_usd = ?, differ = ?, settled = ?, facts = ?, served = ?, reference = ?
WHERE trace_id = ?"""
LABEL = """INSERT INTO labels VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (trace_id, source) DO UPDATE SET
at = excluded.at, key_id = excluded.key_id, sampled = excluded.sampled, served = excluded.served,
reference = excluded.reference"""
SAVE = """UPDATE monitors SET detectors = ?, alarm = ?, alarmed_at = ? WHERE cascade = ? AND generation = ?"""
START = """INSERT INTO monitors VALUES (?, ?, ?, ?, '{}', NULL, NULL, NULL, ?) ON CONFLICT (cascade) DO UPDATE SET
bounds = excluded.bounds, generation = excluded.generation, since = excluded.since, detectors = '{}', alarm = NULL,
alarmed_at = NULL, notified_at = NULL, acknowledged_at = excluded.acknowledged_at"""


class DrawnRow(msgspec.Struct, kw_only=True):
    """A drawn question, with the columns of `audits` in their order."""

    trace_id: str
    at: float
    day: int
    cascade: str
    calibration: str | None
    kept: bool
    probability: float
    draw: float
    state: str
    reserved_usd: str = "0"
    cost_usd: str | None = None
    differ: bool | None = None
    settled: bool = False
    facts: str = "{}"
    served: str | None = None
    reference: str | None = None


class LabelRow(msgspec.Struct, kw_only=True, frozen=True):
    """A label, with the columns of `labels` in their order."""

    trace_id: str
    source: str
    at: float
    key_id: str | None
    cascade: str
    sampled: bool
    served: float
    reference: float | None

    def same(self, other: "LabelRow") -> bool:
        """True if it says the same as another one."""
        return (self.sampled, self.served, self.reference) == (other.sampled, other.served, other.reference)


class MonitorRow(msgspec.Struct, kw_only=True):
    """The detectors of a cascade, with the columns of `monitors` in their order."""

    cascade: str
    bounds: str
    generation: int
    since: float
    detectors: str
    alarm: str | None
    alarmed_at: float | None
    notified_at: float | None
    acknowledged_at: float | None


def add_drawn(connection: sqlite3.Connection, row: DrawnRow) -> None:
    """Adds a drawn question; one that is there already stays."""
    connection.execute(INSERT, msgspec.structs.astuple(row))


def finish_drawn(connection: sqlite3.Connection, row: DrawnRow) -> None:
    """Writes what became of a drawn question."""
    changed = (row.state, row.cost_usd, row.differ, row.settled, row.facts, row.served, row.reference, row.trace_id)
    connection.execute(FINISH, changed)


def lose_asked(connection: sqlite3.Connection) -> int:
    """Marks calls that were in flight when a server ended, each at its reserve; how many."""
    return connection.execute(LOSE).rowcount


def spent_on(connection: sqlite3.Connection, day: int) -> Decimal:
    """The cost of a day's calls, those in flight at their reserve."""
    rows = connection.execute("SELECT coalesce(cost_usd, reserved_usd) FROM audits WHERE day = ?", (day,))
    return sum((Decimal(usd) for (usd,) in rows), ZERO_USD)


def closed_on(connection: sqlite3.Connection, day: int) -> bool:
    """True if the budget of a day did not cover a question that was drawn."""
    found = connection.execute("SELECT 1 FROM audits WHERE day = ? AND state = 'budget' LIMIT 1", (day,))
    return found.fetchone() is not None


def drawn_row(connection: sqlite3.Connection, trace_id: str) -> DrawnRow | None:
    """A drawn question by its trace id."""
    return next(iter(drawn_rows(connection, "trace_id = ?", trace_id)), None)


def drawn_rows(connection: sqlite3.Connection, where: str = "1", *values: object, whole: bool = True) -> list[DrawnRow]:
    """Drawn questions in the order of time.

    Args:
        whole: False leaves out facts and texts.
    """
    names = [name for name in DrawnRow.__struct_fields__ if whole or name not in LONG]
    found = connection.execute(f"SELECT {', '.join(names)} FROM audits WHERE {where} ORDER BY at, trace_id", values)
    return [msgspec.convert(dict(zip(names, row, strict=True)), DrawnRow, strict=False) for row in found]


def label_rows(connection: sqlite3.Connection, where: str = "1", *values: object) -> list[LabelRow]:
    """Labels in the order of time."""
    names = LabelRow.__struct_fields__
    found = connection.execute(f"SELECT {', '.join(names)} FROM labels WHERE {where} ORDER BY at, trace_id", values)
    return [msgspec.convert(dict(zip(names, row, strict=True)), LabelRow, strict=False) for row in found]


def put_label(connection: sqlite3.Connection, label: LabelRow) -> LabelRow | None:
    """Stores a label; the one of the same trace and source that it replaces."""
    before = next(iter(label_rows(connection, "trace_id = ? AND source = ?", label.trace_id, label.source)), None)
    if before is None or not label.same(before):
        connection.execute(LABEL, msgspec.structs.astuple(label))
    return before


def monitor_rows(connection: sqlite3.Connection) -> list[MonitorRow]:
    """The state of the detectors, by cascade."""
    names = MonitorRow.__struct_fields__
    found = connection.execute(f"SELECT {', '.join(names)} FROM monitors ORDER BY cascade")
    return [MonitorRow(**dict(zip(names, row, strict=True))) for row in found]


def start_monitor(
    connection: sqlite3.Connection, cascade: str, bounds: str, now: float, acknowledged: float | None
) -> None:
    """Starts a cascade's detectors at nothing."""
    found = connection.execute("SELECT generation FROM monitors WHERE cascade = ?", (cascade,)).fetchone()
    connection.execute(START, (cascade, bounds, found[0] + 1 if found else 0, now, acknowledged))


def save_monitor(connection: sqlite3.Connection, row: MonitorRow) -> bool:
    """Stores the detectors; False if they were started again meanwhile, by an acknowledgement."""
    values = (row.detectors, row.alarm, row.alarmed_at, row.cascade, row.generation)
    return connection.execute(SAVE, values).rowcount > 0


def set_notified(connection: sqlite3.Connection, cascade: str, now: float) -> None:
    """Notes that an alarm was posted."""
    connection.execute("UPDATE monitors SET notified_at = ? WHERE cascade = ?", (now, cascade))


def acknowledge(connection: sqlite3.Connection, cascade: str, now: float) -> None:
    """Acknowledges the alarm of a cascade: its detectors start again, and a running server follows within seconds."""
    bounds = connection.execute("SELECT bounds FROM monitors WHERE cascade = ?", (cascade,)).fetchone()
    start_monitor(connection, cascade, bounds[0] if bounds else "", now, now)


def delete_before(connection: sqlite3.Connection, at: float) -> None:
    """Deletes drawn questions and labels that are older."""
    connection.execute("DELETE FROM audits WHERE at < ?", (at,))
    connection.execute("DELETE FROM labels WHERE at < ?", (at,))


class AuditStore:
    """A connection of its own, and the one thread that uses it: no request waits for it.

    Args:
        path: The database.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="corea-audit")
        self._connection: sqlite3.Connection | None = None

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs some work as one transaction, on the store's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transaction, work)

    def _transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            self._connection = connect(self.path)
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            found = work(connection)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        return found

    async def close(self) -> None:
        """Ends the thread, and closes the file."""
        if self._connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown()
