"""The ASGI application: paths, request bodies, API keys. `corea.gateway.chat` answers chat requests."""

import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec
from msgspec import UNSET

from corea.cascade import new_id
from corea.gateway.apis import APIS
from corea.gateway.apis.api import Api, TranslatedResponse, native_of
from corea.gateway.apis.messages import MESSAGES
from corea.gateway.apis.messages_pages import COUNT, counted, model_page
from corea.gateway.asgi import (
    JSON_TYPE,
    Receive,
    Scope,
    Send,
    encode_json,
    find_header,
    send_error,
    send_response,
)
from corea.gateway.audit.pages import METHODS, AuditPages
from corea.gateway.billing.auth import Principal
from corea.gateway.chat.reply import header_text
from corea.gateway.chat.request import ChatRequest, chat_request, parse_chat, read_json
from corea.gateway.chat.request_state import CLIENT_CLOSED_REQUEST
from corea.gateway.chat.routing import ModelRoute, is_alias
from corea.gateway.chat.service import ChatService
from corea.gateway.errors import GatewayError, bad_field, unexpected, unsupported
from corea.gateway.ops.logs import REQUEST_ID, log_access
from corea.gateway.ops.openapi import HealthObject, ModelList, ModelObject, openapi_document
from corea.gateway.ops.policies import apply_policies, may_ask_directly, policies_of
from corea.gateway.ops.settings import GatewaySettings
from corea.gateway.server.access import ADMIN, CHAT, MODELS, check_local, cors_headers, known_path, preflight_headers
from corea.gateway.server.admin import NO_STORE, AdminApi
from corea.gateway.server.body import ClientDisconnected, read_body, with_field
from corea.gateway.server.connection import guard_of

if TYPE_CHECKING:
    from corea.gateway.ops.tracing import Tracing

Hook = Callable[[], Awaitable[None]]
PAGES = (MODELS, "/healthz", "/readyz", "/metrics", "/openapi.json")
SESSION_HEADERS = (  # Codex: one of a thread (a conversation) and of a session, by its versions
    b"x-corea-session", b"x-session-id", b"thread-id", b"thread_id", b"session-id", b"session_id",
    b"x-claude-code-session-id",
)  # fmt: skip
LONGEST_NAME, MOST_NAMES = 80, 50  # of dropped fields, some of which the client has named
PROMETHEUS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


async def _none_unavailable() -> Mapping[str, str]:
    return {}


@dataclass(slots=True)
class GatewayApp:
    """The application.

    Args:
        chat: Replaced as a whole when the configuration is reloaded.
        metrics: Body of /metrics.
        refused: Called for every chat request that is not admitted.
        starts: Awaited before the first request.
        stops: Awaited after the last.
        unavailable: The last stages that cannot answer now, each with the reason.
        admin: Manages the keys.
        tracing: Makes spans of the requests.
        audit: The paths of the audit; None: they are not served.
        local_only: True while there are no keys, so that only programs on this machine may ask.
    """

    chat: ChatService
    metrics: Callable[[], bytes | Awaitable[bytes]] = lambda: b""
    refused: Callable[[GatewayError], None] = lambda error: None
    starts: list[Hook] = field(default_factory=list[Hook])
    stops: list[Hook] = field(default_factory=list[Hook])
    audit: AuditPages | None = None
    local_only: Callable[[], bool] = lambda: False
    unavailable: Callable[[], Awaitable[Mapping[str, str]]] = _none_unavailable
    admin: AdminApi | None = None
    tracing: "Tracing | None" = None
    ready: bool = False
    draining: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        guard = guard_of(scope)
        if guard is not None:
            guard.answering += 1
        response = _Response(scope, self.chat.settings, send)
        REQUEST_ID.set(response.request_id)
        began = time.perf_counter()
        try:
            await self._route(scope, receive, response)
        except GatewayError as error:
            await response.refuse(error)
        except ClientDisconnected:
            return
        except Exception as cause:
            await response.refuse(unexpected(cause))
        finally:
            if guard is not None:
                guard.answering -= 1
            if self.chat.settings.logs.access:
                seconds, client = time.perf_counter() - began, (scope.get("client") or (None,))[0]
                log_access(scope["method"], scope["path"], response.status, seconds, client)

    async def _route(self, scope: Scope, receive: Receive, response: "_Response") -> None:
        preflight = preflight_headers(scope)
        if preflight is not None and cors_headers(scope, self.chat.settings)[1:]:
            await send_response(response, b"", status=204, headers=preflight)
            return
        path, model = known_path(scope["path"])
        api = APIS.get(path)
        anthropic = path == COUNT or (path != CHAT and find_header(scope, b"anthropic-version") is not None)
        response.api = api or (MESSAGES if anthropic else None)
        if self.local_only():
            check_local(scope, self.chat.settings)
        if (path == CHAT or api is not None) and scope["method"] == "POST":
            tracing = self.tracing
            with nullcontext() if tracing is None else tracing.request(scope, path, lambda: response.status):
                await self._chat(scope, receive, response, model)
        elif path == COUNT and scope["method"] == "POST":
            await self._count(scope, receive, response)
        elif path.startswith(ADMIN) and self.admin is not None:
            status, body = await self.admin(scope, receive, path, secret_of(scope), self.chat.settings)
            await send_response(response, body, status=status, headers=NO_STORE)
        elif self.audit is not None and path in METHODS:
            principal = self.chat.accounts.identify(secret_of(scope))
            await self.chat.accounts.count(principal)
            await self.audit.answer(path, scope, receive, response, principal)
        else:
            await self._page(scope, path, response)

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

    async def _chat(self, scope: Scope, receive: Receive, response: "_Response", model: str | None) -> None:
        """Answers a chat request.

        Args:
            model: That the path names; it overrules the body's.

        Raises:
            GatewayError: It is not answered, and nothing has been sent.
        """
        chat = self.chat  # the same one to the end, even if the configuration is reloaded meanwhile
        try:
            if scope["query_string"] and "stage" in parse_qs(scope["query_string"].decode("latin-1")):
                raise unsupported("stage", "it is not a query parameter; use the corea object of the body")
            body, send = await read_body(scope, receive, chat.settings), response
            secret = secret_of(scope)
            principal = chat.accounts.identify(secret)
            body = body if model is None else with_field(body, "model", model)
            if response.api is None:
                request = parse_chat(body)
            else:
                request, send = self._translated(scope, response.api, body, response, principal)
            request = _in_session(scope, request)
            request = self._permitted(request, principal, response)
            state = await chat.admit(request, secret, response.request_id)
        except GatewayError as error:
            self.refused(error)
            raise
        if state.plan.question.native is not None:
            *earlier, last = state.plan.cascade.stages
            response.untranslated, response.native_stage = response.untranslated if earlier else (), last.name
        if request.body.stream:
            await chat.stream(state, lambda: _disconnected(receive), send)
        else:
            answer, headers = await chat.answer(state, lambda: _disconnected(receive))
            await send_response(send, answer, headers=headers)

    def _translated(
        self, scope: Scope, api: Api, body: bytes, response: "_Response", principal: Principal
    ) -> tuple[ChatRequest, TranslatedResponse]:
        """The chat request for one of another API, and the `send` that translates its answer.

        Raises:
            GatewayError: It cannot be translated, or its model is unknown.
        """
        fields = read_json(body)
        model = fields.get("model")
        if not isinstance(model, str) or not model:
            raise bad_field("model", model, "the name of a model; GET /v1/models lists them")
        last = self._find(principal, model).cascade.stages[-1].backend
        found = api.translate(fields, cache_control=getattr(last, "cache_control", False))
        if "model" in found.only and api.name not in getattr(last, "apis", ()):
            message = f"model: {model[:80]!r} has no {api.path} here: {found.only['model']}."
            raise GatewayError(404, message, code="model_not_found", param="model")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        request = msgspec.structs.replace(chat_request(found.chat), native=native_of(api, fields, headers, found.only))
        response.untranslated = found.dropped
        return request, TranslatedResponse(api, found.answers, response, response.request_id)

    async def _count(self, scope: Scope, receive: Receive, response: "_Response") -> None:
        """Answers a request for the number of tokens of a Messages request: it costs nothing, and asks no model.

        Raises:
            GatewayError: It is not answered.
        """
        body = await read_body(scope, receive, self.chat.settings)
        principal = self.chat.accounts.identify(secret_of(scope))
        request, _ = self._translated(scope, MESSAGES, with_field(body, "max_tokens", 1), response, principal)
        route = self._find(principal, request.body.model)
        if not self._may_use(principal, request.body.model, route):
            raise _not_allowed(request.body.model)
        await self.chat.accounts.count(principal)
        count = await counted(request, route.cascade.stages[-1].backend)
        headers = [] if count.exact else [("x-corea-estimated", "true")]
        await send_response(response, encode_json({"input_tokens": count.tokens}), headers=headers)

    def _permitted(self, request: ChatRequest, principal: Principal, response: "_Response") -> ChatRequest:
        """The request as the operator's policies permit it.

        Raises:
            GatewayError: It is not permitted.
        """
        settings = self.chat.settings
        if not settings.policies and principal.id is None:
            return request
        route = self._find(principal, request.body.model)
        policies = policies_of(settings.policies, route.name, principal.policy)
        direct = route.direct and not self._chosen(request.body.model)
        if (direct or request.controls.stage is not None) and not may_ask_directly(policies):
            message = f"model: a stage of {route.name!r} cannot be asked directly here."
            raise GatewayError(403, message, "permission_error", "model_not_allowed", "model")
        stages = route.cascade.stages
        request, dropped = apply_policies(
            policies, request, stages, has_key=principal.id is not None, has_budget=principal.has_budget
        )
        response.dropped = dropped
        return request

    async def _page(self, scope: Scope, path: str, send: "_Response") -> None:
        """Answers a request to any other path."""
        method = scope["method"]
        model = path.removeprefix(f"{MODELS}/") if path.startswith(f"{MODELS}/") else None
        asked = path in (CHAT, COUNT, *APIS)
        if path not in PAGES and not asked and not model:
            raise _not_served(404, method, path)
        if method not in ("GET", "HEAD") or asked:
            raise _not_served(405, method, path)
        status, content_type = 200, JSON_TYPE
        if path == "/healthz":
            body = encode_json(HealthObject("ok"))
        elif path == "/readyz":
            state = "draining" if self.draining else "ready" if self.ready else "starting"
            deep = "deep" in parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            failed = await self.unavailable() if deep and state == "ready" else {}
            state = "unavailable" if failed else state
            found = HealthObject(state, dict(failed) or UNSET, sorted(self.chat.alarms) or UNSET)
            status, body = 200 if state == "ready" else 503, encode_json(found)
        elif path == "/metrics":
            text, content_type = self.metrics(), PROMETHEUS_TYPE
            body = text if isinstance(text, bytes) else await text
        elif path == "/openapi.json":
            body = encode_json(openapi_document([*APIS, COUNT], audit=self.audit is not None))
        else:
            found = self._models(scope) if model is None else self._model(scope, model)
            body = encode_json(found if send.api is None else model_page(found))
        await send_response(send, body, status=status, content_type=content_type)

    def _models(self, scope: Scope) -> ModelList:
        principal, routes = self.chat.accounts.identify(secret_of(scope)), self.chat.routes
        names = [name for name in routes.names() if self._may_use(principal, name, routes.find(name))]
        return ModelList([ModelObject(name, int(time.time())) for name in names])

    def _model(self, scope: Scope, name: str) -> ModelObject:
        principal = self.chat.accounts.identify(secret_of(scope))
        if not self._may_use(principal, name, self._find(principal, name)):
            raise _not_allowed(name)
        return ModelObject(name, int(time.time()))

    def _find(self, principal: Principal, model: str) -> ModelRoute:
        """The route of a model name; the error lists only names that the principal may use."""
        return self.chat.routes.find(model, lambda name, route: self._may_use(principal, name, route))

    def _may_use(self, principal: Principal, model: str, route: ModelRoute) -> bool:
        """True if a principal may ask this model."""
        settings = self.chat.settings
        if not principal.may_use(route.name):
            return False
        if not route.direct or self._chosen(model):
            return True
        return may_ask_directly(policies_of(settings.policies, route.name, principal.policy))

    def _chosen(self, model: str) -> bool:
        """True for a name that the operator gave a stage, unlike "corea/0"."""
        settings = self.chat.settings
        return model in settings.passthrough or is_alias(settings.aliases, model)


@dataclass(slots=True)
class _Response:
    """ASGI's `send`, which adds the headers that every response has.

    Args:
        api: The API of the request; None for chat completions and pages.
        dropped: Request fields that the policies dropped.
        untranslated: Request fields of the API that a chat request cannot carry.
        native_stage: The stage that is sent the client's own request, with these fields.
    """

    scope: Scope
    settings: GatewaySettings
    send: Send
    api: Api | None = None
    dropped: Sequence[str] = ()
    untranslated: Sequence[str] = ()
    native_stage: str | None = None
    status: int = CLIENT_CLOSED_REQUEST  # until a response begins
    request_id: str = field(default_factory=new_id)

    async def refuse(self, error: GatewayError) -> None:
        """Sends an error in the form of the request's API."""
        api, body = self.api, error.body()
        await send_error(self, error, api and api.error(body["error"], error.status, self.request_id))

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], *self._added(message["headers"])]
        await self.send(message)

    def _added(self, own: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        request_id = self.request_id.encode()
        added = [(b"x-request-id", request_id)]
        if self.api is not None:
            added.append((b"request-id", request_id))
        if self.dropped or self.untranslated:
            native = self.native_stage is not None and (b"x-corea-stage", _header(self.native_stage)) in own
            names = self.dropped if native else (*self.dropped, *self.untranslated)
            if dropped := sorted({header_text(name[:LONGEST_NAME]) for name in names}):
                added.append((b"x-corea-dropped", ", ".join(dropped[:MOST_NAMES]).encode()))
        added += [(name.encode(), value.encode("latin-1")) for name, value in cors_headers(self.scope, self.settings)]
        return added


def _header(name: str) -> bytes:
    return header_text(name).encode()


def _in_session(scope: Scope, request: ChatRequest) -> ChatRequest:
    """The request with the session that its headers name."""
    if request.controls.session is not None:
        return request
    named = {name: value for name, value in scope["headers"] if name in SESSION_HEADERS}
    if not named:
        return request
    value = next(named[name] for name in SESSION_HEADERS if name in named)
    controls = msgspec.structs.replace(request.controls, session=value.decode("latin-1"))
    return msgspec.structs.replace(request, body=msgspec.structs.replace(request.body, corea=controls))


def secret_of(scope: Scope) -> str | None:
    """The API key of a request, as OpenAI's, Azure's or Anthropic's clients send it."""
    scheme, _, secret = (find_header(scope, b"authorization") or b"").partition(b" ")
    if scheme.lower() == b"bearer" and (secret := secret.strip()):
        return secret.decode("latin-1")
    key = find_header(scope, b"api-key") or find_header(scope, b"x-api-key") or b""
    return key.decode("latin-1") or None


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _not_allowed(model: str) -> GatewayError:
    message = f"model: this key may not use {model[:80]!r}."
    return GatewayError(403, message, "permission_error", "model_not_allowed")


def _not_served(status: int, method: str, path: str) -> GatewayError:
    message = f"{method} {path[:80]}: only POST {', '.join([CHAT, *APIS])} and GET {', '.join(PAGES)} are served."
    headers = (("allow", "POST" if path in (CHAT, COUNT, *APIS) else "GET, HEAD"),) if status == 405 else ()
    return GatewayError(status, message, code="method_not_allowed" if status == 405 else "not_found", headers=headers)
