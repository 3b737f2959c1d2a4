"""Limits on the requests per minute to a server, over all stages that ask it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from corea.cascade import Cascade
from corea.errors import unknown_name


@dataclass(slots=True)
class Pace:
    """Lets one request go after another, with equal time between them."""

    seconds: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _next: float = 0.0

    async def __call__(self) -> None:
        """Waits for the next turn."""
        now = self.clock()
        turn = max(now, self._next)
        self._next = turn + self.seconds
        if turn > now:
            await self.sleep(turn - now)


def pace(cascade: Cascade, requests_per_minute: Mapping[str, float]) -> None:
    """Limits the requests, retries included, of all backends of a cascade.

    Args:
        requests_per_minute: By server: the host of `base_url`, with its port if that names one.

    Raises:
        ConfigError: No stage asks such a server.
    """
    paces = {server: Pace(60 / limit) for server, limit in requests_per_minute.items()}
    servers: set[str] = set()
    for backend in cascade.backends:
        single: Any
        for single in getattr(backend, "backends", (backend,)):
            if url := getattr(getattr(single, "settings", None), "base_url", None):
                server = urlsplit(url).netloc
                servers.add(server)
                if server in paces:
                    single.pace = paces[server]
    for server in paces:
        if server not in servers:
            raise unknown_name("run.requests_per_minute", server, sorted(servers))
