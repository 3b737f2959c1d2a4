"""Watches over a running gateway: the availability of its models, the event loop's lag, left-out log lines."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from corea.backends.openai.circuit_breaker import BreakerState
from corea.cascade import Cascade
from corea.errors import ConfigError
from corea.stage import Stage

log: logging.Logger = logging.getLogger("corea.gateway")
CONNECT_SECONDS = 1.0
UP: set[BreakerState | None] = {None, BreakerState.CLOSED}
FRESH_SECONDS = 1.0  # an answer of `Availability.unavailable` is used again
Connect = Callable[[str, int], Awaitable[Any]]


def servers_of(stage: Stage) -> list[Any]:
    """The servers of a stage's model; a model in this process is one."""
    return list(getattr(stage.backend, "backends", [stage.backend]))


def breaker_states(stage: Stage) -> list[BreakerState | None]:
    """State of each server's breaker; None for one without."""
    breakers = [getattr(server, "breaker", None) for server in servers_of(stage)]
    return [None if breaker is None else breaker.state for breaker in breakers]


class Availability:
    """Availability of the last stages, of which each deferred question needs one.

    Args:
        cascades: The present ones.
        connect: Opens a connection; for tests.
    """

    def __init__(
        self, cascades: Callable[[], Mapping[str, Cascade]], connect: Connect = asyncio.open_connection
    ) -> None:
        self.cascades = cascades
        self.connect = connect
        self.down: set[tuple[str, str]] = set()  # cascade and stage, as logged
        self._found: tuple[float, dict[str, str]] = (-FRESH_SECONDS, {})

    async def unavailable(self) -> dict[str, str]:
        """The last stages that cannot answer now, each with the reason.

        A server is unavailable while its breaker is open, while its key is missing, or if it takes no connection. No
        model is asked. A breaker that has cooled down counts as available, since only a request can close it.
        """
        now = time.monotonic()
        if now - self._found[0] >= FRESH_SECONDS:
            last = {cascade.stages[-1].name: cascade.stages[-1] for cascade in self.cascades().values()}
            reasons = await asyncio.gather(*(self._reason(stage) for stage in last.values()))
            self._found = now, {name: why for name, why in zip(last, reasons, strict=True) if why is not None}
        return self._found[1]

    async def _reason(self, stage: Stage) -> str | None:
        try:
            stage.check()
        except ConfigError:
            return "not_configured"
        closed = [s for s in servers_of(stage) if getattr(s, "breaker", None) is None or s.breaker.state != "open"]
        if not closed:
            return "breaker_open"
        reached = await asyncio.gather(*(self._connects(server) for server in closed))
        return None if any(reached) else "unreachable"

    async def _connects(self, server: Any) -> bool:
        """True if a server takes connections, or is not on the network, or behind a proxy that alone can tell."""
        settings = getattr(server, "settings", None)
        base_url = getattr(settings, "base_url", None)
        if base_url is None or getattr(settings, "proxy", None):
            return True
        parts = urlsplit(base_url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, writer = await self.connect(parts.hostname or "", port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return True

    def log_changes(self) -> None:
        """Writes a line for each stage whose servers are all down since the last call, and for each that is up again.

        A server is down from the opening of its breaker until it answers.
        """
        for name, cascade in self.cascades().items():
            states = {stage.name: breaker_states(stage) for stage in cascade.stages}
            down = {stage for stage, found in states.items() if not UP.intersection(found)}
            before = {stage for known, stage in self.down if known == name}
            if down == before:
                continue
            self.down = {each for each in self.down if each[0] != name} | {(name, stage) for stage in down}
            _log_change(name, cascade, down, before)


def _log_change(name: str, cascade: Cascade, down: Iterable[str], before: set[str]) -> None:
    down, last = set(down), cascade.stages[-1].name
    for stage in sorted(before - down):
        log.warning("cascade %s: stage %s is available again", name, stage)
    every = {stage.name for stage in cascade.stages}
    if down == every:
        log.critical("cascade %s: all its models are down; no request is answered", name)
    elif last in down and (last not in before or before == every):
        log.error("cascade %s: its last stage %s is down; only answers that earlier stages keep are given", name, last)
    else:
        for stage in sorted(down - before):
            log.error("cascade %s: stage %s is down; its questions go to the stages after it", name, stage)


async def watch(lag: Callable[[float], None], each: Iterable[Callable[[], None]], seconds: float = 0.25) -> None:
    """Calls `lag` with the event loop's delay, and each of `each`, every `seconds`, until it is cancelled."""
    loop, works = asyncio.get_running_loop(), list(each)
    while True:
        began = loop.time()
        await asyncio.sleep(seconds)
        lag(max(loop.time() - began - seconds, 0.0))
        for work in works:
            work()


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
