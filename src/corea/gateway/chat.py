"""Answers chat requests: plans, asks the cascade, and writes the answer whole or as a stream."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote

from corea.gateway.accounts import Accounts, OpenAccounts
from corea.gateway.cache import AnswerCache
from corea.gateway.faults import Fault, upstream_fault
from corea.gateway.plan import Routes
from corea.gateway.progress import Done, Progress, Recorder
from corea.gateway.settings import GatewaySettings
from corea.gateway.sticky import Sticky
from corea.gateway.visible import VisibleStream
from corea.gateway.watch import Cut, Lasting, Watch
from corea.gateway.wire import (
    JSON,
    SSE_COMMENT,
    SSE_DONE,
    ChatRequest,
    answering_completion,
    chunk_object,
    completion_object,
    corea_object,
    encode_json,
    first_confidence,
    sse,
    total_usage,
    usage_object,
)
from corea.reading import visible_text
from corea.stage import OnText
from corea.types import Decision, Status, Trace, Usage, replace

log = logging.getLogger("corea.gateway")
Headers = list[tuple[str, str]]
HangUp = Callable[[], Awaitable[object]]


class Outlet(Protocol):
    """Where the events of a stream go: to the client, in the end."""

    async def open(self, headers: Headers) -> None:
        """Sends status 200 and the headers; before it, the answer may still become an error."""
        ...

    async def send(self, events: bytes) -> None:
        """Sends events; waits while the client is slow."""
        ...


@dataclass(slots=True)
class Chat:
    """The machine behind `POST /v1/chat/completions`. A request is `admit`ted, then `answer`ed or `stream`ed, once.

    Args:
        record: Told of every request that ended; must not block.
        running: Requests between their admission and their end.
    """

    routes: Routes
    settings: GatewaySettings
    accounts: Accounts = field(default_factory=OpenAccounts)
    record: Recorder = lambda done: None
    sticky: Sticky = field(default_factory=Sticky)
    cache: AnswerCache | None = None
    lasting: Lasting = field(default_factory=Lasting)
    running: int = 0

    async def admit(self, request: ChatRequest, secret: str | None) -> Progress:
        """Plans a request and lets it in.

        Raises:
            Fault: It is not possible, not allowed, or too much at once.
        """
        if self.running >= self.settings.max_concurrency:
            retry = (("retry-after", "1"),)
            raise Fault(429, "Too many requests at once; try again.", "rate_limit_error", "overloaded", headers=retry)
        self.running += 1
        try:
            holder = self.accounts.identify(secret)  # before all else: who has no key learns nothing
            sticky = self.settings.sticky_turns > 0 and self.sticky.holds(self.sticky.session(request, holder.key_id))
            plan = self.routes.plan(request, sticky=sticky)
            admission = await self.accounts.admit(holder, plan)
        except BaseException:
            self.running -= 1
            raise
        return Progress(request, plan, admission)

    async def answer(self, progress: Progress, gone: HangUp) -> tuple[bytes, Headers]:
        """A whole answer: its body and headers.

        Args:
            gone: Waits until the client hangs up; the upstream work is then stopped.

        Raises:
            Fault: No stage could answer, or it took too long.
        """
        try:
            trace, fault = await self._run(progress, None, gone)
            await self._end(progress, trace, fault)
            if fault is not None:
                raise fault
            return self._body(progress, trace), headers_of(progress, trace)
        finally:
            await self._close(progress)

    async def stream(self, progress: Progress, gone: HangUp, out: Outlet) -> None:
        """Writes a streamed answer to `out`: first its headers, then server-sent events.

        The headers wait for the first text or the first keep-alive comment, whichever comes first, so that they can
        say who answers. When the client hangs up the upstream work stops, and what was used until then is counted.

        Raises:
            Fault: Before the headers only; later failures are an event of the stream.
        """
        events = _Events(progress, out)
        try:
            with _KeptAlive(events, self.settings.keep_alive_seconds):
                trace, fault = await self._run(progress, events.text, gone)
            await self._end(progress, trace, fault)
            await events.end(trace, fault)
        finally:
            await self._close(progress)

    async def _run(self, progress: Progress, on_text: OnText | None, gone: HangUp) -> tuple[Trace, Fault | None]:
        """The trace, whatever happens, and what the client is told if there is no answer."""
        trace: Trace | None = None
        watch = Watch(gone, self.settings.request_seconds, self.lasting)
        try:
            with watch:
                trace = await self._ask(progress, on_text)
        except asyncio.CancelledError:  # from outside: the time that stopping may take is over
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()  # it still has to be booked, and the client told
            fault = _stopping()
            return progress.cut_off(fault.message), fault
        except Exception:  # a bug of ours, or of a plug, ends this request alone
            log.exception("an error inside the gateway, request %s", progress.plan.question.id)
            fault = Fault(500, "An error inside the gateway.", "api_error", "internal_error")
            return progress.cut_off(fault.message), fault
        if trace is not None:
            return trace, upstream_fault(trace) if trace.status is Status.FAILED else None
        if watch.cut is Cut.GONE:
            fault = Fault(HUNG_UP, "The client hung up.", "api_error", "client_closed_request")
        else:
            limit = self.settings.request_seconds
            fault = Fault(504, f"No answer within {limit:g} s, the operator's limit.", "api_error", "request_timeout")
        return progress.cut_off(fault.message), fault

    async def _ask(self, progress: Progress, on_text: OnText | None) -> Trace:
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

    async def _close(self, progress: Progress) -> None:
        """The request is over; one that broke off is still booked, and runs until it is."""
        try:
            if not progress.ended:
                fault = _stopping()
                await self._end(progress, progress.cut_off(fault.message), fault)
        finally:
            self.running -= 1

    async def _end(self, progress: Progress, trace: Trace, fault: Fault | None) -> None:
        """Books what a request cost, once; only then may its answer go out."""
        progress.ended = True
        usage = total_usage(trace)
        try:
            await self.accounts.settle(progress.admission, cost_usd=trace.cost_usd, tokens=usage.total_tokens)
        finally:  # also where the server breaks off meanwhile: the money is on its way all the same
            self._note(progress, trace, fault, usage)

    def _note(self, progress: Progress, trace: Trace, fault: Fault | None, usage: Usage) -> None:
        if self.settings.sticky_turns and trace.deferred and not progress.cached:
            self.sticky.keep(
                self.sticky.session(progress.request, progress.admission.key_id), self.settings.sticky_turns
            )
        first = progress.first_text - progress.began if progress.first_text is not None else None
        self.record(
            Done(
                request=progress.request,
                plan=progress.plan,
                trace=trace,
                admission=progress.admission,
                seconds=time.perf_counter() - progress.began,
                first_text_seconds=first,
                hung_up=fault is not None and fault.status == HUNG_UP,
                fault=fault,
                cached=progress.cached,
                usage=usage,
            )
        )

    def _body(self, progress: Progress, trace: Trace) -> bytes:
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


def _stopping() -> Fault:
    return Fault(503, "The server is stopping.", "api_error", "stopping")


HUNG_UP = 499  # nginx's number for a client that did not wait; nobody is there to read it


class _KeptAlive:
    """Sends a comment whenever a stream has been silent for so long. Costs one timer, however many events there are."""

    def __init__(self, events: "_Events", seconds: float) -> None:
        self.events = events
        self.seconds = seconds
        self.loop = asyncio.get_running_loop()
        self.sending: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        self.timer = self.loop.call_later(self.seconds, self._look)

    def __exit__(self, *error: object) -> None:
        self.timer.cancel()
        if self.sending is not None:
            self.sending.cancel()

    def _look(self) -> None:
        silent = time.monotonic() - self.events.sent_at
        if silent >= self.seconds and (self.sending is None or self.sending.done()):
            self.sending = self.loop.create_task(self.events.comment())
            silent = 0.0
        self.timer = self.loop.call_later(max(self.seconds - silent, 0.01), self._look)


class _Events:
    """The events of one stream, in the order that OpenAI's clients expect them."""

    def __init__(self, progress: Progress, out: Outlet) -> None:
        self.progress = progress
        self.out = out
        self.visible = VisibleStream()
        self.opened = False  # the headers are out
        self.greeted = False  # the first chunk, with the role, is out
        self.created = int(time.time())
        self.sent_at = time.monotonic()
        self.sending = asyncio.Lock()  # a comment may want to go out while text does

    async def comment(self) -> None:
        """Keeps the connection alive."""
        await self._send(SSE_COMMENT, None)

    async def text(self, piece: str) -> None:
        """Sends a piece of the answer."""
        self.progress.add_text(piece)
        shown = piece if self.progress.plan.raw else self.visible.feed(piece)
        if shown:
            await self._send(self._greeting() + self._chunk({"content": shown}), None)

    async def end(self, trace: Trace, fault: Fault | None) -> None:
        """Sends what is still to be said.

        Raises:
            Fault: There is no answer, and nothing has been sent.
        """
        if fault is not None:
            if not self.opened:
                raise fault
            await self._send(sse(fault.body()) + SSE_DONE, None)
            return
        rest = "" if self.progress.plan.raw else self.visible.end()
        events = [self._greeting()]
        if rest:
            events.append(self._chunk({"content": rest}))
        completion = answering_completion(trace)
        if completion is not None and completion.raw and "tool_calls" in completion.raw:
            calls = [{"index": i, **call} for i, call in enumerate(completion.raw["tool_calls"])]
            events.append(self._chunk({"tool_calls": calls}))
        corea = corea_object(trace, threshold=self.progress.plan.threshold, cached=self.progress.cached)
        events.append(self._chunk({}, finish=finish_reason(trace), corea=corea))
        if self.progress.request.include_usage:
            last = self._object({}, usage=usage_object(trace))
            events.append(sse({**last, "choices": []}))
        await self._send(b"".join([*events, SSE_DONE]), trace)

    async def _send(self, events: bytes, trace: Trace | None) -> None:
        async with self.sending:
            self.sent_at = time.monotonic()
            if not self.opened:
                self.opened = True
                await self.out.open(headers_of(self.progress, trace))
            await self.out.send(events)

    def _greeting(self) -> bytes:
        if self.greeted:
            return b""
        self.greeted = True
        return self._chunk({"role": "assistant", "content": ""})

    def _chunk(self, delta: JSON, finish: str | None = None, **more: JSON) -> bytes:
        return sse(self._object(delta, finish, **more))

    def _object(self, delta: JSON, finish: str | None = None, **more: JSON) -> JSON:
        request, plan = self.progress.request, self.progress.plan
        if request.include_usage:
            more = {"usage": None, **more}  # pyright: ignore[reportAssignmentType]  # OpenAI sends null in all but the last
        return chunk_object(
            f"chatcmpl-{plan.question.id}", request.model, self.created, delta=delta, finish=finish, **more
        )


def headers_of(progress: Progress, trace: Trace | None) -> Headers:
    """What is known when the headers go out; the last chunk of a stream has it all."""
    plan = progress.plan
    headers: Headers = [("x-corea-trace-id", plan.question.id), ("x-corea-cascade", header_text(plan.route))]
    if progress.cached:
        headers.append(("x-corea-cached", "true"))
    stage, confidence = (trace.stage, first_confidence(trace)) if trace is not None else _so_far(progress)
    if stage is not None:
        headers.append(("x-corea-stage", header_text(stage)))
    if confidence is not None:
        headers.append(("x-corea-confidence", f"{confidence:.6g}"))
    if plan.threshold is not None:
        headers.append(("x-corea-threshold", f"{plan.threshold:.6g}"))
    if trace is not None and trace.cost_usd is not None:
        headers.append(("x-corea-cost-usd", f"{trace.cost_usd:f}"))
    if trace is not None and trace.saved_usd is not None:
        headers.append(("x-corea-saved-usd", f"{trace.saved_usd:f}"))
    return headers


def _so_far(progress: Progress) -> tuple[str | None, float | None]:
    """Who speaks, and how sure, while the answer is still being written."""
    steps, kept = progress.steps, progress.kept
    if kept is not None:
        return kept[0], kept[1].value
    confidence = next((step.confidence.value for step in reversed(steps) if step.confidence is not None), None)
    if steps and steps[-1].decision is Decision.KEEP:
        return steps[-1].stage, confidence
    # its text can only be the last stage's: nothing of a draft is ever given
    return progress.plan.cascade.stages[-1].name if progress.text else None, confidence


def header_text(text: str) -> str:
    """A name as it may stand in a header: anything but printable ASCII is percent-encoded."""
    return text if text.isascii() and text.isprintable() else quote(text)


def finish_reason(trace: Trace) -> str:
    """The answering completion's finish reason; an abstention counts as "content_filter", for want of a nearer word."""
    if trace.status is Status.ABSTAINED:
        return "content_filter"
    completion = answering_completion(trace)
    return (completion.finish_reason if completion else None) or "stop"
