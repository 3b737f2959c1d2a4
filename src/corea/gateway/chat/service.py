"""Answers chat requests: plans, asks the cascade, and writes the answer whole or as a stream."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from corea.errors import ConfigError
from corea.gateway.billing.auth import Accounts, OpenAccounts
from corea.gateway.chat.cancellation import Cancellation, CancelReason, DeadlineTimer
from corea.gateway.chat.reply import Headers, completion_object, corea_object, finish_reason, headers_of, total_usage
from corea.gateway.chat.request import ChatRequest, encode_json
from corea.gateway.chat.request_state import CompletedRequest, Recorder, RequestState
from corea.gateway.chat.routing import RoutingTable
from corea.gateway.chat.stream import EventSink, EventStream, Heartbeat
from corea.gateway.errors import GatewayError, upstream_error
from corea.gateway.ops.affinity import SessionAffinity
from corea.gateway.ops.cache import AnswerCache
from corea.gateway.ops.settings import GatewaySettings
from corea.parsing import visible_text
from corea.stage import OnText
from corea.types import Status, Trace, Usage, replace

log: logging.Logger = logging.getLogger("corea.gateway")
HangUp = Callable[[], Awaitable[object]]


@dataclass(slots=True)
class ChatService:
    """The machine behind `POST /v1/chat/completions`. A request is `admit`ted, then `answer`ed or `stream`ed, once.

    Args:
        record: Told of every request that ended; must not block.
        running: Requests between their admission and their end.
    """

    routes: RoutingTable
    settings: GatewaySettings
    accounts: Accounts = field(default_factory=OpenAccounts)
    record: Recorder = lambda done: None
    sticky: SessionAffinity = field(default_factory=SessionAffinity)
    cache: AnswerCache | None = None
    lasting: DeadlineTimer = field(default_factory=DeadlineTimer)
    running: int = 0

    async def admit(self, request: ChatRequest, secret: str | None) -> RequestState:
        """Plans a request and lets it in.

        Raises:
            GatewayError: It is not possible, not allowed, or too much at once.
        """
        if self.running >= self.settings.max_concurrency:
            retry = (("retry-after", "1"),)
            raise GatewayError(
                429, "Too many requests at once; try again.", "rate_limit_error", "overloaded", headers=retry
            )
        self.running += 1
        try:
            holder = self.accounts.identify(secret)  # before all else: who has no key learns nothing
            sticky = self.settings.sticky_turns > 0 and self.sticky.holds(self.sticky.session(request, holder.key_id))
            plan = self.routes.plan(request, sticky=sticky)
            admission = await self.accounts.admit(holder, plan)
        except BaseException:
            self.running -= 1
            raise
        return RequestState(request, plan, admission)

    async def answer(self, progress: RequestState, gone: HangUp) -> tuple[bytes, Headers]:
        """A whole answer: its body and headers.

        Args:
            gone: Waits until the client hangs up; the upstream work is then stopped.

        Raises:
            GatewayError: No stage could answer, or it took too long.
        """
        try:
            trace, fault = await self._run(progress, None, gone)
            await self._end(progress, trace, fault)
            if fault is not None:
                raise fault
            return self._body(progress, trace), headers_of(progress, trace)
        finally:
            await self._close(progress)

    async def stream(self, progress: RequestState, gone: HangUp, out: EventSink) -> None:
        """Writes a streamed answer to `out`: first its headers, then server-sent events.

        The headers wait for the first text or the first keep-alive comment, whichever comes first, so that they can
        say who answers. When the client hangs up the upstream work stops, and what was used until then is counted.

        Raises:
            GatewayError: Before the headers only; later failures are an event of the stream.
        """
        events = EventStream(progress, out)
        try:
            with Heartbeat(events, self.settings.keep_alive_seconds):
                trace, fault = await self._run(progress, events.text, gone)
            await self._end(progress, trace, fault)
            await events.end(trace, fault)
        finally:
            await self._close(progress)

    async def _run(
        self, progress: RequestState, on_text: OnText | None, gone: HangUp
    ) -> tuple[Trace, GatewayError | None]:
        """The trace, whatever happens, and what the client is told if there is no answer."""
        trace: Trace | None = None
        watch = Cancellation(gone, self.settings.request_seconds, self.lasting)
        try:
            with watch:
                trace = await self._ask(progress, on_text)
        except asyncio.CancelledError:  # from outside: the time that stopping may take is over
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()  # it still has to be booked, and the client told
            fault = _stopping()
            return progress.cut_off(fault.message), fault
        except ConfigError as error:  # such as a key that is missing
            log.error("request %s: %s", progress.plan.question.id, error)
            fault = GatewayError(
                502, "A model behind this server is not set up.", "api_error", "upstream_not_configured"
            )
            return progress.cut_off(fault.message), fault
        except Exception:  # a bug of ours, or of a plug, ends this request alone
            log.exception("an error inside the gateway, request %s", progress.plan.question.id)
            fault = GatewayError(500, "An error inside the gateway.", "api_error", "internal_error")
            return progress.cut_off(fault.message), fault
        if trace is not None:
            return trace, upstream_error(trace) if trace.status is Status.FAILED else None
        if watch.cut is CancelReason.GONE:
            fault = GatewayError(CLIENT_CLOSED_REQUEST, "The client hung up.", "api_error", "client_closed_request")
        else:
            limit = self.settings.request_seconds
            fault = GatewayError(
                504, f"No answer within {limit:g} s, the operator's limit.", "api_error", "request_timeout"
            )
        return progress.cut_off(fault.message), fault

    async def _ask(self, progress: RequestState, on_text: OnText | None) -> Trace:
        plan, cache = progress.plan, self.cache
        key = cache.key(progress.request, plan, progress.admission.key_id) if cache is not None else None
        if cache is not None and key is not None and (hit := cache.get(key)) is not None:
            progress.cached = True
            progress.steps.extend(hit.steps)
            if on_text is not None:
                await on_text(hit.text or "")
            return replace(hit, question_id=plan.question.id, trace_id=plan.question.id)
        trace = await plan.cascade.ask(
            plan.question,
            on_text=on_text,
            on_step=progress.steps.append,
            on_keep=progress.keep,
            trace_id=plan.question.id,
        )
        if cache is not None and key is not None:
            cache.put(key, trace)
        return trace

    async def _close(self, progress: RequestState) -> None:
        """The request is over; one that broke off is still booked, and runs until it is."""
        try:
            if not progress.ended:
                fault = _stopping()
                await self._end(progress, progress.cut_off(fault.message), fault)
        finally:
            self.running -= 1

    async def _end(self, progress: RequestState, trace: Trace, fault: GatewayError | None) -> None:
        """Books what a request cost, once; only then may its answer go out."""
        progress.ended = True
        usage = total_usage(trace)
        try:
            await self.accounts.settle(progress.admission, cost_usd=trace.cost_usd, tokens=usage.total_tokens)
        finally:  # also where the server breaks off meanwhile: the money is on its way all the same
            self._note(progress, trace, fault, usage)

    def _note(self, progress: RequestState, trace: Trace, fault: GatewayError | None, usage: Usage) -> None:
        if self.settings.sticky_turns and trace.deferred and not progress.cached:
            self.sticky.keep(
                self.sticky.session(progress.request, progress.admission.key_id), self.settings.sticky_turns
            )
        first = progress.first_text - progress.began if progress.first_text is not None else None
        self.record(
            CompletedRequest(
                request=progress.request,
                plan=progress.plan,
                trace=trace,
                admission=progress.admission,
                seconds=time.perf_counter() - progress.began,
                first_text_seconds=first,
                client_disconnected=fault is not None and fault.status == CLIENT_CLOSED_REQUEST,
                fault=fault,
                cached=progress.cached,
                usage=usage,
            )
        )

    def _body(self, progress: RequestState, trace: Trace) -> bytes:
        text, plan = trace.text or "", progress.plan
        return encode_json(
            completion_object(
                trace,
                model=progress.request.model,
                text=text if plan.raw else visible_text(text),
                finish=finish_reason(trace),
                corea=corea_object(trace, threshold=plan.threshold, cached=progress.cached),
            )
        )


def _stopping() -> GatewayError:
    return GatewayError(503, "The server is stopping.", "api_error", "stopping")


CLIENT_CLOSED_REQUEST = 499  # nginx's number for a client that did not wait; nobody is there to read it
