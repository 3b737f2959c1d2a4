"""The ASGI application: paths, request bodies, API keys. `corea.gateway.chat` answers chat requests."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from corea.gateway.asgi import JSON_TYPE, Receive, Scope, Send, encode_json, find_header, send_error, send_response
from corea.gateway.chat.request import parse_chat
from corea.gateway.chat.service import ChatService
from corea.gateway.errors import GatewayError, unsupported
from corea.gateway.ops.openapi import HealthObject, ModelList, ModelObject, openapi_document
from corea.gateway.ops.settings import GatewaySettings
from corea.gateway.server.connection import CLOSE, guard_of, late

log: logging.Logger = logging.getLogger("corea.gateway")
Hook = Callable[[], Awaitable[None]]
CHAT, MODELS = "/v1/chat/completions", "/v1/models"
PAGES = (MODELS, "/healthz", "/readyz", "/metrics", "/openapi.json")
PROMETHEUS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class ClientDisconnected(Exception):
    """The client disconnected before its request had arrived."""


@dataclass(slots=True)
class GatewayApp:
    """The application.

    Args:
        chat: Replaced as a whole when the configuration is reloaded.
        metrics: Body of /metrics.
        refused: Called for every chat request that is not admitted.
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        guard = guard_of(scope)
        if guard is not None:
            guard.answering += 1
        try:
            if scope["path"] == CHAT and scope["method"] == "POST":
                await self._chat(scope, receive, send)
            else:
                await self._page(scope, send)
        except GatewayError as error:
            await send_error(send, error)
        except ClientDisconnected:
            return
        except Exception:
            log.exception("an error inside the gateway")
            await send_error(send, GatewayError(500, "An error inside the gateway.", "api_error", "internal_error"))
        finally:
            if guard is not None:
                guard.answering -= 1

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        for start in self.starts:
            await start()
        self.ready = True
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.ready = False
        for stop in self.stops:
            await stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a chat request.

        Raises:
            GatewayError: It is not answered, and nothing has been sent.
        """
        chat = self.chat  # the same one to the end, even if the configuration is reloaded meanwhile
        try:
            if scope["query_string"] and "stage" in parse_qs(scope["query_string"].decode("latin-1")):
                raise unsupported("stage", "it is not a query parameter; use the corea object of the body")
            request = parse_chat(await read_body(scope, receive, chat.settings))
            state = await chat.admit(request, secret_of(scope))
        except GatewayError as error:
            self.refused(error)
            raise
        if request.body.stream:
            await chat.stream(state, lambda: _disconnected(receive), send)
        else:
            body, headers = await chat.answer(state, lambda: _disconnected(receive))
            await send_response(send, body, headers=headers)

    async def _page(self, scope: Scope, send: Send) -> None:
        """Answers a request to any other path."""
        path, method = scope["path"], scope["method"]
        model = path.removeprefix(f"{MODELS}/") if path.startswith(f"{MODELS}/") else None
        if path not in (CHAT, *PAGES) and not model:
            raise _not_served(404, method, path)
        if method not in ("GET", "HEAD") or path == CHAT:
            raise _not_served(405, method, path)
        status, content_type = 200, JSON_TYPE
        if path == "/healthz":
            body = encode_json(HealthObject("ok"))
        elif path == "/readyz":
            state = "draining" if self.draining else "ready" if self.ready else "starting"
            status, body = 200 if state == "ready" else 503, encode_json(HealthObject(state))
        elif path == "/metrics":
            body, content_type = self.metrics(), PROMETHEUS_TYPE
        elif path == "/openapi.json":
            body = encode_json(openapi_document())
        else:
            body = encode_json(self._models(scope) if model is None else self._model(scope, model))
        await send_response(send, body, status=status, content_type=content_type)

    def _models(self, scope: Scope) -> ModelList:
        principal, routes = self.chat.accounts.identify(secret_of(scope)), self.chat.routes
        names = [name for name in routes.names() if principal.may_use(routes.find(name).name)]
        return ModelList([ModelObject(name, int(time.time())) for name in names])

    def _model(self, scope: Scope, name: str) -> ModelObject:
        principal = self.chat.accounts.identify(secret_of(scope))
        if not principal.may_use(self.chat.routes.find(name).name):
            message = f"model: this key may not use {name[:80]!r}."
            raise GatewayError(403, message, "permission_error", "model_not_allowed")
        return ModelObject(name, int(time.time()))


async def read_body(scope: Scope, receive: Receive, settings: GatewaySettings) -> bytes:
    """The whole body.

    Raises:
        GatewayError: 413, it is over `max_body_bytes`; 408, it took over `read_seconds` to arrive.
        ClientDisconnected: The client left.
    """
    limit = settings.limits.max_body_bytes
    declared = find_header(scope, b"content-length") or b""
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
        message: Any = await receive()
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
    scheme, _, secret = (find_header(scope, b"authorization") or b"").partition(b" ")
    if scheme.lower() == b"bearer" and (secret := secret.strip()):
        return secret.decode("latin-1")
    return (find_header(scope, b"api-key") or b"").decode("latin-1") or None


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _too_long(limit: int) -> GatewayError:
    message = f"The body is over {limit} bytes, the operator's limit."
    return GatewayError(413, message, code="body_too_large", headers=CLOSE)


def _not_served(status: int, method: str, path: str) -> GatewayError:
    message = f"{method} {path[:80]}: only POST {CHAT} and GET {', '.join(PAGES)} are served."
    headers = (("allow", "POST" if path == CHAT else "GET, HEAD"),) if status == 405 else ()
    return GatewayError(status, message, code="method_not_allowed" if status == 405 else "not_found", headers=headers)
