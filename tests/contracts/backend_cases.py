"""The backends that the contract tests are run over. To add one: a `Case` in CASES.

A case makes backends inside async context managers, so that what they need (a server, a folder) lives as long as they.
"""

import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fakes.server import Fail, FakeServer, Hang, Say

from corea.backends.fake import FakeBackend
from corea.backends.local.onnx import OnnxBackend, OnnxSettings
from corea.backends.openai.client import OpenAIBackend, OpenAISettings
from corea.backends.replay import ReplayBackend, ReplaySettings
from corea.errors import BackendError
from corea.protocols import Backend
from corea.types import Question

Make = Callable[[], AbstractAsyncContextManager[Backend]]
TINY = Path(__file__).parents[1] / "backends" / "tiny"
TEXT = "Seven and five are twelve. <answer>12</answer> <confidence>0.9</confidence>"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One backend and what may be expected of it.

    Args:
        name: As in BACKENDS.
        answering: Makes one that answers `question`, the same at temperature 0.
        failing: Makes one whose far end always fails; None where nothing far can fail.
        waiting: Makes one that takes longer than a test: it is cancelled. None where every answer is instant.
        logprobs: Whether it gives token log-probabilities when asked.
        limits: Whether it heeds `max_tokens` (a recording does not).
        needs: Modules without which it is skipped.
        slow: Whether loading it takes more than a second.
    """

    name: str
    answering: Make
    failing: Make | None = None
    waiting: Make | None = None
    question: Question = field(default_factory=lambda: Question.of("What is 7 + 5?", id="q1"))
    logprobs: bool = True
    limits: bool = True
    needs: tuple[str, ...] = ()
    slow: bool = False


async def no_wait(_: float) -> None:
    """A sleep that takes no time."""


@asynccontextmanager
async def fake(*, failing: bool = False, waiting: bool = False) -> AsyncIterator[Backend]:
    """The fake one."""
    backend = FakeBackend(
        replies=BackendError("down") if failing else TEXT, latency_seconds=3600 if waiting else 0, probability=0.5
    )
    yield backend
    await backend.close()


@asynccontextmanager
async def openai(*, failing: bool = False, waiting: bool = False, stream: bool = False) -> AsyncIterator[Backend]:
    """The OpenAI-compatible one, with a fake server behind it."""
    act = Fail(500) if failing else Hang() if waiting else Say(TEXT, logprob=-0.5)
    async with FakeServer(act) as server:
        backend = OpenAIBackend(OpenAISettings(model="fake", base_url=server.base_url, stream=stream), sleep=no_wait)
        yield backend
        await backend.close()


@asynccontextmanager
async def onnx(*, failing: bool = False) -> AsyncIterator[Backend]:
    """The embedded one, with a tiny random model, or with a broken file in its place."""
    with TemporaryDirectory() as scratch:
        folder = TINY / "onnx"
        if failing:
            folder = Path(shutil.copytree(folder, scratch, dirs_exist_ok=True))
            (folder / "model.onnx").write_bytes(b"no model")
        backend = OnnxBackend(OnnxSettings(folder=str(folder), threads=1))
        yield backend
        await backend.close()


@asynccontextmanager
async def hf(*, failing: bool = False) -> AsyncIterator[Backend]:
    """The transformers one, with the same model, or without its weights."""
    with TemporaryDirectory() as scratch:
        folder = TINY / "hf"
        if failing:
            folder = Path(shutil.copytree(folder, scratch, dirs_exist_ok=True))
            (folder / "model.safetensors").unlink()
        from corea.backends.local.transformers import HFBackend, HFSettings

        backend = HFBackend(HFSettings(name=str(folder), device="cpu"))
        yield backend
        await backend.close()


@asynccontextmanager
async def replay(*, failing: bool = False) -> AsyncIterator[Backend]:
    """The replaying one, with one row: of the question, or of another."""
    row = {"id": "other" if failing else "q1", "model": "m", "question": "What is 7 + 5?", "response": TEXT}
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "rows.jsonl"
        path.write_text(json.dumps(row) + "\n")
        yield ReplayBackend(ReplaySettings(path=str(path)))


CASES = [
    Case(
        name="fake",
        answering=fake,
        failing=lambda: fake(failing=True),
        waiting=lambda: fake(waiting=True),
    ),
    Case(
        name="openai",
        answering=openai,
        failing=lambda: openai(failing=True),
        waiting=lambda: openai(waiting=True),
    ),
    Case(
        name="openai, streamed",
        answering=lambda: openai(stream=True),
        failing=lambda: openai(failing=True, stream=True),
        waiting=lambda: openai(waiting=True, stream=True),
    ),
    Case(name="onnx", answering=onnx, failing=lambda: onnx(failing=True)),
    Case(name="hf", answering=hf, failing=lambda: hf(failing=True), needs=("torch", "transformers"), slow=True),
    Case(
        name="replay",
        answering=replay,
        failing=lambda: replay(failing=True),
        logprobs=False,
        limits=False,
    ),
]
