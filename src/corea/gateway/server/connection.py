"""uvicorn's HTTP protocol with limits: on a head's length, on the time a request takes to come, on connections."""

import asyncio
from typing import Any

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from corea.gateway.chat.request import encode_json
from corea.gateway.errors import GatewayError
from corea.gateway.ops.settings import GatewaySettings

AT_ONCE = "corea.at_once"  # an extension of ASGI: what is here already, and what can be sent already, is not waited for


def body_at_once(scope: Scope) -> bytes | None:
    """The whole body, where it is all here; None where ASGI's `receive` has to wait for it."""
    extension = scope.get("extensions", {}).get(AT_ONCE)
    if extension is None:
        return None
    cycle: RequestResponseCycle = extension["cycle"]
    if cycle.more_body or cycle.disconnected or cycle.waiting_for_100_continue:
        return None
    body, cycle.body = bytes(cycle.body), bytearray()
    cycle.message_event.clear()  # the next `receive` waits for the client to hang up
    cycle.flow.resume_reading()
    return body


def answer_at_once(scope: Scope, headers: bytes, body: bytes) -> bool:
    """Writes a whole response with status 200; False where it cannot be, or has to wait, and is left to ASGI's `send`.

    `send` looks each header over with two patterns and writes head and body apart, a tenth of what a request costs.

    Args:
        headers: Whole lines of our own making, each with its end.
    """
    extension = scope.get("extensions", {}).get(AT_ONCE)
    if extension is None:
        return False
    cycle: RequestResponseCycle = extension["cycle"]
    if cycle.response_started or cycle.disconnected or cycle.flow.write_paused:
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    lines = [STATUS_LINE[200]]
    for name, value in cycle.default_headers:
        lines += (name, b": ", value, b"\r\n")
    lines += (headers, b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n", body)
    cycle.transport.write(b"".join(lines))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


def protocol_with(settings: GatewaySettings) -> type[HttpToolsProtocol]:
    """The protocol class with an operator's limits."""

    class Limited(ConnectionGuard):
        limits = settings

    return Limited


class ConnectionGuard(HttpToolsProtocol):
    """httptools has no limit on a head, and uvicorn none on the time that a request takes to come."""

    limits: GatewaySettings

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._head_bytes = self._chunk = 0
        self._in_head = False
        self._coming = False  # a request that is not all here
        self._refused = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Counts the connection and gives its first request a time to come."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            transport.abort()
            return
        self._timer = self.loop.call_later(self.limits.read_seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Drops the timers too."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Reads; what has begun to come must come in time, and its head must not be too long."""
        if self._refused:
            return
        self._chunk = len(data)
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.max_head_bytes:
                self._too_long()
        if self._timer is None and not self._refused and (self._coming or not self._under_way()):
            self._timer = self.loop.call_later(self.limits.read_seconds, self._too_slow)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head = self._coming = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head has come."""
        self._in_head = False
        if self._head_bytes + self._chunk > self.limits.max_head_bytes:  # with what came of the body, so look closely
            head = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if head > self.limits.max_head_bytes:
                self._too_long()
                return
        super().on_headers_complete()
        self.scope["extensions"] = {AT_ONCE: {"cycle": self.cycle}}

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The whole request has come."""
        self._coming = False
        self._stop_timer()
        if not self._refused:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is refused in OpenAI's form too."""
        self._refuse(GatewayError(400, msg, code="invalid_http"))

    def _under_way(self) -> bool:
        return bool(self.cycle) and not self.cycle.response_complete

    def _too_slow(self) -> None:
        self._timer = None
        if self._coming:
            self._refuse(GatewayError(408, "The request did not come in time.", code="request_timeout"))
        elif not self.transport.is_closing():
            self.transport.close()

    def _too_long(self) -> None:
        limit = self.limits.max_head_bytes
        self._refuse(GatewayError(431, f"The head is over {limit} bytes, the operator's limit.", code="head_too_large"))

    def _refuse(self, fault: GatewayError) -> None:
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._stop_timer()
        if self._under_way() and self.cycle.response_started:  # it was answered before it had all come
            self.transport.close()
            return
        body = encode_json(fault.body())
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[fault.status] + head + body)
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
