"""Several gateways on one PostgreSQL behind a round-robin proxy: one budget, books equal to the upstream's bill."""

import asyncio
import contextlib
import itertools
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from aiohttp import web
from tests.clients.scene import LARGE, SURE, UNSURE
from tests.fakes.gateway import GatewayProcess, make_key, serving, write_config
from tests.fakes.postgres import PostgresServer, fetch_async
from tests.fakes.server import Act, Asked, FakeServer
from tests.gateway.loads import KINDS, SPOKEN, answer, received, request
from tests.gateway.test_chaos import check_error

from corea.errors import ConfigError
from corea.gateway.ops.settings import GatewaySettings
from corea.gateway.server.workers import serve_workers

STORAGE = """
[gateway.storage]
url = "{url}"
"""


def good(asked: Asked) -> Act:
    return answer(asked, LARGE if asked.body["model"] == "large" else UNSURE if b"hard" in asked.raw else SURE)


class RoundRobin:
    """A reverse proxy that sends each request to the next replica that is ready, as a load balancer does.

    It asks /readyz before it sends, and tries the next replica only where a connection is refused.
    """

    def __init__(self) -> None:
        self.replicas: list[str] = []
        self.turns = itertools.count()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as self.session:
            app = web.Application()
            app.router.add_post("/{path:.*}", self.forward)
            runner = web.AppRunner(app)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            try:
                yield f"http://{host}:{port}/v1"
            finally:
                await runner.cleanup()

    async def forward(self, asked: web.Request) -> web.StreamResponse:
        body, headers = await asked.read(), {"authorization": asked.headers["authorization"]}
        response: web.StreamResponse | None = None
        for _ in range(200):
            replica = self.replicas[next(self.turns) % len(self.replicas)]
            try:
                async with self.session.get(f"{replica}/readyz") as ready:
                    if ready.status != 200:
                        continue
                async with self.session.post(f"{replica}{asked.path}", data=body, headers=headers) as got:
                    response = web.StreamResponse(status=got.status, headers=_passed(got.headers))
                    await response.prepare(asked)
                    async for piece in got.content.iter_any():
                        await response.write(piece)
                    return response
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.01)
            except aiohttp.ClientError as error:  # it may have been answered: not sent again
                if response is not None and asked.transport is not None:
                    asked.transport.close()
                    return response
                raise web.HTTPBadGateway from error
        raise web.HTTPBadGateway


def _passed(headers: Any) -> dict[str, str]:
    left_out = ("transfer-encoding", "content-length", "connection")
    return {name: value for name, value in headers.items() if name.lower() not in left_out}


@dataclass
class Clients:
    """Clients of the proxy, and what became of their requests."""

    url: str
    key: str
    statuses: Counter[Any] = field(default_factory=Counter[Any])
    torn: int = 0

    async def run(self, count: int, concurrency: int = 32, *, first: int = 0) -> None:
        """So many requests of each API in turn, streams among them; all workers start at a barrier."""
        numbers = iter(range(first, first + count))
        barrier = asyncio.Event()
        headers = {"authorization": f"Bearer {self.key}"}
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as session:

            async def worker() -> None:
                await barrier.wait()
                for number in numbers:
                    kind, turn = KINDS[number % len(KINDS)], number // len(KINDS)
                    word = "hard" if turn % 4 < 2 else "easy"
                    try:
                        await self.one(session, kind, f"{word}: 12 + {number}?", stream=turn % 2 == 0)
                    except aiohttp.ClientError:
                        self.torn += 1

            tasks = [asyncio.create_task(worker()) for _ in range(concurrency)]
            barrier.set()
            await asyncio.gather(*tasks)

    async def one(self, session: aiohttp.ClientSession, kind: str, text: str, *, stream: bool) -> None:
        path, body = request(kind, text, stream=stream)
        timeout = aiohttp.ClientTimeout(60)
        async with session.post(f"{self.url}/{path}", json={"max_tokens": 50, **body}, timeout=timeout) as response:
            got = await response.text()
            if response.status == 502:  # the proxy's
                self.torn += 1
                return
            self.statuses[response.status] += 1
            if response.status == 200:
                assert received(kind, got, response.headers, stream=stream).text is not None
                return
            check_error(await response.json())
            assert response.status in (429, 503), got
            assert response.status == 429 or int(response.headers["retry-after"]) > 0


@dataclass
class Fleet:
    """Gateways on one database."""

    folder: Path
    url: str
    far: FakeServer
    key: str
    proxy: RoundRobin
    clients: Clients
    running: list[GatewayProcess] = field(default_factory=list[GatewayProcess])
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    async def add(self, *words: str) -> GatewayProcess:
        gateway = await asyncio.to_thread(lambda: self.stack.enter_context(serving(self.folder, *words, key=self.key)))
        self.running.append(gateway)
        self.proxy.replicas.append(gateway.url.removesuffix("/v1"))
        return gateway

    async def leave(self, gateway: GatewayProcess, sig: int = signal.SIGTERM) -> int:
        status = await asyncio.to_thread(gateway.stop, sig)
        self.running.remove(gateway)
        return status

    async def stop_all(self) -> list[int]:
        return [await self.leave(gateway) for gateway in list(self.running)]

    def corea(self, *words: str) -> str:
        """The output of a command."""
        command = [sys.executable, "-m", "corea.cli.main", *words]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True).stdout

    async def metrics(self) -> str:
        """What the last replica, or a worker of it, answers to /metrics."""
        url = self.running[-1].url.removesuffix("v1") + "metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return await response.text()

    async def ready(self) -> None:
        """Waits until each replica can answer: one whose database was away connects again after a while."""
        async with asyncio.timeout(20), aiohttp.ClientSession() as session:
            for replica in self.proxy.replicas:
                while True:
                    async with session.get(f"{replica}/readyz") as response:
                        if response.status == 200:
                            break
                    await asyncio.sleep(0.05)

    async def books(self) -> tuple[Decimal, Decimal, int, int]:
        """Spent, leased, requests, decisions."""
        query = "SELECT spent_usd, leased_usd, requests, (SELECT count(*) FROM decisions) FROM keys"
        (row,) = await fetch_async(self.url, query)
        return row

    @property
    def bill(self) -> Decimal:
        """What the upstream has charged."""
        total = Decimal(0)
        for charge in self.far.charges:
            price = 10 if charge.model == "large" else 1
            total += Decimal(charge.prompt + charge.completion * 2) * price / 1_000_000
        return total


@contextlib.asynccontextmanager
async def fleet(folder: Path, url: str, *key: str, gateway: str = "", replicas: int = 2) -> AsyncIterator[Fleet]:
    async with FakeServer(good) as far:
        config = gateway + STORAGE.format(url=url)
        write_config(folder, far.base_url, backend=SPOKEN + "\nmax_retries = 0", gateway=config)
        secret = await asyncio.to_thread(make_key, folder, *key)
        proxy = RoundRobin()
        async with proxy.running() as at:
            made = Fleet(folder, url, far, secret, proxy, Clients(at, secret))
            with made.stack:
                await asyncio.gather(*(made.add() for _ in range(replicas)))
                yield made


async def storm(it: Fleet, count: int, concurrency: int) -> None:
    """A load of every API; every answer is booked, to the last digit, before it is sent."""
    await it.clients.run(count, concurrency)
    spent, _, requests, _ = await it.books()
    assert (spent, it.clients.torn, requests) == (it.bill, 0, it.clients.statuses[200])


async def outage(it: Fleet, postgres: PostgresServer, seconds: float) -> None:
    """Load before, during and after the database is away: 503 meanwhile, nothing lost, and nothing booked twice."""
    clients = Clients(it.clients.url, it.key)
    load = asyncio.create_task(clients.run(150, 16, first=10_000))
    while clients.statuses[200] < 40:
        await asyncio.sleep(0.01)
    try:
        await asyncio.to_thread(postgres.stop)
        await asyncio.sleep(seconds)
        during = Clients(clients.url, it.key)
        await during.run(12, 4)
        assert set(during.statuses) == {503}
    finally:
        await asyncio.to_thread(postgres.start)
    await load
    async with asyncio.timeout(20):
        while True:
            after = Clients(clients.url, it.key)
            await after.run(12, 4)
            if set(after.statuses) == {200}:
                break
            await asyncio.sleep(0.1)
    assert clients.statuses[503] > 0
    assert clients.torn == 0
    async with asyncio.timeout(20):
        while (await it.books())[0] != it.bill:  # costs of answers that were refused after all
            await asyncio.sleep(0.1)


async def kill(it: Fleet) -> None:
    """Answers of the other go on; what the dead one held counts as spent, and can be corrected by the bill."""
    await it.ready()
    clients = Clients(it.clients.url, it.key)
    it.far.free.clear()
    load = asyncio.create_task(clients.run(200, 24, first=20_000))
    while it.far.running < 24:
        await asyncio.sleep(0.01)
    victim = it.running[0]
    await it.leave(victim, signal.SIGKILL)  # 12 requests are in it
    it.far.free.set()
    await load
    spent, leased, _, _ = await it.books()
    assert spent + leased >= it.bill  # it is on disk already, before anybody knows of the death
    name = f"%:{victim.process.pid}"
    expire = "UPDATE replicas SET expires_at = now() - interval '1 second' WHERE host LIKE $1 RETURNING id"
    ((dead,),) = await fetch_async(it.url, expire, name)
    await fetch_async(it.url, "SELECT corea_sweep()")  # as the other does within a few seconds
    ((lease,),) = await fetch_async(it.url, "SELECT sum(usd) FROM leases WHERE replica = $1", dead)
    assert await it.stop_all() == [0]
    found, leased, _, _ = await it.books()
    assert it.bill <= found <= 5
    assert (leased, found - lease <= it.bill) == (0, True)
    spent_of_it = str(it.bill - found + lease)
    shown = await asyncio.to_thread(it.corea, "keys", "correct", "test", "--spent-usd", spent_of_it)
    assert "of dead servers" in shown
    assert (await it.books())[0] == it.bill
    assert (clients.torn, clients.statuses) == (12, {200: 188})


async def test_a_storm_an_outage_of_the_database_and_the_death_of_a_replica(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    """In this order on one pair of replicas; the first is on a budget that does not suffice."""
    async with fleet(tmp_path, postgres.new_database(), "--budget-usd", "0.1") as it:
        await storm(it, 240, 48)
        assert set(it.clients.statuses) == {200, 429}
        assert it.bill <= Decimal("0.1")
        await asyncio.to_thread(it.corea, "keys", "set", "test", "--budget-usd", "5")
        await outage(it, postgres, 0.3)
        async with asyncio.timeout(20):
            while (books := await it.books())[2] != books[3]:  # decisions follow
                await asyncio.sleep(0.1)
        await kill(it)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_storm_of_6000_on_three_replicas(tmp_path: Path, database: str) -> None:
    async with fleet(tmp_path, database, "--budget-usd", "3", replicas=3) as it:
        await storm(it, 6000, 64)
        assert await it.stop_all() == [0, 0, 0]
    spent, leased, requests, decisions = await it.books()
    assert (spent, leased) == (it.bill, 0)
    assert spent <= 3
    assert requests == decisions == it.clients.statuses[200] > 3000
    assert await fetch_async(database, "SELECT * FROM leases") == []


@pytest.mark.slow
async def test_the_database_is_away_for_ten_seconds(tmp_path: Path, postgres: PostgresServer) -> None:
    async with fleet(tmp_path, postgres.new_database(), "--budget-usd", "50") as it:
        await outage(it, postgres, 10)
        assert await it.stop_all() == [0, 0]
    spent, leased, requests, decisions = await it.books()
    assert (spent, leased) == (it.bill, 0)
    assert requests == decisions


@pytest.mark.slow
async def test_a_rolling_restart_loses_no_request(tmp_path: Path, database: str) -> None:
    notice = "[gateway.timeouts]\nnotice_seconds = 0.3"
    async with fleet(tmp_path, database, "--budget-usd", "50", gateway=notice) as it:
        stop = False

        async def load() -> None:
            first = 0
            while not stop:
                await it.clients.run(60, 12, first=first)
                first += 60

        running = asyncio.create_task(load())
        for gateway in list(it.running):
            await it.add()
            assert await it.leave(gateway) == 0
        stop = True
        await running
        assert await it.stop_all() == [0, 0]
    spent, leased, requests, decisions = await it.books()
    assert (set(it.clients.statuses), it.clients.torn) == ({200}, 0)
    assert (spent, leased) == (it.bill, 0)
    assert requests == decisions == it.clients.statuses[200]


def metric(text: str, name: str) -> float:
    """The sum of a metric's samples."""
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.partition("{")[0] == name)


async def test_workers_of_one_machine_share_the_port_the_budget_and_the_metrics(tmp_path: Path, database: str) -> None:
    """One of them is killed and replaced; the metrics go on from where they were, and none goes back."""
    async with fleet(tmp_path, database, "--budget-usd", "5", replicas=0) as it:
        server = await it.add("--workers", "2")
        parent = psutil.Process(server.process.pid)
        clients = Clients(server.url, it.key)
        await clients.run(120, 24)
        answering = [await it.metrics() for _ in range(4)]
        assert {metric(text, "corea_requests_total") for text in answering} == {120.0}
        assert {metric(text, "corea_request_seconds_count") for text in answering} == {120.0}
        ids = {child.pid for child in parent.children()}
        assert len(ids) == 2
        psutil.Process(min(ids)).kill()
        async with asyncio.timeout(30):
            while len({child.pid for child in parent.children()} - {min(ids)}) < 2:
                await asyncio.sleep(0.05)
        await clients.run(60, 12, first=120)
        assert metric(await it.metrics(), "corea_requests_total") == clients.statuses[200] >= 179
        assert await it.stop_all() == [0]
    assert any("another one is started" in line for line in server.lines)
    spent, _, _, _ = await it.books()
    assert it.bill <= spent <= 5


def test_workers_need_a_database_that_they_can_share() -> None:
    with pytest.raises(ConfigError, match=r"^--workers: got 2, expected 1 with an SQLite file"):
        serve_workers(GatewaySettings(), 2, [])
