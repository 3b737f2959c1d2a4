"""What PostgreSQL costs in place of SQLite: processor time a request, of one gateway and of two; bookings a second.

    python bench/replicas.py [--json] [--rounds 5] [--requests 400]

The servers take turns, round by round; a figure is the median of the ratios of neighbours. The gateways are those of
bench/gateway.py with all features on. PostgreSQL is the system's, else that of requirements-dev.txt, with fsync on.
Its own processor time is stated beside the gateway's. `book` calls the database alone: batches of 16 requests of one
key each, from replicas that each wait for their commit.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.fakes.postgres import PostgresServer, fetch

from gateway import CONFIG, Server, ask, cpu_ms, free_port, make_key, ratio, spread, started

SERVE = [sys.executable, "-m", "corea.cli.main", "serve"]
BATCH = 16
NOT_CPU = ("commits", "log_bytes")
BOOK_SECONDS = 2.0


@dataclass
class Scene:
    """The servers; those with `_budget` are the same processes, with a key that has a budget."""

    sqlite: Server
    sqlite_budget: Server
    shared: Server
    shared_budget: Server
    second_budget: Server
    database: PostgresServer
    url: str

    def database_cpu(self) -> float:
        """Seconds of processor time of PostgreSQL's processes, those that have ended left out."""
        assert self.database.process is not None
        main = psutil.Process(self.database.process.pid)
        return sum(sum(p.cpu_times()[:2]) for p in (main, *main.children()))

    def log_bytes(self) -> int:
        """Bytes written to the database's log (WAL) so far."""
        return int(fetch(self.url, "SELECT pg_current_wal_insert_lsn() - '0/0'")[0][0])

    def decision_bytes(self) -> float:
        """Bytes of a stored decision, with its indexes."""
        return float(
            fetch(self.url, "SELECT pg_total_relation_size('decisions')::float / count(*) FROM decisions")[0][0]
        )

    def commits(self) -> int:
        """Transactions committed so far."""
        fetch(self.url, "SELECT pg_stat_force_next_flush()")
        return fetch(self.url, "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")[0][0]


@contextlib.contextmanager
def scene() -> Iterator[Scene]:
    """Starts everything."""
    database = PostgresServer("fsync=on")
    with contextlib.ExitStack() as stack:
        stack.callback(database.remove)
        database.start()
        url = database.new_database()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ports = [free_port() for _ in range(4)]
        child = [sys.executable, str(Path(__file__).with_name("gateway.py")), "--child", "upstream"]
        upstream = stack.enter_context(started([*child, "--port", str(ports[0])], ports[0], cwd=folder))
        made: list[tuple[Path, str, str]] = []
        for name, storage in (("file", ""), ("shared", f'[gateway.storage]\nurl = "{url}"\n')):
            place = folder / name
            place.mkdir()
            (place / "corea.toml").write_text(CONFIG.format(url=upstream.url, port=ports[1]) + storage)
            made.append((place, make_key(place), make_key(place, "--budget-usd", "1000000")))
        servers = [
            stack.enter_context(started([*SERVE, "--port", str(port)], port, cwd=made[at][0], key=made[at][1]))
            for at, port in ((0, ports[1]), (1, ports[2]), (1, ports[3]))
        ]
        budgets = [replace(server, key=made[at][2]) for server, at in zip(servers, (0, 1, 1), strict=True)]
        yield Scene(servers[0], budgets[0], servers[1], *budgets[1:], database, url)


def two_cpu_ms(scene: Scene, requests: int) -> float:
    """Milliseconds of processor time a request of two replicas of one key, each under the load that one alone gets."""
    both = (scene.shared_budget, scene.second_budget)
    before = sum(server.cpu() for server in both)

    async def run() -> None:
        await asyncio.gather(*(ask(server, requests // 2) for server in both))

    asyncio.run(run())
    return (sum(server.cpu() for server in both) - before) * 1000 / requests


def one_round(scene: Scene, requests: int) -> dict[str, float]:
    """Milliseconds of processor time a request of each kind, and transactions a request."""
    found = {name: cpu_ms(getattr(scene, name), requests) for name in ("sqlite", "shared", "sqlite_budget")}
    before, commits, written = scene.database_cpu(), scene.commits(), scene.log_bytes()
    found["shared_budget"] = cpu_ms(scene.shared_budget, requests)
    found["database"] = (scene.database_cpu() - before) * 1000 / requests
    found["commits"] = (scene.commits() - commits) / requests
    found["log_bytes"] = (scene.log_bytes() - written) / requests
    found["two_budget"] = two_cpu_ms(scene, requests)
    found["lone_sqlite"] = cpu_ms(scene.sqlite_budget, requests // 4, concurrency=1)
    found["lone_shared"] = cpu_ms(scene.shared_budget, requests // 4, concurrency=1)
    return found


async def booked(scene: Scene, replicas: int, *, one_key: bool) -> dict[str, float]:
    """Batches a second that the database commits, the requests in them, and its own processor time for each."""
    connections = [await asyncpg.connect(scene.url) for _ in range(replicas)]
    register = "INSERT INTO replicas VALUES ($1, 'bench', now() + interval '1 hour') ON CONFLICT DO NOTHING"
    key = (
        "INSERT INTO keys (id, name, hash, created_at, budget_usd) VALUES ($1, 'b', '', 0, 1e9) ON CONFLICT DO NOTHING"
    )
    until, done = time.perf_counter() + BOOK_SECONDS, 0

    async def work(number: int) -> None:
        nonlocal done
        connection, name = connections[number], f"bench{number}{one_key}"
        key_id = "one" if one_key else name
        await connection.execute(register, name)
        await connection.execute(key, key_id)
        start: int = await connection.fetchval("SELECT batch FROM replicas WHERE id = $1", name)
        entry = {
            "key": key_id, "lease": name, "usd": "0.0123", "tokens": 900, "requests": BATCH, "back": "0",
            "need": "0.01", "want": "0.02", "done": False, "r_requests": 0, "r_tokens": 0, "r_requests_back": 0,
            "r_tokens_back": 0,
        }  # fmt: skip
        body = json.dumps([entry])
        while time.perf_counter() < until:
            start += 1
            await connection.fetchval("SELECT corea_book($1, $2, 3600, $3)", name, start, body)
            done += 1

    before = scene.database_cpu()
    await asyncio.gather(*(work(number) for number in range(replicas)))
    used = scene.database_cpu() - before
    for connection in connections:
        await connection.close()
    return {
        "batches_per_second": round(done / BOOK_SECONDS),
        "requests_per_second": round(done * BATCH / BOOK_SECONDS),
        "database_cpu_ms_per_batch": round(used * 1000 / done, 4),
    }


def measure(rounds: int, requests: int) -> dict[str, Any]:
    """All figures."""
    seen: dict[str, list[float]] = {}
    book: dict[str, dict[str, float]] = {}
    with scene() as it:
        one_round(it, requests)  # warms up
        for _ in range(rounds):
            for name, value in one_round(it, requests).items():
                seen.setdefault(name, []).append(value)
        decision_bytes = it.decision_bytes()
        for replicas, one_key in ((1, True), (2, True), (8, True), (8, False)):
            name = f"{replicas} replicas, {'one key' if one_key else 'a key each'}"
            book[name] = asyncio.run(booked(it, replicas, one_key=one_key))
    return {
        "requests": requests,
        "rounds": rounds,
        "cpu_ms_per_request": {name: spread(values) for name, values in seen.items() if name not in NOT_CPU},
        "log_bytes_per_request": spread(seen["log_bytes"]),
        "bytes_per_decision": round(decision_bytes),
        "commits_per_request": spread(seen["commits"]),
        "cpu_postgres_over_sqlite": ratio(seen["shared"], seen["sqlite"]),
        "cpu_postgres_over_sqlite_budget": ratio(seen["shared_budget"], seen["sqlite_budget"]),
        "cpu_postgres_over_sqlite_lone": ratio(seen["lone_shared"], seen["lone_sqlite"]),
        "cpu_two_replicas_over_one": ratio(seen["two_budget"], seen["shared_budget"]),
        "book": book,
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=400, help="of each kind in a round")
    given = parser.parse_args()
    result = measure(given.rounds, given.requests)
    print(json.dumps({"replicas": result}) if given.json else json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
