"""Any server that speaks OpenAI's `/v1/chat/completions`: vLLM, Ollama, llama.cpp, LM Studio, OpenAI, Azure, ...

Here is what happens to one question. What goes over the wire is in `wire`, how it gets there in `openai_http` and
`openai_stream`, when a call is repeated in `retry`, when a far end is left alone in `breaker`, and how keys are kept
out of everything in `keys`. Which server does what is told in docs/backends.md.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec

from corea.backends.openai import errors, wire
from corea.backends.openai.circuit_breaker import Breaker, BreakerState
from corea.backends.openai.http import Http
from corea.backends.openai.retry import Backoff
from corea.backends.openai.settings import KeyStyle, MaxTokensField, OpenAISettings
from corea.backends.openai.stream import Stream
from corea.costs.call_log import INTERRUPTED, CallLog, current_log
from corea.costs.token_estimate import estimate_usage
from corea.errors import BackendError, ConfigError
from corea.types import Completion, Question, Sampling, Usage

__all__ = ["KeyStyle", "MaxTokensField", "OpenAIBackend", "OpenAISettings", "Probe"]

log: logging.Logger = logging.getLogger(__name__)
T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]

PROBE = Question.of("Reply with the one word: ready", id="probe")
PROBE_TOKENS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What one small call found out about a server.

    Args:
        reachable: It answered at all.
        key_accepted: It did not turn the key away.
        logprobs: It gave log-probabilities when asked.
        error: What was wrong, "" if nothing.
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


@dataclass(slots=True)
class _Past:
    """The attempts of one call that have failed; whether another one has been sent."""

    retries: int = 0
    refusals: int = 0
    wasted: Usage | None = None
    in_flight: bool = False

    def sent(self) -> None:
        """A request has gone out."""
        self.in_flight = True

    def add(self, error: BackendError) -> None:
        self.retries += 1
        if isinstance(error.spent, Completion):
            self.wasted = (self.wasted or Usage()) + error.spent.usage


class OpenAIBackend:
    """A model behind an OpenAI-compatible server. Nothing is contacted, and no key read, before the first call.

    Args:
        sleep, rng, clock: Waiting between attempts, its jitter, and the breaker's time; a test brings its own.
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
        self.breaker: Breaker = Breaker(
            settings.breaker_failures, settings.breaker_cool_down_seconds, clock, on_change=self._log_breaker
        )
        self._http = Http(settings)
        self._limit_field = settings.limit_field
        self._backoff = Backoff(
            base_seconds=settings.backoff_base_seconds,
            cap_seconds=settings.backoff_cap_seconds,
            retry_after_cap_seconds=settings.retry_after_cap_seconds,
        )
        self._sleep = sleep
        self._rng = rng or random.Random()

    def __repr__(self) -> str:
        return f"OpenAIBackend({self.settings.where})"

    async def complete(self, question: Question, sampling: Sampling) -> Completion:
        """The model's answer.

        Raises:
            BackendError: After all attempts that could help; `spent` holds what is known to have been billed in vain.
            ConfigError: The key's environment variable holds none.
        """
        if self.settings.stream:
            pieces = [piece async for piece in self.stream(question, sampling)]
            assert isinstance(pieces[-1], Completion)
            return pieces[-1]
        body = self._body(question, sampling, stream=False)
        past, log = _Past(), current_log()
        try:
            return await self._with_retries(lambda past: self._whole(body, question, past), past)
        except asyncio.CancelledError:
            self._note_interrupted(log, question, past)
            raise

    async def stream(self, question: Question, sampling: Sampling) -> AsyncIterator[str | Completion]:
        """The answer in pieces as it is written, then the whole completion.

        Raises:
            BackendError: As for `complete`; also where the stream breaks off, which is not repeated, since part of it
                has been given: `spent` then holds the text so far, with the usage that was sent or an estimate.
        """
        body = self._body(question, sampling, stream=True)
        past, log = _Past(), current_log()
        opened: Stream | None = None
        try:
            opened = await self._with_retries(lambda past: self._open(body, question, past), past)
            async for piece in opened.pieces():
                yield piece
            yield opened.completion(retries=past.retries, wasted=past.wasted)
        except BackendError as error:
            _note_past(error, past, self.model)
            raise
        except (asyncio.CancelledError, GeneratorExit):
            self._note_interrupted(log, question, past, opened)
            raise
        finally:
            if opened is not None:
                opened.close()

    async def probe(self) -> Probe:
        """Whether the server can be reached, takes the key and gives log-probabilities; one or two small calls."""
        asked = Sampling(max_tokens=PROBE_TOKENS, logprobs=True, top_logprobs=1)
        error: BackendError | ConfigError
        for sampling in (asked, replace(asked, logprobs=False, top_logprobs=0)):
            try:
                completion = await self._whole(self._body(PROBE, sampling, stream=False), PROBE, _Past())
            except ConfigError as caught:
                return Probe(reachable=False, key_accepted=False, logprobs=False, error=str(caught))
            except BackendError as caught:
                error = caught
                if error.status not in (400, 422):  # a server that refuses the log-probabilities may do without
                    break
            else:
                return Probe(
                    reachable=True,
                    key_accepted=True,
                    logprobs=bool(completion.logprobs),
                    model=completion.model,
                    seconds=completion.seconds,
                )
        reachable = error.status is not None
        accepted = reachable and error.status not in (401, 403)
        return Probe(reachable=reachable, key_accepted=accepted, logprobs=False, error=str(error))

    def check(self) -> None:
        """Raises what would fail every call, before one is made; nothing is contacted.

        Raises:
            ConfigError: The key's environment variable holds none.
        """
        self._http.check()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.close()

    async def _whole(self, body: bytes, question: Question, past: _Past) -> Completion:
        """One attempt at an answer that comes whole."""
        began = time.perf_counter()
        response, secrets = await self._http.post(body, past.sent)
        try:
            received = secrets.hide_bytes(await self._http.read(response, began))
        finally:
            response.release()
        if response.status != 200:
            raise errors.status_error(self.settings, response, received, secrets)
        try:
            reply = wire.read_response(received)
        except msgspec.DecodeError as error:
            raise errors.format_error(self.settings, received, str(error)) from error
        written = wire.ReplyBuilder()
        written.add(reply)
        if not written.answered:
            raise errors.no_choices_error(self.settings, reply, received, secrets)
        return written.completion(
            question, self.model, seconds=time.perf_counter() - began, retries=past.retries, wasted=past.wasted
        )

    async def _open(self, body: bytes, question: Question, past: _Past) -> Stream:
        """One attempt at a stream, up to its first event."""
        began = time.perf_counter()
        response, secrets = await self._http.post(body, past.sent)
        stream = Stream(self.settings, response, question, secrets, began, self._http.deadlines)
        try:
            if response.status != 200:
                received = secrets.hide_bytes(await self._http.read(response, began))
                raise errors.status_error(self.settings, response, received, secrets)
            await stream.first()
        except BaseException:
            stream.close()
            raise
        return stream

    async def _with_retries(self, once: Callable[[_Past], Awaitable[T]], past: _Past) -> T:
        while True:
            try:
                return await self._guarded(once, past)
            except BackendError as error:
                past.in_flight = False
                wait = self._wait_before_retry(error, past)
                if wait is None:
                    _note_past(error, past, self.model)
                    raise
                log.info("%s; attempt %d follows in %.2f s", error, past.retries + past.refusals + 1, wait)
            await self._sleep(wait)

    def _wait_before_retry(self, error: BackendError, past: _Past) -> float | None:
        """How long to wait before the next attempt; None where there is none."""
        if isinstance(error, errors.BreakerOpen):
            past.refusals += 1
            if not self.settings.wait_when_open or past.refusals > self.settings.max_retries + 1:
                return None
            return error.retry_after_seconds
        if not error.retryable or past.retries >= self.settings.max_retries:
            return None
        past.add(error)
        return self._backoff.wait_seconds(past.retries, error.retry_after_seconds, self._rng)

    async def _guarded(self, once: Callable[[_Past], Awaitable[T]], past: _Past) -> T:
        """One attempt, if the breaker lets it go; it learns how that went."""
        if wait := self.breaker.admit():
            raise errors.breaker_open_error(self.settings, self.breaker.failures, wait)
        try:
            result = await once(past)
        except BackendError as error:
            if error.status is None or error.status >= 500:
                self.breaker.failed()
            else:
                self.breaker.succeeded()  # it answered, if not as hoped
            raise
        except BaseException:
            self.breaker.abandoned()
            raise
        self.breaker.succeeded()
        return result

    def _note_interrupted(
        self, log: CallLog | None, question: Question, past: _Past, opened: Stream | None = None
    ) -> None:
        """Logs what is known of a call that is cancelled: what the server said it used, what failed attempts wasted."""
        if log is None:
            return
        if opened is not None:
            known = opened.completion()
        else:
            usage = estimate_usage(question.messages, "") if past.in_flight else Usage()
            known = Completion(text="", model=self.model, usage=usage)
        log.interrupted = msgspec.structs.replace(
            known, finish_reason=INTERRUPTED, retries=past.retries, wasted=past.wasted
        )

    def _log_breaker(self, state: BreakerState) -> None:
        if state is BreakerState.OPEN:
            log.warning(
                "%s: %d failures in a row, so calls are held back for %g s",
                self.settings.where, self.breaker.failures, self.settings.breaker_cool_down_seconds,
            )  # fmt: skip
        else:
            log.info("%s: breaker %s", self.settings.where, state)

    def _body(self, question: Question, sampling: Sampling, *, stream: bool) -> bytes:
        try:
            return wire.request_body(
                self.model,
                question,
                sampling,
                max_tokens_field=self._limit_field,
                stream=stream,
                stream_usage=self.settings.stream_usage,
            )
        except (TypeError, ValueError) as error:  # in `extra` or a raw message
            raise ConfigError(f"{self.settings.where}: got a request that JSON cannot hold ({error})") from error


def _note_past(error: BackendError, past: _Past, model: str) -> None:
    """Writes into an error the retries before it, and what those are known to have wasted."""
    error.retries = past.retries
    if past.wasted is not None:
        spent = error.spent if isinstance(error.spent, Completion) else Completion(text="", model=model)
        error.spent = msgspec.structs.replace(spent, wasted=past.wasted, retries=past.retries)
