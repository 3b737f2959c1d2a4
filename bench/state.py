"""Size of the gateway's decisions on disk, and the time of `corea state backup` and `prune` while it serves.

python bench/state.py [--json] [--decisions 100000]
"""

import argparse
import asyncio
import json
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from corea.gateway.billing import state
from corea.gateway.billing.database import connect

STEPS = json.dumps(
    [
        {"stage": name, "confidence": 0.31, "score": None, "threshold": 0.8, "decision": decision,
         "prompt_tokens": 180, "completion_tokens": 70, "retries": 0, "cost_usd": "0.00012500", "seconds": 0.51,
         "error": None, "error_status": None, "skipped": None}
        for name, decision in (("small", "defer"), ("large", "keep"))
    ]
)  # fmt: skip
INSERT = f"INSERT INTO decisions VALUES ({', '.join('?' * 23)})"


def fill(path: Path, decisions: int) -> None:
    """Writes decisions as a deferred answer leaves them, half of them old."""
    now = time.time()
    with closing(connect(path)) as connection:
        connection.execute("BEGIN")
        for number in range(decisions):
            at = now - (90_000 if number < decisions // 2 else 0) + number / decisions
            connection.execute(
                INSERT,
                (f"{number:032x}", at, "0123456789ab", "corea", "corea", "large", "answered", None, 1, 0.31, 0.8,
                 "0.00012500", "0.00041000", 360, 140, 1.02, 0.6, 1, 0, 0, STEPS, None, None),
            )  # fmt: skip
        connection.execute("COMMIT")


async def longest_wait(path: Path, work: Any) -> tuple[float, float]:
    """Seconds that work takes, and the longest that another connection waited for a commit meanwhile."""
    longest, done = 0.0, asyncio.Event()

    def write() -> None:
        nonlocal longest
        with closing(connect(path)) as connection:
            while not done.is_set():
                began = time.perf_counter()
                connection.execute("UPDATE keys SET requests = requests + 1")
                connection.execute("INSERT INTO key_changes VALUES (0, '', '', '', '{}')")
                longest = max(longest, time.perf_counter() - began)
                time.sleep(0.005)

    writing = asyncio.create_task(asyncio.to_thread(write))
    await asyncio.sleep(0.1)
    began = time.perf_counter()
    await asyncio.to_thread(work)
    seconds = time.perf_counter() - began
    done.set()
    await writing
    return seconds, longest


async def measure(decisions: int) -> dict[str, Any]:
    """All figures."""
    with tempfile.TemporaryDirectory() as folder:
        path, copy = Path(folder) / "corea.db", Path(folder) / "copy.db"
        with closing(connect(path)):
            empty = path.stat().st_size
        fill(path, decisions)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = path.stat().st_size
        backup, waited = await longest_wait(path, lambda: state.backup(path, copy))
        prune, waited_prune = await longest_wait(path, lambda: state.prune(path, time.time() - 45_000))
        return {
            "decisions": decisions,
            "bytes_per_decision": round((size - empty) / decisions, 1),
            "backup_seconds": round(backup, 3),
            "longest_write_during_backup_seconds": round(waited, 4),
            "prune_seconds": round(prune, 3),
            "longest_write_during_prune_seconds": round(waited_prune, 4),
        }


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--decisions", type=int, default=100_000)
    given = parser.parse_args()
    found = asyncio.run(measure(given.decisions))
    if given.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name}: {value}")


if __name__ == "__main__":
    main()
