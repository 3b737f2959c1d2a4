"""The ASGI application: routes, bodies, headers. `corea.gateway.chat` answers chat requests."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from corea.gateway.chat.reply import Headers
from corea.gateway.chat.request import JSON, encode_json, parse_chat
from corea.gateway.chat.service import ChatService
from corea.gateway.errors import GatewayError, unsupported
from corea.gateway.ops.openapi import openapi_document
from corea.gateway.ops.settings import GatewaySettings
from corea.gateway.server.connection import CLOSE, guard_of, late

log: logging.Logger = logging.getLogger("corea.gateway")
Hook = Callable[[], Awaitable[None]]
CHAT = "/v1/chat/completions"
EVENT_STREAM = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would buffer the events
]


@dataclass(slots=True)
class Gateway:
    """State of the application; `chat` is replaced as a whole when the configuration is reloaded.

    Args:
        metrics: Body of /metrics.
        refused: Called for every request that is not admitted.
        starts: Awaited before the first request.
        stops: Awaited after the last.
    """

    chat: ChatService
    metrics: Callable[[], bytes] = lambda: b""
    refused: Callable[[GatewayError], None] = lambda error: None
    starts: list[Hook] = field(default_factory=list[Hook])
    stops: list[Hook] = field(default_factory=list[Hook])
    ready: bool = False
    draining: bool = False


class ClientDisconnected(Exception):
    """The client disconnected before its request had arrived."""


@dataclass(slots=True)
class GatewayApp:
    """ASGI application: chat requests past Starlette, whose layers cost more than our own work; the rest through it."""

    gateway: Gateway
    others: Starlette

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        guard = guard_of(scope)
        if guard is None:
            await self._dispatch(scope, receive, send)
            return
        guard.answering += 1
        try:
            await self._dispatch(scope, receive, send)
        finally:
            guard.answering -= 1

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != CHAT or scope["method"] != "POST":
            await self.others(scope, receive, send)
            return
        try:
            await chat_completions(self.gateway, scope, receive, send)
        except GatewayError as error:
            await _send_error(send, error)
        except ClientDisconnected:
            return
        except Exception:
            await _send_error(send, _internal_error())


def make_app(gateway: Gateway) -> GatewayApp:
    """The application of a gateway."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        for start in gateway.starts:
            await start()
        gateway.ready = True
        yield
        gateway.ready = False
        for stop in gateway.stops:
            await stop()

    async def models(request: Request) -> Response:
        principal, routes = gateway.chat.accounts.identify(secret_of(request.scope)), gateway.chat.routes
        names = [name for name in routes.names() if principal.may_use(routes.find(name).name)]
        return _response({"object": "list", "data": [_model(name) for name in names]})

    async def model(request: Request) -> Response:
        principal, name = gateway.chat.accounts.identify(secret_of(request.scope)), request.path_params["name"]
        if not principal.may_use(gateway.chat.routes.find(name).name):
            message = f"model: this key may not use {name[:80]!r}."
            raise GatewayError(403, message, "permission_error", "model_not_allowed")
        return _response(_model(name))

    async def healthz(request: Request) -> Response:
        return _response({"status": "ok"})

    async def readyz(request: Request) -> Response:
        if gateway.ready and not gateway.draining:
            return _response({"status": "ready"})
        return _response({"status": "draining" if gateway.draining else "starting"}, status=503)

    async def metrics(request: Request) -> Response:
        return Response(gateway.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def openapi(request: Request) -> Response:
        return _response(openapi_document())

    async def chat(request: Request) -> Response:
        raise AssertionError("POST is answered by `GatewayApp`; this route returns 405 for other methods")

    routes = [
        Route(CHAT, chat, methods=["POST"]),
        Route("/v1/models", models, methods=["GET"]),
        Route("/v1/models/{name:path}", model, methods=["GET"]),
        Route("/healthz", healthz, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
        Route("/openapi.json", openapi, methods=["GET"]),
    ]
    handlers: dict[Any, Any] = {GatewayError: _on_error, HTTPException: _on_http_error, Exception: _on_exception}
    return GatewayApp(gateway, Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers))


async def chat_completions(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers `POST /v1/chat/completions`.

    Raises:
        GatewayError: It is not answered, and nothing has been sent.
    """
    chat = gateway.chat  # the same one to the end, even if the configuration is reloaded meanwhile
    try:
        if scope["query_string"] and "stage" in parse_qs(scope["query_string"].decode("latin-1")):
            raise unsupported("stage", "it is not a query parameter; use the corea object of the body")
        request = parse_chat(await read_body(scope, receive, chat.settings))
        state = await chat.admit(request, secret_of(scope))
    except GatewayError as error:
        gateway.refused(error)
        raise
    if request.stream:
        await chat.stream(state, lambda: _disconnected(receive), _AsgiEvents(send))
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    else:
        body, headers = await chat.answer(state, lambda: _disconnected(receive))
        await _send(send, 200, body, headers)


async def read_body(scope: Scope, receive: Receive, settings: GatewaySettings) -> bytes:
    """The whole body.

    Raises:
        GatewayError: 413, it is over `max_body_bytes`; 408, it took over `read_seconds` to arrive.
        ClientDisconnected: The client left.
    """
    limit = settings.limits.max_body_bytes
    declared = _header(scope, b"content-length") or b""
    if declared.isdigit() and int(declared) > limit:
        raise _too_long(limit)
    guard = guard_of(scope)
    if guard is not None and not guard.arriving:  # it is all here, and needs no timer
        return await _join_body(receive, limit)
    try:
        async with asyncio.timeout(settings.timeouts.read_seconds):
            return await _join_body(receive, limit)
    except TimeoutError:
        raise late() from None


async def _join_body(receive: Receive, limit: int) -> bytes:
    parts, length, more = list[bytes](), 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        part, more = message.get("body", b""), message.get("more_body", False)
        length += len(part)
        if length > limit:
            raise _too_long(limit)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def secret_of(scope: Scope) -> str | None:
    """The API key of a request, as OpenAI's or Azure's clients send it."""
    scheme, _, secret = (_header(scope, b"authorization") or b"").partition(b" ")
    if scheme.lower() == b"bearer" and (secret := secret.strip()):
        return secret.decode("latin-1")
    return (_header(scope, b"api-key") or b"").decode("latin-1") or None


def _header(scope: Scope, wanted: bytes) -> bytes | None:
    for name, value in scope["headers"]:
        if name == wanted:
            return value
    return None


@dataclass(slots=True)
class _AsgiEvents:
    """Server-sent events over ASGI."""

    asgi: Send

    async def open(self, headers: Headers) -> None:
        """Sends the head."""
        fields = [*EVENT_STREAM, *_encoded(headers)]
        await self.asgi({"type": "http.response.start", "status": 200, "headers": fields})

    async def send(self, events: bytes) -> None:
        """Sends events."""
        await self.asgi({"type": "http.response.body", "body": events, "more_body": True})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(send: Send, status: int, body: bytes, headers: Headers) -> None:
    length = (b"content-length", str(len(body)).encode())
    fields = [length, (b"content-type", b"application/json"), *_encoded(headers)]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def _send_error(send: Send, error: GatewayError) -> None:
    await _send(send, error.status, encode_json(error.body()), list(error.headers))


def _encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers]


def _response(value: JSON, *, status: int = 200, headers: Headers | None = None) -> Response:
    return Response(encode_json(value), status, dict(headers or ()), media_type="application/json")


def _model(name: str) -> JSON:
    return {"id": name, "object": "model", "created": int(time.time()), "owned_by": "corea"}


def _too_long(limit: int) -> GatewayError:
    message = f"The body is over {limit} bytes, the operator's limit."
    return GatewayError(413, message, code="body_too_large", headers=CLOSE)


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    return _response(error.body(), status=error.status, headers=list(error.headers))


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    paths = f"POST {CHAT}, GET /v1/models, /healthz, /readyz, /metrics, /openapi.json"
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code)
    message = f"{request.method} {request.url.path[:80]}: there is only {paths}."
    return await _on_error(request, GatewayError(error.status_code, message, code=code))


async def _on_exception(request: Request, error: Exception) -> Response:
    return await _on_error(request, _internal_error())


def _internal_error() -> GatewayError:
    log.exception("an error inside the gateway")
    return GatewayError(500, "An error inside the gateway.", "api_error", "internal_error")
