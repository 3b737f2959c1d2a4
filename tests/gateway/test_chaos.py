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
from tests.fakes.server import SSE, Act, Asked, Bytes, Fail, FakeServer, Hang, Reset, Say
from yarl import URL

SHARE = 0.08  # of all calls, for each of seven faults
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
    """Chooses an act for every call: one of seven faults, or a good answer."""

    rng: random.Random
    seen: Counter[str] = field(default_factory=Counter[str])

    def __call__(self, asked: Asked) -> Act:
        hard = "hard" in json.dumps(asked.body["messages"])
        text = LARGE if asked.body["model"] == "large" else UNSURE if hard else SURE
        kinds = ["timeout", "reset", "429", "500", "garbage", "half", "drip"]
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
                return half_a_stream(asked, text) if asked.streamed else half_a_body(asked, text)
            case "drip":
                return Say(text, split_bytes=7)
            case _:
                return Say(text)


def half_a_stream(asked: Asked, text: str) -> Bytes:
    """A stream that ends in the middle of an event. It tells in each event what was used so far, as vLLM can."""
    words = text.split(" ")[:3]
    events: list[str] = []
    for number, word in enumerate(words, 1):
        usage = {"prompt_tokens": asked.prompt_tokens, "completion_tokens": number}
        chunk = {"choices": [{"index": 0, "delta": {"content": word + " "}}], "usage": usage}
        events.append(f"data: {json.dumps(chunk)}\n\n")
    body = "".join(events) + 'data: {"choices": [{"ind'
    return Bytes(body.encode(), content_type=SSE, billed=len(words))


def half_a_body(asked: Asked, text: str) -> Bytes:
    """The first half of an answer, in which the bill stands first."""
    words = len(text.split())
    usage = {
        "prompt_tokens": asked.prompt_tokens,
        "completion_tokens": words,
        "total_tokens": asked.prompt_tokens + words,
    }
    body = json.dumps({"usage": usage, "choices": [{"index": 0, "message": {"content": text}}]})
    return Bytes(body[: len(body) - 20].encode(), billed=words)


@dataclass
class Load:
    """Clients, and what became of their requests."""

    gateway: GatewayProcess
    statuses: Counter[Any] = field(default_factory=Counter[Any])
    answered: set[str] = field(default_factory=set[str])
    paid: Decimal = Decimal(0)
    torn: int = 0  # connections that broke
    stood_still: float = 0.0  # at most, this process or the gateway's, in seconds

    async def run(self, count: int, concurrency: int) -> None:
        """So many requests, every second one a stream, every third one hard."""
        numbers = iter(range(count))
        connector = aiohttp.TCPConnector(limit=concurrency)
        headers = {"authorization": f"Bearer {self.gateway.key}"}
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

            async def worker() -> None:
                for number in numbers:
                    word = "hard" if number % 3 == 0 else "easy"
                    try:
                        await self.one(session, f"{word}: 12 + {number}?", stream=number % 2 == 0)
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

    async def one(self, session: aiohttp.ClientSession, text: str, *, stream: bool) -> None:
        body = {"model": "corea", "messages": [{"role": "user", "content": text}], "stream": stream}
        url = f"{self.gateway.url}/chat/completions"
        async with session.post(url, json=body, timeout=aiohttp.ClientTimeout(120)) as response:
            received = await response.text()
            if response.status != 200:
                check_error(json.loads(received))
                assert response.status in PROPER, received
                self.statuses[response.status] += 1
            elif stream:
                self.statuses[self.check_events(received)] += 1
            else:
                answer = json.loads(received)
                assert answer["choices"][0]["message"]["content"] in ("19", LARGE)
                self.count(answer["corea"])
                self.statuses[200] += 1

    def check_events(self, received: str) -> str:
        """Whether a stream was an answer or broke off; nothing else may be in it."""
        events = [e for e in received.split("\n\n") if e and not e.startswith(":")]
        assert events[-1] == "data: [DONE]", received
        told = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
        text = "".join(c["choices"][0]["delta"].get("content", "") for c in told if c.get("choices"))
        if "error" in told[-1]:
            check_error(told[-1])
            assert LARGE.startswith(text.strip()), text  # what was shown is a part of the large model's answer
            return "broken stream"
        assert text in ("19", LARGE), text
        self.count(told[-1]["corea"])
        return "whole stream"

    def count(self, corea: Any) -> None:
        self.answered.add(corea["trace_id"])
        self.paid += Decimal(str(corea["cost_usd"]))


def check_error(body: Any) -> None:
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    assert body["error"]["code"]


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
        write_config(folder, far.base_url, backend=BACKEND.format(timeout=timeout))
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
    assert min(weather.seen[kind] for kind in ("timeout", "reset", "429", "500", "garbage", "half", "drip")) > 0
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
    async with FakeServer(lambda asked: Say(LARGE if asked.body["model"] == "large" else SURE), record=False) as far:
        write_config(folder, far.base_url)
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
