"""Writes decisions into PostgreSQL, on a connection of its own: no booking waits for them."""

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from corea.gateway.billing.decision_log import BATCH, COLUMNS, DELETED, DecisionLog, Row
from corea.gateway.billing.postgres import failures, open_connection, storable

if TYPE_CHECKING:
    import asyncpg

log: logging.Logger = logging.getLogger("corea.gateway")

EVERY_SECONDS = 0.2
RETRY_SECONDS = 0.5
STOP_SECONDS = 10.0
NAMES = ", ".join(COLUMNS)
INSERT = f"""INSERT INTO decisions ({NAMES}) SELECT {NAMES} FROM json_populate_recordset(NULL::decisions, $1)
ON CONFLICT (trace_id) DO NOTHING"""
DELETE = f"DELETE FROM decisions WHERE ctid = ANY(ARRAY(SELECT ctid FROM decisions WHERE at < $1 LIMIT {DELETED}))"
FORGET = (
    "DELETE FROM sessions WHERE at < now() - interval '7 days'",
    "DELETE FROM replicas WHERE swept AND expires_at < now() - interval '7 days'",
)
_encode = msgspec.json.Encoder(decimal_format="string").encode


class DecisionWriter:
    """A task that stores what the log has queued, and deletes what is old; while the database is away it waits."""

    def __init__(self, url: str, decisions: DecisionLog) -> None:
        self.url = url
        self.decisions = decisions
        self._connection: asyncpg.Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Starts the task."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Stores what is left."""
        await asyncio.to_thread(self.decisions.drain, STOP_SECONDS)
        self._stopping = True
        if self._task is not None:
            await asyncio.wait([self._task], timeout=STOP_SECONDS)
            if not self._task.done():
                self._task.cancel()
                log.error("%d decisions are not stored: the database is away", self.decisions.waiting)
        if self._connection is not None:
            self._connection.terminate()

    async def _run(self) -> None:
        while True:
            stopping, wait = self._stopping, EVERY_SECONDS
            try:
                if self._connection is None or self._connection.is_closed():
                    self._connection = await open_connection(self.url)
                while rows := self.decisions.batch():
                    await self._insert(self._connection, rows)
                    self.decisions.written()
                if (before := self.decisions.oldest_kept()) is not None:
                    done: str = await self._connection.execute(DELETE, before)
                    self.decisions.deleted(int(done.rpartition(" ")[2]))
                    for statement in FORGET:
                        await self._connection.execute(statement)
                if stopping:
                    return
            except Exception as error:  # a bug must not end this task
                if not isinstance(error, failures()):
                    log.exception("an error while storing decisions")
                wait = RETRY_SECONDS
            if not self._stopping:
                await asyncio.sleep(wait)

    async def _insert(self, connection: "asyncpg.Connection", rows: list[Row]) -> None:
        import asyncpg

        assert len(rows) <= BATCH
        try:
            await connection.execute(INSERT, as_json(rows))
        except asyncpg.DataError:
            for row in rows:
                try:
                    await connection.execute(INSERT, as_json([row]))
                except asyncpg.DataError as error:  # such as a number beyond 64 bits
                    log.error("decision %s cannot be stored (%s)", row[0], error)


def as_json(rows: list[Row]) -> str:
    """Rows as a JSON list of objects."""
    return _encode([dict(zip(COLUMNS, map(storable, row), strict=True)) for row in rows]).decode()
