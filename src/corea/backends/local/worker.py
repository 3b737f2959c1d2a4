"""Running a model in this process: callers from any event loop gathered into batches, in one worker thread.

`onnx.py` and `hf.py` each bring an `Engine`, which knows one library. A running batch cannot take in another row, so it
is formed anew at times, by reading the unfinished rows again; see `RunningBatch.worth_reforming`.
"""

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import numpy as np

from corea.backends.local.generation import (
    Engine,
    Floats,
    GenerationLimits,
    GenerationRequest,
    PendingResult,
    ScoreRequest,
    SideRequest,
    TokenizeRequest,
    Tokens,
    best,
    log_softmax,
    sample,
)
from corea.errors import BackendError, ConfigError
from corea.types import Completion, Question, Sampling

MOST_UNREAD = 1 << 20  # logits kept until their log-probabilities are taken, 4 MB


class RunningBatch:
    """Jobs under way together in one session; a row whose job is done goes on unread until the batch is formed anew."""

    def __init__(self, engine: Engine, jobs: list[GenerationRequest]) -> None:
        self.engine = engine
        self.lost = 0  # steps that waiting jobs could have made in free rows
        room = max(job.room - len(job.written) for job in jobs)
        self.session = engine.start([job.prompt + job.written for job in jobs], room)
        self.unread: list[tuple[Floats, Tokens]] = []  # steps whose log-probabilities have not been taken yet
        self._set_live(list(enumerate(jobs)))

    def _set_live(self, live: list[tuple[int, GenerationRequest]]) -> None:
        self.live = live
        self.drawn = [(row, job) for row, job in live if job.random is not None]
        self.noted = [(row, job) for row, job in live if job.wants_logprobs]

    @property
    def active(self) -> list[GenerationRequest]:
        return [job for _, job in self.live]

    def step(self) -> list[GenerationRequest]:
        """Writes one token in each row, and gives the jobs that this completed."""
        tokens, ends = self._next_tokens(), self.engine.ends
        ended = [pair for pair in self.live if pair[1].take(tokens[pair[0]], ends) or pair[1].reply.cancelled]
        if not ended:
            return []
        self.note_logprobs()
        self._set_live([pair for pair in self.live if pair not in ended])
        return [job for _, job in ended if not job.reply.cancelled]

    def _next_tokens(self) -> list[int]:
        if not self.drawn and not self.noted:
            return self.session.advance_greedily().tolist()
        logits = self.session.logits()
        if not self.drawn:
            tokens = self.session.advance_greedily()
        else:
            tokens = logits.argmax(axis=1)
            rows, jobs = [row for row, _ in self.drawn], [job for _, job in self.drawn]
            tokens[rows] = sample(logits[rows], [job.drawing() for job in jobs])
            self.session.advance(tokens)
        if self.noted:
            self.unread.append((logits, tokens))
            if len(self.unread) * logits.size > MOST_UNREAD:
                self.note_logprobs()
        return tokens.tolist()

    def note_logprobs(self) -> None:
        """Takes the log-probabilities of the last steps, together: step by step, calling numpy costs more than them."""
        unread, self.unread = self.unread, []
        if not unread or not self.noted:
            return
        rows = [row for row, _ in self.noted]
        logprobs_SRV = log_softmax(np.stack([logits[rows] for logits, _ in unread]))
        tokens_SR = np.stack([tokens[rows] for _, tokens in unread])
        written_RS = np.take_along_axis(logprobs_SRV, tokens_SR[:, :, None], axis=2)[:, :, 0].T.tolist()
        for k, (_, job) in enumerate(self.noted):
            job.logprobs += written_RS[k]
            if job.sampling.top_logprobs:
                job.tops += best(logprobs_SRV[:, k], job.sampling.top_logprobs)

    def worth_reforming(self, waiting: int, max_batch: int) -> bool:
        """Whether a new batch, of the unfinished rows and those who wait, is now worth reading the former again.

        The ski-rental rule: each step, every waiting job that could have had a free row has lost one token. When as
        many have been lost as the unfinished rows hold (which is what reading them again costs), the batch is formed
        anew. So nobody waits for a straggler for long, and at most twice the least possible work is done.
        """
        active = self.active
        self.lost += min(waiting, max_batch - len(active))
        return self.lost > sum(len(job.prompt) + len(job.written) for job in active)


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

    def submit(self, job: GenerationRequest | SideRequest) -> None:
        """Queues a job; those of one turn of the event loop reach the worker together, to begin in one batch."""
        loop = job.reply.loop
        gathered = self.submitted.setdefault(loop, [])
        if not gathered:
            loop.call_soon(self._flush, loop)
        gathered.append(job)

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        jobs = self.submitted.pop(loop, [])
        with self.changed:
            if self.closed:
                for job in jobs:
                    job.reply.settle(None, BackendError("the backend has been closed", backend=self.name))
                return
            for job in jobs:
                self.waiting.append(job) if isinstance(job, GenerationRequest) else self.scoring.append(job)
            if self.thread is None:
                self.thread = threading.Thread(target=self._run, name=f"corea {self.name}", daemon=True)
                self.thread.start()
            self.changed.notify()

    def close(self) -> None:
        """Ends the thread; what still waits is refused."""
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
            except Exception as error:  # a bug, or a library's error at load: the callers must hear of it
                self._fail_all(backend_error(error, self.name))
            self._hand_over()
        self._fail_all(BackendError("the backend has been closed", backend=self.name))
        self._hand_over()
        self.engine = None  # the library wants its objects gone before the interpreter ends

    def _has_work(self) -> bool:
        with self.changed:
            while not (self.closed or self.waiting or self.scoring):
                self.changed.wait()
            return not self.closed

    def _generate(self, engine: Engine) -> None:
        jobs = self._admit(engine, [])
        while jobs and not self.closed:
            try:
                batch = RunningBatch(engine, jobs)
                self.busy = True
                jobs = self._steps(engine, batch)
            except Exception as error:
                for job in jobs:
                    self._answer(job.reply, None, backend_error(error, self.name))
                jobs = []
            self.busy = False
            self._hand_over()
            jobs = self._admit(engine, [job for job in jobs if not job.reply.cancelled])
        for job in jobs:
            self._answer(job.reply, None, BackendError("the backend has been closed", backend=self.name))

    def _steps(self, engine: Engine, batch: RunningBatch) -> list[GenerationRequest]:
        """Steps until all are done, or a new batch is worth forming; gives the unfinished jobs."""
        while batch.live and not self.closed:
            for job in batch.step():
                self._answer(job.reply, job.completion(engine, self.name), None)
            if self.answers:
                self._hand_over()
            if self.scoring:
                self._score(engine)
            if self.waiting and batch.worth_reforming(len(self.waiting), self.limits.max_batch):
                batch.note_logprobs()
                break
        return batch.active

    def _admit(self, engine: Engine, jobs: list[GenerationRequest]) -> list[GenerationRequest]:
        """Those still under way, and as many of the waiting, in order, as fit beside them."""
        jobs = list(jobs)
        while self.waiting and len(jobs) < self.limits.max_batch:
            job = self.waiting[0]
            try:
                if not job.prompt and not job.reply.cancelled:
                    job.prepare(engine)
                if not job.reply.cancelled:
                    if not self._fits(engine, [*jobs, job]):
                        break
                    jobs.append(job)
            except Exception as error:
                self._answer(job.reply, None, backend_error(error, self.name))
            self.waiting.popleft()
        return jobs

    def _fits(self, engine: Engine, jobs: list[GenerationRequest]) -> bool:
        longest = max(len(job.prompt) + len(job.written) for job in jobs)
        room = max(job.room - len(job.written) for job in jobs)
        return len(jobs) == 1 or (
            longest + room <= engine.context and longest * len(jobs) <= self.limits.max_batch_tokens
        )

    def _score(self, engine: Engine) -> None:
        while self.scoring and not self.closed:
            job = self.scoring.popleft()
            if job.reply.cancelled:
                continue
            try:
                self._answer(job.reply, job.run(engine), None)
            except Exception as error:
                self._answer(job.reply, None, backend_error(error, self.name))
            self._hand_over()

    def _answer(self, reply: PendingResult, result: Any, error: BaseException | None) -> None:
        self.answers.append((reply, result, error))

    def _hand_over(self) -> None:
        """Wakes the callers, all of one loop in one turn of it, so that what they ask next comes together too."""
        answers, self.answers = self.answers, []
        for loop in {reply.loop for reply, _, _ in answers}:
            own = [answer for answer in answers if answer[0].loop is loop]
            try:
                loop.call_soon_threadsafe(_settle, own)
            except RuntimeError:
                pass  # that loop has been closed: nobody waits any more

    def _fail_all(self, error: BaseException) -> None:
        with self.changed:
            jobs = [*self.waiting, *self.scoring]
            self.waiting.clear()
            self.scoring.clear()
        for job in jobs:
            self._answer(job.reply, None, error)


class LocalBackend:
    """A backend whose model runs in this process: complete, stream and score, over a `ModelWorker`."""

    capabilities: frozenset[str] = frozenset()  # beside text: no tools, no images, no form that the answer must have

    def __init__(self, model: str, load: Callable[[], Engine], limits: GenerationLimits) -> None:
        self.model = model
        self.limits = limits
        self._worker = ModelWorker(model, load, limits)
        # also when the program ends: a model library unloaded under a running thread would crash
        self._finalizer = weakref.finalize(self, self._worker.close)

    async def complete(self, question: Question, sampling: Sampling) -> Completion:
        """Answers one question, in a batch with whoever else asks."""
        job = GenerationRequest(question, sampling, self.limits, PendingResult())
        return await self._wait(job)

    async def stream(self, question: Question, sampling: Sampling) -> AsyncIterator[str | Completion]:
        """The text in pieces as it is written, then the completion."""
        reply = PendingResult()
        pieces: asyncio.Queue[str | None] = asyncio.Queue()

        def on_text(piece: str) -> None:
            reply.loop.call_soon_threadsafe(pieces.put_nowait, piece)

        reply.future.add_done_callback(lambda _: pieces.put_nowait(None))
        self._worker.submit(GenerationRequest(question, sampling, self.limits, reply, on_text))
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            yield await reply.future
        finally:
            reply.cancelled = True

    async def score(self, question: Question, prefix: str, continuations: Sequence[str]) -> list[float]:
        """Natural-log probability of each continuation after `prefix` of the model's own reply; exact."""
        return await self._wait(ScoreRequest(question, prefix, tuple(continuations), PendingResult()))

    async def prompt_tokens(self, question: Question) -> list[int]:
        """The tokens that the model reads for a question, chat format included."""
        return await self._wait(TokenizeRequest(question, PendingResult()))

    async def close(self) -> None:
        """Ends the worker thread and frees the model."""
        await asyncio.to_thread(self._finalizer)

    async def _wait(self, job: GenerationRequest | SideRequest) -> Any:
        self._worker.submit(job)
        try:
            return await job.reply.future
        finally:
            job.reply.cancelled = True  # nobody listens any more, whether answered or given up


def backend_error(error: Exception, backend: str) -> BackendError | ConfigError:
    """The same error in our own tree, as one line."""
    if isinstance(error, ConfigError):
        return error
    if isinstance(error, BackendError):
        if error.backend:
            return error
        return BackendError(str(error), backend=backend)
    line = " ".join(str(error).split())[:300]
    wrapped = BackendError(f"{type(error).__name__}: {line}", backend=backend)
    wrapped.__cause__ = error
    return wrapped


def _settle(answers: list[tuple[PendingResult, Any, BaseException | None]]) -> None:
    for reply, result, error in answers:
        reply.settle(result, error)
