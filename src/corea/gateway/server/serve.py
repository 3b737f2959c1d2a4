"""The running server: what it holds, how it starts, reads its configuration anew, and ends."""

import asyncio
import contextlib
import gc
import ipaddress
import logging
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import uvicorn

from corea.cascade import Cascade
from corea.errors import ConfigError, CoreaError
from corea.gateway.billing.budgets import KeyAccounts
from corea.gateway.billing.database import connect
from corea.gateway.billing.db_writer import DbWriter
from corea.gateway.billing.decision_log import DecisionLog
from corea.gateway.billing.keys import any_keys
from corea.gateway.chat.request_state import CompletedRequest
from corea.gateway.chat.routing import RoutingTable
from corea.gateway.chat.service import ChatService
from corea.gateway.ops.cache import AnswerCache
from corea.gateway.ops.metrics import Metrics
from corea.gateway.ops.settings import GatewaySettings
from corea.gateway.server.app import Gateway, make_app
from corea.gateway.server.connection import protocol_with
from corea.protocols import Backend

log: logging.Logger = logging.getLogger("corea.gateway")
GARBAGE = 20_000  # so many new objects, some megabytes, before the next look for those that hold one another
FIXED = ("host", "port", "state", "max_head_bytes", "max_connections", "read_seconds", "write_seconds", "idle_seconds")


@dataclass(frozen=True, slots=True)
class LiveConfig:
    """A configuration, made live.

    Args:
        base: The folder that `settings.state` is relative to.
        backends: Those of all cascades; one that an older configuration had too is the same object.
    """

    settings: GatewaySettings
    cascades: Mapping[str, Cascade]
    backends: tuple[Backend, ...]
    base: Path = Path()


@dataclass(slots=True)
class GatewayService:
    """A gateway with all that it stands on.

    Args:
        load: Reads the configuration; called again at SIGHUP, in a thread. Gives the same backend objects where they
            did not change.
    """

    load: Callable[[], LiveConfig]
    loaded: LiveConfig
    path: Path
    forgotten: bool
    gateway: Gateway = field(init=False)
    store: DecisionLog = field(init=False)
    writer: DbWriter = field(init=False)
    accounts: KeyAccounts = field(init=False)
    metrics: Metrics = field(init=False)
    retiring: set["asyncio.Task[None]"] = field(default_factory=set["asyncio.Task[None]"])

    def __post_init__(self) -> None:
        settings = self.loaded.settings
        self.store = DecisionLog(settings)
        self.writer = DbWriter(
            self.path,
            rows=self.store.rows,
            prepare=self.store.prepare,
            retention_days=settings.retention_days,
            durable=not self.forgotten,
        )
        self.accounts = KeyAccounts.at(self.path, self.writer)
        self.metrics = Metrics(self._gauges, lambda: self.store.dropped, self._breakers)
        chat = ChatService(
            RoutingTable(self.loaded.cascades, settings),
            settings,
            accounts=self.accounts,
            record=self._record,
            cache=_cache(settings),
        )
        self.gateway = Gateway(
            chat,
            metrics=self.metrics.text,
            refused=self.metrics.refused,
            starts=[self._start],
            stops=[self._stop],
        )

    async def reload(self) -> bool:
        """Reads the configuration anew; requests under way end as they began. A broken one changes nothing."""
        try:
            loaded = await asyncio.to_thread(self.load)
            unready = check_ready(loaded.cascades)
            self.store.use(loaded.settings)
        except (CoreaError, OSError) as error:
            log.error("the configuration was not reloaded, the old one stays: %s", error)
            return False
        for line in unready:
            log.warning("%s", line)
        was, old = self.loaded, self.gateway.chat
        for name in FIXED:
            if getattr(was.settings, name) != getattr(loaded.settings, name):
                log.warning("gateway.%s: was changed; that needs a restart", name)
        self.writer.retention_days = loaded.settings.retention_days
        self.loaded = loaded
        self.gateway.chat = ChatService(
            RoutingTable(loaded.cascades, loaded.settings),
            loaded.settings,
            accounts=self.accounts,
            record=self._record,
            sticky=old.sticky,
            cache=_cache(loaded.settings),
        )
        kept = {id(backend) for backend in loaded.backends}
        unused = [backend for backend in was.backends if id(backend) not in kept]
        task = asyncio.create_task(self._retire(old, unused))
        self.retiring.add(task)
        task.add_done_callback(self.retiring.discard)
        log.warning("the configuration was reloaded: %s", ", ".join(loaded.cascades))
        return True

    async def _retire(self, chat: ChatService, backends: list[Backend]) -> None:
        while chat.running:
            await asyncio.sleep(0.1)
        await _close(backends)

    async def _start(self) -> None:
        self.writer.start()
        if hasattr(signal, "SIGHUP"):
            with contextlib.suppress(RuntimeError, ValueError, NotImplementedError):  # not in the main thread
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._on_hangup)

    def _on_hangup(self) -> None:
        task = asyncio.create_task(self.reload())
        self.retiring.add(task)  # type: ignore[arg-type]
        task.add_done_callback(self.retiring.discard)  # type: ignore[arg-type]

    async def _stop(self) -> None:
        for _ in range(50):  # requests that the drain limit cut off are being booked
            if not self.gateway.chat.running:
                break
            await asyncio.sleep(0.1)
        for task in list(self.retiring):
            task.cancel()
        await self.writer.stop()
        await _close(list(self.loaded.backends))
        self.accounts.close()

    def _record(self, done: CompletedRequest) -> None:
        self.metrics.record(done)
        self.store.record(done)

    def _gauges(self) -> Mapping[str, float]:
        chat = self.gateway.chat
        return {
            "corea_requests_running": chat.running,
            "corea_decisions_waiting": len(self.store.rows),
            "corea_accounts_failing": float(self.writer.failing),
            "corea_cache_entries": len(chat.cache.held) if chat.cache is not None else 0,
        }

    def _breakers(self) -> Mapping[str, str]:
        stages = (stage for cascade in self.loaded.cascades.values() for stage in cascade.stages)
        breakers = {stage.name: getattr(stage.backend, "breaker", None) for stage in stages}
        return {name: str(breaker.state) for name, breaker in breakers.items() if breaker is not None}


class GatewayServer(uvicorn.Server):
    """uvicorn's server, whose end is announced on /readyz first, and is no failure."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway, notice_seconds: float) -> None:
        super().__init__(config)
        self.gateway = gateway
        self.notice_seconds = notice_seconds
        self.loop: asyncio.AbstractEventLoop | None = None
        self.interrupted: bool = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Remembers the loop, for signals."""
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first SIGTERM waits for its notice; a second one, or Ctrl-C, does not, and a further one breaks off."""
        again, self.gateway.draining = self.gateway.draining, True
        self.interrupted = self.interrupted or sig == signal.SIGINT
        if self.should_exit:
            self.force_exit = True
        elif again or self.interrupted or not self.notice_seconds or self.loop is None:
            self.should_exit: bool = True
        else:
            self.loop.call_soon_threadsafe(self.loop.call_later, self.notice_seconds, self._exit)

    def _exit(self) -> None:
        self.should_exit = True


def serve(load: Callable[[], LiveConfig], *, say: Callable[[str], None] = lambda line: None) -> bool:
    """Serves until it is told to end; True if that was Ctrl-C.

    Args:
        say: Told the few lines that a person at the terminal should see.

    Raises:
        ConfigError: The configuration is wrong, a key is missing, the address is taken or not allowed, another server
            has the file.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    loaded = load()
    settings, unready = loaded.settings, check_ready(loaded.cascades)
    with _state(loaded) as (path, forgotten):
        connection = connect(path)
        keys = any_keys(connection)
        connection.close()
        check_host(settings.host, keys=keys)
        listening = listen(settings)
        service = GatewayService(load, loaded, path, forgotten)
        config = uvicorn.Config(
            make_app(service.gateway),
            http=protocol_with(settings),
            loop="uvloop" if os.name != "nt" else "auto",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(settings.idle_seconds) or 1,
            timeout_graceful_shutdown=int(settings.drain_seconds) or 1,
        )
        for line in (*greeting(listening, loaded, keys=keys), *unready):
            say(line)
        server = GatewayServer(config, service.gateway, settings.notice_seconds)
        gc.freeze()  # what is loaded by now stays; looking through it at every turn is a tenth of the time
        gc.set_threshold(GARBAGE)
        server.run(sockets=[listening])
        return server.interrupted


def greeting(listening: socket.socket, loaded: LiveConfig, *, keys: bool) -> list[str]:
    """What a person at the terminal should know."""
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    models = ", ".join([*loaded.cascades, *loaded.settings.passthrough])
    lines = [f"corea serves {models} at http://{shown}:{port}/v1"]
    if not keys:
        lines.append("No API keys, so it listens on loopback only and asks for none; `corea keys create` makes one.")
    return lines


def check_ready(cascades: Mapping[str, Cascade]) -> list[str]:
    """A line for each stage that can never answer, since its key is missing.

    Raises:
        ConfigError: No cascade can do without such a stage.
    """
    faults, broken = dict[str, str](), dict[str, list[str]]()
    for name, cascade in cascades.items():
        for stage in cascade.stages:
            try:
                stage.check()
            except ConfigError as error:
                faults[stage.name] = str(error)
                broken.setdefault(stage.name, []).append(name)
    if faults and {name for names in broken.values() for name in names} == set(cascades):
        raise ConfigError(next(iter(faults.values())))
    return [f"{faults[stage]}; until then {', '.join(names)} cannot answer" for stage, names in broken.items()]


def check_host(host: str, *, keys: bool) -> None:
    """Without keys only loopback is allowed.

    Raises:
        ConfigError: It is another address.
    """
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not keys and not loopback:
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
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # the kernel drops a client that takes nothing; connections inherit it
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(settings.write_seconds * 1000))
        listening.bind((settings.host, settings.port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"gateway: cannot listen on {settings.host} port {settings.port} ({error.strerror or error}); "
            "choose another with --host or --port"
        ) from error
    return listening


@contextlib.contextmanager
def _state(loaded: LiveConfig):  # pyright: ignore[reportUnknownParameterType]  # a context manager
    """The path of the state file, ours alone, and whether it is forgotten at the end."""
    if not loaded.settings.state:
        with tempfile.TemporaryDirectory(prefix="corea-") as folder:
            yield Path(folder) / "corea.db", True
        return
    path = loaded.base / loaded.settings.state
    with _locked(path):
        yield path, False


@contextlib.contextmanager
def _locked(path: Path):  # pyright: ignore[reportUnknownParameterType]
    """Two servers on one file would each let a key spend its whole budget."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    try:
        file = open(f"{path}.lock", "a")  # noqa: SIM115  # held to the end
    except OSError as error:
        raise ConfigError(
            f"gateway.state: {path} cannot be used ({error.strerror}); name a file that can be written"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"gateway.state: {path} is in use by another `corea serve`; name another file") from error
        yield


def _cache(settings: GatewaySettings) -> AnswerCache | None:
    return AnswerCache(settings.cache_entries, settings.cache_seconds) if settings.cache_entries else None


async def _close(backends: list[Backend]) -> None:
    for backend in backends:
        if close := getattr(backend, "close", None):
            await close()
