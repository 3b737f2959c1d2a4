"""The ASGI application: routes, bodies, headers. What a request means is in `corea.gateway.chat.service`."""

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
from corea.gateway.server.connection import answer_at_once, body_at_once

log: logging.Logger = logging.getLogger("corea.gateway")
Hook = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Gateway:
    """What the application serves; `chat` is replaced as a whole when the configuration is read anew.

    Args:
        metrics: Gives the text of /metrics.
        refused: Told of every request that was not let in.
        starts: Awaited before the first request.
        stops: Awaited after the last.
    """

    chat: ChatService
    metrics: Callable[[], bytes] = lambda: b""
    refused: Callable[[GatewayError], None] = lambda fault: None
    starts: list[Hook] = field(default_factory=list[Hook])
    stops: list[Hook] = field(default_factory=list[Hook])
    ready: bool = False
    draining: bool = False


class GatewayApp:
    """The way of `POST /v1/chat/completions`, past Starlette's router, middleware, request and response, which together
    cost more than all that we do with a request.

    Args:
        app: Answers everything else.
    """

    def __init__(self, gateway: Gateway, app: Starlette) -> None:
        self.gateway = gateway
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/v1/chat/completions" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        try:
            await chat_completions(self.gateway, scope, receive, send)
        except GatewayError as fault:
            await _send_fault(send, fault)
        except ClientDisconnected:
            return
        except Exception:  # a bug of ours
            await _send_fault(send, _bug())


class ClientDisconnected(Exception):
    """The client hung up before its request had all come."""


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
        holder, routes = gateway.chat.accounts.identify(secret_of(request.scope)), gateway.chat.routes
        created = int(time.time())
        data = [_model(name, created) for name in routes.names() if holder.may_ask(routes.find(name).name)]
        return reply({"object": "list", "data": data})

    async def model(request: Request) -> Response:
        holder, name = gateway.chat.accounts.identify(secret_of(request.scope)), request.path_params["name"]
        if not holder.may_ask(gateway.chat.routes.find(name).name):
            raise GatewayError(
                403, f"model: this key may not ask {name[:80]!r}.", "permission_error", "model_not_allowed"
            )
        return reply(_model(name, int(time.time())))

    async def healthz(request: Request) -> Response:
        return reply({"status": "ok"})

    async def readyz(request: Request) -> Response:
        if gateway.ready and not gateway.draining:
            return reply({"status": "ready"})
        return reply({"status": "draining" if gateway.draining else "starting"}, status=503)

    async def metrics(request: Request) -> Response:
        return Response(gateway.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def openapi(request: Request) -> Response:
        return reply(openapi_document())

    routes = [
        Route("/v1/chat/completions", _only_post, methods=["POST"]),
        Route("/v1/models", models, methods=["GET"]),
        Route("/v1/models/{name:path}", model, methods=["GET"]),
        Route("/healthz", healthz, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
        Route("/openapi.json", openapi, methods=["GET"]),
    ]
    handlers: dict[Any, Any] = {GatewayError: _on_fault, HTTPException: _on_http, Exception: _on_bug}
    return GatewayApp(gateway, Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers))


async def chat_completions(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers `POST /v1/chat/completions`.

    Raises:
        GatewayError: It is not answered, and nothing has been sent.
    """
    chat = gateway.chat  # one and the same to the end, whatever is reloaded meanwhile
    try:
        if scope["query_string"] and "stage" in parse_qs(scope["query_string"].decode("latin-1")):
            raise unsupported("stage", "it is no query parameter; use the corea object of the body")
        parsed = parse_chat(await read_body(scope, receive, chat.settings.max_body_bytes))
        progress = await chat.admit(parsed, secret_of(scope))
    except GatewayError as fault:
        gateway.refused(fault)
        raise
    if parsed.stream:
        await chat.stream(progress, lambda: _client_disconnected(receive), _Out(send))
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    else:
        body, headers = await chat.answer(progress, lambda: _client_disconnected(receive))
        if not answer_at_once(scope, _head(headers, body), body):
            await _send(send, 200, body, headers)


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body; how long it may take to come is the protocol's affair.

    Raises:
        GatewayError: 413, it is over `limit` bytes.
    """
    declared = _header(scope, b"content-length") or b""
    if declared.isdigit() and int(declared) > limit:
        raise _too_long(limit)
    if (body := body_at_once(scope)) is not None:
        if len(body) > limit:
            raise _too_long(limit)
        return body
    body, more = b"", True
    parts: list[bytes] = []
    length = 0
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        body, more = message.get("body", b""), message.get("more_body", False)
        length += len(body)
        if length > limit:
            raise _too_long(limit)
        parts.append(body)
    return body if len(parts) == 1 else b"".join(parts)


def secret_of(scope: Scope) -> str | None:
    """The key that came with a request, as OpenAI's or Azure's clients send it."""
    scheme, _, secret = (_header(scope, b"authorization") or b"").partition(b" ")
    if scheme.lower() == b"bearer" and (secret := secret.strip()):
        return secret.decode("latin-1")
    return (_header(scope, b"api-key") or b"").decode("latin-1") or None


def _header(scope: Scope, wanted: bytes) -> bytes | None:
    for name, value in scope["headers"]:
        if name == wanted:
            return value
    return None


def reply(value: JSON, *, status: int = 200, headers: Headers | None = None) -> Response:
    """A JSON response."""
    return Response(encode_json(value), status, dict(headers or ()), media_type="application/json")


def _head(headers: Headers, body: bytes) -> bytes:
    own = "".join([f"{name}: {value}\r\n" for name, value in headers])
    return f"content-length: {len(body)}\r\ncontent-type: application/json\r\n{own}".encode()


async def _send(send: Send, status: int, body: bytes, headers: Headers) -> None:
    """A JSON response, without Starlette."""
    fields = [
        (b"content-length", str(len(body)).encode()),
        (b"content-type", b"application/json"),
        *_encoded(headers),
    ]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def _send_fault(send: Send, fault: GatewayError) -> None:
    await _send(send, fault.status, encode_json(fault.body()), list(fault.headers))


def _encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers]


@dataclass(slots=True)
class _Out:
    """Server-sent events over ASGI."""

    asgi: Send

    async def open(self, headers: Headers) -> None:
        """Sends the head."""
        fields = [*EVENT_STREAM, *_encoded(headers)]
        await self.asgi({"type": "http.response.start", "status": 200, "headers": fields})

    async def send(self, events: bytes) -> None:
        """Sends events."""
        await self.asgi({"type": "http.response.body", "body": events, "more_body": True})


EVENT_STREAM = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would hold the events back
]


async def _only_post(request: Request) -> Response:
    raise AssertionError("POST is taken by `GatewayApp`; this route is there to say 405 to the rest")


async def _client_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _model(name: str, created: int) -> JSON:
    return {"id": name, "object": "model", "created": created, "owned_by": "corea"}


def _too_long(limit: int) -> GatewayError:
    return GatewayError(413, f"The body is over {limit} bytes, the operator's limit.", code="body_too_large")


async def _on_fault(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, GatewayError)
    return reply(fault.body(), status=fault.status, headers=list(fault.headers))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = "POST /v1/chat/completions, GET /v1/models, /healthz, /readyz, /metrics, /openapi.json"
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code)
    fault = GatewayError(error.status_code, f"{request.method} {request.url.path[:80]}: there is {known}.", code=code)
    return reply(fault.body(), status=fault.status, headers=list((error.headers or {}).items()))


async def _on_bug(request: Request, error: Exception) -> Response:
    return reply(_bug().body(), status=500)


def _bug() -> GatewayError:
    log.exception("an error inside the gateway")
    return GatewayError(500, "An error inside the gateway.", "api_error", "internal_error")
