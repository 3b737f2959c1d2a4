"""A gateway with an audit over scripted models, driven in this process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from tests.fakes.postgres import PostgresServer, fetch_async
from tests.gateway.conftest import House, make_house

from corea.calibrate.monitor import Monitor
from corea.config import settings as read_settings
from corea.gateway.audit.auditor import Auditor
from corea.gateway.audit.metrics import AuditMetrics
from corea.gateway.audit.pages import AuditPages
from corea.gateway.audit.store import AuditStore, DrawnRow, LabelRow, MonitorRow
from corea.gateway.audit.watch import CascadeWatch
from corea.gateway.billing.decision_log import DecisionLog
from corea.gateway.billing.storage import Storage, open_database, storage_at
from corea.gateway.chat.request_state import CompletedRequest
from corea.gateway.ops.affinity import SessionAffinity
from corea.gateway.ops.settings import GatewaySettings, GatewayStorage

EVERY = 200.0
ROWS: Mapping[str, Any] = {"audits": DrawnRow, "labels": LabelRow, "monitors": MonitorRow}


class Draws:
    """Scripted draws: these, over and over."""

    def __init__(self, *values: float) -> None:
        self.values, self.taken = values, 0

    def __call__(self) -> float:
        self.taken += 1
        return self.values[(self.taken - 1) % len(self.values)]


@dataclass
class AuditHouse:
    """A gateway and its audit over one database."""

    house: House
    auditor: Auditor
    storage: Storage
    place: GatewayStorage
    path: Path | None
    now: list[float] = field(default_factory=lambda: [86_400.0 * 20_000])
    ended: bool = False

    async def ask(self, text: str = "12 + 7?", **body: Any) -> Any:
        """One question's response, and the audit's work on it done."""
        self.now[0] += 0.001
        response = await self.house.post(messages=[{"role": "user", "content": text}], **body)
        await self.settle()
        return response

    async def settle(self) -> None:
        """Waits until the audit has nothing to do."""
        while self.auditor.busy:
            await asyncio.sleep(0.001)

    async def rows(self, table: str = "audits") -> list[dict[str, Any]]:
        """The rows of a table."""

        names = ROWS[table].__struct_fields__
        query = f"SELECT {', '.join(names)} FROM {table} ORDER BY 1, 2"

        def read(connection: Any) -> list[dict[str, Any]]:
            return [dict(zip(names, row, strict=True)) for row in connection.execute(query)]

        return await self.auditor.store.run(read, reads=True)

    async def die(self) -> None:
        """Makes other servers take this one for dead, as after kill -9; a file has one server, and need not be told."""
        if self.place.url is not None:
            dead = "UPDATE replicas SET expires_at = now() - interval '1 second' WHERE id = $1"
            await fetch_async(self.place.url, dead, self.storage.replica)

    async def end(self) -> None:
        """Stops the audit and the writer, once."""
        if not self.ended:
            self.ended = True
            await self.auditor.stop()
            await self.storage.stop()

    def open(self) -> Any:
        """A connection to the database."""
        return open_database(self.place, self.path)

    async def tasks(self) -> None:
        """Waits until alarms are posted, or given up."""
        await asyncio.gather(*self.auditor.notifying)

    def metrics(self) -> str:
        """The audit's metrics as text."""
        registry = CollectorRegistry()
        registry.register(AuditMetrics(self.auditor))
        return generate_latest(registry).decode()

    async def get(self, path: str, **named: Any) -> Any:
        return await self.house.request("GET", path, **named)

    async def feedback(self, trace: Any, **body: Any) -> Any:
        """Feedback on a response."""
        trace_id = trace if isinstance(trace, str) else trace.headers["x-corea-trace-id"]
        return await self.house.request("POST", "/v1/feedback", json={"trace_id": trace_id, **body})


Make = Callable[..., Awaitable[AuditHouse]]


def watched(**named: Any) -> Monitor:
    """A monitor of answers that differ in 20 to 40 % of deferred and at most 10 % of kept questions."""
    return Monitor.of(
        **{"deferred_differ": (0.2, 0.4), "kept_differ": (0.0, 0.1), "kept_share": 0.5, "max_drop": 0.02,
           "every": EVERY, **named}
    )  # fmt: skip


@pytest.fixture(params=["sqlite", "postgres"])
async def audited(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    """Makes a gateway with an audit, on either database; a second one on the same is one after a restart."""
    made: list[AuditHouse] = []
    server: PostgresServer | None = request.getfixturevalue("postgres") if request.param == "postgres" else None
    urls: dict[str, str] = {}

    def place_of(name: str, storage: Mapping[str, Any] | None) -> dict[str, Any]:
        if server is None:
            return dict(storage or {})
        if name not in urls:
            urls[name] = server.new_database()
        return {"url": urls[name], **(storage or {})}

    async def make(
        small: Any = "<answer>19</answer><confidence>0.9</confidence>",
        large: Any = "<answer>19</answer>",
        *,
        monitor: Monitor | None = None,
        draws: Callable[[], float] | None = None,
        name: str = "corea.db",
        accounts: Any = None,
        audit: Mapping[str, Any] | None = None,
        storage: Mapping[str, Any] | None = None,
        small_stage: dict[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        judge: Any = None,
        judged: bool = False,
    ) -> AuditHouse:
        placed = await asyncio.to_thread(place_of, name, storage)
        given = {"audit": {"share": 1.0, "every": EVERY, **(audit or {})}, "storage": placed, **(settings or {})}
        house = make_house(small, large, accounts=accounts, small_stage=small_stage, **given)
        configured = read_settings("gateway", GatewaySettings, given)
        decisions = DecisionLog(configured.storage)
        path = tmp_path / name if server is None else None
        kept = storage_at(path, configured.storage, decisions, SessionAffinity(), durable=False)
        await kept.start()
        auditor = Auditor(
            settings=configured,
            store=AuditStore(path, configured.storage, lambda: kept.replica),
            draw=draws or (lambda: 0.5),
            watches={"corea": CascadeWatch("corea", "sha256:1", monitor, configured.audit.every, judged=judged)},
            judge=judge,
        )
        found = AuditHouse(house, auditor, kept, configured.storage, path)
        auditor.clock = lambda: found.now[0]
        await auditor.start()

        def record(completed: CompletedRequest) -> None:
            house.done.append(completed)
            decisions.record(completed)
            auditor.record(completed)

        house.gateway.chat.record = record
        house.gateway.chat.alarms = auditor.alarms
        house.gateway.audit = AuditPages(auditor)
        made.append(found)
        return found

    yield make
    for each in made:
        await each.end()
