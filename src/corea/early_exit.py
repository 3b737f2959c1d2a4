"""Early exit: deciding on a stated confidence while the model still writes its answer.

For a prompt that asks for the confidence first (`confidence_first`). A kept answer is passed on as it is written; a
deferred one is cut off, which saves most of its cost, and none of its text is shown.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from corea.costs.call_log import INTERRUPTED, CallLog
from corea.costs.token_estimate import estimate_prompt
from corea.errors import BackendError
from corea.protocols import Streamer
from corea.types import Completion, Confidence, Decision, Question, Sampling, StreamPart, Usage, replace

CUT = INTERRUPTED
CONFIDENCE_END = "</confidence>"
ANSWER_TAG = "<answer>"

Piece = str | StreamPart
PassOn = Callable[[Piece], Awaitable[None]]
Judge = Callable[[Completion], Awaitable[tuple[Confidence, Decision]]]
OnKeep = Callable[[Confidence], None]


@dataclass(slots=True)
class PartialCompletion:
    """The text that a call under way has written so far, in pieces; one without text counts as a token too."""

    model: str
    asked: Question
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])  # further fields of the request
    pieces: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        """All pieces joined."""
        return "".join(self.pieces)

    def add(self, piece: str) -> None:
        """Adds the next piece."""
        self.pieces.append(piece)

    def completion(self) -> Completion:
        """A completion of the text so far, its usage estimated: a server that is cut off seldom reports its counts.

        Servers send a piece a token, so the pieces are the tokens written; prompt tokens go by bytes.
        """
        prompt = estimate_prompt(self.asked.messages, self.extra)
        usage = Usage(prompt_tokens=prompt, completion_tokens=len(self.pieces), estimated=True)
        return Completion(text=self.text, model=self.model, usage=usage, finish_reason=CUT)


def interrupted(partial: PartialCompletion, log: CallLog) -> Completion:
    """The usage of a call that was cut off: as its backend knows it, else estimated from the text so far."""
    known = log.interrupted
    if known is None:
        return partial.completion()
    if not known.usage.estimated or known.usage.completion_tokens >= len(partial.pieces):
        return known
    return replace(known, usage=replace(known.usage, completion_tokens=len(partial.pieces)))


class StreamResult(Struct, frozen=True):
    """The outcome of a stream; `confidence` and `decision` are None where the text did not state one first."""

    completion: Completion
    confidence: Confidence | None = None
    decision: Decision | None = None


async def read_stream(
    backend: Streamer,
    partial: PartialCompletion,
    sampling: Sampling,
    log: CallLog,
    *,
    judge: Judge | None = None,
    sink: PassOn | None = None,
    on_keep: OnKeep | None = None,
) -> StreamResult:
    """Reads a streamed answer to its end, or until it is deferred.

    Args:
        log: Receives from the backend what it knows of a call that is cut off.
        judge: Measures and decides as soon as a confidence is stated before the answer. None: the answer is kept.
        sink: Receives the text of a kept answer.
        on_keep: Called just before the first text of an answer that `judge` keeps.

    Raises:
        BackendError: The call failed, or its stream ended without a completion.
    """
    final: Completion | None = None
    confidence: Confidence | None = None
    decision = Decision.KEEP if judge is None else None
    undecided = judge is not None
    held: list[StreamPart] = []  # of a draft that is not decided on yet
    stream = backend.stream(partial.asked, sampling)
    try:
        async for piece in stream:
            if isinstance(piece, Completion):
                final = piece
                continue
            written = piece.text if isinstance(piece, StreamPart) else piece
            partial.add(written)
            if decision is Decision.KEEP:
                if sink is not None:
                    await sink(piece)
                continue
            if isinstance(piece, StreamPart):
                held.append(replace(piece, text=""))
            if undecided and judge is not None and ">" in written:
                text = partial.text
                if ANSWER_TAG in text:
                    undecided = False  # it comes last: then all of the text is judged
                elif CONFIDENCE_END in text:
                    undecided = False
                    confidence, decision = await _judged(judge, partial)
                    if decision not in (None, Decision.KEEP):
                        await _close(stream)  # which logs what it knows
                        return StreamResult(interrupted(partial, log), confidence, decision)
                    if decision is Decision.KEEP and confidence is not None:
                        if on_keep is not None:
                            on_keep(confidence)
                        if sink is not None:
                            await _pass_on(sink, (*held, text))
    finally:
        await _close(stream)
    if final is None:
        raise BackendError(f"{partial.model}: the stream ended without a completion; the backend must yield one last")
    return StreamResult(final, confidence, decision)


async def _pass_on(sink: PassOn, pieces: Iterable[Piece]) -> None:
    for piece in pieces:
        await sink(piece)


async def _judged(judge: Judge, partial: PartialCompletion) -> tuple[Confidence | None, Decision | None]:
    """The decision; None where the signal needs the whole completion (such as one of token probabilities)."""
    confidence, decision = await judge(partial.completion())
    return (confidence, decision) if confidence.value is not None or confidence.calls else (None, None)


async def _close(stream: AsyncIterator[Piece | Completion]) -> None:
    """Ends an iterator that is left early, so that its connection is closed now, not when it is collected."""
    if (close := getattr(stream, "aclose", None)) is not None:
        await close()
