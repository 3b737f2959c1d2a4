"""One request to an OpenAI-compatible server: the connection pool, the headers with the key, the timeouts."""

import asyncio
import time
import weakref
from dataclasses import dataclass

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from corea.backends import openai_faults as faults
from corea.backends.deadlines import Deadlines
from corea.backends.keys import Secrets, read_key
from corea.backends.openai_settings import OpenAISettings

NO_SECRETS = Secrets(())
KEEP_ALIVE_SECONDS = 4.0  # uvicorn, and so vLLM, closes idle connections after 5: a call must not meet that


@dataclass(frozen=True, slots=True)
class _Pool:
    """What one event loop has: its connections, and the time limits of its calls."""

    session: aiohttp.ClientSession
    deadlines: Deadlines


class Http:
    """Posts requests, over one pool of connections per event loop, which opens at the first."""

    def __init__(self, settings: OpenAISettings) -> None:
        self.settings = settings
        self._url = URL(settings.url, encoded=True)
        self._headers = _fixed_headers(settings)
        self._first_byte_seconds = min(settings.first_byte_timeout_seconds, settings.total_timeout_seconds)
        self._pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Pool] = weakref.WeakKeyDictionary()
        self._last: tuple[asyncio.AbstractEventLoop, _Pool] | None = None  # of two calls in a row, mostly one loop's

    async def post(self, body: bytes) -> tuple[aiohttp.ClientResponse, Secrets]:
        """The response, of which only the head is read, and the keys to keep out of it."""
        headers, secrets = self._with_keys()
        settings, pool = self.settings, self._pool()
        try:
            with pool.deadlines.within(self._first_byte_seconds):
                response = await pool.session.post(
                    self._url,
                    data=aiohttp.BytesPayload(body),  # what aiohttp would make of bytes, after a search
                    headers=headers,
                    allow_redirects=False,
                    proxy=settings.proxy,
                )
        except aiohttp.ConnectionTimeoutError as error:
            raise faults.no_connection_in_time(settings) from error
        except TimeoutError as error:
            raise faults.no_first_byte_in_time(settings) from error
        except (aiohttp.ClientError, OSError) as error:
            raise faults.unreached(settings, error, secrets) from error
        return response, secrets

    async def read(self, response: aiohttp.ClientResponse, began: float) -> bytes:
        """The whole body; `began` is when the request was sent, by `time.perf_counter`."""
        try:
            received = b""
            if response.content.is_eof():  # it came with the head: nothing to wait for
                received = response.content.read_nowait()
                if response.content.at_eof():
                    return received
            left = self.settings.total_timeout_seconds - (time.perf_counter() - began)
            with self.deadlines.within(left):
                return received + await response.read()
        except TimeoutError as error:
            response.close()
            raise faults.not_all_in_time(self.settings) from error
        except (aiohttp.ClientError, OSError) as error:
            raise faults.cut_in_the_middle(self.settings, error, response.status) from error

    @property
    def deadlines(self) -> Deadlines:
        """The time limits of the calls of this event loop."""
        return self._pool().deadlines

    async def close(self) -> None:
        """Closes the connections of this event loop, and forgets those of loops that have ended."""
        self._last, pool = None, self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.session.close()
        self._forget_ended_loops()

    def _pool(self) -> _Pool:
        loop, last = asyncio.get_running_loop(), self._last
        if last is not None and last[0] is loop and not last[1].session.closed:
            return last[1]
        pool = self._pools.get(loop)
        if pool is None or pool.session.closed:
            self._forget_ended_loops()
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self.settings.max_connections, keepalive_timeout=KEEP_ALIVE_SECONDS, ttl_dns_cache=300
                ),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.settings.connect_timeout_seconds),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            pool = self._pools[loop] = _Pool(session, Deadlines(loop))
        self._last = loop, pool
        return pool

    def _forget_ended_loops(self) -> None:
        for loop, pool in list(self._pools.items()):
            if loop.is_closed():
                if pool.session.connector is not None:
                    pool.session.connector.close()  # of a closed loop: there is nothing to wait for
                pool.session.detach()
                del self._pools[loop]

    def _with_keys(self) -> tuple[CIMultiDict[str], Secrets]:
        settings = self.settings
        if not settings.api_key_env and not settings.headers_env:
            return self._headers, NO_SECRETS
        headers = self._headers.copy()
        keys: list[str] = []
        if settings.api_key_env:
            key = read_key(settings.api_key_env)
            keys.append(key)
            if settings.bears_key_as_token:
                headers["Authorization"] = f"Bearer {key}"
            else:
                headers["api-key"] = key
        for name, variable in settings.headers_env.items():
            headers[name] = read_key(variable)
            keys.append(headers[name])
        return headers, Secrets(tuple(keys))


def _fixed_headers(settings: OpenAISettings) -> CIMultiDict[str]:
    headers = {"Content-Type": "application/json", "User-Agent": "corea"}
    if settings.organization:
        headers["OpenAI-Organization"] = settings.organization
    if settings.project:
        headers["OpenAI-Project"] = settings.project
    return CIMultiDict({**headers, **settings.headers})
