"""One model on several servers: each call goes to the least busy one, and to another one if that fails.

A server whose circuit breaker is open is left out until it has cooled down; the next call then tries it, and goes
elsewhere if it still fails. The turns of a conversation stay on one server while it works, for its prompt cache.
"""

import asyncio
import hashlib
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace as with_settings
from typing import Any

import msgspec

from corea.backends.openai.circuit_breaker import BreakerState
from corea.backends.openai.client import OpenAIBackend
from corea.backends.openai.errors import BreakerOpen, UnreadableAnswer
from corea.backends.openai.retry import Backoff
from corea.backends.openai.settings import OpenAISettings
from corea.costs.call_log import INTERRUPTED, CallLog, current_log
from corea.errors import BackendError
from corea.types import Completion, Message, Question, Sampling, StreamPart, Usage, replace

SESSION = "session"  # in `Question.meta`: the name of a conversation
CONVERSATIONS = 10_000  # the newest, of which the server is known
CUT = (asyncio.CancelledError, GeneratorExit)
_encode = msgspec.json.Encoder(order="sorted").encode


class _Failures(msgspec.Struct):
    """The failed attempts of one call.

    Args:
        tried: Servers that failed in this round.
        rounds: Rounds in which every server failed.
        refusals: Waits for a circuit breaker.
    """

    tried: list[int] = []
    rounds: int = 0
    refusals: int = 0
    unreadable: bool = False
    attempts: int = 0
    wasted: Usage | None = None

    def add(self, error: BackendError) -> None:
        self.attempts += 1
        if isinstance(error.spent, Completion):
            self.wasted = (self.wasted or Usage()) + error.spent.usage

    def before(self, completion: Completion) -> Completion:
        """The completion with these attempts before it."""
        return replace(completion, retries=self.attempts, wasted=self.wasted) if self.attempts else completion


class Deployments:
    """A backend over one `OpenAIBackend` for each address.

    Args:
        settings: Of every server but for its address. Each is tried once before a call waits; `max_retries` is the
            number of further rounds.
        addresses: Their `base_url`s, at least one.
        sleep, rng: For the delay between rounds, and its jitter.
    """

    def __init__(
        self,
        settings: OpenAISettings,
        addresses: Sequence[str],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        assert addresses, "a model needs a server"
        self.backends: tuple[OpenAIBackend, ...] = tuple(
            OpenAIBackend(with_settings(settings, base_url=address, max_retries=0, wait_when_open=False))
            for address in addresses
        )
        self.model: str = settings.model
        self.apis: tuple[str, ...] = settings.apis
        self.cache_control: bool = settings.cache_control
        attempts = (1 + settings.max_retries) * len(addresses)
        self.settings: OpenAISettings = with_settings(settings, max_retries=attempts - 1)  # as bounds of costs read it
        self._rounds = settings.max_retries
        self._backoff = Backoff(
            base_seconds=settings.backoff_base_seconds,
            cap_seconds=settings.backoff_cap_seconds,
            retry_after_cap_seconds=settings.retry_after_cap_seconds,
        )
        self._sleep = sleep
        self._rng = rng or random.Random()
        self._busy = [0] * len(addresses)
        self._calls = [0] * len(addresses)
        self._places: OrderedDict[bytes, int] = OrderedDict()

    def __repr__(self) -> str:
        return f"Deployments({', '.join(backend.settings.where for backend in self.backends)})"

    async def complete(self, question: Question, sampling: Sampling) -> Completion:
        """The completion of the first server that gives one.

        Raises:
            BackendError: The last failure, when every server has failed in every round.
            ConfigError: The key's environment variable holds none.
        """
        failures, log = _Failures(), current_log()
        try:
            while True:
                number = self._choose(question, failures)
                try:
                    with self._using(question, number):
                        return failures.before(await self.backends[number].complete(question, sampling))
                except BackendError as error:
                    await self._wait_or_raise(error, number, failures)
        except CUT:
            self._note_cut(log, failures)
            raise

    async def stream(self, question: Question, sampling: Sampling) -> AsyncIterator[str | StreamPart | Completion]:
        """The pieces of the first server that gives any, then the whole completion.

        Raises:
            BackendError: As for `complete`; also if the stream breaks off after its first piece.
        """
        failures, log, begun = _Failures(), current_log(), False
        try:
            while True:
                number = self._choose(question, failures)
                try:
                    async with aclosing(self.backends[number].stream(question, sampling)) as pieces:  # pyright: ignore[reportArgumentType]  # it is a generator
                        with self._using(question, number):
                            async for piece in pieces:
                                begun = True
                                yield failures.before(piece) if isinstance(piece, Completion) else piece
                    return
                except BackendError as error:
                    if begun:
                        raise _told(error, failures, self.model) from error.__cause__
                    await self._wait_or_raise(error, number, failures)
        except CUT:
            self._note_cut(log, failures)
            raise

    async def count_tokens(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> int:
        """See `OpenAIBackend`: by the least busy server."""
        number = self._choose(Question(id="", messages=()), _Failures())
        return await self.backends[number].count_tokens(body, headers)

    def check(self) -> None:
        """Checks, without a call, that calls can be made.

        Raises:
            ConfigError: The key's environment variable holds none.
        """
        self.backends[0].check()

    async def close(self) -> None:
        """Closes the connections."""
        for backend in self.backends:
            await backend.close()

    def _choose(self, question: Question, failures: _Failures) -> int:
        """The server of the next attempt: one that has cooled down, else the conversation's, else the least busy."""
        states = [backend.breaker.state for backend in self.backends]
        untried = [i for i in range(len(states)) if i not in failures.tried]
        for i in untried:
            if states[i] is BreakerState.HALF_OPEN:
                return i
        closed = [i for i in untried if states[i] is BreakerState.CLOSED]
        before = _history(question)[0]
        if before is not None and (known := self._places.get(before)) in closed:
            return known
        return min(closed or untried, key=lambda i: (self._busy[i], self._calls[i]))

    @contextmanager
    def _using(self, question: Question, number: int) -> Iterator[None]:
        self._busy[number] += 1
        self._calls[number] += 1
        try:
            yield
            if (turn := _history(question)[1]) is not None:
                self._places[turn] = number
                self._places.move_to_end(turn)
            while len(self._places) > CONVERSATIONS:
                self._places.popitem(last=False)
        finally:
            self._busy[number] -= 1

    async def _wait_or_raise(self, error: BackendError, number: int, failures: _Failures) -> None:
        """Returns when the next attempt may begin; raises the error if there is none."""
        if not error.retryable or (failures.unreadable and isinstance(error, UnreadableAnswer)):
            raise _told(error, failures, self.model)
        failures.unreadable = failures.unreadable or isinstance(error, UnreadableAnswer)
        failures.tried.append(number)
        left = [b for i, b in enumerate(self.backends) if i not in failures.tried]
        if any(backend.breaker.state is not BreakerState.OPEN for backend in left):
            wait = 0.0
        elif isinstance(error, BreakerOpen) and self.settings.wait_when_open and failures.refusals <= self._rounds:
            failures.refusals += 1
            failures.tried.clear()
            wait = error.retry_after_seconds or 0.0
        elif failures.rounds >= self._rounds:
            raise _told(error, failures, self.model)
        else:
            failures.rounds += 1
            failures.tried.clear()
            wait = self._backoff.wait_seconds(failures.rounds, error.retry_after_seconds, self._rng)
        if not isinstance(error, BreakerOpen):
            failures.add(error)
            self.backends[number].retried += 1
        if wait:
            await self._sleep(wait)

    def _note_cut(self, log: CallLog | None, failures: _Failures) -> None:
        """Logs the known usage of failed attempts of a call that is cancelled."""
        if log is not None and failures.wasted is not None:
            known = log.interrupted or Completion(text="", model=self.model, finish_reason=INTERRUPTED)
            log.interrupted = failures.before(known)


def _told(error: BackendError, failures: _Failures, model: str) -> BackendError:
    """The error with the failed attempts before it, and their known usage."""
    error.retries = failures.attempts
    if failures.wasted is not None:
        spent = error.spent if isinstance(error.spent, Completion) else Completion(text="", model=model)
        error.spent = failures.before(spent)
    return error


def _history(question: Question) -> tuple[bytes | None, bytes | None]:
    """Keys of a conversation up to the turn before and up to the present one; the same where it is named.

    A request after tool calls continues the present turn.
    """
    if isinstance(named := question.meta.get(SESSION), str):
        return (key := named.encode("utf-8", "surrogatepass")), key
    messages = question.messages
    users = [0, *(i for i, message in enumerate(messages, 1) if message.role == "user")]
    before, turn = [0, *users][-2:] if users[-1] == len(messages) else (users[-1], users[-1])
    return _digest(messages[:before]), _digest(messages[:turn])


def _digest(messages: Sequence[Message]) -> bytes | None:
    if not messages:
        return None
    return hashlib.sha256(_encode([(message.role, message.content, message.raw) for message in messages])).digest()
