"""The SQLite file of keys, spending and decisions: opening and migration."""

import contextlib
import logging
import os
import sqlite3
import stat
import time
from pathlib import Path

from corea.errors import ConfigError
from corea.gateway.billing.migrations import MIGRATIONS

log: logging.Logger = logging.getLogger("corea.gateway")
BUSY_SECONDS = 10


class DatabaseUnavailable(ConfigError):
    """A database that cannot be used now."""


def connect(path: str | Path) -> sqlite3.Connection:
    """A connection to the file, which is created or migrated if need be, and readable by its owner alone.

    WAL with synchronous=NORMAL: a commit survives the death of the process; `DbWriter` syncs against power cuts.

    Raises:
        DatabaseUnavailable: It cannot be opened, or is not such a file.
        ConfigError: It was written by a newer COREA.
    """
    try:
        _make_private(path)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        _use_wal(connection)
        connection.execute("PRAGMA synchronous=NORMAL")
        _migrate(connection, str(path))
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            raise DatabaseUnavailable(
                f"gateway.storage.path: {path} is damaged, or no SQLite file ({error}); "
                "`corea state restore COPY` puts a copy in its place"
            ) from error
        raise DatabaseUnavailable(
            f"gateway.storage.path: {path} cannot be used ({error}); name a file that can be written"
        ) from error
    return connection


def copy_database(connection: sqlite3.Connection, target: str | Path) -> None:
    """Writes a complete copy of a database, of one moment, also while others write to it; it replaces `target`.

    The copy is one file, synced, readable by its owner alone.
    """
    part = f"{target}.{os.getpid()}.part"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(part)
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as copy:
        connection.backup(copy)  # in one step: a step that follows a write of another process begins again
        copy.execute("PRAGMA journal_mode=DELETE")
    with open(part, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(part, target)


def version(connection: sqlite3.Connection) -> int:
    """The file's version: the number of migrations it has had."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _make_private(path: str | Path) -> None:
    """Leaves the file, and its log and index beside it, to its owner alone: hashes of keys and stored text are in it.

    SQLite gives new files beside it the mode of the file itself. A file that exists must not be opened here: closing it
    would end the locks that SQLite holds on it for this process.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    for each in (str(path), f"{path}-wal", f"{path}-shm"):
        try:
            found = os.stat(each)
            if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO) and hasattr(os, "getuid") and found.st_uid == os.getuid():
                os.chmod(each, 0o600)
        except FileNotFoundError:
            continue


def _use_wal(connection: sqlite3.Connection) -> None:
    """SQLite's own timeout does not apply to this pragma: while another process creates the file, it fails at once."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _migrate(connection: sqlite3.Connection, path: str) -> None:
    newest = len(MIGRATIONS)
    before = version(connection)
    if before == newest:
        return
    if 0 < before < newest:
        saved = f"{path}.version-{before}"
        copy_database(connection, saved)
        log.warning("%s is brought from version %d to %d; %s is a copy of it before", path, before, newest, saved)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        at = version(connection)  # another process may have been faster
        if at > newest:
            raise ConfigError(
                f"gateway.storage.path: {path} is of version {at}, expected at most {newest}; install a newer corea"
            )
        for step in MIGRATIONS[at:]:
            for statement in step.sqlite.split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={newest}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        connection.close()
        raise
