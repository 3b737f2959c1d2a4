"""Limits of a connection: on a head's length, on the time that a request takes to arrive, on connections.

uvicorn has none of them. `ConnectionGuard` is an `asyncio.Protocol` between the transport and uvicorn's protocol: it
follows the bytes with a parser of its own, and passes on what is within the limits.
"""

import asyncio
import re
import socket
from functools import partial
from http import HTTPStatus
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from corea.errors import ConfigError
from corea.gateway.asgi import Scope, encode_json
from corea.gateway.errors import GatewayError
from corea.gateway.ops.settings import GatewaySettings


class JoinedWrites:
    """A transport that sends what is written in one turn of the event loop at once: a head with its body.

    Two writes wake the client twice, which takes a tenth of a request's processor time.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._waiting: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Sends the data at the end of this turn."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(data)

    def close(self) -> None:
        """Sends what is waiting, then closes."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting and not self._transport.is_closing():
            self._transport.write(b"".join(waiting))


class ConnectionGuard(asyncio.Protocol):
    """One connection, for uvicorn's `http` setting by way of `guard_with`.

    Attributes:
        answering: Requests that the application is answering; it counts them.
        arriving: A part of a request has not arrived yet.
    """

    def __init__(
        self, settings: GatewaySettings, connections: "set[ConnectionGuard]", app_state: dict[str, Any], **uvicorn: Any
    ) -> None:
        self.limit: int = settings.limits.max_head_bytes
        self.most_connections: int = settings.limits.max_connections
        self.read_seconds: float = settings.timeouts.read_seconds
        self.connections = connections
        self.answering: int = 0
        self._http = HttpToolsProtocol(app_state={**app_state, "connection": self}, **uvicorn)
        self._parser = self._new_parser()
        self.arriving: bool = False
        self._in_head = self._refused = False
        self._completed = False  # a request, in the present chunk of data
        self._url = b""
        self._head_bytes = 0
        self._data = b""
        self._head = b""  # what has arrived of a request, until its head is complete
        self._timer: asyncio.TimerHandle | None = None

    def _new_parser(self) -> Any:
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        return parser

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Counts the connection and starts the timer of its first request."""
        self.transport: asyncio.Transport = cast(asyncio.Transport, JoinedWrites(transport))
        self.connections.add(self)
        self._http.connection_made(self.transport)
        if len(self.connections) > self.most_connections:
            transport.abort()
        else:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection."""
        self.connections.discard(self)
        self._stop_timer()
        self._http.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Passes data on unless it exceeds a limit or is not HTTP."""
        if self._refused:
            return
        self._data, self._completed = data, False
        if self._head or not self.arriving:
            self._head += data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self._head:
                self._without_upgrade()
                return
        except httptools.HttpParserError:
            self._refuse(GatewayError(400, "Invalid HTTP request.", code="invalid_http"))
        if self._in_head and not self._completed:  # else the chunk may hold a part of another request
            self._head_bytes += len(data)
            self._check_head(self._head_bytes)
        if self._refused:
            return
        if self._timer is None and (self.arriving or not (self._completed or self.answering)):
            self._start_timer()
        if not self._head:
            self._http.data_received(data)
        elif not self._in_head or self._completed:
            head, self._head = self._head, b""
            self._http.data_received(head)

    def _without_upgrade(self) -> None:
        """Starts again without the header that asks for another protocol: we speak HTTP/1.1 alone.

        Java's client asks for HTTP/2 in every request; a parser that is asked for an upgrade reads no body.
        """
        head, end, rest = self._head.partition(b"\r\n\r\n")
        plain = re.sub(rb"\r\nupgrade:[^\r]*", b"", head, flags=re.IGNORECASE)
        self._head, self._parser, self._data, self.arriving = b"", self._new_parser(), b"", False
        if plain == head:  # its lines end in another way
            self._refuse(GatewayError(400, "Invalid HTTP request.", code="invalid_http"))
            return
        self.data_received(plain + end + rest)

    def eof_received(self) -> None:
        """The client sends no more."""
        self._http.eof_received()

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._http.pause_writing()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._http.resume_writing()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head = self.arriving = True
        self._head_bytes, self._url = 0, b""

    def on_url(self, url: bytes) -> None:
        """A part of the URL."""
        self._url += url

    def on_headers_complete(self) -> None:
        """A head has arrived."""
        self._in_head = False
        if not self._completed and self._head_bytes + len(self._data) > self.limit:  # perhaps with some of the body
            self._check_head(self._head_bytes + self._data.find(b"\r\n\r\n"))
        httptools.parse_url(self._url)

    def on_message_complete(self) -> None:
        """A whole request has arrived."""
        self.arriving, self._completed = False, True
        self._stop_timer()

    def _check_head(self, length: int) -> None:
        if length > self.limit:
            message = f"The head is over {self.limit} bytes, the operator's limit."
            self._refuse(GatewayError(431, message, code="head_too_large"))

    def _start_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.read_seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self.answering:  # the application has time limits of its own
            self._start_timer()
        elif self._in_head:
            self._refuse(late())
        else:
            self.transport.close()

    def _refuse(self, error: GatewayError) -> None:
        """Closes the connection; with a response, unless another one may be half written."""
        if self._refused:
            return
        self._refused = True
        self._stop_timer()
        if not self.answering and not self.transport.is_closing():
            body = encode_json(error.body())
            status = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n"
            head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(f"{status}{head}".encode() + body)
        self.transport.close()


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


def guard_with(settings: GatewaySettings) -> type[asyncio.Protocol]:
    """A protocol class with an operator's limits, for uvicorn's `http` setting."""
    return cast(type[asyncio.Protocol], partial(ConnectionGuard, settings, set[ConnectionGuard]()))


def guard_of(scope: Scope) -> ConnectionGuard | None:
    """The guard of the connection that a request came on; None where another server runs the application."""
    return scope.get("state", {}).get("connection")


def late() -> GatewayError:
    """The error for a request that takes too long to arrive."""
    return GatewayError(408, "The request did not arrive in time.", code="request_timeout", headers=CLOSE)


CLOSE = (("connection", "close"),)
