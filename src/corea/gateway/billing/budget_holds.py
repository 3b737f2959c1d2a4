"""What of a budget is held on disk, so that no request need wait until the one before it is synced.

A key with a budget always has more *held* in the file, and synced, than it can have spent by then. After a power cut,
which may have taken what was committed last, all that was held counts as spent: too much by a few requests' worth, but
never too little. Where only the process died, what is recorded is whole, and the rest of what was held is given back.
"""

import logging
import sqlite3
from decimal import Decimal
from pathlib import Path

log: logging.Logger = logging.getLogger("corea.gateway")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
HELD = "SELECT id, spent_usd, held_usd, held_boot FROM keys WHERE held_usd IS NOT NULL"


def boot_id() -> str:
    """Another after each start of the machine; "" where no such thing is known, which counts as another each time."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def release_holds(connection: sqlite3.Connection, boot: str) -> None:
    """Gives back, or books, what a server that did not stop as it should has left; before anyone is let in.

    Args:
        boot: This `boot_id`.
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
