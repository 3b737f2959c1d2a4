"""One request to a model in this process: its tokens, the choice of the next one, and the text they make.

An `Engine` (in onnx, transformers) adapts one library; worker gathers requests into batches.
"""

import asyncio
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from corea.errors import BackendError, ConfigError
from corea.types import Completion, Question, Sampling, TokenLogprob, Usage

Floats = NDArray[np.float32]
Tokens = NDArray[np.int64]
Weights = NDArray[np.float64]


class Decoder(Protocol):
    """Incremental detokenizer; "" while a character is incomplete."""

    def add(self, token: int) -> str: ...

    def end(self) -> str:
        """The text of an incomplete last character."""
        ...


class DecodingSession(Protocol):
    """A batch of B sequences in progress, in a model of vocabulary V."""

    def logits(self) -> Floats:
        """(B, V), of the next token."""
        ...

    def advance(self, tokens: Tokens) -> None:
        """Appends one token to each row."""
        ...

    def advance_greedily(self) -> Tokens:
        """Appends the likeliest token to each row, and returns them."""
        ...


class Engine(Protocol):
    """One loaded model. Its methods are called from the worker thread alone.

    Args:
        context: Tokens a sequence may have, prompt and completion together.
        vocabulary: Number of tokens of the model; its tokenizer may have more.
        ends: The tokens that end a reply.
    """

    context: int
    vocabulary: int
    ends: frozenset[int]

    def prompt(self, question: Question) -> tuple[str, list[int]]:
        """The question in the model's own chat format, as text and as tokens, up to where its reply begins."""
        ...

    def encode(self, text: str) -> list[int]: ...

    def decoder(self) -> Decoder: ...

    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens; special ones have none."""
        ...

    def start(self, prompts: Sequence[Sequence[int]], room: int) -> DecodingSession:
        """A batch that has read these prompts, with room for `room` further tokens a row."""
        ...

    def read(self, base: Sequence[int], paths: Sequence[tuple[int, ...]]) -> list[Floats]:
        """Next-token logits (V,) after `base` and each path. The paths are sorted and include all their prefixes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationLimits:
    """Limits of a local model, and its defaults for a `Sampling`.

    Args:
        max_batch: Rows in a batch.
        max_batch_tokens: Rows times the longest prompt: bounds memory and the time of one step.
        max_tokens, temperature, top_p: Used where the sampling leaves them out; temperature 0 is greedy.
    """

    max_batch: int = 32
    max_batch_tokens: int = 16384
    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        for name in ("max_batch", "max_batch_tokens", "max_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: got {getattr(self, name)}, expected at least 1")
        if self.temperature < 0:
            raise ConfigError(f"temperature: got {self.temperature}, expected 0 (greedy) or more")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p: got {self.top_p}, expected above 0 and at most 1")


class PendingResult:
    """The future result of one caller, delivered in its event loop."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.cancelled = False  # plain, because the worker reads it after each step

    def settle(self, result: Any, error: BaseException | None) -> None:
        """Called in the loop."""
        if not self.future.done():
            if error is not None:
                self.future.set_exception(error)
            else:
                self.future.set_result(result)


@dataclass(slots=True, eq=False)
class GenerationRequest:
    """A question being answered: its tokens so far, and the text they make."""

    question: Question
    sampling: Sampling
    limits: GenerationLimits
    pending: PendingResult
    on_text: Callable[[str], None] | None = None
    began: float = field(default_factory=time.perf_counter)
    first_text: float | None = None
    prompt: list[int] = field(default_factory=list[int])
    room: int = 0
    written: list[int] = field(default_factory=list[int])
    logprobs: list[float] = field(default_factory=list[float])
    tops: list[list[tuple[int, float]]] = field(default_factory=list[list[tuple[int, float]]])
    pieces: list[str] = field(default_factory=list[str])
    text: str = ""
    streamed: int = 0  # characters of `text` already streamed
    finish: str | None = None
    decoder: Decoder | None = None
    random: np.random.Generator | None = None

    @property
    def temperature(self) -> float:
        asked = self.sampling.temperature
        return self.limits.temperature if asked is None else asked

    @property
    def top_p(self) -> float:
        return self.limits.top_p if self.sampling.top_p is None else self.sampling.top_p

    @property
    def wants_logprobs(self) -> bool:
        return self.sampling.logprobs or self.sampling.top_logprobs > 0

    def prepare(self, engine: Engine) -> None:
        """Tokenizes the question.

        Raises:
            BackendError: The prompt does not fit the model's context, or the sampling is out of range.
        """
        if self.temperature < 0 or not 0 < self.top_p <= 1:
            raise BackendError(
                f"sampling: got temperature {self.temperature} and top_p {self.top_p}, expected a temperature of 0 or "
                "more and a top_p above 0 and at most 1"
            )
        _, self.prompt = engine.prompt(self.question)
        if not self.prompt:
            raise BackendError(f"question {self.question.id}: got an empty prompt, expected some text; ask something")
        if (largest := max(self.prompt)) >= engine.vocabulary:
            raise BackendError(
                f"question {self.question.id}: got token {largest}, expected one below {engine.vocabulary}; "
                "the text holds a special token that this model was not made with"
            )
        free = engine.context - len(self.prompt)
        if free < 1:
            raise BackendError(
                f"question {self.question.id}: got a prompt of {len(self.prompt)} tokens, expected under the model's "
                f"context of {engine.context}; shorten it or take a model with a longer context"
            )
        asked = self.limits.max_tokens if self.sampling.max_tokens is None else self.sampling.max_tokens
        self.room = max(1, min(asked, free))
        if self.temperature > 0:
            # mixed with the prompt, so that questions with one seed are drawn independently
            key = zlib.crc32(np.asarray(self.prompt, np.int64).tobytes())
            seed = self.sampling.seed
            self.random = np.random.default_rng(None if seed is None else [seed & 0xFFFFFFFF, seed < 0, key])
        if self.on_text is not None or self.sampling.stop:
            self.decoder = engine.decoder()

    def take(self, token: int, ends: frozenset[int]) -> bool:
        """Appends a token; returns True if the reply is complete."""
        self.written.append(token)
        if token in ends:
            self.finish = "stop"
        elif len(self.written) >= self.room:
            self.finish = "length"
        if self.decoder is not None:
            self._add_text(self.decoder, token, ended=token in ends, last=self.finish is not None)
        return self.finish is not None

    def completion(self, engine: Engine, model: str) -> Completion:
        """The finished reply."""
        if self.decoder is None and not self.wants_logprobs:
            ended = self.written[-1] in engine.ends
            self.text = engine.text(self.written[:-1] if ended else self.written)
        elif self.decoder is None:
            decoder = engine.decoder()
            for i, token in enumerate(self.written, start=1):
                self._add_text(decoder, token, ended=token in engine.ends, last=i == len(self.written))
        now = time.perf_counter()
        return Completion(
            text=self.text,
            model=model,
            usage=Usage(prompt_tokens=len(self.prompt), completion_tokens=len(self.written)),
            finish_reason=self.finish,
            logprobs=self._logprobs(engine) if self.wants_logprobs else None,
            seconds=now - self.began,
            first_token_seconds=None if self.first_text is None else self.first_text - self.began,
        )

    def _add_text(self, decoder: Decoder, token: int, *, ended: bool, last: bool) -> None:
        """Appends the token's text, up to a stop string; text that could begin one is not streamed yet."""
        piece = "" if ended else decoder.add(token)
        if last:
            piece += decoder.end()
        before = len(self.text)
        self.text += piece
        if ended and self.pieces:  # the rest of an incomplete character belongs to the token before
            self.pieces[-1] += piece
            piece = ""
        self.pieces.append(piece)
        if len(self.text) > before and self.sampling.stop:
            longest = max(map(len, self.sampling.stop))
            cut = _first_of(self.sampling.stop, self.text, max(0, before - longest))
            if cut is not None:
                self.text, self.finish = self.text[:cut], "stop"
        if self.on_text is not None:
            self._stream(
                len(self.text) if self.finish else len(self.text) - _may_begin_stop(self.text, self.sampling.stop)
            )

    def _stream(self, until: int) -> None:
        if self.on_text is not None and until > self.streamed:
            if self.first_text is None:
                self.first_text = time.perf_counter()
            self.on_text(self.text[self.streamed : until])
            self.streamed = until

    def _logprobs(self, engine: Engine) -> tuple[TokenLogprob, ...]:
        """Log-probabilities of the tokens of the text, without the end token and those cut off by a stop string."""
        tokens: list[TokenLogprob] = []
        length = 0
        for i, (token, piece) in enumerate(zip(self.written, self.pieces, strict=True)):
            whole = length + len(piece) <= len(self.text)
            piece = piece[: len(self.text) - length]
            if token in engine.ends or (not whole and not piece):
                break
            top = tuple((engine.text([t]), p) for t, p in self.tops[i]) if self.tops else ()
            tokens.append(TokenLogprob(piece, self.logprobs[i], top))
            length += len(piece)
        return tuple(tokens)


@dataclass(slots=True, eq=False)
class SideRequest:
    """A short computation that the worker makes between two steps of a batch."""

    run: Callable[[Engine], Any]
    pending: PendingResult


def score(engine: Engine, question: Question, prefix: str, continuations: Sequence[str]) -> list[float]:
    """Natural-log probability of each continuation: one pass over the base, one step for each distinct prefix."""
    text, base = engine.prompt(question)
    if prefix:
        joint = engine.encode(text + prefix)
        base = joint if joint[: len(base)] == base else base + engine.encode(prefix)
    before = engine.encode(prefix) if prefix else []
    tokens = [_tokens_after(engine, prefix, before, continuation) for continuation in continuations]
    if len(base) + max(map(len, tokens), default=0) > engine.context:
        raise BackendError(
            f"question {question.id}: got {len(base)} tokens before the scored text, expected under the "
            f"model's context of {engine.context}"
        )
    paths = sorted({path[:i] for path in tokens for i in range(len(path))})
    after = dict(zip(paths, map(log_softmax, engine.read(base, paths)), strict=True)) if paths else {}
    return [float(sum(after[path[:i]][token] for i, token in enumerate(path))) for path in tokens]


def _tokens_after(engine: Engine, prefix: str, before: list[int], continuation: str) -> tuple[int, ...]:
    """The continuation as tokenized after the prefix; by itself if the two would merge into one token."""
    joint = engine.encode(prefix + continuation)
    return tuple(joint[len(before) :] if joint[: len(before)] == before else engine.encode(continuation))


def log_softmax(logits: Floats) -> Floats:
    """Natural-log probabilities along the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def sample(logits_RV: Floats, requests: Sequence[GenerationRequest]) -> Tokens:
    """A token for each row, of the smallest set of likeliest tokens with probability `top_p`. Rows are independent.

    Source: nucleus sampling, Holtzman et al. 2019, arXiv:1904.09751, sec. 3.1.
    """
    scaled_RV = logits_RV.astype(np.float64) / np.array([[request.temperature] for request in requests])
    weights_RV = np.exp(scaled_RV - scaled_RV.max(axis=1, keepdims=True))
    for row, request in zip(weights_RV, requests, strict=True):
        if request.top_p < 1:
            order = np.argsort(-row, kind="stable")
            kept = int(np.searchsorted(row[order].cumsum(), request.top_p * row.sum())) + 1
            row[order[kept:]] = 0
    total_RV = weights_RV.cumsum(axis=1)
    uniform_R = np.array([[request.random.random()] for request in requests if request.random is not None])
    return (total_RV <= uniform_R * total_RV[:, -1:]).sum(axis=1)


def best(logprobs: Floats, count: int) -> list[list[tuple[int, float]]]:
    """The `count` likeliest tokens of each row (R, V) with their log-probabilities, best first."""
    count = min(count, logprobs.shape[1])
    some = np.argpartition(-logprobs, count - 1, axis=1)[:, :count]
    values = np.take_along_axis(logprobs, some, axis=1)
    order = np.lexsort((some, -values), axis=1)  # of equals, the lower token first
    some, values = np.take_along_axis(some, order, axis=1), np.take_along_axis(values, order, axis=1)
    return [list(zip(row.tolist(), its.tolist(), strict=True)) for row, its in zip(some, values, strict=True)]


def _first_of(stops: Iterable[str], text: str, since: int) -> int | None:
    """The position of the earliest stop string, or None."""
    found = [at for stop in stops if stop and (at := text.find(stop, since)) >= 0]
    return min(found, default=None)


def _may_begin_stop(text: str, stops: Iterable[str]) -> int:
    """The number of last characters that may be the beginning of a stop string."""
    return max(
        (n for stop in stops for n in range(1, min(len(stop), len(text) + 1)) if text.endswith(stop[:n])), default=0
    )
