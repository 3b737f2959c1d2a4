"""The SQLite file of keys, spending and decisions: schema, opening, migration."""

import contextlib
import logging
import os
import sqlite3
import stat
import time
from pathlib import Path

from corea.errors import ConfigError

log: logging.Logger = logging.getLogger("corea.gateway")
BUSY_SECONDS = 10

# Each brings the file one version further. Never change one that was released; add another. No ";" in comments.
MIGRATIONS = (
    """
    CREATE TABLE keys (
        id TEXT PRIMARY KEY,               -- public, part of the secret
        name TEXT NOT NULL,
        hash BLOB NOT NULL,                -- SHA-256 of the secret
        created_at REAL NOT NULL,          -- seconds since 1970
        revoked_at REAL,
        cascades TEXT,                     -- JSON list, NULL: all
        budget_usd TEXT,                   -- exact decimal, NULL: none
        requests_per_minute INTEGER,
        tokens_per_minute INTEGER,
        spent_usd TEXT NOT NULL DEFAULT '0',
        tokens INTEGER NOT NULL DEFAULT 0,
        requests INTEGER NOT NULL DEFAULT 0,
        held_usd TEXT,                     -- of the budget, while a server runs, see budget_holds.py
        held_boot TEXT
    ) WITHOUT ROWID;
    CREATE TABLE decisions (
        trace_id TEXT NOT NULL,
        at REAL NOT NULL,                  -- end of the request, seconds since 1970
        key_id TEXT,
        cascade TEXT NOT NULL,
        model TEXT NOT NULL,               -- as the request named it
        stage TEXT,                        -- that answered, NULL: none
        status TEXT NOT NULL,
        error TEXT,                        -- code of the error response
        deferred INTEGER NOT NULL,
        confidence REAL,
        threshold REAL,
        cost_usd TEXT,
        baseline_usd TEXT,
        prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        seconds REAL NOT NULL,
        first_text_seconds REAL,
        streamed INTEGER NOT NULL,
        cached INTEGER NOT NULL,
        client_disconnected INTEGER NOT NULL,
        steps TEXT NOT NULL,               -- JSON, without any text
        prompt TEXT,                       -- only where store_text is on, redacted
        answer TEXT
    );
    CREATE INDEX decisions_at ON decisions (at)
    """,
    # budgets per period as budget_usd; spent_days is JSON, USD by day since 1970 (UTC); policy names a RequestPolicy
    """
    ALTER TABLE keys ADD COLUMN budget_day_usd TEXT;
    ALTER TABLE keys ADD COLUMN budget_week_usd TEXT;
    ALTER TABLE keys ADD COLUMN budget_month_usd TEXT;
    ALTER TABLE keys ADD COLUMN spent_days TEXT NOT NULL DEFAULT '{}';
    ALTER TABLE keys ADD COLUMN policy TEXT
    """,
    # role is a keys.Role; group_id names the row whose budgets the key shares; changes is JSON, field: [before, after]
    """
    ALTER TABLE keys ADD COLUMN role TEXT NOT NULL DEFAULT 'key';
    ALTER TABLE keys ADD COLUMN group_id TEXT;
    CREATE TABLE key_changes (
        at REAL NOT NULL,                  -- seconds since 1970
        actor TEXT NOT NULL,               -- the admin key, or the user of the command line
        action TEXT NOT NULL,              -- create, set, revoke
        key_id TEXT NOT NULL,
        changes TEXT NOT NULL
    )
    """,
    # corea.gateway.audit: drawn questions, labels, and the detectors of each cascade
    """
    CREATE TABLE audits (
        trace_id TEXT PRIMARY KEY,
        at REAL NOT NULL,
        day INTEGER NOT NULL,              -- since 1970 (UTC), of the budget
        cascade TEXT NOT NULL,
        calibration TEXT,                  -- digest of the artefact that decided
        kept INTEGER NOT NULL,             -- 1: an earlier stage answered, and the last one was asked for the audit
        probability REAL NOT NULL,         -- of being drawn, whatever the question
        draw REAL NOT NULL,                -- uniform in [0, 1), below the probability
        state TEXT NOT NULL,               -- asked, done, failed, lost (in flight at the end), budget (not asked)
        reserved_usd TEXT NOT NULL,
        cost_usd TEXT,                     -- of the audit's own call
        differ INTEGER,                    -- NULL: cannot be compared
        settled INTEGER NOT NULL,          -- 1: the detector of labels has seen it
        facts TEXT NOT NULL,               -- JSON, without any text: cost, tokens, signals, models
        served TEXT,                       -- only where store_text is on, redacted
        reference TEXT                     -- likewise, the last stage's answer
    ) WITHOUT ROWID;
    CREATE INDEX audits_day ON audits (day);
    CREATE INDEX decisions_trace ON decisions (trace_id);
    CREATE TABLE labels (
        trace_id TEXT NOT NULL,
        source TEXT NOT NULL,
        at REAL NOT NULL,
        key_id TEXT,
        cascade TEXT NOT NULL,
        sampled INTEGER NOT NULL,          -- 1: by a reviewer, of a drawn question
        served REAL NOT NULL,              -- correctness of the answer that was served, in [0, 1]
        reference REAL,                    -- likewise of the last stage's answer
        PRIMARY KEY (trace_id, source)
    ) WITHOUT ROWID;
    CREATE TABLE monitors (
        cascade TEXT PRIMARY KEY,
        bounds TEXT NOT NULL,              -- that the detectors are for
        generation INTEGER NOT NULL,       -- one more at each acknowledgement
        since REAL NOT NULL,
        detectors TEXT NOT NULL,           -- JSON
        alarm TEXT,                        -- names of the detectors that have alarmed
        alarmed_at REAL,
        notified_at REAL,                  -- of the webhook
        acknowledged_at REAL               -- of the alarm before
    ) WITHOUT ROWID
    """,
)


def connect(path: str | Path) -> sqlite3.Connection:
    """A connection to the file, which is created or migrated if need be, and readable by its owner alone.

    WAL with synchronous=NORMAL: a commit survives the death of the process; `DbWriter` syncs against power cuts.

    Raises:
        ConfigError: It cannot be opened, is not such a file, or was written by a newer COREA.
    """
    try:
        _make_private(path)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        _use_wal(connection)
        connection.execute("PRAGMA synchronous=NORMAL")
        _migrate(connection, str(path))
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            raise ConfigError(
                f"gateway.storage.path: {path} is damaged, or no SQLite file ({error}); "
                "`corea state restore COPY` puts a copy in its place"
            ) from error
        raise ConfigError(
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
        for script in MIGRATIONS[at:]:
            for statement in script.split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={newest}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        connection.close()
        raise
