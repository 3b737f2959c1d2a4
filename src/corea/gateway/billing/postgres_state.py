"""Care for a PostgreSQL database: its contents, export, deletion of old decisions. Copies are made by its own tools."""

import json
import shlex
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from corea.errors import ConfigError
from corea.gateway.billing.migrations import MIGRATIONS
from corea.gateway.billing.postgres import connected, shown, shown_with_user
from corea.gateway.billing.state import JSON_COLUMNS, StateSummary, wanted_columns

LONG_SECONDS = 3600.0  # of one call: a table may be large
SUMMARY = """SELECT (SELECT max(version) FROM corea_version), pg_database_size(current_database()),
(SELECT count(*) FROM keys), (SELECT count(*) FROM decisions), (SELECT max(at) FROM decisions),
(SELECT coalesce(sum(spent_usd), 0) FROM keys WHERE role = 'key')"""
COLUMNS = """SELECT column_name FROM information_schema.columns
WHERE table_schema = current_schema() AND table_name = ? ORDER BY ordinal_position"""
BEGIN = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "SET LOCAL idle_in_transaction_session_timeout = 0")
FETCH = "FETCH 1000 FROM exported"
PRUNE = """WITH gone AS (DELETE FROM decisions
WHERE ctid = ANY(ARRAY(SELECT ctid FROM decisions WHERE at < ? LIMIT 1000)) RETURNING 1) SELECT count(*) FROM gone"""


def summary(url: str) -> StateSummary:
    """A summary of a database, which is neither changed nor created.

    Raises:
        ConfigError: It is not one of ours, or cannot be read.
    """
    with connected(url, seconds=LONG_SECONDS, up_to_date=False) as connection:
        if connection.execute("SELECT to_regclass('corea_version')").fetchall() == [(None,)]:
            raise ConfigError(f"{shown(url)}: got a database without COREA's tables, expected that of `corea serve`")
        ((version, size, keys, decisions, newest, spent),) = connection.execute(SUMMARY).fetchall()
    return StateSummary(shown(url), version, len(MIGRATIONS), size, keys, decisions, newest, format(spent, "f"))


def export(url: str, table: str, *, since: float | None = None, texts: bool = False) -> Iterator[dict[str, Any]]:
    """The rows of a table, as those of an SQLite file: the oldest first, as of one moment; hashes are left out.

    Args:
        since: Only decisions and changes after it, seconds since 1970.
        texts: With stored prompts and answers.

    Raises:
        ConfigError: The database cannot be read.
    """
    with connected(url, seconds=LONG_SECONDS) as connection:
        found = [name for (name,) in connection.execute(COLUMNS, (table,))]
        wanted = wanted_columns(table, found, texts=texts)
        where = f" WHERE at >= {since!r}" if since is not None and table != "keys" else ""
        order = "created_at" if table == "keys" else "at"
        query = f"SELECT {', '.join(wanted)} FROM {table}{where} ORDER BY {order}"
        for statement in (*BEGIN, f"DECLARE exported NO SCROLL CURSOR FOR {query}"):
            connection.execute(statement)
        while rows := connection.execute(FETCH).fetchall():
            for row in rows:
                yield {name: _plain(name, value) for name, value in zip(wanted, row, strict=True)}


def prune(url: str, before: float) -> int:
    """Deletes decisions that are older, in small steps; how many.

    Raises:
        ConfigError: The database cannot be written.
    """
    deleted = 0
    with connected(url, seconds=LONG_SECONDS) as connection:
        while step := connection.execute(PRUNE, (before,)).fetchall()[0][0]:
            deleted += step
    return deleted


def backup_command(url: str, target: Path) -> str:
    """The command that writes a copy, while servers run or not."""
    return shlex.join(["pg_dump", "--format=custom", f"--file={target}", f"--dbname={shown_with_user(url)}"])


def restore_command(url: str, source: Path) -> str:
    """The command that puts a copy in place, while no server runs."""
    words = ["pg_restore", "--clean", "--if-exists", "--single-transaction", f"--dbname={shown_with_user(url)}"]
    return shlex.join([*words, str(source)])


def vacuum_command(url: str) -> str:
    """The command that gives the space of deleted rows back to the disk, for which servers wait."""
    return shlex.join(["psql", shown_with_user(url), "--command=VACUUM (FULL, ANALYZE) decisions"])


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    return json.loads(value) if name in JSON_COLUMNS and value is not None else value
