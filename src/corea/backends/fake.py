"""A scripted backend, for tests, examples and trials without a model or key.

    FakeBackend(replies="<answer>4</answer><confidence>0.9</confidence>")        # always this
    FakeBackend(replies=["first", BackendTimeout("slow"), "third"])              # in the order of the calls
    FakeBackend(replies={"What is 2 + 2?": "4", "q7": ["a", "b"]})               # by the question's text or id
    FakeBackend(replies=lambda question: question.text.upper())                  # by a function, plain or async

Its tokens are words: a run of non-spaces with the spaces before it, counted in all messages and in the reply.
"""

import asyncio
import inspect
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from corea.errors import BackendError
from corea.types import Completion, Question, Sampling, TokenLogprob, Usage, replace

ScriptedReply = str | Completion | Exception
Replies = (
    ScriptedReply
    | Sequence[ScriptedReply]
    | Mapping[str, ScriptedReply | Sequence[ScriptedReply]]
    | Callable[[Question], ScriptedReply]
    | Callable[[Question], Awaitable[ScriptedReply]]
)
Sleep = Callable[[float], Awaitable[None]]
WORD = re.compile(r"\s*\S+|\s+\Z")


@dataclass(frozen=True, slots=True)
class Call:
    """One call to a fake backend."""

    question: Question
    sampling: Sampling


class FakeBackend:
    """A scriptable backend. It also streams, word by word, and scores where it is given `scores`.

    Args:
        replies: Its answers; see the top of this file. A string becomes a completion with usage (cut at
            `sampling.stop` and `sampling.max_tokens`), a `Completion` is returned as it is, an exception is raised. A
            sequence is consumed call by call, and a call beyond its end is an error.
        latency_seconds: Waited with `sleep` before each reply, and set as the completion's seconds.
        sleep: Replaces `asyncio.sleep`, so that a test waits for nothing.
        failures: Raised at the first calls, in order, before any reply is taken; None: that call succeeds.
        probability: Of each word of a string reply, when log-probabilities are asked for: one number for all, or a
            function from the word to it. None: this backend gives no log-probabilities.
        scores: Natural-log probability of each continuation, for `score`: a table, or a function of
            (question, prefix, continuation). None: this backend is not a `Scorer`.

    Attributes:
        calls: Every call, in order.
        cancelled: Number of calls cancelled while they waited.
        running, peak: Number of concurrent calls, now and at most.
        closed: True after `close`.

    A streamed reply that is a BackendError with a `spent` completion gives that text first, then raises: a stream
    that breaks off.
    """

    def __init__(
        self,
        model: str = "fake",
        replies: Replies = "<answer>fake</answer>",
        *,
        latency_seconds: float = 0.0,
        sleep: Sleep = asyncio.sleep,
        failures: Iterable[Exception | None] = (),
        probability: float | Callable[[str], float] | None = None,
        scores: Mapping[str, float] | Callable[[Question, str, str], float] | None = None,
    ) -> None:
        self.model = model
        self.calls: list[Call] = []
        self.cancelled: int = 0
        self.running: int = 0
        self.peak: int = 0
        self.closed: bool = False
        self._replies = replies
        self._latency_seconds = latency_seconds
        self._sleep = sleep
        self._failures = iter(failures)
        self._probability = probability
        self._scores = scores
        self._in_order: dict[str, Iterator[ScriptedReply]] = {}
        if scores is not None:
            # only then is it a Scorer: the protocol is checked by the method's presence
            self.score: Callable[[Question, str, Sequence[str]], Coroutine[Any, Any, list[float]]] = self._score

    async def complete(self, question: Question, sampling: Sampling) -> Completion:
        """The scripted reply to this question."""
        reply = await self._reply(question, sampling)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def stream(self, question: Question, sampling: Sampling) -> AsyncIterator[str | Completion]:
        """The scripted reply, word by word, then whole."""
        reply = await self._reply(question, sampling)
        spent = getattr(reply, "spent", None) if isinstance(reply, Exception) else reply
        if isinstance(spent, Completion):
            for word in words(spent.text):
                yield word
        if isinstance(reply, Exception):
            raise reply
        yield replace(reply, first_token_seconds=reply.seconds)

    async def close(self) -> None:
        """Sets `closed`; it still answers."""
        self.closed = True

    async def _score(self, question: Question, prefix: str, continuations: Sequence[str]) -> list[float]:
        """Natural-log probability of each continuation, from the table or function of `scores`."""
        table = self._scores
        assert table is not None
        if callable(table):
            return [table(question, prefix, continuation) for continuation in continuations]
        if unknown := [c for c in continuations if c not in table]:
            raise BackendError(f"got continuation {unknown[0]!r}, expected one of {list(table)}", backend=self.model)
        return [table[continuation] for continuation in continuations]

    async def _reply(self, question: Question, sampling: Sampling) -> Completion | Exception:
        self.calls.append(Call(question, sampling))
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            # always suspends, since concurrency would otherwise show no effect
            await (self._sleep(self._latency_seconds) if self._latency_seconds else asyncio.sleep(0))
            if (failure := next(self._failures, None)) is not None:
                return failure
            reply = self._choose(question)
            reply = await reply if inspect.isawaitable(reply) else reply
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        return self._written(reply, question, sampling) if isinstance(reply, str) else reply

    def _choose(self, question: Question) -> ScriptedReply | Awaitable[ScriptedReply]:
        replies = self._replies
        if isinstance(replies, str | Completion | Exception):
            return replies
        if callable(replies):
            return replies(question)
        if not isinstance(replies, Mapping):
            return self._next("", replies)
        for key in (question.id, question.text):
            if key in replies:
                reply = replies[key]
                return reply if isinstance(reply, str | Completion | Exception) else self._next(key, reply)
        known = ", ".join(repr(key) for key in list(replies)[:5])
        raise BackendError(
            f"got question {question.id!r} ({question.text[:60]!r}), expected one of {known}; add a reply for it",
            backend=self.model,
        )

    def _next(self, key: str, replies: Sequence[ScriptedReply]) -> ScriptedReply:
        reply = next(self._in_order.setdefault(key, iter(replies)), None)
        if reply is None:
            whose = f" for {key!r}" if key else ""
            raise BackendError(
                f"got call {len(self.calls)}, expected no more than the {len(replies)} replies{whose}; give more",
                backend=self.model,
            )
        return reply

    def _written(self, text: str, question: Question, sampling: Sampling) -> Completion:
        for stop in sampling.stop:
            text = text.split(stop, 1)[0]
        written = words(text)
        limit = len(written) if sampling.max_tokens is None else sampling.max_tokens
        cut = len(written) > limit
        written = written[:limit]
        logprobs = None
        if sampling.logprobs and self._probability is not None:
            logprobs = tuple(self._token(word, sampling.top_logprobs) for word in written)
        return Completion(
            text="".join(written),
            model=self.model,
            usage=Usage(
                prompt_tokens=sum(len(words(m.content)) for m in question.messages),
                completion_tokens=len(written),
            ),
            finish_reason="length" if cut else "stop",
            logprobs=logprobs,
            seconds=self._latency_seconds,
        )

    def _token(self, word: str, top: int) -> TokenLogprob:
        p = self._probability
        logprob = math.log(p(word) if callable(p) else cast(float, p))
        return TokenLogprob(word, logprob, ((word, logprob),) if top else ())


def words(text: str) -> list[str]:
    """The fake backend's tokens, which join to the text."""
    return WORD.findall(text)
