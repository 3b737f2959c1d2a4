"""Where keys, spending and decisions are kept: one interface, and its two kinds.

`FileStorage` is an SQLite file, of one server; `PostgresStorage` a database that many servers (replicas) share.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from corea.gateway.billing.auth import Accounts
from corea.gateway.billing.budgets import KeyAccounts
from corea.gateway.billing.connection import SqlConnection
from corea.gateway.billing.database import DatabaseUnavailable, connect
from corea.gateway.billing.db_writer import DbWriter
from corea.gateway.billing.decision_log import DecisionLog
from corea.gateway.billing.keys import any_keys
from corea.gateway.billing.lease_client import LeaseClient
from corea.gateway.billing.periods import BudgetLeft
from corea.gateway.billing.postgres import connected
from corea.gateway.billing.postgres_decisions import DecisionWriter
from corea.gateway.billing.shared_accounts import SharedAccounts
from corea.gateway.billing.state_file import state_file
from corea.gateway.ops.affinity import SessionAffinity
from corea.gateway.ops.settings import GatewayStorage, OnDatabaseDown


class Storage(Protocol):
    """The database of a running server."""

    @property
    def accounts(self) -> Accounts:
        """Admits requests and books their costs."""
        ...

    @property
    def failing(self) -> bool:
        """True while it cannot be written; nothing that is to be booked is forgotten meanwhile."""
        ...

    @property
    def replica(self) -> str:
        """The id under which this server books in a database of several; "" with a file."""
        ...

    def has_keys(self) -> bool:
        """True once a key was made."""
        ...

    def all_budgets(self) -> Mapping[str, list[BudgetLeft]]:
        """The rest of every budget of each key and group that is not revoked, as committed.

        Raises:
            GatewayError: 503, they cannot be read.
        """
        ...

    def observe(self, on_commit: Callable[[float], None], on_sync: Callable[[float], None]) -> None:
        """Has these called with the seconds that each transaction of spending, and each sync, takes."""
        ...

    async def start(self) -> None:
        """Called on the event loop before the first request."""
        ...

    async def stop(self) -> None:
        """Writes all that is left, and closes."""
        ...


@dataclass(slots=True)
class FileStorage:
    """`Storage` in an SQLite file."""

    accounts: KeyAccounts
    writer: DbWriter

    @classmethod
    def at(cls, path: Path, decisions: DecisionLog, *, durable: bool) -> "FileStorage":
        """Of the file at this path, which no other server uses."""
        writer = DbWriter(path, decisions, durable=durable)
        return cls(KeyAccounts.at(path, writer), writer)

    @property
    def failing(self) -> bool:
        """True while the file cannot be written."""
        return self.writer.failing

    @property
    def replica(self) -> str:
        """Empty: no other server uses the file."""
        return ""

    def has_keys(self) -> bool:
        """True once a key was made."""
        return self.accounts.has_keys()

    def all_budgets(self) -> Mapping[str, list[BudgetLeft]]:
        """The rest of every budget of each key and group that is not revoked, as committed."""
        return self.accounts.all_budgets()

    def observe(self, on_commit: Callable[[float], None], on_sync: Callable[[float], None]) -> None:
        """Has these called with the seconds that each transaction of spending, and each sync, takes."""
        self.writer.on_commit, self.writer.on_sync = on_commit, on_sync

    async def start(self) -> None:
        """Starts the writer's thread."""
        self.writer.start()

    async def stop(self) -> None:
        """Writes all that is left, and closes."""
        await self.writer.stop()
        self.accounts.close()


@dataclass(slots=True)
class PostgresStorage:
    """`Storage` in PostgreSQL, shared with other replicas."""

    accounts: SharedAccounts
    client: LeaseClient
    writer: DecisionWriter

    @classmethod
    def at(cls, settings: GatewayStorage, decisions: DecisionLog, affinity: SessionAffinity) -> "PostgresStorage":
        """Of the database that the settings name; sessions are shared through it."""
        assert settings.url is not None
        client = LeaseClient(settings.url)
        client.on_turns, affinity.on_keep = affinity.put, client.keep_turns
        decisions.clock = client.now
        accounts = SharedAccounts(client, settings.on_database_down is OnDatabaseDown.ADMIT)
        return cls(accounts, client, DecisionWriter(settings.url, decisions))

    @property
    def failing(self) -> bool:
        """True while the database is away."""
        return self.client.failing

    @property
    def replica(self) -> str:
        """The id of this replica, another one after it was taken for dead."""
        return self.client.replica

    def has_keys(self) -> bool:
        """True once a key was made."""
        return self.accounts.has_keys()

    def all_budgets(self) -> Mapping[str, list[BudgetLeft]]:
        """The rest of every budget of each key and group that is not revoked, as committed."""
        return self.accounts.all_budgets()

    def observe(self, on_commit: Callable[[float], None], on_sync: Callable[[float], None]) -> None:
        """Has `on_commit` called with the seconds of each batch; PostgreSQL's commit is synced."""
        self.client.on_commit = on_commit

    async def start(self) -> None:
        """Connects; see `LeaseClient.start`."""
        await self.client.start()
        self.writer.start()

    async def stop(self) -> None:
        """Writes all that is left, returns the leases, and closes."""
        await self.client.stop()
        await self.writer.stop()


def storage_at(
    path: Path | None, settings: GatewayStorage, decisions: DecisionLog, affinity: SessionAffinity, *, durable: bool
) -> Storage:
    """The storage in the SQLite file at this path; None: in the database that the settings name."""
    if path is not None:
        return FileStorage.at(path, decisions, durable=durable)
    return PostgresStorage.at(settings, decisions, affinity)


@contextlib.contextmanager
def open_database(settings: GatewayStorage, path: Path | None) -> Iterator[SqlConnection]:
    """A connection to a database that is created or brought up to date if need be.

    Args:
        path: The SQLite file; None: the settings name another database.

    Raises:
        DatabaseUnavailable: It cannot be used.
    """
    if path is None:
        assert settings.url is not None
        with connected(settings.url) as shared:
            yield shared
        return
    with contextlib.closing(connect(path)) as connection:
        try:
            yield connection
        except sqlite3.Error as error:
            raise DatabaseUnavailable(f"{path}: {error}; is another program holding it?") from error


def have_keys(settings: GatewayStorage, path: Path | None) -> bool:
    """True if the database holds a key; see `open_database`."""
    with open_database(settings, path) as connection:
        return any_keys(connection)


@contextlib.contextmanager
def open_state(settings: GatewayStorage, path: Path | None) -> Iterator[tuple[Path | None, bool]]:
    """The path of the SQLite file, locked, and whether it is temporary; None where there is none; see `state_file`."""
    if settings.url is not None:
        yield None, False
        return
    with state_file(path) as found:
        yield found
