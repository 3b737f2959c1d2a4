"""ASGI's types, and the responses that we send over it."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from corea.gateway.errors import GatewayError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[str, str]]
JSON_TYPE = "application/json"
EVENT_STREAM = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would buffer the events
]
encode_json: Callable[[Any], bytes] = msgspec.json.Encoder(decimal_format="number").encode


async def send_response(
    send: Send, body: bytes, *, status: int = 200, headers: Headers | None = None, content_type: str = JSON_TYPE
) -> None:
    """Sends a whole response."""
    fields = [
        (b"content-length", str(len(body)).encode()),
        (b"content-type", content_type.encode()),
        *_encoded(headers or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, error: GatewayError, body: Any = None) -> None:
    """Sends an error response; with another body than OpenAI's, if one is given."""
    await send_response(send, encode_json(body or error.body()), status=error.status, headers=list(error.headers))


async def open_stream(send: Send, headers: Headers) -> None:
    """Sends the head of a stream of server-sent events."""
    await send({"type": "http.response.start", "status": 200, "headers": [*EVENT_STREAM, *_encoded(headers)]})


async def send_events(send: Send, events: bytes, *, last: bool = False) -> None:
    """Sends events; waits while the client reads slowly."""
    await send({"type": "http.response.body", "body": events, "more_body": not last})


def find_header(scope: Scope, wanted: bytes) -> bytes | None:
    """A request header by its lower-case name."""
    for name, value in scope["headers"]:
        if name == wanted:
            return value
    return None


def _encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers]
