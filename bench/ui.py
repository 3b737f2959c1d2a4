"""Time of the figures of the page at /ui: median of five, each with a connection of its own, on a database in use.

    python bench/ui.py [--json] [--decisions 100000]

On an SQLite file, and on PostgreSQL (the system's, else that of requirements-dev.txt, with its usual settings).
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.fakes.postgres import PostgresServer

from corea.gateway.billing.decision_log import COLUMNS
from corea.gateway.billing.storage import open_database
from corea.gateway.ops.settings import GatewayStorage
from corea.gateway.ui.history import History

AUDITS = (
    "trace_id", "at", "day", "cascade", "calibration", "kept", "probability", "draw", "state", "reserved_usd",
    "cost_usd", "differ", "settled", "facts",
)  # fmt: skip
DAYS, ROUNDS, DRAWN, TAU = 7, 5, 0.05, 0.7
USUAL = ("fsync=on", "shared_buffers=128MB", "autovacuum=on")


def rows(decisions: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Decisions of a week, a third of them deferred, each with a confidence of its own; some are drawn. By table."""
    now, rng = time.time(), random.Random(0)
    for number in range(decisions):
        at, x = now - DAYS * 86_400 * (1 - number / decisions), rng.betavariate(5, 1.6)
        kept, small, large = x >= TAU, rng.uniform(1e-5, 5e-5), rng.uniform(1e-4, 1e-3)
        steps = [_step("small", x, "keep" if kept else "defer", small)]
        steps += [] if kept else [_step("large", None, None, large)]
        trace_id, cost = f"{number:032x}", small if kept else small + large
        yield "decisions", (
            trace_id, at, "0123456789ab", "corea", "corea", "small" if kept else "large", "answered", None,
            int(not kept), x, TAU, f"{cost:.8f}", f"{large:.8f}", 360, 140, 1.02, 0.6, 1, 0, 0, json.dumps(steps),
            None, None,
        )  # fmt: skip
        if rng.random() < DRAWN:
            facts = json.dumps({"small": {"stage": "small", "confidence": x}})
            yield "audits", (
                trace_id, at, int(at // 86_400), "corea", None, int(kept), DRAWN, 0.01, "done", "0", f"{large:.8f}",
                int(rng.random() > x), 0, facts,
            )  # fmt: skip


def fill_sqlite(path: Path, decisions: int) -> None:
    """Writes the rows into a file."""
    with open_database(GatewayStorage(), path) as connection:
        connection.execute("BEGIN")
        for table, row in rows(decisions):
            names = COLUMNS if table == "decisions" else AUDITS
            connection.execute(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(row))})", row)
        connection.execute("COMMIT")


async def fill_postgres(url: str, decisions: int) -> None:
    """Writes the rows into a database, as they would be after some minutes: with the planner's statistics."""
    connection = await asyncpg.connect(url)
    found = list(rows(decisions))
    for table, columns in (("decisions", COLUMNS), ("audits", AUDITS)):
        records = [row for name, row in found if name == table]
        await connection.copy_records_to_table(table, records=records, columns=columns)
    await connection.execute("ANALYZE")
    await connection.close()


def _step(stage: str, confidence: float | None, decision: str | None, cost: float) -> dict[str, Any]:
    return {"stage": stage, "confidence": confidence, "score": None, "threshold": TAU, "decision": decision,
            "prompt_tokens": 180, "completion_tokens": 70, "retries": 0, "cost_usd": f"{cost:.8f}", "seconds": 0.51,
            "error": None, "error_status": None, "skipped": None}  # fmt: skip


def figures(history: History) -> dict[str, Any]:
    """The times on one database."""
    now = time.time()
    since = now - DAYS * 86_400
    works: dict[str, Callable[[], object]] = {
        "first_screen": lambda: (history.summary(now, since, None, ["large"]), history.newest(), history.stages()),
        "thresholds": lambda: history.thresholds(since, "corea", TAU),
        "reliability": lambda: history.reliability(since, None),
    }
    return {name: _timed(work) for name, work in works.items()}


def measure(decisions: int) -> dict[str, Any]:
    """All figures."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "corea.db"
        fill_sqlite(path, decisions)
        sqlite = figures(History(partial(open_database, GatewayStorage(), path)))
    server = PostgresServer(*USUAL)
    try:
        server.start()
        url = server.new_database()
        database = partial(open_database, GatewayStorage(url=url), None)
        with database():  # makes the tables
            pass
        asyncio.run(fill_postgres(url, decisions))
        postgres = figures(History(database))
    finally:
        server.remove()
    return {"decisions": decisions, "sqlite": sqlite, "postgres": postgres}


def _timed(work: Callable[[], object]) -> dict[str, float]:
    found = list[tuple[float, float]]()
    for _ in range(ROUNDS):
        began, used = time.perf_counter(), time.process_time()
        work()
        found.append((time.perf_counter() - began, time.process_time() - used))
    seconds, cpu = (round(statistics.median(each), 3) for each in zip(*found, strict=True))
    return {"seconds": seconds, "cpu_seconds": cpu}


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--decisions", type=int, default=100_000)
    given = parser.parse_args()
    found = measure(given.decisions)
    print(json.dumps(found) if given.json else "\n".join(f"{name}: {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
