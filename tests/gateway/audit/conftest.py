"""A gateway with an audit over scripted models, driven in this process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from tests.gateway.conftest import House, make_house

from corea.calibrate.monitor import Monitor
from corea.config import settings as read_settings
from corea.gateway.audit.auditor import Auditor
from corea.gateway.audit.metrics import AuditMetrics
from corea.gateway.audit.pages import AuditPages
from corea.gateway.audit.store import AuditStore
from corea.gateway.audit.watch import CascadeWatch
from corea.gateway.billing.db_writer import DbWriter
from corea.gateway.billing.decision_log import DecisionLog
from corea.gateway.chat.request_state import CompletedRequest
from corea.gateway.ops.settings import GatewaySettings

EVERY = 200.0


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
    writer: DbWriter
    path: Path
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

        def read(connection: Any) -> list[dict[str, Any]]:
            found = connection.execute(f"SELECT * FROM {table}")
            names = [each[0] for each in found.description]
            return [dict(zip(names, row, strict=True)) for row in found]

        return await self.auditor.store.run(read)

    async def end(self) -> None:
        """Stops the audit and the writer, once."""
        if not self.ended:
            self.ended = True
            await self.auditor.stop()
            await self.writer.stop()

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


@pytest.fixture
async def audited(tmp_path: Path) -> AsyncIterator[Make]:
    """Makes a gateway with an audit; a second one on the same file is one after a restart."""
    made: list[AuditHouse] = []

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
        given = {"audit": {"share": 1.0, "every": EVERY, **(audit or {})}, "storage": dict(storage or {}),
                 **(settings or {})}  # fmt: skip
        house = make_house(small, large, accounts=accounts, small_stage=small_stage, **given)
        configured = read_settings("gateway", GatewaySettings, given)
        decisions = DecisionLog(configured.storage)
        writer = DbWriter(tmp_path / name, decisions, durable=False)
        writer.start()
        auditor = Auditor(
            settings=configured, store=AuditStore(tmp_path / name), draw=draws or (lambda: 0.5),
            watches={"corea": CascadeWatch("corea", "sha256:1", monitor, configured.audit.every, judged=judged)},
            judge=judge,
        )  # fmt: skip
        found = AuditHouse(house, auditor, writer, tmp_path / name)
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
