"""One streamed response of an OpenAI-compatible server: its events, and the completion they make."""

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import msgspec

from corea.backends.openai import errors, wire
from corea.backends.openai.api_keys import KeyRedactor, without_frames
from corea.backends.openai.apis import WireRequest
from corea.backends.openai.deadlines import Deadlines
from corea.backends.openai.deltas import joined_outside
from corea.backends.openai.settings import OpenAISettings
from corea.backends.openai.sse import EventReader
from corea.errors import BackendError
from corea.types import Completion, Question, StreamPart, Usage, replace

DRAIN_SECONDS = 0.25


class Stream:
    """An open stream. Await `first` once, then read `pieces` to the end, then `completion` returns the whole.

    Args:
        began: When the request was sent, by `time.perf_counter`.
        extra: Further fields of the request.
    """

    def __init__(
        self,
        settings: OpenAISettings,
        response: aiohttp.ClientResponse,
        question: Question,
        redactor: KeyRedactor,
        began: float,
        deadlines: Deadlines,
        request: WireRequest,
        extra: Mapping[str, Any],
    ) -> None:
        self._settings = settings
        self._response = response
        self._question = question
        self._redactor = redactor
        self._began = began
        self._deadlines = deadlines
        self._read = request.reader()
        self._extra = extra
        self._first_token_seconds: float | None = None
        self._events = EventReader()
        self._ready: list[bytes] = []
        self._written = wire.ReplyBuilder()
        self._outside: Mapping[str, Any] = {}  # of chunks without text or fields: for the next piece
        self._done = False  # [DONE] has come
        self._ended = False  # [DONE], or the stream was closed

    async def first(self) -> None:
        """Waits for the first event; keep-alive comments do not count."""
        until = self._began + min(self._settings.first_byte_timeout_seconds, self._settings.total_timeout_seconds)
        try:
            if self._response.content_type == "application/json":  # of a server that does not stream, or an error
                with self._deadlines.within(until - time.perf_counter()):
                    self._ready = [await self._response.read()]
                self._done = self._ended = True
            while not self._ready and not self._ended:
                await self._receive(until)
        except TimeoutError as error:
            raise errors.first_byte_timeout_error(self._settings) from without_frames(error)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._broken(errors.cause_of(error)) from without_frames(error)
        if not self._ready:
            raise self._broken("it ended before it began")

    async def pieces(self) -> AsyncIterator[str | StreamPart]:
        """The answer as it comes, to the end."""
        until = self._began + self._settings.total_timeout_seconds
        while True:
            ready, self._ready = self._ready, []
            for data in ready:
                if data.strip() == b"[DONE]":
                    self._done = self._ended = True
                    break
                if piece := self._take(data):
                    yield piece
            if self._ended:
                break
            try:
                await self._receive(until)
            except TimeoutError as error:
                raise errors.total_timeout_error(self._settings, self._spent()) from without_frames(error)
            except (aiohttp.ClientError, OSError, ValueError) as error:
                if self._written.finish_reason:
                    break  # it was complete
                raise self._broken(errors.cause_of(error)) from without_frames(error)
        if not self._written.answered or not (self._done or self._written.finish_reason):
            raise self._broken("it ended without a finish reason")
        if self._outside:
            yield StreamPart(outside=self._outside)
        await self._drain()

    def completion(self, *, retries: int = 0, wasted: Usage | None = None) -> Completion:
        """The completion so far; the whole one after `pieces`."""
        completion = self._written.completion(
            self._question,
            self._settings.model,
            seconds=time.perf_counter() - self._began,
            first_token_seconds=self._first_token_seconds,
            retries=retries,
            wasted=wasted,
            extra=self._extra,
        )
        for key in self._redactor.keys:  # one that was split over events
            if key in completion.text:
                completion = replace(completion, text=self._redactor.hide(completion.text), logprobs=None)
        return completion

    def close(self) -> None:
        """Returns the connection to the pool if all was read, else closes it, which makes the server stop."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()

    def _spent(self) -> Completion | None:
        """The completion so far, with the usage that was sent or an estimate; None without a choice."""
        return self.completion() if self._written.answered or self._written.billed else None

    async def _receive(self, until: float) -> None:
        with self._deadlines.within(until - time.perf_counter()):
            received = await self._response.content.readany()
        if received:
            self._ready += filter(bytes.strip, self._events.feed(received))
        elif self._response.content.at_eof():
            self._ready += filter(bytes.strip, self._events.finish())
            self._ended = True

    def _take(self, data: bytes) -> str | StreamPart:
        data = self._redactor.hide_bytes(data)
        try:
            reply, outside = self._read(data)
            if reply.error:
                self._written.add(wire.ChatResponse(usage=reply.usage))
                error = wire.error_of(reply.error)
                raise errors.server_error(
                    self._settings, error, self._redactor, default_status=500, spent=self._spent()
                )
            piece = self._written.add(reply, outside)
        except (msgspec.DecodeError, RecursionError) as error:
            if (billed := wire.find_usage(data)) is not None:
                self._written.billed = billed
            raise self._broken(f"an event is not JSON: {error}") from error
        if isinstance(piece, StreamPart) and not (piece.text or piece.fields or piece.logprobs):
            self._outside = joined_outside(self._outside, piece.outside)
            return ""  # it comes with the next piece, so that no fields alone look like the begin of an answer
        if not piece:
            return piece
        if self._first_token_seconds is None:
            self._first_token_seconds = time.perf_counter() - self._began
        if self._outside:
            piece, self._outside = self._with_outside(piece), {}
        return piece

    def _with_outside(self, piece: str | StreamPart) -> StreamPart:
        part = StreamPart(piece) if isinstance(piece, str) else piece
        return replace(part, outside=joined_outside(self._outside, part.outside))

    async def _drain(self) -> None:
        """Reads on to the end of the response, so that the connection can be used again."""
        try:
            with self._deadlines.within(DRAIN_SECONDS):
                while not self._response.content.at_eof():
                    await self._response.content.readany()
        except (TimeoutError, aiohttp.ClientError, OSError):
            pass  # then it is closed: the completion has come

    def _broken(self, why: str) -> BackendError:
        return errors.stream_error(self._settings, why, self._spent())
