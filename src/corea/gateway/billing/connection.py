"""A connection to SQLite or PostgreSQL for statements that both read alike, and its transactions."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol


class SqlRows(Protocol):
    """The rows of a statement, each a tuple."""

    def __iter__(self) -> Iterator[Any]: ...

    def fetchone(self) -> Any:
        """The first row; None without one."""
        ...

    def fetchall(self) -> list[Any]:
        """All rows."""
        ...


class SqlConnection(Protocol):
    """A connection to SQLite or PostgreSQL; a parameter is `?`, or `:name` where they are a mapping."""

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = (), /) -> SqlRows:
        """Executes a statement."""
        ...


def is_postgres(connection: SqlConnection) -> bool:
    """True for PostgreSQL, False for SQLite."""
    return not isinstance(connection, sqlite3.Connection)


@contextmanager
def transaction(connection: SqlConnection, lock: str) -> Iterator[None]:
    """One transaction, which waits for others that write.

    Args:
        lock: The statement that makes it wait with PostgreSQL; SQLite has one writer at a time.
    """
    for statement in ("BEGIN", lock) if is_postgres(connection) else ("BEGIN IMMEDIATE",):
        connection.execute(statement)
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
