"""Processor time and latency of the gateway, beside a bare Starlette + aiohttp proxy in interleaved rounds.

    python bench/gateway.py [--json] [--rounds 5] [--requests 400] [--litellm [VENV]]

Everything is on: a key, the ledger, SQLite, metrics. `budget` is a key with a budget, whose spend is authorised on
disk, synced, before it is admitted. Each server is a process of its own; CPU is that process's user and system time,
all threads. Rounds alternate between the servers; a figure is the median of the ratios of neighbours.

With --litellm its proxy is measured too. It is installed in a virtual environment of its own in a temporary folder
(minutes), or in VENV if that does not exist yet, and is never a dependency. Its release is pinned: 1.82.7 and 1.82.8,
of March 2026, were compromised.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from loopback import Answering

LITELLM_RELEASE = "litellm[proxy]==1.106.12"
CHUNKS = 400
CONCURRENCY = 16
KEPT = "<think>Four boxes of six are 24; 24 - 7 = 17.</think>\n<answer>17</answer>\n<confidence>0.9</confidence>"
DEFERRED = KEPT.replace("0.9", "0.1")
QUESTION = "A crate holds four boxes of six eggs each. Seven are taken out. How many are left?"
CONFIG = """
[cascade]
name = "corea"
stages = ["small", "large"]
[stages.small]
threshold = 0.8
[stages.small.backend]
kind = "openai"
model = "small"
base_url = "{url}"
[stages.large]
prompt = "plain"
[stages.large.backend]
kind = "openai"
model = "large"
base_url = "{url}"
[prices.small]
input_usd_per_mtok = "0.15"
output_usd_per_mtok = "0.60"
[prices.large]
input_usd_per_mtok = "2.5"
output_usd_per_mtok = "10"
[gateway]
port = {port}
"""
LITELLM = """
model_list:
  - model_name: corea
    litellm_params: {{model: openai/small, api_base: "{url}", api_key: none}}
general_settings: {{master_key: sk-bench}}
"""


class Upstream(Answering):
    """A model server that answers at once: whole, or in CHUNKS events each written by itself."""

    def respond(self, body: bytes) -> None:
        if b'"stream":true' in body.replace(b" ", b""):
            self.task = asyncio.ensure_future(self._stream())
        else:
            self.transport.write(_whole(DEFERRED if b"hard" in body and b'"small"' in body else KEPT))

    async def _stream(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.transport.write(head)
        for number in range(CHUNKS):
            self._event({"choices": [{"index": 0, "delta": {"content": f"word{number} "}, "finish_reason": None}]})
            await asyncio.sleep(0.0005)  # apart, as tokens come
        self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self._write(b"data: [DONE]\n\n")
        self.transport.write(b"0\r\n\r\n")

    def _event(self, chunk: Any) -> None:
        chunk = {"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": 1, "model": "m", **chunk}
        self._write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

    def _write(self, data: bytes) -> None:
        self.transport.write(b"%x\r\n%s\r\n" % (len(data), data))


def _whole(text: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 180, "completion_tokens": 70, "total_tokens": 250}
    head = {"id": "chatcmpl-0", "object": "chat.completion", "created": 1, "model": "m"}
    body = json.dumps({**head, "choices": [choice], "usage": usage}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def serve_upstream(port: int) -> None:
    """The model server."""

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=1024)
        await server.serve_forever()

    import uvloop

    uvloop.run(run())


def serve_bare(port: int, upstream: str) -> None:
    """A minimal proxy: it passes bodies on without reading them."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

    session: aiohttp.ClientSession | None = None

    async def proxy(request: Request) -> Response:
        nonlocal session
        if session is None:
            session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=128))
        body = await request.body()
        headers = {"content-type": "application/json"}
        answer = await session.post(f"{upstream}/chat/completions", data=body, headers=headers)
        if answer.content_type == "text/event-stream":
            return StreamingResponse(answer.content.iter_any(), media_type="text/event-stream")
        return Response(await answer.read(), answer.status, media_type="application/json")

    app = Starlette(routes=[Route("/v1/chat/completions", proxy, methods=["POST"])])
    uvicorn.run(app, port=port, log_level="error", access_log=False, loop="uvloop", http="httptools")


@dataclass
class Server:
    """A server process, with its URL and key."""

    url: str
    process: psutil.Process
    key: str = ""
    started_seconds: float = 0.0

    def cpu(self) -> float:
        """Seconds of CPU so answer, of the process and of those it has started."""
        return sum(_cpu(process) for process in (self.process, *self.process.children(recursive=True)))


def _cpu(process: psutil.Process) -> float:
    """Seconds of CPU of a process; by the scheduler's nanoseconds (Linux), else in ticks of 10 ms."""
    try:
        threads = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
    except (OSError, ValueError, IndexError):
        times = process.cpu_times()
        return times.user + times.system


@contextlib.contextmanager
def started(command: list[str], port: int, *, cwd: Path, key: str = "", patience: float = 60.0) -> Iterator[Server]:
    """A server process, once it has answered its first request."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LITELLM")}
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        server = Server(f"http://127.0.0.1:{port}/v1", psutil.Process(process.pid), key)
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            if process.poll() is not None or time.perf_counter() - began > patience:
                raise RuntimeError(f"{command} does not serve")
            time.sleep(0.005)
        if key or "upstream" not in command:
            asyncio.run(ask(server, 1, concurrency=1))
        server.started_seconds = time.perf_counter() - began
        yield server
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


async def ask(
    server: Server, count: int, *, concurrency: int = CONCURRENCY, hard: bool = False, stream: bool = False,
    model: str = "corea",
) -> list[float]:  # fmt: skip
    """Sends `count` requests; the seconds of each."""
    text = f"{'hard' if hard else 'easy'}: {QUESTION}"
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {server.key}"}
    numbers = iter(range(count))
    seconds: list[float] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency), headers=headers) as session:

        async def worker() -> None:
            for _ in numbers:
                began = time.perf_counter()
                async with session.post(f"{server.url}/chat/completions", data=body) as response:
                    received = await response.read()
                    assert response.status == 200, received
                seconds.append(time.perf_counter() - began)
                assert b"[DONE]" in received if stream else b"chat.completion" in received, received

        await asyncio.gather(*(worker() for _ in range(concurrency)))
    return seconds


def cpu_ms(server: Server, count: int, **how: Any) -> float:
    """Milliseconds of CPU per request."""
    before = server.cpu()
    asyncio.run(ask(server, count, **how))
    return (server.cpu() - before) * 1000 / count


def latency_ms(server: Server, count: int) -> float:
    """Median milliseconds of a request that is alone."""
    return statistics.median(asyncio.run(ask(server, count, concurrency=1))) * 1000


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_key(folder: Path, *words: str) -> str:
    """A key of the gateway in this folder."""
    command = [sys.executable, "-m", "corea.cli.main", "keys", "create", "bench", "--json", *words]
    return json.loads(subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout)["key"]


def install_litellm(folder: Path) -> Path:
    """LiteLLM's proxy in an environment of its own; its command."""
    if (command := folder / "bin" / "litellm").exists():
        return command
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, LITELLM_RELEASE], check=True)
    return command


@dataclass
class Servers:
    """The servers; `budget` is the same process as `corea`, with a key that has a budget."""

    upstream: Server
    bare: Server
    corea: Server
    budget: Server
    litellm: Server | None
    starts: list[float]


@contextlib.contextmanager
def all_servers(litellm: str | None) -> Iterator[Servers]:
    """Starts everything; the gateway four times, of which the last one stays."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ports = [free_port() for _ in range(4)]

        def start(command: list[str], port: int, **how: Any) -> Server:
            return stack.enter_context(started(command, port, cwd=folder, **how))

        me = [sys.executable, __file__, "--child"]
        upstream = start([*me, "upstream", "--port", str(ports[0])], ports[0])
        bare = start([*me, "bare", "--port", str(ports[1]), "--upstream", upstream.url], ports[1])
        (folder / "corea.toml").write_text(CONFIG.format(url=upstream.url, port=ports[2]))
        key, budget_key = make_key(folder), make_key(folder, "--budget-usd", "1000000")
        serve = [sys.executable, "-m", "corea.cli.main", "serve"]
        starts: list[float] = []
        for _ in range(3):
            with started(serve, ports[2], cwd=folder, key=key) as once:
                starts.append(once.started_seconds)
        ours = start(serve, ports[2], key=key)
        other: Server | None = None
        if litellm:
            command = install_litellm(folder / "litellm" if litellm == "install" else Path(litellm))
            (folder / "litellm.yaml").write_text(LITELLM.format(url=upstream.url))
            words = [str(command), "--config", str(folder / "litellm.yaml"), "--port", str(ports[3])]
            other = start(words, ports[3], key="sk-bench", patience=180)
        yield Servers(upstream, bare, ours, replace(ours, key=budget_key), other, starts)


def one_round(servers: Servers, requests: int) -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds of CPU per request of each kind, and of a lone request's latency at each server."""
    bare, ours, streams = servers.bare, servers.corea, max(requests // 20, 10)
    cpu = {
        "bare": cpu_ms(bare, requests),
        "kept": cpu_ms(ours, requests),
        "budget": cpu_ms(servers.budget, requests),
        "direct": cpu_ms(ours, requests, model="corea/0"),
        "deferred": cpu_ms(ours, requests, hard=True),
        "bare_stream": cpu_ms(bare, streams, hard=True, stream=True),
        "stream": cpu_ms(ours, streams, hard=True, stream=True),
    }
    if servers.litellm is not None:
        cpu["litellm"] = cpu_ms(servers.litellm, max(requests // 4, 20))
    lone = {name: latency_ms(getattr(servers, name), 200) for name in ("upstream", "bare", "corea", "budget")}
    if servers.litellm is not None:
        lone["litellm"] = latency_ms(servers.litellm, 50)
    return cpu, lone


def measure(rounds: int, requests: int, *, litellm: str | None) -> dict[str, Any]:
    """All figures."""
    cpu: dict[str, list[float]] = {}
    waits: dict[str, list[float]] = {}
    other: dict[str, Any] = {}
    with all_servers(litellm) as servers:
        idle_mb = servers.corea.process.memory_info().rss / 1e6
        if servers.litellm is not None:
            other["start_to_first_answer_seconds"] = round(servers.litellm.started_seconds, 2)
            other["idle_mb"] = round(tree_mb(servers.litellm.process), 1)
        one_round(servers, requests)  # warms up
        for _ in range(rounds):
            for figures, seen in zip((cpu, waits), one_round(servers, requests), strict=True):
                for name, value in seen.items():
                    figures.setdefault(name, []).append(value)
        busy_mb = servers.corea.process.memory_info().rss / 1e6
        if servers.litellm is not None:
            other["after_load_mb"] = round(tree_mb(servers.litellm.process), 1)
    added = {name: [v - u for v, u in zip(values, waits["upstream"], strict=True)] for name, values in waits.items()}
    result: dict[str, Any] = {
        "requests": requests,
        "rounds": rounds,
        "cpu_ms_per_request": {name: spread(values) for name, values in cpu.items()},
        "cpu_kept_over_bare": ratio(cpu["kept"], cpu["bare"]),
        "cpu_budget_over_bare": ratio(cpu["budget"], cpu["bare"]),
        "cpu_direct_over_bare": ratio(cpu["direct"], cpu["bare"]),
        "cpu_deferred_over_kept": ratio(cpu["deferred"], cpu["kept"]),
        "cpu_ms_per_chunk": spread([(s - d) / CHUNKS for s, d in zip(cpu["stream"], cpu["deferred"], strict=True)]),
        "latency_ms": {name: spread(values) for name, values in waits.items()},
        "added_latency_ms": spread(added["corea"]),
        "added_latency_budget_ms": spread(added["budget"]),
        "start_to_first_answer_seconds": spread(servers.starts),
        "idle_mb": round(idle_mb, 1),
        "after_load_mb": round(busy_mb, 1),
    }
    if "litellm" in cpu:
        result["cpu_litellm_over_kept"] = ratio(cpu["litellm"], cpu["kept"])
        over = ratio(added["litellm"], added["corea"])
        result["litellm"] = {**other, "added_latency_ms": spread(added["litellm"]), "added_latency_over_ours": over}
    return result


def tree_mb(process: psutil.Process) -> float:
    """Resident memory of a process and its children, in MB."""
    return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)]) / 1e6


def ratio(values: list[float], others: list[float]) -> dict[str, float]:
    """Of neighbours, round by round."""
    return spread([value / other for value, other in zip(values, others, strict=True)])


def spread(values: list[float]) -> dict[str, float]:
    """Median and ends."""
    found = (("median", statistics.median(values)), ("low", min(values)), ("high", max(values)))
    return {name: round(value, 4) for name, value in found}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=400, help="of each kind in a round")
    about = "also LiteLLM's proxy, installed for it, or in VENV"
    parser.add_argument("--litellm", nargs="?", const="install", metavar="VENV", help=about)
    parser.add_argument("--child", choices=["upstream", "bare"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--upstream", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child == "upstream":
        serve_upstream(given.port)
    elif given.child == "bare":
        serve_bare(given.port, given.upstream)
    else:
        result = measure(given.rounds, given.requests, litellm=given.litellm)
        print(json.dumps({"gateway": result}) if given.json else json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
