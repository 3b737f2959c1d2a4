"""One request to an OpenAI-compatible server: the connection pool, the headers with the key, the timeouts."""

import asyncio
import time
import weakref
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict
from yarl import URL

from corea.backends.openai import errors
from corea.backends.openai.api_keys import KeyRedactor, read_key, without_frames
from corea.backends.openai.apis import WireRequest
from corea.backends.openai.deadlines import Deadlines
from corea.backends.openai.settings import CHAT_PATH, COUNT_PATH, PATHS, OpenAISettings
from corea.secrets import Secret, keys_in_path

KEEP_ALIVE_SECONDS = 4.0  # below the 5 after which uvicorn, and so vLLM, closes idle connections


@dataclass(frozen=True, slots=True)
class _Pool:
    """The connections of one event loop, and the time limits of its calls."""

    session: aiohttp.ClientSession
    deadlines: Deadlines
    closer: AsyncGenerator[None, None]  # closes the session at the loop's shutdown, or when this pool is dropped


def _close_ended(pools: dict[asyncio.AbstractEventLoop, _Pool]) -> None:
    """Closes the connections of loops that were closed without a shutdown (`asyncio.run` does shut down)."""
    for loop in [loop for loop in list(pools) if loop.is_closed()]:
        if (pool := pools.pop(loop, None)) is not None:
            with suppress(StopIteration):
                pool.session.close().send(None)  # of a closed loop: there is nothing to wait for


async def _close_at_shutdown(session: aiohttp.ClientSession) -> AsyncGenerator[None, None]:
    """Closes the session when this generator is closed: by the event loop's shutdown, which knows it once begun.

    Source: https://docs.python.org/3/library/asyncio-eventloop.html#asyncio.loop.shutdown_asyncgens
    """
    try:
        yield
    finally:
        await session.close()


class _Body(aiohttp.BytesPayload):
    """A request's body (aiohttp's own class for bytes), which reports when it is sent."""

    on_sent: Callable[[], None] | None = None

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        if self.on_sent is not None:
            self.on_sent()
        await super().write_with_length(writer, content_length)


class Http:
    """Posts requests. Each event loop has one pool of connections, opened at its first request. Thread-safe.

    Pools close with their loop (at the end of `asyncio.run`), with `close`, and with the last reference.
    """

    def __init__(self, settings: OpenAISettings) -> None:
        self.settings = settings
        self._urls = {path: URL(settings.url_of(path), encoded=True) for path in (*PATHS.values(), COUNT_PATH)}
        self._key_headers = {path: settings.key_header(path) for path in self._urls}
        self._path_keys = tuple(map(Secret, keys_in_path(settings.base_url)))
        self._path_redactor = KeyRedactor(self._path_keys)
        self._first_byte_seconds = min(settings.first_byte_timeout_seconds, settings.total_timeout_seconds)
        self._pools: dict[asyncio.AbstractEventLoop, _Pool] = {}  # single operations on a dict are atomic
        weakref.finalize(self, _close_ended, self._pools)

    def check(self) -> None:
        """Checks that requests can be sent.

        Raises:
            ConfigError: An environment variable holds no key.
        """
        self._with_keys(CHAT_PATH)

    async def post(
        self, request: WireRequest, on_sent: Callable[[], None]
    ) -> tuple[aiohttp.ClientResponse, KeyRedactor]:
        """The response, of which only the head is read, and the keys to remove from it.

        Args:
            on_sent: Called when the request is sent, after a connection is open.
        """
        headers, redactor = self._with_keys(request.api.path)
        if request.headers:
            headers = {**request.headers, **(headers or {})}
        payload = _Body(request.body)
        payload.on_sent = on_sent
        url = self._urls[request.api.path]
        return await self._open("POST", url, payload, headers, redactor, self._first_byte_seconds), redactor

    async def send(
        self, method: str, path: str, body: Any, headers: Mapping[str, str]
    ) -> tuple[aiohttp.ClientResponse, KeyRedactor]:
        """The response to a request beside the chats, such as one with a file; as for `post`.

        Args:
            path: After `base_url`, with its query.
        """
        keys, redactor = self._with_keys(path)
        plain, _, query = path.partition("?")
        url = URL(self.settings.url_of(plain), encoded=True)
        url = url.update_query(query) if query else url
        seconds = self.settings.total_timeout_seconds
        return await self._open(method, url, body, {**headers, **(keys or {})}, redactor, seconds), redactor

    async def _open(
        self,
        method: str,
        url: URL,
        body: Any,
        headers: Mapping[str, str] | None,
        redactor: KeyRedactor,
        seconds: float,
    ) -> aiohttp.ClientResponse:
        settings, loop = self.settings, asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None or pool.session.closed:
            pool = await self._open_pool(loop)
        try:
            with pool.deadlines.within(seconds):
                return await pool.session.request(
                    method, url, data=body, headers=headers, allow_redirects=False, proxy=settings.proxy
                )
        except aiohttp.ConnectionTimeoutError as error:
            raise errors.connect_timeout_error(settings) from without_frames(error)
        except TimeoutError as error:
            raise errors.first_byte_timeout_error(settings) from without_frames(error)
        except (aiohttp.ClientError, OSError) as error:
            raise errors.connection_error(settings, error, redactor) from without_frames(error)

    async def read(self, response: aiohttp.ClientResponse, began: float) -> bytes:
        """The whole body; `began` is when the request was sent, by `time.perf_counter`."""
        try:
            received = b""
            if response.content.is_eof():  # it came with the head
                received = response.content.read_nowait()
                if response.content.at_eof():
                    return received
            left = self.settings.total_timeout_seconds - (time.perf_counter() - began)
            with self.deadlines.within(left):
                return received + await response.read()
        except TimeoutError as error:
            response.close()
            raise errors.total_timeout_error(self.settings) from without_frames(error)
        except (aiohttp.ClientError, OSError) as error:
            raise errors.body_error(self.settings, error, response.status) from without_frames(error)

    @property
    def deadlines(self) -> Deadlines:
        """The time limits of the calls of this event loop, which has posted a request."""
        return self._pools[asyncio.get_running_loop()].deadlines

    async def close(self) -> None:
        """Closes the connections of this event loop, and those of loops that have ended."""
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.closer.aclose()
        _close_ended(self._pools)

    async def _open_pool(self, loop: asyncio.AbstractEventLoop) -> _Pool:
        _close_ended(self._pools)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self.settings.max_connections, keepalive_timeout=KEEP_ALIVE_SECONDS, ttl_dns_cache=300
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.settings.connect_timeout_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_fixed_headers(self.settings),
        )
        pool = self._pools[loop] = _Pool(session, Deadlines(loop), _close_at_shutdown(session))
        await anext(pool.closer)  # does not suspend; from here on the loop's shutdown closes the session
        return pool

    def _with_keys(self, path: str) -> tuple[dict[str, str] | None, KeyRedactor]:
        """The headers of one request, which replace the session's of the same name."""
        settings = self.settings
        if not settings.api_key_env and not settings.headers_env:
            return None, self._path_redactor
        secret: dict[str, str] = {name: read_key(variable) for name, variable in settings.headers_env.items()}
        keys = tuple(secret.values())
        if settings.api_key_env:
            keys += (read_key(settings.api_key_env),)
            header = self._key_headers[path]
            secret[header] = Secret(f"Bearer {keys[-1]}") if header == "Authorization" else keys[-1]
        return secret, KeyRedactor((*keys, *self._path_keys))


def _fixed_headers(settings: OpenAISettings) -> CIMultiDict[str]:
    headers = {"Content-Type": "application/json", "User-Agent": "corea"}
    if settings.organization:
        headers["OpenAI-Organization"] = settings.organization
    if settings.project:
        headers["OpenAI-Project"] = settings.project
    return CIMultiDict({**headers, **settings.headers})
