"""A model in this process: callers of any event loop share batches in one worker thread.

onnx and transformers each have an `Engine` for one library. A running batch cannot take another row, so it is sometimes
formed again, by reading the unfinished rows once more; see `RunningBatch.worth_reforming`.
"""

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import numpy as np

from corea.backends.local.generation import (
    DecodingSession,
    Engine,
    Floats,
    GenerationLimits,
    GenerationRequest,
    PendingResult,
    SideRequest,
    Tokens,
    best,
    log_softmax,
    sample,
    score,
)
from corea.errors import BackendError, ConfigError
from corea.types import Completion, Question, Sampling

MOST_UNREAD = 1 << 20  # logits kept until their log-probabilities are taken, 4 MB


_Rows = list[tuple[int, GenerationRequest]]  # rows of the session with their requests


class RunningBatch:
    """Requests in one session; the row of a finished one goes on, ignored, until the batch is formed again."""

    def __init__(self, engine: Engine, requests: list[GenerationRequest]) -> None:
        self.engine: Engine = engine
        self.lost: int = 0  # tokens that waiting requests could have had in free rows
        room = max(request.room - len(request.written) for request in requests)
        self.session: DecodingSession = engine.start([request.prompt + request.written for request in requests], room)
        self.unread: list[tuple[Floats, Tokens]] = []  # steps whose log-probabilities have not been taken yet
        self._set_live(list(enumerate(requests)))

    def _set_live(self, live: _Rows) -> None:
        self.live: _Rows = live
        self.drawn: _Rows = [(row, request) for row, request in live if request.random is not None]
        self.noted: _Rows = [(row, request) for row, request in live if request.wants_logprobs]

    @property
    def active(self) -> list[GenerationRequest]:
        return [request for _, request in self.live]

    def step(self) -> list[GenerationRequest]:
        """Appends one token to each row, and returns the requests that this completed."""
        tokens, ends = self._next_tokens(), self.engine.ends
        ended = [pair for pair in self.live if pair[1].take(tokens[pair[0]], ends) or pair[1].pending.cancelled]
        if not ended:
            return []
        self.note_logprobs()
        self._set_live([pair for pair in self.live if pair not in ended])
        return [request for _, request in ended if not request.pending.cancelled]

    def _next_tokens(self) -> list[int]:
        if not self.drawn and not self.noted:
            return self.session.advance_greedily().tolist()
        logits = self.session.logits()
        if not self.drawn:
            tokens = self.session.advance_greedily()
        else:
            tokens = logits.argmax(axis=1)
            rows, requests = [row for row, _ in self.drawn], [request for _, request in self.drawn]
            tokens[rows] = sample(logits[rows], requests)
            self.session.advance(tokens)
        if self.noted:
            self.unread.append((logits, tokens))
            if len(self.unread) * logits.size > MOST_UNREAD:
                self.note_logprobs()
        return tokens.tolist()

    def note_logprobs(self) -> None:
        """Computes the log-probabilities of the last steps together: step by step, the calls of numpy cost more."""
        unread, self.unread = self.unread, []
        if not unread or not self.noted:
            return
        rows = [row for row, _ in self.noted]
        logprobs_SRV = log_softmax(np.stack([logits[rows] for logits, _ in unread]))
        tokens_SR = np.stack([tokens[rows] for _, tokens in unread])
        written_RS = np.take_along_axis(logprobs_SRV, tokens_SR[:, :, None], axis=2)[:, :, 0].T.tolist()
        for k, (_, request) in enumerate(self.noted):
            request.logprobs += written_RS[k]
            if request.sampling.top_logprobs:
                request.tops += best(logprobs_SRV[:, k], request.sampling.top_logprobs)

    def worth_reforming(self, waiting: int, max_batch: int) -> bool:
        """True if a new batch, of the unfinished and the waiting requests, is worth reading the former again.

        The ski-rental rule: each step, every waiting request that could have had a free row has lost one token. When as
        many have been lost as the unfinished rows have (the cost of reading them again), the batch is formed again. So
        no request waits long for a straggler, and the work is at most twice the least possible.
        """
        active = self.active
        self.lost += min(waiting, max_batch - len(active))
        return self.lost > sum(len(request.prompt) + len(request.written) for request in active)


class ModelWorker:
    """The thread that owns the model. It starts at the first call, loads the model there, and ends with its owner."""

    def __init__(self, name: str, load: Callable[[], Engine], limits: GenerationLimits) -> None:
        self.name = name
        self.load = load
        self.limits = limits
        self.waiting: deque[GenerationRequest] = deque()
        self.scoring: deque[SideRequest] = deque()
        self.changed: threading.Condition = threading.Condition()
        self.closed: bool = False
        self.thread: threading.Thread | None = None
        self.engine: Engine | None = None
        self.submitted: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, list[GenerationRequest | SideRequest]]
        self.submitted = weakref.WeakKeyDictionary()
        self.answers: list[tuple[PendingResult, Any, BaseException | None]] = []
        self.busy: bool = False  # a batch is under way

    def submit(self, request: GenerationRequest | SideRequest) -> None:
        """Queues a request; those of one turn of the event loop reach the worker together, as one batch."""
        loop = request.pending.loop
        gathered = self.submitted.setdefault(loop, [])
        if not gathered:
            loop.call_soon(self._flush, loop)
        gathered.append(request)

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        requests = self.submitted.pop(loop, [])
        with self.changed:
            if self.closed:
                for request in requests:
                    request.pending.settle(None, BackendError("the backend has been closed", backend=self.name))
                return
            for request in requests:
                self.waiting.append(request) if isinstance(request, GenerationRequest) else self.scoring.append(request)
            if self.thread is None:
                self.thread = threading.Thread(target=self._run, name=f"corea {self.name}", daemon=True)
                self.thread.start()
            self.changed.notify()

    def close(self) -> None:
        """Ends the thread; waiting requests are refused."""
        with self.changed:
            self.closed = True
            self.changed.notify()
            thread = self.thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=60)

    def _run(self) -> None:
        while self._has_work():
            try:
                if self.engine is None:
                    self.engine = self.load()
                self._score(self.engine)
                self._generate(self.engine)
            except Exception as error:  # a bug, or a library's error at load: the callers must get it
                self._fail_all(backend_error(error, self.name))
            self._hand_over()
        self._fail_all(BackendError("the backend has been closed", backend=self.name))
        self._hand_over()
        self.engine = None  # the library needs its objects freed before the interpreter ends

    def _has_work(self) -> bool:
        with self.changed:
            while not (self.closed or self.waiting or self.scoring):
                self.changed.wait()
            return not self.closed

    def _generate(self, engine: Engine) -> None:
        requests = self._admit(engine, [])
        while requests and not self.closed:
            try:
                batch = RunningBatch(engine, requests)
                self.busy = True
                requests = self._steps(engine, batch)
            except Exception as error:
                for request in requests:
                    self._answer(request.pending, None, backend_error(error, self.name))
                requests = []
            self.busy = False
            self._hand_over()
            requests = self._admit(engine, [request for request in requests if not request.pending.cancelled])
        for request in requests:
            self._answer(request.pending, None, BackendError("the backend has been closed", backend=self.name))

    def _steps(self, engine: Engine, batch: RunningBatch) -> list[GenerationRequest]:
        """Steps until all are done, or a new batch is worth forming; returns the unfinished requests."""
        while batch.live and not self.closed:
            for request in batch.step():
                self._answer(request.pending, request.completion(engine, self.name), None)
            if self.answers:
                self._hand_over()
            if self.scoring:
                self._score(engine)
            if self.waiting and batch.worth_reforming(len(self.waiting), self.limits.max_batch):
                batch.note_logprobs()
                break
        return batch.active

    def _admit(self, engine: Engine, requests: list[GenerationRequest]) -> list[GenerationRequest]:
        """The unfinished requests, and as many waiting ones, in order, as fit in one batch with them."""
        requests = list(requests)
        while self.waiting and len(requests) < self.limits.max_batch:
            request = self.waiting[0]
            try:
                if not request.prompt and not request.pending.cancelled:
                    request.prepare(engine)
                if not request.pending.cancelled:
                    if not self._fits(engine, [*requests, request]):
                        break
                    requests.append(request)
            except Exception as error:
                self._answer(request.pending, None, backend_error(error, self.name))
            self.waiting.popleft()
        return requests

    def _fits(self, engine: Engine, requests: list[GenerationRequest]) -> bool:
        longest = max(len(request.prompt) + len(request.written) for request in requests)
        room = max(request.room - len(request.written) for request in requests)
        return len(requests) == 1 or (
            longest + room <= engine.context and longest * len(requests) <= self.limits.max_batch_tokens
        )

    def _score(self, engine: Engine) -> None:
        while self.scoring and not self.closed:
            request = self.scoring.popleft()
            if request.pending.cancelled:
                continue
            try:
                self._answer(request.pending, request.run(engine), None)
            except Exception as error:
                self._answer(request.pending, None, backend_error(error, self.name))
            self._hand_over()

    def _answer(self, pending: PendingResult, result: Any, error: BaseException | None) -> None:
        self.answers.append((pending, result, error))

    def _hand_over(self) -> None:
        """Wakes the callers, all of one loop in one iteration of it, so that their next requests come together too."""
        answers, self.answers = self.answers, []
        for loop in {pending.loop for pending, _, _ in answers}:
            own = [answer for answer in answers if answer[0].loop is loop]
            try:
                loop.call_soon_threadsafe(_settle, own)
            except RuntimeError:
                pass  # that loop has been closed, and its callers with it

    def _fail_all(self, error: BaseException) -> None:
        with self.changed:
            requests = [*self.waiting, *self.scoring]
            self.waiting.clear()
            self.scoring.clear()
        for request in requests:
            self._answer(request.pending, None, error)


class LocalBackend:
    """A backend whose model runs in this process: complete, stream and score, over a `ModelWorker`."""

    capabilities: frozenset[str] = frozenset()  # text only: no tools, images or response_format

    def __init__(self, model: str, load: Callable[[], Engine], limits: GenerationLimits) -> None:
        self.model = model
        self.limits = limits
        self._worker = ModelWorker(model, load, limits)
        # also when the program ends: a model library unloaded under a running thread would crash
        self._finalizer = weakref.finalize(self, self._worker.close)

    async def complete(self, question: Question, sampling: Sampling) -> Completion:
        """Answers one question, in a batch with other callers'."""
        request = GenerationRequest(question, sampling, self.limits, PendingResult())
        return await self._wait(request)

    async def stream(self, question: Question, sampling: Sampling) -> AsyncIterator[str | Completion]:
        """The text in pieces as it is written, then the completion."""
        pending = PendingResult()
        pieces: asyncio.Queue[str | None] = asyncio.Queue()

        def on_text(piece: str) -> None:
            pending.loop.call_soon_threadsafe(pieces.put_nowait, piece)

        pending.future.add_done_callback(lambda _: pieces.put_nowait(None))
        self._worker.submit(GenerationRequest(question, sampling, self.limits, pending, on_text))
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            yield await pending.future
        finally:
            pending.cancelled = True

    async def score(self, question: Question, prefix: str, continuations: Sequence[str]) -> list[float]:
        """Natural-log probability of each continuation after `prefix` of the model's own pending; exact."""
        texts = tuple(continuations)
        return await self._wait(SideRequest(lambda engine: score(engine, question, prefix, texts), PendingResult()))

    async def prompt_tokens(self, question: Question) -> list[int]:
        """The tokens that the model reads for a question, chat format included."""
        return await self._wait(SideRequest(lambda engine: engine.prompt(question)[1], PendingResult()))

    async def close(self) -> None:
        """Ends the worker thread and frees the model."""
        await asyncio.to_thread(self._finalizer)

    async def _wait(self, request: GenerationRequest | SideRequest) -> Any:
        self._worker.submit(request)
        try:
            return await request.pending.future
        finally:
            request.pending.cancelled = True  # answered, or its caller has gone


def backend_error(error: Exception, backend: str) -> BackendError | ConfigError:
    """The same error as one line of our own tree."""
    if isinstance(error, ConfigError):
        return error
    if isinstance(error, BackendError):
        return error if error.backend else BackendError(str(error), backend=backend)
    line = " ".join(str(error).split())[:300]
    wrapped = BackendError(f"{type(error).__name__}: {line}", backend=backend)
    wrapped.__cause__ = error
    return wrapped


def _settle(answers: list[tuple[PendingResult, Any, BaseException | None]]) -> None:
    for pending, result, error in answers:
        pending.settle(result, error)
