"""Rows of a database for the tests of the page."""

import json
from typing import Any

from corea.gateway.billing.connection import SqlConnection
from corea.gateway.billing.decision_log import COLUMNS

NOW = 1_764_500_000.0
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


def decide(connection: SqlConnection, trace_id: str, **given: Any) -> None:
    """Stores a decision of two stages: `x` is the confidence, `kept` decides, `small` and `large` are costs in USD."""
    x, kept, small, large = (
        given.get(n, v) for n, v in (("x", 0.9), ("kept", True), ("small", "0.001"), ("large", "0.01"))
    )
    cost = given.get("cost", small if kept else f"{float(small) + float(large):.6f}")
    first = {
        "stage": "small",
        "confidence": x,
        "score": given.get("score"),
        "threshold": 0.7,
        "cost_usd": small,
        "decision": given.get("decision", "keep" if kept else "defer"),
        "seconds": 0.5,
        "error": None,
        "skipped": None,
    }
    last = {
        "stage": "large",
        "confidence": None,
        "decision": None,
        "cost_usd": large,
        "seconds": 2.0,
        "error": given.get("error"),
        "skipped": None,
    }
    row = (
        trace_id, given.get("at", NOW), given.get("key_id"), given.get("cascade", "corea"), "corea",
        "small" if kept else "large", "failed" if given.get("error") else "answered", given.get("error"), int(not kept),
        x, 0.7, cost, given.get("baseline", large), 100, 50, 1.0, None, 0, int(given.get("cached", False)), 0,
        json.dumps([first] if kept else [first, last]), given.get("prompt"), None,
    )  # fmt: skip
    names = ", ".join(COLUMNS)
    connection.execute(f"INSERT INTO decisions ({names}) VALUES ({', '.join('?' * len(row))})", row)


def draw(connection: SqlConnection, trace_id: str, x: float, differ: bool | None, **given: Any) -> None:
    """Stores a drawn question."""
    at, kept = given.get("at", NOW), given.get("kept", True)
    facts = json.dumps({"small": {"stage": "small", "confidence": x}})
    row = (trace_id, at, int(at // 86_400), "corea", None, int(kept), 0.1, 0.05, "done", "0.05",
           given.get("cost", "0.02"), differ, 0, facts, None, None, None)  # fmt: skip
    connection.execute(f"INSERT INTO audits VALUES ({', '.join('?' * len(row))})", row)


def label(connection: SqlConnection, trace_id: str, served: float, source: str = "user", **given: Any) -> None:
    """Stores a label."""
    at, sampled = given.get("at", NOW), int(given.get("sampled", False))
    row = (trace_id, source, at, None, "corea", sampled, served, None)
    connection.execute(f"INSERT INTO labels VALUES ({', '.join('?' * len(row))})", row)
