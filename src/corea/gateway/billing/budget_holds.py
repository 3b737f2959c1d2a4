"""Budget holds: spend authorised on disk ahead of use, so that requests need not wait for fsync.

A key with a budget always has more *held* in the file, synced, than it can have spent by then. After a power cut, which
may have lost the last commits, all that was held counts as spent: too much by a few requests' worth, never too little.
If only the process died, the committed spending is complete, and the rest of the hold is released.
"""

import logging
import sqlite3
from decimal import Decimal
from pathlib import Path

log: logging.Logger = logging.getLogger("corea.gateway")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
HELD = "SELECT id, spent_usd, held_usd, held_boot FROM keys WHERE held_usd IS NOT NULL"


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
    connection.execute("BEGIN IMMEDIATE")
    for key_id, spent, held, since in connection.execute(HELD).fetchall():
        if (not boot or since != boot) and Decimal(held) > Decimal(spent):
            connection.execute("UPDATE keys SET spent_usd = ? WHERE id = ?", (held, key_id))
            log.warning(
                "key %s: its last costs may be lost, so all $%s held count as spent, not $%s", key_id, held, spent
            )
    connection.execute("UPDATE keys SET held_usd = NULL WHERE held_usd IS NOT NULL")
    connection.execute("COMMIT")
