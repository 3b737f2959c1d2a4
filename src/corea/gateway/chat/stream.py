"""The server-sent events of a streamed answer, and the heartbeat of its connection."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from msgspec import UNSET, Raw

from corea.backends.openai.deltas import joined_outside
from corea.gateway.asgi import Send, open_stream, send_events
from corea.gateway.chat.reply import (
    SSE_COMMENT,
    SSE_DONE,
    ChatChunk,
    ChunkChoice,
    answering_completion,
    corea_object,
    finish_reason,
    headers_of,
    other_fields,
    split_outside,
    sse,
    stage_so_far,
    usage_of,
    with_fields,
)
from corea.gateway.chat.request import JSON
from corea.gateway.chat.request_state import RequestState
from corea.gateway.chat.visible import VisibleText
from corea.gateway.errors import GatewayError
from corea.types import StreamPart, Trace


class Heartbeat:
    """Sends a comment after `seconds` of silence. Costs one timer, however many events there are."""

    def __init__(self, events: "EventStream", seconds: float) -> None:
        self.events = events
        self.seconds = seconds
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.sending: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        self.timer: asyncio.TimerHandle = self.loop.call_later(self.seconds, self._check)

    def __exit__(self, *error: object) -> None:
        self.timer.cancel()
        if self.sending is not None:
            self.sending.cancel()

    def _check(self) -> None:
        silent = time.monotonic() - self.events.sent_at
        if silent >= self.seconds and (self.sending is None or self.sending.done()):
            self.sending = self.loop.create_task(self.events.comment())
            silent = 0.0
        self.timer = self.loop.call_later(max(self.seconds - silent, 0.01), self._check)


class EventStream:
    """The events of one stream, in the order that OpenAI's clients expect."""

    def __init__(self, state: RequestState, asgi: Send) -> None:
        self.state = state
        self.asgi = asgi
        self.view: VisibleText | None = None  # from the first text on
        self.parts: bool = False  # fields beside text were passed on as they came
        self.outside: Mapping[str, Any] | None = None  # of the last chunks, where those of the first were passed on
        self.opened: bool = False  # the headers are sent
        self.begun: bool = False  # the first chunk, with the role, is sent
        self.created: int = int(time.time())
        self.sent_at: float = time.monotonic()
        self.sending: asyncio.Lock = asyncio.Lock()  # a comment may be due while text is sent

    async def comment(self) -> None:
        """Keeps the connection alive."""
        await self._send(SSE_COMMENT)

    async def text(self, piece: str) -> None:
        """Sends a piece of the answer."""
        visible = self._visible_text().feed(piece)
        if visible:
            await self._send(self._first_chunk() + self._chunk({"content": visible}))

    async def part(self, piece: StreamPart) -> None:
        """Sends a piece of the answer with its other fields: as it came, but for the text that is not to be seen."""
        if piece.outside:
            self.outside = joined_outside(self.outside or {}, piece.outside)
        if not (piece.text or piece.fields or piece.logprobs):
            return  # its other fields come with the next chunk
        view, delta = self._visible_text(), dict(piece.fields)
        visible = view.feed(piece.text)
        if not view.unchanged:
            delta.pop("content", None)
        if visible and "content" not in delta:
            delta["content"] = visible
        self.parts = self.parts or bool(piece.fields)
        logprobs = piece.logprobs if view.unchanged and self.state.request.body.logprobs else None
        if delta or logprobs:
            await self._send(self._first_chunk() + self._chunk(delta, logprobs))

    async def end(self, trace: Trace, error: GatewayError | None) -> None:
        """Sends the rest: held-back text, tool calls, finish reason, usage; or the error.

        Raises:
            GatewayError: There is no answer, and nothing has been sent.
        """
        if error is not None:
            if not self.opened:
                raise error
            await self._send(sse(error.body()) + SSE_DONE, last=True)
            return
        view = self.view or self.state.plan.visible(trace.stage)
        events = [self._first_chunk()]
        if rest := view.end(trace.text or ""):
            events.append(self._chunk({"content": rest}))
        if not self.parts and (others := _as_delta(other_fields(trace))):
            events.append(self._chunk(others))
        finish = "stop" if view.stopped else finish_reason(trace)
        if self.outside is None:  # nothing was streamed by the upstream
            completion = answering_completion(trace)
            self.outside = completion.outside if completion is not None else None
        around, of_choice = split_outside(self.outside)
        of_choice.pop("logprobs", None)
        ended = self._object(_choices(ChunkChoice({}, finish), of_choice))
        ended.corea = corea_object(self.state, trace)
        events.append(sse(Raw(with_fields(ended, around))))
        if self.state.request.include_usage:
            last = self._object([])
            last.usage = usage_of(trace)
            events.append(sse(Raw(with_fields(last, around))))
        await self._send(b"".join([*events, SSE_DONE]), trace, last=True)

    async def _send(self, events: bytes, trace: Trace | None = None, *, last: bool = False) -> None:
        async with self.sending:
            self.sent_at = time.monotonic()
            if not self.opened:
                self.opened = True
                await open_stream(self.asgi, headers_of(self.state, trace))
            await send_events(self.asgi, events, last=last)

    def _visible_text(self) -> VisibleText:
        if self.view is None:
            self.state.note_text()
            self.view = self.state.plan.visible(stage_so_far(self.state))
        return self.view

    def _first_chunk(self) -> bytes:
        if self.begun:
            return b""
        self.begun = True
        first = self._object([ChunkChoice({"role": "assistant", "content": ""})])
        around, _ = split_outside(self.outside)  # clients that add chunks up take these fields from the first
        return sse(Raw(with_fields(first, around)) if around else first)

    def _chunk(self, delta: JSON, logprobs: Raw | None = None) -> bytes:
        choice = ChunkChoice(delta, None, logprobs)
        if not self.outside:
            return sse(self._object([choice]))
        (around, of_choice), self.outside = split_outside(self.outside), {}
        return sse(Raw(with_fields(self._object(_choices(choice, of_choice)), around)))

    def _object(self, choices: list[ChunkChoice] | list[Raw]) -> ChatChunk:
        request, trace_id = self.state.request, self.state.plan.question.id
        usage = None if request.include_usage else UNSET  # OpenAI sends null in all but the last
        return ChatChunk(f"chatcmpl-{trace_id}", self.created, request.body.model, choices, usage)


def _choices(choice: ChunkChoice, others: JSON) -> list[ChunkChoice] | list[Raw]:
    return [Raw(with_fields(choice, others))] if others else [choice]


def _as_delta(message: JSON) -> JSON:
    """The further fields of a whole message as one delta: its tool calls have an index, and nothing is null."""
    delta = {key: value for key, value in message.items() if key != "content" and value is not None}
    if isinstance(calls := delta.get("tool_calls"), list):
        delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(calls)]
    return delta
