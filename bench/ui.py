"""Time of the figures of the page at /ui: median of five, each with a connection of its own, on a database in use.

python bench/ui.py [--json] [--decisions 100000]
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from corea.gateway.billing.database import connect
from corea.gateway.ui.history import History

INSERT = f"INSERT INTO decisions VALUES ({', '.join('?' * 23)})"
DAYS, ROUNDS, DRAWN, TAU = 7, 5, 0.05, 0.7


def fill(path: Path, decisions: int) -> None:
    """Writes decisions of a week, a third of them deferred, each with a confidence of its own; some are drawn."""
    now, rng = time.time(), random.Random(0)
    with closing(connect(path)) as connection:
        connection.execute("BEGIN")
        for number in range(decisions):
            at, x, large = (
                now - DAYS * 86_400 * (1 - number / decisions),
                rng.betavariate(5, 1.6),
                rng.uniform(1e-4, 1e-3),
            )
            kept, small = x >= TAU, rng.uniform(1e-5, 5e-5)
            steps = [_step("small", x, "keep" if kept else "defer", small)]
            steps += [] if kept else [_step("large", None, None, large)]
            trace_id, cost = f"{number:032x}", small if kept else small + large
            stage = "small" if kept else "large"
            row = (
                trace_id, at, "0123456789ab", "corea", "corea", stage, "answered", None, int(not kept), x, TAU,
                f"{cost:.8f}", f"{large:.8f}", 360, 140, 1.02, 0.6, 1, 0, 0, json.dumps(steps), None, None,
            )  # fmt: skip
            connection.execute(INSERT, row)
            if rng.random() < DRAWN:
                facts = json.dumps({"small": {"stage": "small", "confidence": x}})
                drawn = (
                    trace_id, at, int(at // 86_400), "corea", None, int(kept), DRAWN, 0.01, "done", "0", f"{large:.8f}",
                    int(rng.random() > x), 0, facts, None, None,
                )  # fmt: skip
                connection.execute(f"INSERT INTO audits VALUES ({', '.join('?' * 16)})", drawn)
        connection.execute("COMMIT")


def _step(stage: str, confidence: float | None, decision: str | None, cost: float) -> dict[str, Any]:
    return {"stage": stage, "confidence": confidence, "score": None, "threshold": TAU, "decision": decision,
            "prompt_tokens": 180, "completion_tokens": 70, "retries": 0, "cost_usd": f"{cost:.8f}", "seconds": 0.51,
            "error": None, "error_status": None, "skipped": None}  # fmt: skip


def measure(decisions: int) -> dict[str, Any]:
    """All figures."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "corea.db"
        fill(path, decisions)
        history, now = History(path), time.time()
        since = now - DAYS * 86_400
        works: dict[str, Callable[[], object]] = {
            "first_screen": lambda: (history.summary(now, since, None, ["large"]), history.newest(), history.stages()),
            "thresholds": lambda: history.thresholds(since, "corea", TAU),
            "reliability": lambda: history.reliability(since, None),
        }
        return {"decisions": decisions, **{name: _timed(work) for name, work in works.items()}}


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
