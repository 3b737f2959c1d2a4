"""The base of the backends whose model runs in this process, and the fingerprint of a model's folder."""

import asyncio
import hashlib
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from corea.backends.local.generation import (
    Engine,
    GenerationLimits,
    GenerationRequest,
    PendingResult,
    SideRequest,
    score,
)
from corea.backends.local.worker import ModelWorker
from corea.types import Completion, Question, Sampling

ENDS = 1 << 20  # bytes read at each end of a large file
MODEL_FILES = (".onnx", ".data", ".safetensors", ".bin", ".json", ".jinja")
FACTS = ("training.json", "log.jsonl")  # about the training; they do not change the answers


class LocalBackend:
    """A backend whose model runs in this process: complete, stream and score, over a `ModelWorker`."""

    capabilities: frozenset[str] = frozenset()  # text only: no tools, images or response_format

    def __init__(
        self,
        model: str,
        load: Callable[[], Engine],
        limits: GenerationLimits,
        *,
        folder: Path,
        revision: str | None = None,
    ) -> None:
        """Nothing is loaded before the first call.

        Args:
            folder: Of the model; not there for a name on a hub, whose `revision` is then the declared one.
        """
        self.model = model
        self._folder, self._declared = folder, revision
        self.limits = limits
        self._worker = ModelWorker(model, load, limits)
        # also when the program ends: a model library unloaded under a running thread would crash
        self._finalizer = weakref.finalize(self, self._worker.close)

    @cached_property
    def revision(self) -> str | None:
        """The fingerprint of the model's folder, else the declared revision: a calibration artefact binds it."""
        return fingerprint(self._folder) or self._declared

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


def fingerprint(folder: Path) -> str | None:
    """The names and sizes of a model folder's files, with the first and last MiB of each, hashed; None without files.

    A model that was trained again under its old name has another one.
    Gigabytes of weights are distinguished in milliseconds, since training changes every part of them.
    """
    made, seen = hashlib.sha256(), False
    for file in sorted(folder.iterdir()) if folder.is_dir() else []:
        if file.suffix not in MODEL_FILES or file.name in FACTS:
            continue
        size = file.stat().st_size
        made.update(f"{file.name}\0{size}\0".encode())
        with file.open("rb") as data:
            made.update(data.read(ENDS))
            if size > ENDS:
                data.seek(max(ENDS, size - ENDS))
                made.update(data.read(ENDS))
        seen = True
    return f"sha256:{made.hexdigest()[:16]}" if seen else None
