"""A running gateway in a process of its own, in front of a fake upstream: for tests that need the real thing."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.server import FakeServer, Otherwise

CONFIG = """
[cascade]
name = "corea"
stages = ["small", "large"]
[stages.small]
threshold = 0.8
{small}
[stages.small.backend]
kind = "openai"
model = "small"
base_url = "{upstream}"
{backend}
[stages.large]
prompt = "plain"
[stages.large.backend]
kind = "openai"
model = "large"
base_url = "{upstream}"
{backend}
[prices.small]
input_usd_per_mtok = "1"
output_usd_per_mtok = "2"
[prices.large]
input_usd_per_mtok = "10"
output_usd_per_mtok = "20"
[gateway]
port = 0
{gateway}
"""


@dataclass
class GatewayProcess:
    """`corea serve`, running."""

    folder: Path
    process: "subprocess.Popen[str]"
    key: str = ""
    url: str = ""
    lines: list[str] = field(default_factory=list)

    @property
    def state(self) -> Path:
        """Its database."""
        return self.folder / "corea.db"

    def stop(self, sig: int = signal.SIGTERM, seconds: float = 30.0) -> int:
        """Signals it and waits; its exit status."""
        self.process.send_signal(sig)
        return self.process.wait(seconds)


def write_config(
    folder: Path, upstream: str, *, gateway: str = "", backend: str = "max_retries = 0", small: str = ""
) -> Path:
    """A configuration of two stages on one upstream."""
    path = folder / "corea.toml"
    path.write_text(CONFIG.format(upstream=upstream, gateway=gateway, backend=backend, small=small))
    return path


def make_key(folder: Path, *words: str) -> str:
    """A key, made as an operator does."""
    command = [sys.executable, "-m", "corea.cli.main", "keys", "create", "test", "--json", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["key"]


@contextlib.contextmanager
def serving(folder: Path, *words: str, key: str = "") -> Iterator[GatewayProcess]:
    """`corea serve` with these options in `folder`, ready; killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "corea.cli.main", "serve", *words], cwd=folder, stderr=subprocess.PIPE, text=True
    )
    gateway = GatewayProcess(folder, process, key)
    ready = threading.Event()

    def listen() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            gateway.lines.append(line.rstrip())
            if line.startswith("corea serves "):
                gateway.url = line.rsplit(" at ", 1)[1].strip()
                ready.set()
        ready.set()

    reader = threading.Thread(target=listen, daemon=True)
    reader.start()
    try:
        assert ready.wait(60), "the gateway does not start"
        assert gateway.url, gateway.lines
        _wait_for_port(gateway.url)
        yield gateway
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        reader.join(10)
        assert process.stderr is not None
        process.stderr.close()


def _wait_for_port(url: str) -> None:
    host, port = url.removeprefix("http://").removesuffix("/v1").rsplit(":", 1)
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens at {url}")


@contextlib.contextmanager
def upstream(otherwise: Otherwise | None = None, *, record: bool = False) -> Iterator[FakeServer]:
    """A fake upstream in a thread of its own."""
    loop = asyncio.new_event_loop()
    server = FakeServer(otherwise, record=record)
    loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.run_until_complete(asyncio.sleep(0.05))  # connections that were reset are put away
        loop.close()
