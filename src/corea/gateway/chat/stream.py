"""The events of a streamed answer, and what keeps its connection alive meanwhile."""

import asyncio
import time
from typing import Protocol

from corea.gateway.chat.reply import (
    SSE_COMMENT,
    SSE_DONE,
    Headers,
    answering_completion,
    chunk_object,
    corea_object,
    finish_reason,
    headers_of,
    sse,
    usage_object,
)
from corea.gateway.chat.request import JSON
from corea.gateway.chat.request_state import RequestState
from corea.gateway.chat.tag_filter import TagFilter
from corea.gateway.errors import GatewayError
from corea.types import Trace


class EventSink(Protocol):
    """Where the events of a stream go: to the client, in the end."""

    async def open(self, headers: Headers) -> None:
        """Sends status 200 and the headers; before it, the answer may still become an error."""
        ...

    async def send(self, events: bytes) -> None:
        """Sends events; waits while the client is slow."""
        ...


class Heartbeat:
    """Sends a comment whenever a stream has been silent for so long. Costs one timer, however many events there are."""

    def __init__(self, events: "EventStream", seconds: float) -> None:
        self.events = events
        self.seconds = seconds
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.sending: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        self.timer: asyncio.TimerHandle = self.loop.call_later(self.seconds, self._look)

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


class EventStream:
    """The events of one stream, in the order that OpenAI's clients expect them."""

    def __init__(self, progress: RequestState, out: EventSink) -> None:
        self.progress = progress
        self.out = out
        self.visible: TagFilter = TagFilter()
        self.opened: bool = False  # the headers are out
        self.greeted: bool = False  # the first chunk, with the role, is out
        self.created: int = int(time.time())
        self.sent_at: float = time.monotonic()
        self.sending: asyncio.Lock = asyncio.Lock()  # a comment may want to go out while text does

    async def comment(self) -> None:
        """Keeps the connection alive."""
        await self._send(SSE_COMMENT, None)

    async def text(self, piece: str) -> None:
        """Sends a piece of the answer."""
        self.progress.add_text(piece)
        shown = piece if self.progress.plan.raw else self.visible.feed(piece)
        if shown:
            await self._send(self._greeting() + self._chunk({"content": shown}), None)

    async def end(self, trace: Trace, fault: GatewayError | None) -> None:
        """Sends what is still to be said.

        Raises:
            GatewayError: There is no answer, and nothing has been sent.
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
