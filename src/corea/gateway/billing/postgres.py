"""PostgreSQL beside SQLite: connections, migration, and a synchronous connection for commands."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from corea.background import background
from corea.errors import ConfigError
from corea.gateway.billing.database import DatabaseUnavailable
from corea.gateway.billing.migrations import MIGRATIONS

if TYPE_CHECKING:
    import asyncpg

CONNECT_SECONDS = 5
COMMAND_SECONDS = 5.0  # of a call; then the connection counts as lost
IDLE_MILLISECONDS = 10_000  # of a transaction whose server was cut off: its locks are others' again then
MIGRATION_LOCK = 0x636F726561  # "corea"; advisory locks are numbers, for the whole database
NAMED = re.compile(r"(?<![:\w]):([a-z]\w*)")  # a parameter; `::` is a cast
VERSION = "CREATE TABLE IF NOT EXISTS corea_version (version bigint NOT NULL)"


def shown(url: str) -> str:
    """A URL without user and password, for messages."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def shown_with_user(url: str) -> str:
    """A URL without its password, for a command line."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    options = "&".join(each for each in parts.query.split("&") if not each.startswith("password="))
    return parts._replace(netloc=f"{name}@{host}" if name else host, query=options).geturl()


async def open_connection(url: str, *, seconds: float = COMMAND_SECONDS) -> "asyncpg.Connection":
    """A connection.

    Args:
        seconds: Time limit of a call.

    Raises:
        ConfigError: asyncpg is not installed, or the URL is invalid.
        OSError, asyncpg.PostgresError: The server cannot be reached, or refuses.
    """
    try:
        import asyncpg
    except ImportError as error:
        raise ConfigError("gateway.storage.url: needs asyncpg; install 'corea[postgres]'") from error
    try:
        return await asyncpg.connect(
            url, timeout=CONNECT_SECONDS, command_timeout=seconds,
            server_settings={
                "application_name": "corea", "idle_in_transaction_session_timeout": str(IDLE_MILLISECONDS),
            },
        )  # fmt: skip
    except (ValueError, asyncpg.ClientConfigurationError) as error:
        raise ConfigError(f"gateway.storage.url: {error}; expected postgresql://user@host:5432/database") from error


def failures() -> tuple[type[Exception], ...]:
    """The exceptions of a database that is away, or refuses a statement."""
    import asyncpg

    return (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


async def migrate(connection: "asyncpg.Connection", url: str) -> None:
    """Brings the database up to date; one server at a time.

    Raises:
        ConfigError: It was written by a newer COREA.
    """
    newest = len(MIGRATIONS)
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK, timeout=60)
        await connection.execute(VERSION)
        at: int = await connection.fetchval("SELECT max(version) FROM corea_version") or 0
        if at > newest:
            raise ConfigError(
                f"gateway.storage.url: {shown(url)} is of version {at}, expected at most {newest}; "
                "install a newer corea"
            )
        if at == newest:
            return
        for step in MIGRATIONS[at:]:
            if step.postgres:
                await connection.execute(step.postgres, timeout=60)
        await connection.execute("DELETE FROM corea_version")
        await connection.execute("INSERT INTO corea_version VALUES ($1)", newest)


def storable(value: Any) -> Any:
    """A value without what PostgreSQL's texts cannot hold: NUL, and half of a surrogate pair."""
    if not isinstance(value, str) or (value.isascii() and "\0" not in value):
        return value
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8", "replace")


class PostgresConnection:
    """A connection that waits for its answers, as `SqlConnection`."""

    def __init__(self, connection: "asyncpg.Connection") -> None:
        self.connection = connection

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = (), /) -> "FetchedRows":
        """Executes a statement."""
        if isinstance(parameters, Mapping):
            names = list(dict.fromkeys(NAMED.findall(sql)))
            statement = NAMED.sub(lambda match: f"${names.index(match[1]) + 1}", sql)
            parameters = [parameters[name] for name in names]
        else:
            numbers = iter(range(1, len(parameters) + 1))
            statement = re.sub(r"\?", lambda _: f"${next(numbers)}", sql)
        return FetchedRows(background.run(self.connection.fetch(statement, *map(storable, parameters))))


class FetchedRows:
    """The rows of a statement, as a cursor gives them."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self.rows: list[tuple[Any, ...]] = [tuple(row) for row in rows]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.rows)

    def fetchone(self) -> tuple[Any, ...] | None:
        """The first row."""
        return self.rows[0] if self.rows else None

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows."""
        return self.rows


@contextmanager
def connected(url: str, *, seconds: float = COMMAND_SECONDS, up_to_date: bool = True) -> Iterator[PostgresConnection]:
    """A connection for a command.

    Args:
        seconds: Time limit of a call.
        up_to_date: Bring the database up to date first; False changes nothing.

    Raises:
        DatabaseUnavailable: It cannot be reached, or refuses a statement.
        ConfigError: It was written by a newer COREA.
    """

    async def open_current() -> "asyncpg.Connection":
        made = await open_connection(url, seconds=seconds)
        try:
            if up_to_date:
                await migrate(made, url)
        except BaseException:
            made.terminate()
            raise
        return made

    connection = None
    try:
        connection = background.run(open_current())
        yield PostgresConnection(connection)
    except ConfigError:
        raise
    except Exception as error:
        if not isinstance(error, failures()):
            raise
        problem = str(error) or type(error).__name__
        raise DatabaseUnavailable(
            f"gateway.storage.url: {shown(url)} cannot be used ({problem}); name a database that can be reached"
        ) from error
    finally:
        if connection is not None:
            connection.terminate()
