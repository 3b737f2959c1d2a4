"""Answers chat requests: admission, routing, the cascade, booking, and the answer whole or as a stream."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from corea.call_observer import observer
from corea.errors import ConfigError
from corea.gateway.asgi import Headers, Send
from corea.gateway.billing.auth import Accounts
from corea.gateway.chat.cancellation import Cancellation, CancelReason
from corea.gateway.chat.reply import completion_of, headers_of, other_fields, shown_text, total_usage
from corea.gateway.chat.request import ChatRequest
from corea.gateway.chat.request_state import CLIENT_CLOSED_REQUEST, CompletedRequest, Recorder, RequestState
from corea.gateway.chat.routing import RoutingTable
from corea.gateway.chat.stream import EventStream, Heartbeat
from corea.gateway.errors import GatewayError, unexpected, upstream_error
from corea.gateway.ops.affinity import SessionAffinity
from corea.gateway.ops.cache import AnswerCache
from corea.gateway.ops.logs import KIND, REQUEST_ID
from corea.gateway.ops.settings import GatewaySettings, OnAlarm
from corea.types import Status, Trace, Usage, replace

log: logging.Logger = logging.getLogger("corea.gateway")
Disconnected = Callable[[], Awaitable[object]]


@dataclass(slots=True)
class ChatService:
    """Answers `POST /v1/chat/completions`. A request is `admit`ted, then `answer`ed or `stream`ed, once.

    Args:
        record: Called with every completed request; must not block.
        alarms: Cascades with an alarm of their audit.
        running: Requests between their admission and their end.
    """

    routes: RoutingTable
    settings: GatewaySettings
    accounts: Accounts
    record: Recorder = lambda completed: None
    affinity: SessionAffinity = field(default_factory=SessionAffinity)
    cache: AnswerCache | None = None
    alarms: Mapping[str, OnAlarm] = field(default_factory=dict[str, OnAlarm])
    running: int = 0

    async def admit(self, request: ChatRequest, secret: str | None, request_id: str | None = None) -> RequestState:
        """Routes a request and admits it.

        Args:
            request_id: The id of its trace, too; None is a new one.

        Raises:
            GatewayError: It is not possible, not allowed, or one too many.
        """
        if self.running >= self.settings.limits.max_concurrency:
            message, retry = "Too many requests at once; try again.", (("retry-after", "1"),)
            raise GatewayError(429, message, "rate_limit_error", "overloaded", headers=retry)
        self.running += 1
        try:
            principal = self.accounts.identify(secret)  # first of all: without a key, nothing else is revealed
            turns = self.affinity.turns(request, principal.id) if self.settings.sticky_turns else 0
            alarm = self.alarms.get(self.routes.find(request.body.model).name) if self.alarms else None
            plan = self.routes.plan(request, sticky=turns > 0, question_id=request_id, alarm=alarm)
            REQUEST_ID.set(plan.question.id)
            admission = await self.accounts.admit(principal, plan)
        except BaseException:
            self.running -= 1
            raise
        return RequestState(request, plan, admission, sticky_turns=turns)

    async def answer(self, state: RequestState, disconnected: Disconnected) -> tuple[bytes, Headers]:
        """A whole answer: its body and headers.

        Args:
            disconnected: Waits until the client disconnects; the upstream work is then cancelled.

        Raises:
            GatewayError: No stage could answer, or it took too long.
        """
        try:
            trace, error = await self._run(state, None, disconnected)
            await self._book(state, trace, error)
            if error is not None:
                raise error
            return completion_of(state, trace), headers_of(state, trace)
        finally:
            await self._close(state)

    async def stream(self, state: RequestState, disconnected: Disconnected, send: Send) -> None:
        """Sends a streamed answer: first its headers, then server-sent events.

        The headers wait for the first text or the first comment, whichever comes first, so that they can name the
        answering stage. When the client disconnects the upstream work is cancelled, and its use until then booked.

        Raises:
            GatewayError: Before the headers only; later failures are an event of the stream.
        """
        events = EventStream(state, send)
        try:
            with Heartbeat(events, self.settings.timeouts.keep_alive_seconds):
                trace, error = await self._run(state, events, disconnected)
            await self._book(state, trace, error)
            await events.end(trace, error)
        finally:
            await self._close(state)

    async def _run(
        self, state: RequestState, events: EventStream | None, disconnected: Disconnected
    ) -> tuple[Trace, GatewayError | None]:
        """The trace of a request, complete or interrupted, and the error response if there is no answer."""
        limit = self.settings.timeouts.request_seconds
        cancellation = Cancellation(disconnected, limit)
        try:
            with cancellation:
                trace = await self._ask(state, events)
                return trace, upstream_error(trace) if trace.status is Status.FAILED else None
        except asyncio.CancelledError:  # from outside: the time for draining is over
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()  # it still has to be booked, and the client informed
            error = _stopping()
        except ConfigError as cause:  # such as a missing key
            log.error("%s", cause, extra={KIND: ("config", str(cause))})
            message = "A model behind this server is not set up."
            error = GatewayError(502, message, "api_error", "upstream_not_configured")
        except Exception as cause:  # a bug, here or in a plug-in, ends this request alone
            error = unexpected(cause)
        else:
            if cancellation.reason is CancelReason.DISCONNECTED:
                message = "The client disconnected."
                error = GatewayError(CLIENT_CLOSED_REQUEST, message, "api_error", "client_closed_request")
            else:
                message = f"No answer within {limit:g} s, the operator's limit."
                error = GatewayError(504, message, "api_error", "request_timeout")
        return state.interrupted(error.message), error

    async def _ask(self, state: RequestState, events: EventStream | None) -> Trace:
        cache = self.cache
        key = cache.key(state.request, state.plan, state.admission.key_id) if cache is not None else None
        if cache is None or key is None:
            return await self._ask_cascade(state, events)
        async with cache.turn(key):
            if (hit := cache.get(key)) is None:
                trace = await self._ask_cascade(state, events)
                cache.put(key, trace)
                return trace
        state.cached = True
        state.steps.extend(hit.steps)
        if events is not None:
            await events.text(hit.text or "")
        return replace(hit, question_id=state.plan.question.id, trace_id=state.plan.question.id)

    async def _ask_cascade(self, state: RequestState, events: EventStream | None) -> Trace:
        plan, watching, on_step = state.plan, observer.get(), state.steps.append
        if watching is not None:
            on_step = watching.follow(plan, on_step)
        return await plan.cascade.ask(
            plan.question,
            on_text=events.text if events else None,
            on_part=events.part if events else None,
            on_step=on_step,
            on_keep=state.keep,
            trace_id=plan.question.id,
        )

    async def _close(self, state: RequestState) -> None:
        """Ends a request; one that was interrupted is booked first, and counts as running until then."""
        try:
            if not state.ended:
                error = _stopping()
                await self._book(state, state.interrupted(error.message), error)
        finally:
            self.running -= 1

    async def _book(self, state: RequestState, trace: Trace, error: GatewayError | None) -> None:
        """Books the cost of a request, once; only then may its answer be sent."""
        state.ended = True
        usage = total_usage(trace)
        self._keep_session(state, trace)
        try:
            await self.accounts.settle(state.admission, cost_usd=trace.cost_usd, tokens=usage.total_tokens)
        finally:  # also if the server stops meanwhile: the settlement is on its way all the same
            self._record(state, trace, error, usage)

    def _keep_session(self, state: RequestState, trace: Trace) -> None:
        """Before the settlement, which informs other replicas; so before the client can ask again."""
        turns = self.settings.sticky_turns if trace.deferred else state.sticky_turns - 1
        if self.settings.sticky_turns and turns >= 0 and trace.text is not None and not state.cached:
            calls = other_fields(trace).get("tool_calls")
            self.affinity.keep(state.request, state.admission.key_id, turns, shown_text(state, trace), calls)

    def _record(self, state: RequestState, trace: Trace, error: GatewayError | None, usage: Usage) -> None:
        seconds = time.perf_counter() - state.began
        self.record(CompletedRequest(state=state, trace=trace, error=error, usage=usage, seconds=seconds))


def _stopping() -> GatewayError:
    return GatewayError(503, "The server is stopping.", "api_error", "stopping")
