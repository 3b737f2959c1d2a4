"""The server process: start, reload of the configuration, graceful stop."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import uvicorn

from corea.cascade import Cascade
from corea.errors import ConfigError, CoreaError, unknown_name
from corea.gateway.billing.decision_log import DecisionLog, find_redact
from corea.gateway.billing.storage import FileStorage, PostgresStorage, Storage, have_keys, state_file
from corea.gateway.chat.request_state import CompletedRequest
from corea.gateway.chat.routing import RoutingTable, as_asked
from corea.gateway.chat.service import ChatService
from corea.gateway.ops.affinity import SessionAffinity
from corea.gateway.ops.cache import AnswerCache, useless_cache_lines
from corea.gateway.ops.metrics import Metrics
from corea.gateway.ops.settings import GatewaySettings
from corea.gateway.ops.worker_metrics import WorkerMetrics
from corea.gateway.server.access import is_loopback
from corea.gateway.server.app import GatewayApp
from corea.gateway.server.connection import guard_with
from corea.protocols import Backend

log: logging.Logger = logging.getLogger("corea.gateway")
GARBAGE_OBJECTS = 20_000  # new objects, some megabytes, between collections
FIXED = (
    "host", "port", "storage.path", "storage.url", "storage.on_database_down",
    "limits.max_head_bytes", "limits.max_connections",
    "timeouts.read_seconds", "timeouts.write_seconds", "timeouts.idle_seconds",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LiveConfig:
    """A configuration with its built cascades.

    Args:
        base: The folder that `settings.storage.path` is relative to.
        backends: Those of all cascades; an unchanged one is the same object after a reload.
    """

    settings: GatewaySettings
    cascades: Mapping[str, Cascade]
    backends: tuple[Backend, ...]
    base: Path = Path()


class GatewayService:
    """All parts of a running gateway.

    Args:
        load: Reads the configuration; called again at SIGHUP, in a thread.
        path: The SQLite file; None: `storage.url` names a database.
        temporary: It is deleted at the end.
        workers: The folder of all workers' metrics; None for a server of one process.
    """

    def __init__(
        self,
        load: Callable[[], LiveConfig],
        config: LiveConfig,
        path: Path | None,
        *,
        temporary: bool,
        workers: Path | None = None,
    ) -> None:
        self.load = load
        self.config: LiveConfig = config
        self.interrupted: bool = False
        self.decisions: DecisionLog = DecisionLog(config.settings.storage)
        affinity = SessionAffinity()
        self.storage: Storage = (
            FileStorage.at(path, self.decisions, durable=not temporary)
            if path is not None
            else PostgresStorage.at(config.settings.storage, self.decisions, affinity)
        )
        self.metrics: Metrics = Metrics(self._gauges, lambda: self.decisions.dropped, self._breakers)
        self.all_metrics: WorkerMetrics | None = WorkerMetrics(workers, self.metrics.text) if workers else None
        self.app: GatewayApp = GatewayApp(
            self._chat(affinity),
            metrics=self.all_metrics.text if self.all_metrics is not None else self.metrics.text,
            refused=self.metrics.refused,
            starts=[self._start],
            stops=[self._stop],
            local_only=lambda: not self.storage.has_keys(),
        )
        self.server: uvicorn.Server = uvicorn.Server(_uvicorn_config(self.app, config.settings))
        self._tasks: set[asyncio.Task[object]] = set()

    def _chat(self, affinity: SessionAffinity) -> ChatService:
        settings = self.config.settings
        wanted = settings.cache
        cache = AnswerCache(wanted.entries, wanted.seconds, wanted.max_bytes) if wanted.entries else None
        routes = RoutingTable(self.config.cascades, settings)
        return ChatService(routes, settings, self.storage.accounts, self._record, affinity, cache)

    async def reload(self) -> bool:
        """Reads the configuration again; running requests end as they began. An invalid one changes nothing."""
        before, chat = self.config, self.app.chat
        try:
            config = await asyncio.to_thread(self.load)
            warnings = check_ready(config.cascades) + cache_lines(config)
            check_policies(config)
            self.config = config
            replacement = self._chat(chat.affinity)
            self.decisions.use(config.settings.storage)
            self.app.chat = replacement
        except (CoreaError, OSError) as error:
            self.config = before
            log.error("the configuration was not reloaded, the old one stays: %s", error)
            return False
        for line in (*warnings, *_needing_restart(before.settings, config.settings)):
            log.warning("%s", line)
        kept = {id(backend) for backend in config.backends}
        self._in_background(self._retire(chat, [b for b in before.backends if id(b) not in kept]))
        log.warning("the configuration was reloaded: %s", ", ".join(config.cascades))
        return True

    async def _retire(self, chat: ChatService, backends: list[Backend]) -> None:
        while chat.running:
            await asyncio.sleep(0.1)
        await _close(backends)

    async def _start(self) -> None:
        await self.storage.start()
        loop = asyncio.get_running_loop()
        if self.all_metrics is not None:
            await self.all_metrics.start()
            self._in_background(self._end_with(os.getppid()))
        with contextlib.suppress(RuntimeError, ValueError, NotImplementedError, AttributeError):  # Windows, or a thread
            loop.add_signal_handler(signal.SIGHUP, lambda: self._in_background(self.reload()))
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._on_stop_signal, number)

    def _on_stop_signal(self, number: int) -> None:
        """The first SIGTERM waits for its notice; a second one, or Ctrl-C, does not, and a third one breaks off."""
        server, again = self.server, self.app.draining
        self.app.draining = True
        self.interrupted = self.interrupted or number == signal.SIGINT
        notice = self.config.settings.timeouts.notice_seconds
        if server.should_exit:
            server.force_exit = True
        elif again or self.interrupted or not notice:
            server.should_exit = True
        else:
            asyncio.get_running_loop().call_later(notice, setattr, server, "should_exit", True)

    async def _stop(self) -> None:
        for _ in range(50):  # requests that the drain limit interrupted are being booked
            if not self.app.chat.running:
                break
            await asyncio.sleep(0.1)
        for task in list(self._tasks):
            task.cancel()
        await self.storage.stop()
        if self.all_metrics is not None:
            await self.all_metrics.stop()
        await _close(list(self.config.backends))

    async def _end_with(self, parent: int) -> None:
        """Stops this worker when the process that started it is gone."""
        while os.getppid() == parent:
            await asyncio.sleep(1)
        self._on_stop_signal(signal.SIGTERM)

    def _in_background(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _record(self, completed: CompletedRequest) -> None:
        self.metrics.record(completed)
        self.decisions.record(completed)

    def _gauges(self) -> Mapping[str, float]:
        chat = self.app.chat
        return {
            "corea_requests_running": chat.running,
            "corea_decisions_waiting": self.decisions.waiting,
            "corea_accounts_failing": float(self.storage.failing),
            "corea_cache_entries": len(chat.cache.entries) if chat.cache is not None else 0,
        }

    def _breakers(self) -> Mapping[tuple[str, str], str]:
        stages = (stage for cascade in self.config.cascades.values() for stage in cascade.stages)
        found: dict[tuple[str, str], str] = {}
        for stage in stages:
            for number, backend in enumerate(getattr(stage.backend, "backends", [stage.backend]), 1):
                if (breaker := getattr(backend, "breaker", None)) is not None:
                    found[stage.name, str(number)] = str(breaker.state)
        return found


def serve(
    load: Callable[[], LiveConfig],
    *,
    say: Callable[[str], None] = lambda line: None,
    listening: socket.socket | None = None,
    workers: Path | None = None,
) -> bool:
    """Serves until it is stopped; True if that was by Ctrl-C.

    Args:
        say: Called with the lines for a person at the terminal.
        listening: The socket of all workers; None listens itself.
        workers: The folder of all workers' metrics; None for a server of one process.

    Raises:
        ConfigError: The configuration is invalid, a key is missing, the address is in use or not allowed, another
            server uses the file.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    config = load()
    settings, warnings = config.settings, check_ready(config.cascades) + cache_lines(config)
    check_policies(config)
    with state_file(settings.storage, config.base) as (path, temporary):
        keys = have_keys(settings.storage, path)
        check_host(settings.host, keys=keys)
        listening = listening or listen(settings)
        service = GatewayService(load, config, path, temporary=temporary, workers=workers)
        for line in (*start_lines(listening, config, keys=keys), *warnings):
            say(line)
        gc.freeze()  # what is loaded by now stays; collecting it each time would take a tenth of the time
        gc.set_threshold(GARBAGE_OBJECTS)
        service.server.run(sockets=[listening])
        return service.interrupted


def _uvicorn_config(app: GatewayApp, settings: GatewaySettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=guard_with(settings),
        loop="uvloop" if os.name != "nt" else "auto",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(settings.timeouts.idle_seconds) or 1,
        timeout_graceful_shutdown=int(settings.timeouts.drain_seconds) or 1,
    )


def start_lines(listening: socket.socket, config: LiveConfig, *, keys: bool) -> list[str]:
    """The lines for a person at the terminal."""
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    models = ", ".join([*config.cascades, *config.settings.passthrough])
    lines = [f"corea serves {models} at http://{shown}:{port}/v1"]
    if not keys:
        lines.append("No API keys, so it listens on loopback only and needs none; `corea keys create` makes one.")
    return lines


def check_config(config: LiveConfig) -> list[str]:
    """Everything that `serve` checks before it listens; the lines that it would show.

    Raises:
        ConfigError: `serve` would refuse the configuration.
    """
    settings, path = config.settings, config.base / config.settings.storage.path
    warnings = check_ready(config.cascades) + cache_lines(config)
    RoutingTable(config.cascades, settings)
    check_policies(config)
    find_redact(settings.storage.redact)
    stored = settings.storage.url is not None or (settings.storage.path and path.exists())
    check_host(settings.host, keys=bool(stored) and have_keys(settings.storage, path))
    return warnings


def check_policies(config: LiveConfig) -> None:
    """Checks that each policy's cascades exist.

    Raises:
        ConfigError: One does not.
    """
    for name, policy in config.settings.policies.items():
        for cascade in policy.cascades:
            if cascade not in config.cascades:
                raise unknown_name(f"gateway.policies.{name}.cascades", cascade, list(config.cascades))


def cache_lines(config: LiveConfig) -> list[str]:
    """Lines about a response cache that cannot hit."""
    asked = {name: as_asked(cascade) for name, cascade in config.cascades.items()}
    return useless_cache_lines(asked) if config.settings.cache.entries else []


def check_ready(cascades: Mapping[str, Cascade]) -> list[str]:
    """A line for each stage that cannot answer, since its key is missing.

    Raises:
        ConfigError: Every cascade has such a stage.
    """
    problems, broken = dict[str, str](), dict[str, list[str]]()
    for name, cascade in cascades.items():
        for stage in cascade.stages:
            try:
                stage.check()
            except ConfigError as error:
                problems[stage.name] = str(error)
                broken.setdefault(stage.name, []).append(name)
    if problems and {name for names in broken.values() for name in names} == set(cascades):
        raise ConfigError(next(iter(problems.values())))
    return [f"{problems[stage]}; until then {', '.join(names)} cannot answer" for stage, names in broken.items()]


def check_host(host: str, *, keys: bool) -> None:
    """Without keys only loopback is allowed.

    Raises:
        ConfigError: It is another address.
    """
    if not keys and not is_loopback(host):
        raise ConfigError(
            f"gateway.host: got {host!r} without any API key, expected loopback (127.0.0.1), since anyone could spend "
            "your money; make a key with `corea keys create`"
        )


def listen(settings: GatewaySettings) -> socket.socket:
    """A listening socket.

    Raises:
        ConfigError: The address cannot be used.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listening = socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(
            f"gateway: cannot listen on {settings.host} port {settings.port} ({error.strerror or error}); "
            "choose another with --host or --port"
        ) from error
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # the kernel drops a client that reads nothing; connections inherit it
        milliseconds = int(settings.timeouts.write_seconds * 1000)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    return listening


def _needing_restart(before: GatewaySettings, after: GatewaySettings) -> list[str]:
    changed = [name for name in FIXED if attrgetter(name)(before) != attrgetter(name)(after)]
    return [f"gateway.{name}: was changed; that needs a restart" for name in changed]


async def _close(backends: list[Backend]) -> None:
    for backend in backends:
        if close := getattr(backend, "close", None):
            await close()
