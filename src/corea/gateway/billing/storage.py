"""Where keys, spending and decisions are kept: one interface, and its two kinds.

`FileStorage` is an SQLite file, of one server; `PostgresStorage` a database that many servers (replicas) share.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from corea.errors import ConfigError
from corea.gateway.billing.auth import Accounts
from corea.gateway.billing.budgets import KeyAccounts
from corea.gateway.billing.database import connect
from corea.gateway.billing.db_writer import DbWriter
from corea.gateway.billing.decision_log import DecisionLog
from corea.gateway.billing.keys import any_keys
from corea.gateway.billing.lease_client import LeaseClient
from corea.gateway.billing.postgres import connected
from corea.gateway.billing.postgres_decisions import DecisionWriter
from corea.gateway.billing.shared_accounts import SharedAccounts
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

    def has_keys(self) -> bool:
        """True once a key was made."""
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

    def has_keys(self) -> bool:
        """True once a key was made."""
        return self.accounts.has_keys()

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

    def has_keys(self) -> bool:
        """True once a key was made."""
        return self.accounts.has_keys()

    async def start(self) -> None:
        """Connects; see `LeaseClient.start`."""
        await self.client.start()
        self.writer.start()

    async def stop(self) -> None:
        """Writes all that is left, returns the leases, and closes."""
        await self.client.stop()
        await self.writer.stop()


def have_keys(storage: GatewayStorage, path: Path | None) -> bool:
    """True if the database, which is created or brought up to date if need be, holds a key.

    Raises:
        ConfigError: It cannot be used.
    """
    if storage.url is not None:
        with connected(storage.url) as connection:
            return any_keys(connection)
    assert path is not None
    with contextlib.closing(connect(path)) as connection:
        return any_keys(connection)


@contextlib.contextmanager
def state_file(storage: GatewayStorage, base: Path) -> Iterator[tuple[Path | None, bool]]:
    """The path of the SQLite file, locked, and whether it is temporary; None where there is none.

    Args:
        base: The folder that `path` is relative to.

    Raises:
        ConfigError: It cannot be used, or another server uses it.
    """
    if storage.url is not None:
        yield None, False
        return
    if not storage.path:
        with tempfile.TemporaryDirectory(prefix="corea-") as folder:
            yield Path(folder) / "corea.db", True
        return
    path = base / storage.path
    with _locked(path):
        yield path, False


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two servers on one file would each let a key spend its whole budget."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    where = f"gateway.storage.path: {path}"
    try:
        file = open(f"{path}.lock", "a")  # noqa: SIM115  # held to the end
    except OSError as error:
        raise ConfigError(f"{where} cannot be used ({error.strerror}); name a file that can be written") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"{where} is in use by another `corea serve`; name another file") from error
        yield
