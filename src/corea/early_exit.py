"""Deciding while a model still writes: its confidence, stated first, says whether the rest is worth reading.

For a prompt that asks for the confidence before all else (`confidence_first`). A kept answer can be given on as it is
written; a deferred one is cut off, which stops most of its cost, and nothing of it is shown.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from msgspec import Struct

from corea.costs.call_log import INTERRUPTED, CallLog
from corea.costs.token_estimate import estimate_prompt
from corea.errors import BackendError
from corea.protocols import Streamer
from corea.types import Completion, Confidence, Decision, Question, Sampling, Usage, replace

CUT = INTERRUPTED
STATED = "</confidence>"
ANSWERED = "<answer>"

Give = Callable[[str], Awaitable[None]]
Judge = Callable[[Completion], Awaitable[tuple[Confidence, Decision]]]
OnKeep = Callable[[Confidence], None]


@dataclass(slots=True)
class PartialCompletion:
    """What a call that is under way has written so far.

    Args:
        on_piece: Told after every piece.
    """

    model: str
    asked: Question
    pieces: list[str] = field(default_factory=list[str])
    on_piece: Callable[["PartialCompletion"], None] | None = None

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.pieces)

    def add(self, piece: str) -> None:
        """Takes in the next piece."""
        self.pieces.append(piece)
        if self.on_piece is not None:
            self.on_piece(self)

    def completion(self) -> Completion:
        """The same as a completion, its usage estimated: a server that is cut off seldom says what it counted.

        Servers send a piece a token, so the pieces are the tokens written; prompt tokens go by bytes.
        """
        prompt = estimate_prompt(self.asked.messages)
        usage = Usage(prompt_tokens=prompt, completion_tokens=len(self.pieces), estimated=True)
        return Completion(text=self.text, model=self.model, usage=usage, finish_reason=CUT)


def interrupted(draft: PartialCompletion, log: CallLog) -> Completion:
    """What a call used that was cut off: as its backend knows it, else the estimate of the draft."""
    known = log.interrupted
    if known is None:
        return draft.completion()
    if not known.usage.estimated or known.usage.completion_tokens >= len(draft.pieces):
        return known
    return replace(known, usage=replace(known.usage, completion_tokens=len(draft.pieces)))


class StreamResult(Struct, frozen=True):
    """What came of a stream; `confidence` and `decision` are None where the text did not state one first."""

    completion: Completion
    confidence: Confidence | None = None
    decision: Decision | None = None


async def read_stream(
    backend: Streamer,
    draft: PartialCompletion,
    sampling: Sampling,
    log: CallLog,
    *,
    judge: Judge | None = None,
    give: Give | None = None,
    on_keep: OnKeep | None = None,
) -> StreamResult:
    """Reads an answer to its end, or until it is deferred.

    Args:
        log: Receives from the backend what it knows of a call that is cut off.
        judge: Measures and decides as soon as a confidence is stated before the answer. None: the answer is kept.
        give: Receives the text of a kept answer.
        on_keep: Told just before the first text of an answer that `judge` keeps.

    Raises:
        BackendError: The call failed, or its stream ended without a completion.
    """
    final: Completion | None = None
    confidence: Confidence | None = None
    decision = Decision.KEEP if judge is None else None
    looking = judge is not None
    stream = backend.stream(draft.asked, sampling)
    try:
        async for piece in stream:
            if isinstance(piece, Completion):
                final = piece
                continue
            draft.add(piece)
            if decision is Decision.KEEP:
                if give is not None:
                    await give(piece)
            elif looking and judge is not None and ">" in piece:
                text = draft.text
                if ANSWERED in text:
                    looking = False  # it comes last: then all of the text is judged
                elif STATED in text:
                    looking = False
                    confidence, decision = await _judged(judge, draft)
                    if decision not in (None, Decision.KEEP):
                        await _close(stream)  # which logs what it knows
                        return StreamResult(interrupted(draft, log), confidence, decision)
                    if decision is Decision.KEEP and confidence is not None:
                        if on_keep is not None:
                            on_keep(confidence)
                        if give is not None:
                            await give(text)
    finally:
        await _close(stream)
    if final is None:
        raise BackendError(f"{draft.model}: the stream ended without a completion; the backend must yield one last")
    return StreamResult(final, confidence, decision)


async def _judged(judge: Judge, draft: PartialCompletion) -> tuple[Confidence | None, Decision | None]:
    """The decision; None where the signal needs the whole completion (such as one of token probabilities)."""
    confidence, decision = await judge(draft.completion())
    return (confidence, decision) if confidence.value is not None or confidence.calls else (None, None)


async def _close(stream: AsyncIterator[str | Completion]) -> None:
    """Ends an iterator that is left early, so that its connection is closed now, not when it is collected."""
    if (close := getattr(stream, "aclose", None)) is not None:
        await close()
