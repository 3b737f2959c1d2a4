"""Rows of the audit in the database: drawn questions, labels, and the state of the detectors.

All that is written is written in transactions that wait for each other, over all servers of a PostgreSQL database too:
one reads what the one before it has left, so that no server keeps a budget or a detector of its own.
"""

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import msgspec

from corea.gateway.billing.connection import SqlConnection, is_postgres, transaction
from corea.gateway.billing.storage import open_database
from corea.gateway.ops.settings import GatewayStorage
from corea.types import ZERO_USD

T = TypeVar("T")
FILE = GatewayStorage()
LOCK = f"SELECT pg_advisory_xact_lock({0x636F726562})"  # "coreb"; "corea" is that of migrations
DAY_SECONDS = 86_400
ASKED, DONE, FAILED, LOST, OVER_BUDGET = "asked", "done", "failed", "lost", "budget"
TEXTS = ("served", "reference")
FACTS_OF_JUDGED, JUDGED = "CASE WHEN facts LIKE ? THEN facts ELSE '{}' END", '%"judge":%'
USD = ("reserved_usd", "cost_usd")  # exact: as text, whatever the database has
# one server of a file; of a shared database, those that have not sent a batch of bookings for long
LOSE = "UPDATE audits SET state = 'lost', cost_usd = reserved_usd WHERE state = 'asked' AND coalesce(replica, '') <> ?"
ALIVE = "SELECT id FROM replicas WHERE NOT swept AND expires_at > clock_timestamp()"
FINISH = """UPDATE audits SET state = ?, cost_usd = ?, differ = ?, settled = ?, facts = ?, served = ?, reference = ?
WHERE trace_id = ?"""
LABEL = """INSERT INTO labels VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (trace_id, source) DO UPDATE SET
at = excluded.at, key_id = excluded.key_id, sampled = excluded.sampled, served = excluded.served,
reference = excluded.reference"""
SAVE = "UPDATE monitors SET detectors = ?, alarm = ?, alarmed_at = ? WHERE cascade = ? AND generation = ?"
BATCH = """INSERT INTO audit_batches VALUES (?, ?, ?) ON CONFLICT (server) DO UPDATE SET
batch = excluded.batch, at = excluded.at WHERE audit_batches.batch < excluded.batch RETURNING batch"""
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
    replica: str | None = None


INSERT = f"INSERT INTO audits VALUES ({', '.join('?' * len(DrawnRow.__struct_fields__))}) ON CONFLICT DO NOTHING"


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


def add_drawn(connection: SqlConnection, row: DrawnRow) -> None:
    """Adds a drawn question; one that is there already stays."""
    connection.execute(INSERT, msgspec.structs.astuple(row))


def finish_drawn(connection: SqlConnection, row: DrawnRow) -> None:
    """Writes what became of a drawn question."""
    changed = (row.state, row.cost_usd, row.differ, row.settled, row.facts, row.served, row.reference, row.trace_id)
    connection.execute(FINISH, changed)


def lose_asked(connection: SqlConnection, replica: str) -> None:
    """Marks calls that were in flight when a server ended, each at its reserve.

    Args:
        replica: The server that asks, whose own calls go on.
    """
    others = f" AND coalesce(replica, '') NOT IN ({ALIVE})" if is_postgres(connection) else ""
    connection.execute(LOSE + others, (replica,))


def begin_batch(connection: SqlConnection, server: str, batch: int, now: float) -> bool:
    """Notes that a server stores a batch; False if it is stored already, although no answer said so.

    Args:
        server: A process.
        batch: Its number, which rises.
    """
    return connection.execute(BATCH, (server, batch, now)).fetchone() is not None


def spent_on(connection: SqlConnection, day: int) -> Decimal:
    """The cost of a day's calls, those in flight at their reserve."""
    rows = connection.execute("SELECT coalesce(cost_usd, reserved_usd) FROM audits WHERE day = ?", (day,))
    return sum((Decimal(usd) for (usd,) in rows), ZERO_USD)


def cost_on(connection: SqlConnection, trace_id: str) -> Decimal:
    """The cost of a drawn question as stored, while its call is in flight its reserve."""
    query = "SELECT coalesce(cost_usd, reserved_usd) FROM audits WHERE trace_id = ?"
    found = connection.execute(query, (trace_id,)).fetchone()
    return ZERO_USD if found is None else Decimal(found[0])


def closed_on(connection: SqlConnection, day: int) -> bool:
    """True if the budget of a day did not cover a question that was drawn."""
    found = connection.execute("SELECT 1 FROM audits WHERE day = ? AND state = 'budget' LIMIT 1", (day,))
    return found.fetchone() is not None


def drawn_row(connection: SqlConnection, trace_id: str) -> DrawnRow | None:
    """A drawn question by its trace id."""
    return next(iter(drawn_rows(connection, "trace_id = ?", trace_id)), None)


def drawn_rows(connection: SqlConnection, where: str = "TRUE", *values: object, whole: bool = True) -> list[DrawnRow]:
    """Drawn questions in the order of time.

    Args:
        whole: False leaves out texts, and the facts of questions that no judge compares.
    """
    names = [name for name in DrawnRow.__struct_fields__ if whole or name not in TEXTS]
    columns = ", ".join(f"CAST({name} AS TEXT)" if name in USD else name for name in names)
    if not whole:
        columns, values = columns.replace("facts", FACTS_OF_JUDGED), (JUDGED, *values)
    found = connection.execute(f"SELECT {columns} FROM audits WHERE {where} ORDER BY at, trace_id", values)
    return [msgspec.convert(dict(zip(names, row, strict=True)), DrawnRow, strict=False) for row in found]


def label_rows(connection: SqlConnection, where: str = "TRUE", *values: object) -> list[LabelRow]:
    """Labels in the order of time."""
    names = LabelRow.__struct_fields__
    found = connection.execute(f"SELECT {', '.join(names)} FROM labels WHERE {where} ORDER BY at, trace_id", values)
    return [msgspec.convert(dict(zip(names, row, strict=True)), LabelRow, strict=False) for row in found]


def put_label(connection: SqlConnection, label: LabelRow) -> LabelRow | None:
    """Stores a label; the one of the same trace and source that it replaces."""
    before = next(iter(label_rows(connection, "trace_id = ? AND source = ?", label.trace_id, label.source)), None)
    if before is None or not label.same(before):
        connection.execute(LABEL, msgspec.structs.astuple(label))
    return before


def monitor_rows(connection: SqlConnection) -> list[MonitorRow]:
    """The state of the detectors, by cascade."""
    names = MonitorRow.__struct_fields__
    found = connection.execute(f"SELECT {', '.join(names)} FROM monitors ORDER BY cascade")
    return [MonitorRow(**dict(zip(names, row, strict=True))) for row in found]


def start_monitor(connection: SqlConnection, cascade: str, bounds: str, now: float, acknowledged: float | None) -> None:
    """Starts a cascade's detectors at nothing."""
    found = connection.execute("SELECT generation FROM monitors WHERE cascade = ?", (cascade,)).fetchone()
    connection.execute(START, (cascade, bounds, found[0] + 1 if found else 0, now, acknowledged))


def save_monitor(connection: SqlConnection, row: MonitorRow) -> bool:
    """Stores the detectors; False if they were started again meanwhile, by an acknowledgement."""
    values = (row.detectors, row.alarm, row.alarmed_at, row.cascade, row.generation)
    return connection.execute(f"{SAVE} RETURNING cascade", values).fetchone() is not None


def set_notified(connection: SqlConnection, cascade: str, now: float) -> None:
    """Notes that an alarm was posted."""
    connection.execute("UPDATE monitors SET notified_at = ? WHERE cascade = ?", (now, cascade))


def acknowledge(connection: SqlConnection, cascade: str, now: float) -> None:
    """Acknowledges the alarm of a cascade: its detectors start again, and a running server follows within seconds."""
    bounds = connection.execute("SELECT bounds FROM monitors WHERE cascade = ?", (cascade,)).fetchone()
    start_monitor(connection, cascade, bounds[0] if bounds else "", now, now)


def delete_before(connection: SqlConnection, at: float) -> None:
    """Deletes drawn questions and labels that are older."""
    connection.execute("DELETE FROM audits WHERE at < ?", (at,))
    connection.execute("DELETE FROM labels WHERE at < ?", (at,))
    connection.execute("DELETE FROM audit_days WHERE day < ?", (int(at // DAY_SECONDS),))
    connection.execute("DELETE FROM audit_batches WHERE at < ?", (at,))


class AuditStore:
    """A connection of its own, and the one thread that uses it: no request waits for it.

    Args:
        path: The SQLite file; None: the settings name another database, which several servers share.
        replica: The id under which this server books in a shared database.

    Attributes:
        server: A random name of this process.
    """

    def __init__(
        self, path: str | Path | None, settings: GatewayStorage = FILE, replica: Callable[[], str] = str
    ) -> None:
        self.path: Path | None = None if path is None else Path(path)
        self.settings = settings
        self.server: str = secrets.token_hex(8)
        self._replica = replica
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="corea-audit")
        self._opened: tuple[AbstractContextManager[SqlConnection], SqlConnection] | None = None

    @property
    def shared(self) -> bool:
        """True where other servers may write too."""
        return self.path is None

    @property
    def replica(self) -> str:
        """The name of this server in rows of calls in flight."""
        return self._replica() or self.server

    async def run(self, work: Callable[[SqlConnection], T], *, reads: bool = False) -> T:
        """Runs some work as one transaction, on the store's thread.

        Args:
            reads: It writes nothing, and no other one need wait for it.

        Raises:
            DatabaseUnavailable: The database cannot be used; whether the work was done may not be known.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._do, work, reads)

    def _do(self, work: Callable[[SqlConnection], T], reads: bool) -> T:
        if self._opened is None:
            opened = open_database(self.settings, self.path)
            self._opened = opened, opened.__enter__()
        connection = self._opened[1]
        try:
            with transaction(connection, "SELECT 1" if reads else LOCK):
                return work(connection)
        except BaseException as error:
            self._close(error)
            raise

    def _close(self, error: BaseException | None = None) -> None:
        """Closes the connection; where an error has ended its use, raises it as that of the database."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened[0].__exit__(None if error is None else type(error), error, None)

    async def close(self) -> None:
        """Ends the thread, and closes the database."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()
