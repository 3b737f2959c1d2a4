"""A bad day upstream, a bad end of ours: every request is answered or properly refused, every token is booked."""

import asyncio
import json
import random
import signal
import sqlite3
import time
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from tests.clients.scene import LARGE, SURE, UNSURE
from tests.fakes.gateway import GatewayProcess, make_key, serving, write_config
from tests.fakes.server import Act, Asked, Bytes, Fail, FakeServer, Hang, Reset
from tests.gateway.loads import KINDS, SPOKEN, answer, failing, half, received, request
from yarl import URL

SHARE = 0.07  # of all calls, for each of the faults
FAULTS = ("timeout", "reset", "429", "500", "garbage", "half", "error", "drip")
KEPT = ("chat", "messages", "responses")  # a small model may answer these
BACKEND = """
max_retries = 2
backoff_base_seconds = 0.02
backoff_cap_seconds = 0.1
retry_after_cap_seconds = 0.1
breaker_failures = 1000000
first_byte_timeout_seconds = {timeout}
"""
PROPER = {429, 502, 503, 504}


@dataclass
class Weather:
    """Chooses an act for every call: one of the faults, or a good answer."""

    rng: random.Random
    seen: Counter[str] = field(default_factory=Counter[str])

    def __call__(self, asked: Asked) -> Act:
        hard = b"hard" in asked.raw
        text = LARGE if asked.body["model"] == "large" else UNSURE if hard else SURE
        kinds = FAULTS
        number = int(self.rng.random() / SHARE)
        kind = kinds[number] if number < len(kinds) else "good"
        self.seen[kind] += 1
        match kind:
            case "timeout":
                return Hang()
            case "reset":
                return Reset()
            case "429":
                return Fail(429, retry_after="0")
            case "500":
                return Fail(500)
            case "garbage":
                return Bytes(b'{"choices": [}<html>')
            case "half":
                return half(asked, text)
            case "error":
                return failing(asked, text) if asked.streamed else Fail(500)
            case "drip":
                return answer(asked, text, split_bytes=7)
            case _:
                return answer(asked, text)


@dataclass
class Load:
    """Clients, and what became of their requests."""

    gateway: GatewayProcess
    statuses: Counter[Any] = field(default_factory=Counter[Any])
    kinds: Counter[str] = field(default_factory=Counter[str])  # of whole answers
    answered: set[str] = field(default_factory=set[str])
    paid: Decimal = Decimal(0)
    torn: int = 0  # connections that broke
    stood_still: float = 0.0  # at most, this process or the gateway's, in seconds

    async def run(self, count: int, concurrency: int) -> None:
        """So many requests of each API in turn, two of four hard, and two of four a stream."""
        numbers = iter(range(count))
        connector = aiohttp.TCPConnector(limit=concurrency)
        headers = {"authorization": f"Bearer {self.gateway.key}"}
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

            async def worker() -> None:
                for number in numbers:
                    kind, turn = KINDS[number % len(KINDS)], number // len(KINDS)
                    word = "hard" if turn % 4 < 2 else "easy"
                    try:
                        await self.one(session, kind, f"{word}: 12 + {number}?", stream=turn % 2 == 0)
                    except aiohttp.ClientError:
                        self.torn += 1

            pulse = asyncio.create_task(self.feel_pulse())
            await asyncio.gather(*(worker() for _ in range(concurrency)))
            pulse.cancel()
            await asyncio.gather(pulse, return_exceptions=True)

    async def feel_pulse(self) -> None:
        """Asks for `/healthz` all the time."""
        async with aiohttp.ClientSession() as session:
            while True:
                began = time.monotonic()
                async with session.get(self.gateway.url.removesuffix("v1") + "healthz") as response:
                    await response.read()
                await asyncio.sleep(0.05)
                self.stood_still = max(self.stood_still, time.monotonic() - began)

    async def one(self, session: aiohttp.ClientSession, kind: str, text: str, *, stream: bool) -> None:
        path, body = request(kind, text, stream=stream)
        url = f"{self.gateway.url}/{path}"
        async with session.post(url, json=body, timeout=aiohttp.ClientTimeout(120)) as response:
            got = await response.text()
            if response.status != 200:
                check_error(json.loads(got))
                assert response.status in PROPER, got
                self.statuses[response.status] += 1
                return
            told = received(kind, got, response.headers, stream=stream)
            self.kinds[kind] += told.text is not None
            self.statuses["broken stream" if told.text is None else "answer"] += 1
            if told.text is not None:
                assert told.text in (("19", LARGE) if kind in KEPT else (LARGE,)), got
                self.answered.add(response.headers["x-corea-trace-id"])
                self.paid += told.cost_usd


def check_error(body: Any) -> None:
    error = body["error"]
    if body.get("type") != "error":  # else Anthropic's form
        assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error.get("code") or error["details"]["error_code"]


def rows(state: Path, query: str) -> list[Any]:
    connection = sqlite3.connect(state)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


async def settled(process: psutil.Process, far: FakeServer, most: int | None = None) -> tuple[int, int]:
    """Resident bytes and open files, once no client is connected any more and no more than `most` are open.

    Connections that are kept for the upstream's next calls are not counted: at most a pool of 128 for each stage.
    """
    port, files = URL(far.base_url).port, 0
    for _ in range(100):
        upstream = [c for c in process.net_connections("tcp") if c.raddr and c.raddr.port == port]
        kept = sum(c.status == psutil.CONN_ESTABLISHED for c in upstream)  # half-closed ones are a leak
        files = process.num_fds() - kept
        if not clients_of(process) and (most is None or files <= most):
            break
        await asyncio.sleep(0.1)
    return process.memory_info().rss, files


def clients_of(process: psutil.Process) -> list[Any]:
    connections = process.net_connections("tcp")
    listening = {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN}
    return [c for c in connections if c.laddr.port in listening and c.status == psutil.CONN_ESTABLISHED]


async def storm(folder: Path, count: int, *, concurrency: int, warm_up: int, timeout: float, most_mb: float) -> None:
    weather = Weather(random.Random(5))
    async with FakeServer(weather, record=False) as far:
        write_config(folder, far.base_url, backend=SPOKEN + BACKEND.format(timeout=timeout))
        with await asyncio.to_thread(Entered, folder) as gateway:
            process = psutil.Process(gateway.process.pid)
            load = Load(gateway)
            await load.run(warm_up, concurrency)
            memory, files = await settled(process, far)
            await load.run(count, concurrency)
            memory_after, files_after = await settled(process, far, most=files)
            status = await asyncio.to_thread(gateway.stop)
    total = warm_up + count
    print(f"\nweather {dict(weather.seen)}; answers {dict(load.statuses)}")
    print(f"memory {memory / 1e6:.1f} -> {memory_after / 1e6:.1f} MB, open files {files} -> {files_after}")
    print(f"stood still for at most {load.stood_still:.2f} s")
    assert (status, load.torn, sum(load.statuses.values())) == (0, 0, total)
    assert min(weather.seen[kind] for kind in FAULTS) > 0
    assert min(load.kinds[kind] for kind in KINDS) > 0
    assert memory_after - memory < most_mb * 1e6
    assert files_after <= files
    ((decisions, prompt, completion),) = rows(
        gateway.state, "SELECT count(*), sum(prompt_tokens), sum(completion_tokens) FROM decisions"
    )
    assert decisions == total
    billed = (far.billed.prompt_tokens, far.billed.completion_tokens)
    if load.stood_still < timeout / 2:
        assert (prompt, completion) == billed
    else:  # answers came after the time limit: that they were billed, nobody can tell a client who had hung up
        assert (prompt <= billed[0], completion <= billed[1]) == (True, True)
    ((tokens, requests, spent),) = rows(gateway.state, "SELECT tokens, requests, spent_usd FROM keys")
    assert (tokens, requests) == (prompt + completion, total)
    costs = rows(gateway.state, "SELECT cost_usd FROM decisions")
    assert Decimal(spent) == sum((Decimal(cost) for (cost,) in costs), Decimal(0))
    assert not any("Traceback" in line for line in gateway.lines), gateway.lines


class Entered:
    """`serving` with a key, entered in a thread: the upstream's event loop must go on meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.context = serving(folder, key=make_key(folder, "--budget-usd", "1000"))
        self.gateway = self.context.__enter__()

    def __enter__(self) -> GatewayProcess:
        return self.gateway

    def __exit__(self, *error: Any) -> None:
        self.context.__exit__(None, None, None)


async def test_a_storm_of_300_requests(tmp_path: Path) -> None:
    await storm(tmp_path, 300, concurrency=64, warm_up=64, timeout=2.0, most_mb=30)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_storm_of_5000_requests(tmp_path: Path) -> None:
    await storm(tmp_path, 5000, concurrency=64, warm_up=500, timeout=4.0, most_mb=20)


async def under_load(folder: Path, sig: int) -> tuple[Load, GatewayProcess, set[str], int]:
    """Load on a gateway that is signalled in its midst; what was committed just before."""

    def good(asked: Asked) -> Act:
        return answer(asked, LARGE if asked.body["model"] == "large" else SURE)

    async with FakeServer(good, record=False) as far:
        write_config(folder, far.base_url, backend=SPOKEN + "\nmax_retries = 0")
        with await asyncio.to_thread(Entered, folder) as gateway:
            load = Load(gateway)
            running = asyncio.create_task(load.run(1500, 32))
            before: set[str] = set()
            while len(load.answered) < 300 or not before:  # decisions are stored in batches
                await asyncio.sleep(0.01)
                before = {trace for (trace,) in rows(gateway.state, "SELECT trace_id FROM decisions")}
            status = await asyncio.to_thread(gateway.stop, sig)
            await running
    return load, gateway, before, status


async def test_sigterm_under_load_loses_no_decision_and_cuts_no_answer_off(tmp_path: Path) -> None:
    load, gateway, before, status = await under_load(tmp_path, signal.SIGTERM)
    stored = {trace for (trace,) in rows(gateway.state, "SELECT trace_id FROM decisions")}
    assert (status, bool(before)) == (0, True)
    assert before <= stored == load.answered  # those that came after it were refused a connection, not half answered
    ((spent,),) = rows(gateway.state, "SELECT spent_usd FROM keys")
    assert Decimal(spent) == load.paid


async def test_sigkill_under_load_loses_no_committed_decision_and_no_money(tmp_path: Path) -> None:
    load, gateway, before, _ = await under_load(tmp_path, signal.SIGKILL)
    stored = {trace for (trace,) in rows(gateway.state, "SELECT trace_id FROM decisions")}
    assert before
    assert before <= stored
    assert rows(gateway.state, "PRAGMA integrity_check") == [("ok",)]
    ((spent,),) = rows(gateway.state, "SELECT spent_usd FROM keys")
    assert Decimal(spent) >= load.paid  # every answer that went out was paid for on disk first
