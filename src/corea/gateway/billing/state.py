"""Care for the database: complete copies while it serves, restoring one, export, deletion of old decisions."""

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from corea.errors import ConfigError
from corea.gateway.billing.database import connect, copy_database, version
from corea.gateway.billing.key_admin import SHOWN
from corea.gateway.billing.migrations import MIGRATIONS
from corea.gateway.billing.state_file import locked

TABLES = ("keys", "decisions", "key_changes")
TEXTS = ("prompt", "answer")  # columns of decisions
JSON_COLUMNS = ("cascades", "steps", "changes")
STOP = "stop it first"
BESIDE = ("-wal", "-shm")  # SQLite's files beside a database
DELETE_OLD = "DELETE FROM decisions WHERE rowid IN (SELECT rowid FROM decisions WHERE at < ? LIMIT 1000)"


@dataclass(frozen=True, slots=True)
class StateSummary:
    """The contents of a database.

    Args:
        path: The file, or the address without a password.
        version: Number of migrations that it has had; `newest` is this program's.
        newest_decision: Its time, seconds since 1970; None without one.
        spent_usd: Of all keys, exact.
    """

    path: str
    version: int
    newest: int
    size_bytes: int
    keys: int
    decisions: int
    newest_decision: float | None
    spent_usd: str


def summary(path: Path) -> StateSummary:
    """A summary of a database, which is neither changed nor created.

    Raises:
        ConfigError: It is not one of ours, or cannot be read.
    """
    with closing(_open(path)) as connection:
        try:
            count, newest = connection.execute("SELECT count(*), max(at) FROM decisions").fetchone()
            # a group's spending is that of its keys
            where = " WHERE role = 'key'" if version(connection) >= 3 else ""
            spent = [row[0] for row in connection.execute(f"SELECT spent_usd FROM keys{where}")]
        except sqlite3.Error as error:
            raise ConfigError(f"{path}: got a file that is not COREA's ({error}), expected its database") from error
        total = sum((Decimal(usd) for usd in spent), Decimal(0))
        at = version(connection)
    return StateSummary(
        str(path), at, len(MIGRATIONS), path.stat().st_size, len(spent), count, newest, format(total, "f")
    )


def backup(path: Path, target: Path) -> StateSummary:
    """Writes a complete, checked copy of one moment; a server may be writing meanwhile.

    Raises:
        ConfigError: There is no such database, the target exists or cannot be written, or the copy is damaged.
    """
    if target.exists():
        raise ConfigError(f"{target}: got a file that exists, expected a new one; name another")
    try:
        with closing(_open(path)) as connection:
            copy_database(connection, target)
    except (sqlite3.Error, OSError) as error:
        raise ConfigError(f"{target}: the copy cannot be written ({error}); see that there is space") from error
    check(target)
    return summary(target)


def restore(path: Path, source: Path) -> Path | None:
    """Puts a copy in the place of a database; returns where the one before it is now kept.

    Raises:
        ConfigError: A server uses the database, or the copy is damaged, not ours, or of a newer version.
    """
    check(source)
    found = summary(source)
    if found.version > found.newest:
        raise ConfigError(
            f"{source}: got version {found.version}, expected at most {found.newest}; install a newer corea"
        )
    with locked(path, STOP):
        part = Path(f"{path}.restoring")
        try:
            with closing(_open(source)) as connection:
                copy_database(connection, part)
            kept = _move_away(path)
            os.replace(part, path)  # as _move_away left no log of the old one, which would be applied to the new one
            with closing(connect(path)):  # a copy of an older version is upgraded
                pass
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(f"{path}: cannot be restored ({error})") from error
    return kept


def export(path: Path, table: str, *, since: float | None = None, texts: bool = False) -> Iterator[dict[str, Any]]:
    """The rows of a table, the oldest first, as of one moment; amounts are texts, exact. Hashes are left out.

    Args:
        since: Only decisions and changes after it, seconds since 1970.
        texts: With stored prompts and answers.

    Raises:
        ConfigError: The database cannot be read.
    """
    with closing(_open(path)) as connection:
        connection.row_factory = sqlite3.Row
        columns = [row["name"] for row in connection.execute(f"PRAGMA table_info({table})")]
        wanted = wanted_columns(table, columns, texts=texts)
        where, values = (" WHERE at >= ?", (since,)) if since is not None and table != "keys" else ("", ())
        query = f"SELECT {', '.join(wanted)} FROM {table}{where} ORDER BY {'created_at' if table == 'keys' else 'at'}"
        for row in connection.execute(query, values):
            yield {c: json.loads(row[c]) if c in JSON_COLUMNS and row[c] is not None else row[c] for c in wanted}


def wanted_columns(table: str, columns: list[str], *, texts: bool) -> list[str]:
    """The columns of a table that are exported."""
    if table == "keys":
        return [name for name in columns if name in (*SHOWN, "spent_days")]
    return [name for name in columns if name != "rowid" and (texts or name not in TEXTS)]


def prune(path: Path, before: float) -> int:
    """Deletes decisions that are older, in small steps between which a server can write; how many.

    Raises:
        ConfigError: The database cannot be written.
    """
    if not path.exists():
        raise ConfigError(f"{path}: no such file, expected the database of `corea serve`; name it")
    deleted = 0
    with closing(connect(path)) as connection:
        try:
            while step := connection.execute(DELETE_OLD, (before,)).rowcount:
                deleted += step
                time.sleep(0.005)
        except sqlite3.Error as error:
            raise ConfigError(f"{path}: cannot be written ({error}), {deleted:,} decisions were deleted") from error
    return deleted


def compact(path: Path) -> None:
    """Gives the space of deleted rows back to the disk.

    Raises:
        ConfigError: A server uses the database, since this would keep it waiting.
    """
    with locked(path, STOP), closing(connect(path)) as connection:
        try:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise ConfigError(f"{path}: cannot be compacted ({error}); it needs its own size in free space") from error


def check(path: Path) -> None:
    """Checks that a database is whole.

    Raises:
        ConfigError: It is not.
    """
    with closing(_open(path)) as connection:
        try:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
        except sqlite3.Error as error:
            found = [str(error)]
    if found != ["ok"]:
        raise ConfigError(f"{path}: got a damaged file ({'; '.join(found)[:200]}), expected a whole one")


def _open(path: Path) -> sqlite3.Connection:
    """A connection that creates and upgrades nothing."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such file, expected the database of `corea serve`; name it")
    connection = sqlite3.connect(path, timeout=10, isolation_level=None)
    connection.execute("PRAGMA query_only=ON")
    return connection


def _move_away(path: Path) -> Path | None:
    """Renames a database, with its log; its new path. One that cannot be opened is renamed as it is."""
    if not path.exists():
        return None
    with suppress(sqlite3.Error), closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    kept = Path(f"{path}.before-restore-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}")
    for suffix in (*BESIDE, ""):  # the database last: without it, its log is not taken for another's
        with suppress(FileNotFoundError):
            os.replace(f"{path}{suffix}", f"{kept}{suffix}")
    return kept
