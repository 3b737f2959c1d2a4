"""A replica's connection to PostgreSQL: it books spending, gets leases, and keeps the keys of all in memory.

All that has arrived while a batch is on its way is the next batch: one call, one commit. A batch has a number, so one
whose outcome is unknown, since the connection broke, is sent again and counts once. Between batches the same connection
hears of changed keys; after a reconnect all are read again.
"""

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from corea.gateway.billing.keys import FIND, ApiKey, key_of_row, key_of_secret
from corea.gateway.billing.lease_account import KeyBalance, LeasedAccount
from corea.gateway.billing.postgres import failures, migrate, open_connection, shown

if TYPE_CHECKING:
    import asyncpg

log: logging.Logger = logging.getLogger("corea.gateway")

LEASE_SECONDS = 15.0  # after this long without a batch, others book this replica's leases as spent
MARGIN_SECONDS = 2.0  # this replica stops using them so much earlier
HEARTBEAT_SECONDS = 3.0
IDLE_SECONDS = 1.0  # a key that is not asked for this long returns its lease
GATHER_SECONDS = 0.005  # maximum delay of a batch that no request alone waits for
RETRY_SECONDS = 0.25
DRAIN_SECONDS = 10.0  # for the last batch, if the database is away at the end
SESSIONS = 10_000
SPENDING = "SELECT id, spent_usd, day, day_usd, week_usd, month_usd FROM keys WHERE revoked_at IS NULL"
REGISTER = "INSERT INTO replicas VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))"
BOOK = "SELECT corea_book($1, $2, $3, $4)"
KEEP_TURNS = """WITH kept AS (
    INSERT INTO sessions SELECT key, value::bigint FROM json_each_text($1)
    ON CONFLICT (id) DO UPDATE SET turns = excluded.turns, at = now() RETURNING 1)
SELECT pg_notify('corea', 'turns ' || $1), (SELECT count(*) FROM kept)"""
MOST_TURNS = 80  # of sessions in one notification, which holds 8,000 bytes
_encode = msgspec.json.Encoder(decimal_format="string").encode


class BookReply(msgspec.Struct):
    """Result of `corea_book`.

    Args:
        swept: This replica was taken for dead.
        now: Seconds since 1970 by the database's clock.
    """

    swept: bool
    now: float
    entries: list[KeyBalance]


class SweptReplica(msgspec.Struct):
    """Result of `corea_sweep`: a dead replica, and what was booked for it."""

    replica: str
    host: str
    entries: list[dict[str, str]]


class KeySpending(NamedTuple):
    """What all replicas have booked of a key.

    Args:
        day: Of the last booking, since 1970.
        used: In the day, week and month of that.
    """

    spent: Decimal
    day: int
    used: dict[str, Decimal]


class LeaseBatch(msgspec.Struct):
    """One call: a future that is done when it is committed, and the accounts with the costs in it."""

    number: int
    body: str
    accounts: dict[tuple[str, str], tuple[LeasedAccount, Any]]
    done: "asyncio.Future[bool]"


class LeaseClient:
    """Books and leases; all on the event loop.

    Attributes:
        failing: The database is away; nothing that is to be booked is forgotten meanwhile.
        keys: All keys by id.
        under_way: Accounts of requests admitted and not settled.
        reads_spending: Read the `spending` of all keys every few seconds.
        on_turns: Called with the sessions that another replica has kept deferred.
        on_commit: Called with the seconds that a batch took.
        clock_offset: Of the database's clock to this machine's.
    """

    def __init__(self, url: str, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self.url = url
        self.lease_seconds = lease_seconds
        self.failing: bool = False
        self.keys: dict[str, ApiKey] = {}
        self.accounts: dict[str, LeasedAccount] = {}
        self.under_way: int = 0
        self.reads_spending: bool = False
        self.spending: dict[str, KeySpending] = {}
        self.on_turns: Callable[[str, int], None] = lambda session, turns: None
        self.on_commit: Callable[[float], None] = lambda seconds: None
        self.clock_offset: float = 0.0
        self.replica: str = ""
        self.valid_until: float = 0.0
        self._connection: asyncpg.Connection | None = None
        self._connected_at = self._sent_at = self._tidied_at = 0.0
        self._number = 0
        self._dirty: dict[LeasedAccount, None] = {}
        self._next: asyncio.Future[bool] | None = None
        self._sent: LeaseBatch | None = None  # not known to be committed
        self._changed: set[str] = set()
        self._turns: dict[str, int] = {}
        self._due = asyncio.Event()
        self._gathering: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def usable(self) -> bool:
        """False while the database is away, or no longer vouches for the leases."""
        return not self.failing and time.monotonic() < self.valid_until

    def now(self) -> float:
        """Seconds since 1970 by the database's clock."""
        return time.time() + self.clock_offset

    async def start(self) -> None:
        """Connects, registers this replica, reads all keys, and begins to write.

        Raises:
            ConfigError: The database is of a newer COREA.
            OSError, asyncpg.PostgresError: It is away.
        """
        await self._connect()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Books what is left and returns the leases."""
        self._stopping = True
        self._due.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=DRAIN_SECONDS)
            if not self._task.done():
                self._task.cancel()
                lost = [(a.key_id, str(a.spent - a.booked)) for a in self._dirty]
                log.critical("%s: is away; not booked by itself, but within the leases: %s", shown(self.url), lost)
        if self._connection is not None:
            self._connection.terminate()

    def find(self, secret: str) -> ApiKey | None:
        """The key of a secret; None if there is none, or it was revoked."""
        return key_of_secret(self.keys.get, secret)

    def account(self, key_id: str) -> LeasedAccount:
        """The account of a key, as from now on in use."""
        account = self.accounts.get(key_id)
        if account is None:
            account = self.accounts[key_id] = LeasedAccount(key_id, self.replica)
        account.used_at = time.monotonic()
        return account

    def begin(self, account: LeasedAccount) -> None:
        """A request of the account begins."""
        account.under_way += 1
        self.under_way += 1

    def end(self, account: LeasedAccount) -> None:
        """A request of the account has ended; the last one of an earlier replica's lease ends that."""
        account.under_way -= 1
        self.under_way -= 1
        if account.replica != self.replica and not account.under_way:
            account.end()
            self._dirty[account] = None

    def note(self, account: LeasedAccount) -> None:
        """The next batch shall hold this account."""
        self._dirty[account] = None

    def commit(self, account: LeasedAccount, *, pressing: bool) -> "asyncio.Future[bool]":
        """Done when all that the account has to book or asks for is committed; False: the database is away."""
        self._dirty[account] = None
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
            if self.failing:
                self._next.set_result(False)
        found = self._next
        if self.failing:
            self._next = None
        elif pressing:
            self._due.set()
        elif self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._due.set)
        return found

    def keep_turns(self, session: str, turns: int) -> None:
        """Tells all replicas that a session stays deferred for its next requests."""
        self._turns[session] = turns

    async def _run(self) -> None:
        while True:
            try:
                connection = self._connection or await self._connect()
                await self._wait()
                self._give_back_idle()
                await self._exchange(connection)
                if self._stopping and not self._dirty and self._sent is None:
                    await connection.execute("SELECT corea_leave($1)", self.replica)
                    return
            except Exception as error:  # a bug must not end this task: requests wait for it
                if not isinstance(error, failures()):
                    log.exception("an error while booking")
                self._fail(error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _connect(self) -> "asyncpg.Connection":
        connection = await open_connection(self.url)
        try:
            if not self.replica:
                await migrate(connection, self.url)
                await self._register(connection)
            await connection.add_listener("corea", self._on_notification)
            connection.add_termination_listener(lambda _: self._due.set())
            self.keys = {row[0]: key_of_row(tuple(row)) for row in await connection.fetch(FIND)}
            newest = "SELECT id, turns FROM sessions ORDER BY at DESC LIMIT $1"
            for session, turns in reversed(await connection.fetch(newest, SESSIONS)):
                self.on_turns(session, turns)
            await self._book(connection, self._sent or self._take())
        except BaseException:
            connection.terminate()
            raise
        self._connection, self._connected_at = connection, time.monotonic()
        if self.failing:
            log.warning("%s: can be used again", shown(self.url))
        self.failing = False
        return connection

    async def _register(self, connection: "asyncpg.Connection") -> None:
        self.replica = secrets.token_hex(8)
        await connection.execute(REGISTER, self.replica, f"{socket.gethostname()}:{os.getpid()}", self.lease_seconds)

    async def _wait(self) -> None:
        if not self._stopping:
            try:
                await asyncio.wait_for(self._due.wait(), IDLE_SECONDS)
            except TimeoutError:
                pass
        self._due.clear()
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None

    def _give_back_idle(self) -> None:
        since = time.monotonic() - IDLE_SECONDS
        for account in self.accounts.values():
            if account.used_at < since and account.give_back():
                self._dirty[account] = None

    async def _exchange(self, connection: "asyncpg.Connection") -> None:
        if connection.is_closed():
            raise ConnectionResetError("the connection was closed")
        if self._changed:
            await self._read_changed(connection)
        while self._turns:
            turns = dict(list(self._turns.items())[:MOST_TURNS])
            await connection.execute(KEEP_TURNS, _encode(turns).decode())
            self._turns = {key: n for key, n in self._turns.items() if turns.get(key) != n}
        beat = time.monotonic() - self._sent_at >= HEARTBEAT_SECONDS
        if self._dirty or self._next is not None or beat or self._sent is not None:
            await self._book(connection, self._sent or self._take())
        if (now := time.monotonic()) - self._tidied_at >= HEARTBEAT_SECONDS:
            self._tidied_at = now
            if now - self._connected_at > self.lease_seconds:  # others may have been cut off as well
                await self._sweep(connection)
            if self.reads_spending:
                self.spending = {row[0]: spending_of(row) for row in await connection.fetch(SPENDING)}

    def _take(self) -> LeaseBatch:
        """The next batch."""
        self._number += 1
        entries = [(account, account.take()) for account in self._dirty]
        self._dirty = {}
        done, self._next = self._next or asyncio.get_running_loop().create_future(), None
        body = _encode([entry for _, entry in entries]).decode()
        accounts = {(account.key_id, account.replica): (account, entry["usd"]) for account, entry in entries}
        self._sent = LeaseBatch(self._number, body, accounts, done)
        return self._sent

    async def _book(self, connection: "asyncpg.Connection", batch: LeaseBatch) -> None:
        sent_at = time.monotonic()
        text: Any = await connection.fetchval(BOOK, self.replica, batch.number, self.lease_seconds, batch.body)
        reply = msgspec.json.decode(text, type=BookReply, strict=False)
        self._sent, self._sent_at = None, sent_at
        self.on_commit(time.monotonic() - sent_at)
        self.valid_until = sent_at + self.lease_seconds - MARGIN_SECONDS
        self.clock_offset = reply.now - time.time()
        for balance in reply.entries:
            account, cost = batch.accounts.pop((balance.key, balance.lease))
            account.update(balance, cost)
        if batch.accounts:  # deleted by hand
            log.error("keys are missing in the database: %s", ", ".join(key for key, _ in batch.accounts))
        if not batch.done.done():
            batch.done.set_result(True)
        if reply.swept:
            log.warning("this replica was taken for dead; its leases are corrected as their requests end")
            await self._register(connection)
            self._begin_anew()

    def _begin_anew(self) -> None:
        """Leaves the accounts to the requests that have them; new requests get leases of the new replica."""
        for account in self.accounts.values():
            if not account.under_way:
                account.end()
                self._dirty[account] = None
        self.accounts = {}
        self._due.set()

    async def _read_changed(self, connection: "asyncpg.Connection") -> None:
        changed, self._changed = self._changed, set()
        try:
            rows = await connection.fetch(f"{FIND} WHERE id = ANY($1)", list(changed))
        except BaseException:
            self._changed |= changed
            raise
        for key_id in changed:
            self.keys.pop(key_id, None)
            self._return(key_id)  # so that the next request is checked against the new limits
        self.keys.update({row[0]: key_of_row(tuple(row)) for row in rows})

    def _on_notification(self, connection: Any, pid: int, channel: str, payload: str) -> None:
        kind, _, what = payload.partition(" ")
        if kind == "key":
            self._changed.add(what)
            self._due.set()
        elif kind == "return":
            self._return(what)
        elif kind == "turns":
            for session, turns in msgspec.json.decode(what, type=dict[str, int]).items():
                self.on_turns(session, turns)

    def _return(self, key_id: str) -> None:
        if (account := self.accounts.get(key_id)) is not None:
            account.refusal = None
            if account.give_back():
                self._dirty[account] = None
                self._due.set()

    async def _sweep(self, connection: "asyncpg.Connection") -> None:
        while (text := await connection.fetchval("SELECT corea_sweep()")) is not None:
            swept = msgspec.json.decode(text, type=SweptReplica)
            for entry in swept.entries:
                log.warning(
                    "replica %s at %s is dead: what it held of key %s, $%s, counts as spent",
                    swept.replica, swept.host, entry["key"], entry["usd"],
                )  # fmt: skip

    def _fail(self, error: Exception) -> None:
        """Keeps what could not be booked, and releases the requests that wait for it."""
        if not self.failing:
            problem = str(error) or type(error).__name__
            log.error("%s: cannot be used (%s); what is spent is kept in memory until it can", shown(self.url), problem)
        self.failing = True
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
        for waiting in (self._sent.done if self._sent is not None else None, self._next):
            if waiting is not None and not waiting.done():
                waiting.set_result(False)
        self._next = None
        self._due.set()


def spending_of(row: Sequence[Any]) -> KeySpending:
    """A row of `SPENDING`."""
    _, spent, day, *used = row
    return KeySpending(spent, day, dict(zip(("day", "week", "month"), used, strict=True)))
