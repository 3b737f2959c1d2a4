"""Any server that speaks OpenAI's `/v1/chat/completions`: vLLM, Ollama, llama.cpp, LM Studio, OpenAI, Azure, ...

One call: the request (wire), its transport (http, stream), retries (retry) behind a circuit breaker (circuit_breaker),
and the removal of keys from the response (api_keys). docs/backends.md lists the differences of servers.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar

import msgspec

from corea.backends.openai import errors, wire
from corea.backends.openai.api_keys import KeyRedactor
from corea.backends.openai.apis import APIS, COUNTING, WireRequest, native_request
from corea.backends.openai.attempts import Attempts
from corea.backends.openai.circuit_breaker import Breaker, BreakerState
from corea.backends.openai.http import Http
from corea.backends.openai.retry import Backoff
from corea.backends.openai.settings import CHAT, KeyStyle, MaxTokensField, OpenAISettings
from corea.backends.openai.stream import Stream
from corea.costs.call_log import INTERRUPTED, CallLog, current_log
from corea.costs.token_estimate import estimate_usage
from corea.errors import BackendError, ConfigError
from corea.types import Completion, Question, Sampling, StreamPart, Usage

__all__ = ["KeyStyle", "MaxTokensField", "OpenAIBackend", "OpenAISettings", "Probe"]

log: logging.Logger = logging.getLogger(__name__)
T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]
OneAttempt = Callable[[WireRequest, Question, Attempts], Awaitable[T]]

PROBE = Question.of("Reply with the one word: ready", id="probe")
PROBE_TOKENS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The result of one small call to a server.

    Args:
        reachable: It responded.
        key_accepted: It did not refuse the key.
        logprobs: It returned log-probabilities on request.
        error: The error, "" if none.
    """

    reachable: bool
    key_accepted: bool
    logprobs: bool
    model: str = ""
    seconds: float = 0.0
    error: str = ""

    def __str__(self) -> str:
        if self.error:
            return self.error
        return f"{self.model} answered in {self.seconds:.2f} s, logprobs {'come' if self.logprobs else 'do not come'}"


class _Count(msgspec.Struct):
    input_tokens: Annotated[int, msgspec.Meta(ge=0)]


_encode = msgspec.json.encode
_decode_count = msgspec.json.Decoder(_Count).decode


class OpenAIBackend:
    """A model on an OpenAI-compatible server. No connection is opened, and no key read, before the first call.

    Args:
        sleep, rng, clock: For the delay between attempts, its jitter, and the breaker's time; replaced in tests.
    """

    def __init__(
        self,
        settings: OpenAISettings,
        *,
        sleep: Sleep = asyncio.sleep,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.model: str = settings.model
        self.apis: tuple[str, ...] = settings.apis
        self.cache_control: bool = settings.cache_control
        self.breaker: Breaker = Breaker(
            settings.breaker_failures, settings.breaker_cool_down_seconds, clock, on_change=self._log_breaker
        )
        self.retried: int = 0  # calls after which another attempt followed
        self.http: Http = Http(settings)
        self._limit_field, self._seed_field = settings.limit_field, settings.seed_name
        self._only_limit_field: bool = settings.only_limit_field is not None
        self._backoff = Backoff(
            base_seconds=settings.backoff_base_seconds,
            cap_seconds=settings.backoff_cap_seconds,
            retry_after_cap_seconds=settings.retry_after_cap_seconds,
        )
        self.pace: Callable[[], Awaitable[None]] | None = None  # awaited before each request
        self._sleep = sleep
        self._rng = rng or random.Random()

    def __repr__(self) -> str:
        return f"OpenAIBackend({self.settings.where})"

    async def complete(self, question: Question, sampling: Sampling) -> Completion:
        """The model's completion.

        Raises:
            BackendError: After the last attempt; `spent` is the known usage of failed attempts.
            ConfigError: The key's environment variable holds none.
        """
        streamed = self.settings.stream and question.native is None
        request = self._request(question, sampling, stream=streamed)
        attempts, log = Attempts(sampling), current_log()
        try:
            once = self._collected if streamed else self._whole
            completion = await self._with_retries(once, request, question, attempts)
            attempts.ended(completion)
            return completion
        except asyncio.CancelledError:
            self._note_interrupted(log, question, attempts, attempts.opened)
            raise

    async def stream(self, question: Question, sampling: Sampling) -> AsyncIterator[str | StreamPart | Completion]:
        """The answer in pieces as it is generated, then the whole completion.

        Raises:
            BackendError: As for `complete`; also if the stream breaks off, which is not retried, since part of it has
                been passed on: `spent` is then the text so far, with the usage that was sent or an estimate.
        """
        request = self._request(question, sampling, stream=True)
        attempts, log = Attempts(sampling), current_log()
        opened: Stream | None = None
        try:
            opened = await self._with_retries(self._open, request, question, attempts)
            async for piece in opened.pieces():
                yield piece
            completion = opened.completion(retries=attempts.retries, wasted=attempts.wasted)
            attempts.ended(completion)
            yield completion
        except BackendError as error:
            attempts.ended(error=error)
            attempts.note(error, self.model)
            raise
        except (asyncio.CancelledError, GeneratorExit) as error:
            attempts.ended(error=error)
            self._note_interrupted(log, question, attempts, opened)
            raise
        finally:
            if opened is not None:
                opened.close()

    async def probe(self) -> Probe:
        """Tests with one or two small calls if the server responds, accepts the key and returns log-probabilities."""
        asked = Sampling(max_tokens=PROBE_TOKENS, logprobs=True, top_logprobs=1)
        error: BackendError | ConfigError
        for sampling in (asked, replace(asked, logprobs=False, top_logprobs=0)):
            try:
                completion = await self._whole(self._request(PROBE, sampling, stream=False), PROBE, Attempts(sampling))
            except ConfigError as caught:
                return Probe(reachable=False, key_accepted=False, logprobs=False, error=str(caught))
            except BackendError as caught:
                error = caught
                if error.status not in (400, 422):  # a server that refuses log-probabilities may answer without
                    break
            else:
                return Probe(
                    reachable=True,
                    key_accepted=True,
                    logprobs=bool(completion.logprobs),
                    model=completion.model,
                    seconds=completion.seconds,
                )
        accepted = error.status is not None and error.status not in (401, 403)
        return Probe(reachable=error.status is not None, key_accepted=accepted, logprobs=False, error=str(error))

    async def count_tokens(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> int:
        """The tokens of a Messages request, as the server counts them; one attempt.

        Args:
            body: The fields that count.

        Raises:
            BackendError: It does not count, or its answer has no number.
            ConfigError: The key's environment variable holds none.
        """
        began = time.perf_counter()
        request = WireRequest(_encode({**body, "model": self.model}), COUNTING, {**COUNTING.headers, **headers})
        response, redactor = await self.http.post(request, lambda: None)
        try:
            received = redactor.hide_bytes(await self.http.read(response, began))
        finally:
            if not response.closed:
                response.release()
        if response.status != 200:
            raise errors.status_error(self.settings, response, received, redactor)
        try:
            return _decode_count(received).input_tokens
        except (ValueError, RecursionError) as error:
            raise errors.unreadable_error(self.settings, received, str(error)) from error

    def check(self) -> None:
        """Checks, without a call, that calls can be made.

        Raises:
            ConfigError: The key's environment variable holds none.
        """
        self.http.check()

    async def close(self) -> None:
        """Closes the connections."""
        await self.http.close()

    async def _whole(self, request: WireRequest, question: Question, attempts: Attempts) -> Completion:
        """One attempt at a whole response."""
        began = time.perf_counter()
        response, redactor = await self.http.post(request, attempts.sent)
        try:
            received = redactor.hide_bytes(await self.http.read(response, began))
        finally:
            if not response.closed:  # a body read to its end has closed it, and a release takes a while
                response.release()
        if response.status != 200:
            raise errors.status_error(self.settings, response, received, redactor)
        return self._read_whole(
            request,
            received,
            redactor,
            question,
            seconds=time.perf_counter() - began,
            retries=attempts.retries,
            wasted=attempts.wasted,
            extra=attempts.extra,
        )

    def _read_whole(
        self, request: WireRequest, received: bytes, redactor: KeyRedactor, question: Question, **known: Any
    ) -> Completion:
        """The completion of a whole response."""
        try:
            reply, outside = request.reader()(received)
            written = wire.ReplyBuilder()
            written.add(reply, outside)
            if not written.answered:
                raise errors.no_choices_error(self.settings, reply, received, redactor)
        except (ValueError, RecursionError) as error:
            raise errors.unreadable_error(self.settings, received, str(error)) from error
        return written.completion(question, self.model, **known)

    def chat_body(self, question: Question, sampling: Sampling) -> bytes:
        """A chat request, not streamed, as it is sent."""
        return self._request(question, sampling, stream=False).body

    def completion_of(
        self, received: bytes, question: Question, sampling: Sampling, *, api: str = CHAT
    ) -> Completion | BackendError:
        """The completion in a response that came in another way, or its error; without the response itself."""
        try:
            request = WireRequest(b"", APIS[api])
            read = self._read_whole(request, received, KeyRedactor(()), question, extra=sampling.extra)
        except BackendError as error:
            return error
        raw = {name: value for name, value in (read.raw or {}).items() if name != wire.NATIVE}
        return msgspec.structs.replace(read, raw=raw or None)

    async def _collected(self, request: WireRequest, question: Question, attempts: Attempts) -> Completion:
        """One attempt at a whole response by a stream; one that breaks off is retried, as nothing was passed on."""
        attempts.opened = opened = await self._open(request, question, attempts)
        try:
            async for _ in opened.pieces():
                pass
            return opened.completion(retries=attempts.retries, wasted=attempts.wasted)
        except BackendError:
            attempts.opened = None
            raise
        finally:
            opened.close()

    async def _open(self, request: WireRequest, question: Question, attempts: Attempts) -> Stream:
        """One attempt at a stream, up to its first event."""
        began = time.perf_counter()
        response, redactor = await self.http.post(request, attempts.sent)
        stream = Stream(
            self.settings, response, question, redactor, began, self.http.deadlines, request, attempts.extra
        )
        try:
            if response.status != 200:
                received = redactor.hide_bytes(await self.http.read(response, began))
                raise errors.status_error(self.settings, response, received, redactor)
            await stream.first()
        except BaseException:
            stream.close()
            raise
        return stream

    async def _with_retries(
        self, once: OneAttempt[T], request: WireRequest, question: Question, attempts: Attempts
    ) -> T:
        """The result of the first attempt that succeeds; the breaker admits each, and gets its result."""
        while True:
            try:
                if held_back := self.breaker.admit():
                    raise errors.breaker_open_error(self.settings, self.breaker.failures, held_back)
                try:
                    if self.pace is not None:
                        await self.pace()
                    result = await once(attempts.begin(self, question, request), question, attempts)
                except BaseException as error:
                    attempts.ended(error=error)
                    self._note_failure(error)
                    raise
                self.breaker.succeeded()
                return result
            except BackendError as error:
                attempts.in_flight = False
                wait = self._wait_before_retry(error, attempts)
                if wait is None:
                    attempts.note(error, self.model)
                    raise
                kind = f"HTTP {error.status}" if error.status else type(error).__name__  # its text may quote a prompt
                number = attempts.retries + attempts.refusals + 1
                log.info("%s: %s, attempt %d follows in %.2f s", self.settings.where, kind, number, wait)
            await self._sleep(wait)

    def _wait_before_retry(self, error: BackendError, attempts: Attempts) -> float | None:
        """Delay before the next attempt; None if there is none."""
        if isinstance(error, errors.BreakerOpen):
            attempts.refusals += 1
            if not self.settings.wait_when_open or attempts.refusals > self.settings.max_retries + 1:
                return None
            return error.retry_after_seconds
        if not error.retryable or attempts.retries >= self.settings.max_retries:
            return None
        if isinstance(error, errors.UnreadableAnswer):
            if attempts.unreadable:
                return None
            attempts.unreadable = True
        attempts.add(error)
        self.retried += 1
        return self._backoff.wait_seconds(attempts.retries, error.retry_after_seconds, self._rng)

    def _note_failure(self, error: BaseException) -> None:
        if not isinstance(error, BackendError):
            self.breaker.abandoned()
        elif error.status is None or error.status >= 500:
            self.breaker.failed()
        else:
            self.breaker.succeeded()  # it responded

    def _note_interrupted(
        self, log: CallLog | None, question: Question, attempts: Attempts, opened: Stream | None = None
    ) -> None:
        """Logs the known usage of a call that is cancelled: stated by the server, and of failed attempts."""
        if log is None:
            return
        if opened is not None:
            known = opened.completion()
        else:
            usage = estimate_usage(question.messages, "", extra=attempts.extra) if attempts.in_flight else Usage()
            known = Completion(text="", model=self.model, usage=usage)
        log.interrupted = msgspec.structs.replace(
            known, finish_reason=INTERRUPTED, retries=attempts.retries, wasted=attempts.wasted
        )

    def _log_breaker(self, state: BreakerState) -> None:
        if state is BreakerState.OPEN:
            log.warning(
                "%s: %d failures in a row, so calls are held back for %g s",
                self.settings.where, self.breaker.failures, self.settings.breaker_cool_down_seconds,
            )  # fmt: skip
        elif state is BreakerState.CLOSED:
            log.warning("%s: answered, so all calls may go again", self.settings.where)
        else:
            log.info("%s: one call may go, to see if it answers", self.settings.where)

    def _request(self, question: Question, sampling: Sampling, *, stream: bool) -> WireRequest:
        native = question.native
        try:
            if native is not None and self in (native.server, *getattr(native.server, "backends", ())):
                return native_request(native, self.model, sampling, stream=stream)
            body = wire.request_body(
                self.model,
                question,
                self.settings.sent(sampling),
                max_tokens_field=self._limit_field,
                only_field=self._only_limit_field,
                seed_field=self._seed_field,
                stream=stream,
                stream_usage=self.settings.stream_usage,
            )
        except (TypeError, ValueError) as error:  # in `extra` or a raw message
            raise ConfigError(f"{self.settings.where}: got a request that JSON cannot hold ({error})") from error
        return WireRequest(body, APIS[CHAT])
