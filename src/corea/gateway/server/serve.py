"""The server process: start, reload of the configuration, graceful stop."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn

from corea.errors import CoreaError, unknown_name
from corea.gateway.audit.auditor import Auditor
from corea.gateway.audit.metrics import AuditMetrics
from corea.gateway.audit.pages import AuditPages
from corea.gateway.audit.store import AuditStore
from corea.gateway.audit.watch import audit_lines
from corea.gateway.billing.decision_log import DecisionLog, find_redact
from corea.gateway.billing.storage import Storage, have_keys, open_database, open_state, storage_at
from corea.gateway.chat.request_state import CompletedRequest
from corea.gateway.chat.routing import RoutingTable
from corea.gateway.chat.sampling import as_asked
from corea.gateway.chat.service import ChatService
from corea.gateway.errors import GatewayError
from corea.gateway.ops.affinity import SessionAffinity
from corea.gateway.ops.cache import AnswerCache, useless_cache_lines
from corea.gateway.ops.health import Availability, check_ready, servers_of, watch
from corea.gateway.ops.logs import LogHandler, log_failures, start_log
from corea.gateway.ops.metrics import KeyBudget, Metrics
from corea.gateway.ops.settings import GatewaySettings, GatewayTraces, needing_restart
from corea.gateway.ops.worker_metrics import WorkerMetrics
from corea.gateway.server.access import check_host
from corea.gateway.server.admin import AdminApi
from corea.gateway.server.app import GatewayApp
from corea.gateway.server.connection import guard_with, listen
from corea.gateway.server.live_config import LiveConfig
from corea.gateway.ui.history import History
from corea.gateway.ui.pages import UiPages
from corea.protocols import Backend
from corea.registry import resolve

log: logging.Logger = logging.getLogger("corea.gateway")
GARBAGE_OBJECTS = 20_000  # new objects, some megabytes, between collections


class GatewayService:
    """All parts of a running gateway.

    Args:
        load: Reads the configuration; called again at SIGHUP, in a thread.
        path: The SQLite file; None: `storage.url` names a database.
        temporary: It is deleted at the end.
        handler: Writes the log.
        workers: The folder of all workers' metrics; None for a server of one process.
    """

    def __init__(
        self,
        load: Callable[[], LiveConfig],
        config: LiveConfig,
        path: Path | None,
        *,
        temporary: bool,
        handler: LogHandler | None = None,
        workers: Path | None = None,
    ) -> None:
        self.load = load
        self.config: LiveConfig = config
        self.interrupted: bool = False
        self.handler = handler
        self.availability: Availability = Availability(lambda: self.config.cascades)
        self.decisions: DecisionLog = DecisionLog(config.settings.storage)
        affinity = SessionAffinity()
        self.storage: Storage = storage_at(
            path, config.settings.storage, self.decisions, affinity, durable=not temporary
        )
        self.metrics: Metrics = Metrics(self._gauges, lambda: self.decisions.dropped, self._breakers)
        self.metrics.budgets, self.metrics.retries = self._budgets, self._retries
        self.metrics.use(config.cascades, config.digest)
        self.storage.observe(self.metrics.commit.observe, self.metrics.sync.observe)
        self.auditor: Auditor = self._auditor(path)
        self.metrics.registry.register(AuditMetrics(self.auditor))
        self.all_metrics: WorkerMetrics | None = WorkerMetrics(workers, self.metrics.text) if workers else None
        database = partial(open_database, config.settings.storage, path)
        admin = AdminApi(database, lambda: list(self.config.cascades))
        self.app: GatewayApp = GatewayApp(
            self._chat(affinity),
            metrics=self.all_metrics.text if self.all_metrics is not None else self.metrics.text,
            refused=self.metrics.refused,
            starts=[self._start],
            stops=[self._stop],
            audit=AuditPages(self.auditor),
            local_only=lambda: not self.storage.has_keys(),
            unavailable=self.availability.unavailable,
            admin=admin,
            ui=UiPages(
                History(database),
                admin.check,
                lambda: self.config.cascades,
                self.availability.unavailable,
            ),
            tracing=_tracing(config.settings.traces),
        )
        self.server: uvicorn.Server = uvicorn.Server(_uvicorn_config(self.app, config.settings))
        self._tasks: set[asyncio.Task[object]] = set()

    def _chat(self, affinity: SessionAffinity) -> ChatService:
        settings = self.config.settings
        wanted = settings.cache
        cache = AnswerCache(wanted.entries, wanted.seconds, wanted.max_bytes) if wanted.entries else None
        routes = RoutingTable(self.config.cascades, settings)
        alarms = self.auditor.alarms
        return ChatService(routes, settings, self.storage.accounts, self._record, affinity, cache, alarms)

    def _auditor(self, path: Path | None) -> Auditor:
        settings = self.config.settings
        return Auditor(
            settings=settings,
            store=AuditStore(path, settings.storage, lambda: self.storage.replica),
            watches=self.config.watches(),
            redact=self.decisions.redact,
            judge=self.config.judge,
            clock=self.decisions.clock,
        )

    async def reload(self) -> bool:
        """Reads the configuration again; running requests end as they began. An invalid one changes nothing."""
        before, chat = self.config, self.app.chat
        try:
            config = await asyncio.to_thread(self.load)
            warnings = check_ready(config.cascades) + all_lines(config)
            check_policies(config)
            watches = await asyncio.to_thread(config.watches)
            self.config = config
            replacement = self._chat(chat.affinity)
            self.decisions.use(config.settings.storage)
            self.app.chat = replacement
            await self.auditor.use(config.settings, watches, self.decisions.redact, config.judge)
        except (CoreaError, OSError) as error:
            self.config, self.metrics.reload_ok = before, False
            log.error("the configuration was not reloaded, the old one stays: %s", error)
            return False
        self.metrics.use(config.cascades, config.digest)
        if self.handler is not None:
            self.handler.use(config.settings.logs)
        for line in (*warnings, *needing_restart(before.settings, config.settings)):
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
        await self.auditor.start()
        works = [self.availability.log_changes, *([self.handler.write_ended] if self.handler is not None else [])]
        self._in_background(watch(self.metrics.loop_lag.observe, works))
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
        await self.auditor.stop()
        await self.storage.stop()
        if self.all_metrics is not None:
            await self.all_metrics.stop()
        await _close(list(self.config.backends))
        if self.app.tracing is not None:
            await asyncio.to_thread(self.app.tracing.close)

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
        if self.app.tracing is not None:
            self.app.tracing.completed(completed)
        if completed.error is not None or any(step.error is not None for step in completed.trace.steps):
            log_failures(completed, error_texts=self.config.settings.logs.error_texts)
        self.decisions.record(completed)
        self.auditor.record(completed)

    def _gauges(self) -> Mapping[str, float]:
        chat = self.app.chat
        return {
            "corea_requests_running": chat.running,
            "corea_decisions_waiting": self.decisions.waiting,
            "corea_accounts_failing": float(self.storage.failing),
            "corea_cache_entries": len(chat.cache.entries) if chat.cache is not None else 0,
        }

    def _servers(self) -> Iterable[tuple[tuple[str, str], Any]]:
        """Each server that can fail, by its stage and number."""
        for stage in (stage for cascade in self.config.cascades.values() for stage in cascade.stages):
            for number, server in enumerate(servers_of(stage), 1):
                if getattr(server, "breaker", None) is not None:
                    yield (stage.name, str(number)), server

    def _breakers(self) -> Mapping[tuple[str, str], str]:
        return {place: str(server.breaker.state) for place, server in self._servers()}

    def _retries(self) -> Mapping[tuple[str, str], int]:
        return {place: server.retried for place, server in self._servers()}

    def _budgets(self) -> Iterable[KeyBudget]:
        if not self.config.settings.metrics.keys:
            return ()
        try:
            found = self.storage.all_budgets()
        except GatewayError:  # the file cannot be read, which is in the log; the other metrics are wanted the more
            return ()
        return [
            KeyBudget(key, budget.period or "life", float(budget.usd), float(budget.usd - budget.left_usd))
            for key, budgets in found.items()
            for budget in budgets
        ]


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
    config = load()
    handler = start_log(config.settings.logs)
    settings, warnings = config.settings, check_ready(config.cascades) + all_lines(config)
    check_policies(config)
    with open_state(settings.storage, config.path) as (path, temporary):
        keys = have_keys(settings.storage, path)
        check_host(settings.host, keys=keys)
        listening = listening or listen(settings)
        service = GatewayService(load, config, path, temporary=temporary, handler=handler, workers=workers)
        for line in (*start_lines(listening, config, keys=keys), *warnings):
            say(line)
        gc.freeze()  # what is loaded by now stays; collecting it each time would take a tenth of the time
        gc.set_threshold(GARBAGE_OBJECTS)
        service.server.run(sockets=[listening])
        return service.interrupted


def _tracing(settings: GatewayTraces) -> Any:
    """The maker of spans; None where they are off.

    Raises:
        ConfigError: The extra is missing.
    """
    return resolve("gateway.traces", "corea.gateway.ops.tracing:Tracing", {})(settings) if settings.endpoint else None


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
    settings, path = config.settings, config.path
    warnings = check_ready(config.cascades) + all_lines(config)
    RoutingTable(config.cascades, settings)
    check_policies(config)
    find_redact(settings.storage.redact)
    stored = settings.storage.url is not None or (path is not None and path.exists())
    check_host(settings.host, keys=stored and have_keys(settings.storage, path))
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


def all_lines(config: LiveConfig) -> list[str]:
    """Lines about a response cache that cannot hit, and an audit that finds nothing."""
    asked = {name: as_asked(cascade) for name, cascade in config.cascades.items()}
    useless = useless_cache_lines(asked) if config.settings.cache.entries else []
    return useless + audit_lines(config.cascades, config.settings)


async def _close(backends: list[Backend]) -> None:
    for backend in backends:
        if close := getattr(backend, "close", None):
            await close()
