"""Where keys, spending and decisions are kept: one interface, and its two kinds.

`FileStorage` is an SQLite file, of one server; `PostgresStorage` a database that many servers (replicas) share.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from corea.gateway.billing.auth import Accounts
from corea.gateway.billing.budgets import KeyAccounts
from corea.gateway.billing.db_writer import DbWriter
from corea.gateway.billing.decision_log import DecisionLog
from corea.gateway.billing.lease_client import LeaseClient
from corea.gateway.billing.postgres_decisions import DecisionWriter
from corea.gateway.billing.shared_accounts import SharedAccounts
from corea.gateway.ops.affinity import SessionAffinity
from corea.gateway.ops.settings import GatewayStorage, OnDatabaseDown


class Storage(Protocol):
    """What a running server needs of its database."""

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
