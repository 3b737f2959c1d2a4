"""The body of a request: its arrival, its length, its compression."""

import asyncio
import zlib
from typing import Any

import msgspec

from corea.gateway.asgi import Receive, Scope, encode_json, find_header
from corea.gateway.errors import GatewayError
from corea.gateway.ops.settings import GatewaySettings
from corea.gateway.server.connection import CLOSE, guard_of, late

WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # zlib's wbits: 16 + 15 is gzip's header
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class ClientDisconnected(Exception):
    """The client disconnected before its request had arrived."""


async def read_body(scope: Scope, receive: Receive, settings: GatewaySettings) -> bytes:
    """The whole body, inflated.

    Raises:
        GatewayError: 413, it is over `max_body_bytes`; 408, it took over `read_seconds` to arrive; 415, its
            compression is not known; 400, it cannot be inflated.
        ClientDisconnected: The client left.
    """
    limit = settings.limits.max_body_bytes
    declared = find_header(scope, b"content-length") or b""
    if declared.isdigit() and int(declared) > limit:
        raise _too_long(limit)
    guard = guard_of(scope)
    if guard is not None and not guard.arriving:  # it is all here, and needs no timer
        body = await _join_body(receive, limit)
    else:
        try:
            async with asyncio.timeout(settings.timeouts.read_seconds):
                body = await _join_body(receive, limit)
        except TimeoutError:
            raise late() from None
    encoding = find_header(scope, b"content-encoding")
    return body if encoding is None else _inflated(body, encoding.decode("latin-1").strip().lower(), limit)


def with_field(body: bytes, name: str, value: Any) -> bytes:
    """The body with another value of a field; all others as they came. A body that is not an object is unchanged."""
    try:
        return encode_json({**_fields(body), name: value})
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body


async def _join_body(receive: Receive, limit: int) -> bytes:
    parts, length, more = list[bytes](), 0, True
    while more:
        message: Any = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        part, more = message.get("body", b""), message.get("more_body", False)
        length += len(part)
        if length > limit:
            raise _too_long(limit)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _inflated(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its compression; never more than the limit is inflated."""
    if encoding == "identity":
        return body
    if encoding not in WINDOWS:
        message = f"Content-Encoding: got {encoding[:80]!r}, expected gzip, deflate or none."
        raise GatewayError(415, message, code="unsupported_encoding")
    inflating = zlib.decompressobj(WINDOWS[encoding])
    try:
        inflated = inflating.decompress(body, limit + 1)
    except zlib.error as error:
        raise GatewayError(400, f"The body is not {encoding} ({error}).", code="invalid_encoding") from error
    if len(inflated) > limit:
        raise _too_long(limit)
    if not inflating.eof or inflating.unused_data:
        raise GatewayError(400, f"The body is not one whole {encoding} stream.", code="invalid_encoding")
    return inflated


def _too_long(limit: int) -> GatewayError:
    message = f"The body is over {limit} bytes, the operator's limit."
    return GatewayError(413, message, code="body_too_large", headers=CLOSE)
