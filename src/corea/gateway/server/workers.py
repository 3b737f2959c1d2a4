"""`corea serve --workers N`: processes that share one listening socket and, through PostgreSQL, their accounts.

Each worker is a replica of its own. This process only starts them, passes signals on, and replaces one that died.
"""

import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from corea.errors import ConfigError
from corea.gateway.billing.storage import have_keys
from corea.gateway.ops.logs import start_log
from corea.gateway.ops.settings import GatewaySettings
from corea.gateway.server.access import check_host
from corea.gateway.server.connection import listen

log: logging.Logger = logging.getLogger("corea.gateway")


class WorkerPlace(NamedTuple):
    """The place of a worker, as the text of an option.

    Args:
        descriptor: Of the listening socket.
        folder: Of the workers' sockets for metrics.
        first: It speaks for all at the terminal.
    """

    descriptor: int
    folder: Path
    first: bool

    @classmethod
    def read(cls, text: str) -> "WorkerPlace":
        """From the option's text."""
        descriptor, first, folder = text.split(":", 2)
        return cls(int(descriptor), Path(folder), first == "1")

    def __str__(self) -> str:
        return f"{self.descriptor}:{int(self.first)}:{self.folder}"


def serve_workers(settings: GatewaySettings, count: int, command: Sequence[str]) -> bool:
    """Serves until it is stopped; True if that was by Ctrl-C.

    Args:
        command: A worker's, which is given `--worker` with its place.

    Raises:
        ConfigError: The storage cannot be shared, the address cannot be used, or a worker cannot start.
    """
    if settings.storage.url is None:
        raise ConfigError(
            f"--workers: got {count}, expected 1 with an SQLite file, whose budgets one process keeps; "
            'set gateway.storage.url = "postgresql://..."'
        )
    if os.name == "nt":
        raise ConfigError(f"--workers: got {count}, expected 1 on Windows; start several servers behind a proxy")
    start_log(settings.logs)
    check_host(settings.host, keys=have_keys(settings.storage, None))
    with listen(settings) as listening, tempfile.TemporaryDirectory(prefix="corea-") as folder:
        place = WorkerPlace(listening.fileno(), Path(folder), first=True)
        return _Workers(list(command), place).run(count)


class _Workers:
    """The running workers."""

    def __init__(self, command: list[str], place: WorkerPlace) -> None:
        self.command = command
        self.place = place
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        self.stopping = self.interrupted = False
        self.failed: int | None = None

    def run(self, count: int) -> bool:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _: self._pass_on(number))
        for _ in range(count):
            self._start()
            self.place = self.place._replace(first=False)
        while self.running:
            pid, status = os.waitpid(-1, 0)
            if (ended := self.running.pop(pid, None)) is not None:
                self._ended(ended, os.waitstatus_to_exitcode(status))
        if self.failed is not None:
            raise ConfigError(f"--workers: a worker ended at its start with status {self.failed}; see its line above")
        return self.interrupted

    def _start(self) -> None:
        words = [*self.command, "--worker", str(self.place)]
        worker = subprocess.Popen(words, pass_fds=(self.place.descriptor,), start_new_session=True)
        self.running[worker.pid] = worker

    def _ended(self, worker: "subprocess.Popen[bytes]", status: int) -> None:
        worker.returncode = status
        if self.stopping:
            return
        if not list(self.place.folder.glob(f"{worker.pid}.*")):  # it never listened: the next one would not either
            self.failed = status
            self._pass_on(signal.SIGTERM)
            return
        log.error("worker %d ended with status %d; another one is started", worker.pid, status)
        self._start()

    def _pass_on(self, number: int) -> None:
        if number != signal.SIGHUP:
            self.stopping = True
            self.interrupted = self.interrupted or number == signal.SIGINT
        for worker in list(self.running.values()):
            worker.send_signal(number)


def this_command() -> list[str]:
    """The command line that this process was started with."""
    return [sys.executable, "-m", "corea.cli.main", *sys.argv[1:]]
