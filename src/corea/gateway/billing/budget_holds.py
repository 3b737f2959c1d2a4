"""Budget holds: spend authorised on disk ahead of use, so that requests need not wait for fsync.

A key with a budget always has more *held* in the file, synced, than it can have spent by then. After a power cut, which
may have lost the last commits, all that was held counts as spent: too much by a few requests' worth, never too little.
If only the process died, the committed spending is complete, and the rest of the hold is released.
"""

import json
import logging
import sqlite3
import time
from decimal import Decimal
from pathlib import Path

from corea.gateway.billing.periods import DAY_SECONDS, DAYS_KEPT

log: logging.Logger = logging.getLogger("corea.gateway")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
HELD = "SELECT id, spent_usd, held_usd, held_boot FROM keys WHERE held_usd IS NOT NULL"
BOOK_HOLD = "UPDATE keys SET spent_usd = ?, spent_days = add_days(spent_days, ?) WHERE id = ?"


def today() -> int:
    """The present day since 1970 (UTC)."""
    return int(time.time() // DAY_SECONDS)


def add_days(before: str, more: str) -> str:
    """Spending by day with more of it, as JSON; only the days of the longest period are kept."""
    days: dict[str, str] = json.loads(before)
    added: dict[str, str] = json.loads(more)
    for day, usd in added.items():
        days[day] = str(Decimal(days.get(day, "0")) + Decimal(usd))
    newest = max(map(int, days), default=0)
    return json.dumps({day: usd for day, usd in days.items() if newest - int(day) < DAYS_KEPT})


def boot_id() -> str:
    """The kernel's id of this boot; "" where there is none, which counts as another boot each time."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def release_holds(connection: sqlite3.Connection, boot: str) -> None:
    """Releases, or books, the holds of a server that did not stop cleanly; before any request is admitted.

    Args:
        boot: The present `boot_id`.
    """
    connection.create_function("add_days", 2, add_days, deterministic=True)
    connection.execute("BEGIN IMMEDIATE")
    for key_id, spent, held, since in connection.execute(HELD).fetchall():
        if (not boot or since != boot) and Decimal(held) > Decimal(spent):
            lost = json.dumps({today(): str(Decimal(held) - Decimal(spent))})
            connection.execute(BOOK_HOLD, (held, lost, key_id))
            log.warning(
                "key %s: its last costs may be lost, so all $%s held count as spent, not $%s", key_id, held, spent
            )
    connection.execute("UPDATE keys SET held_usd = NULL WHERE held_usd IS NOT NULL")
    connection.execute("COMMIT")
