"""The model calls that a question has made so far, kept where cancellation cannot lose them.

A request that is cut off (its client hung up, its time is over, another stage was faster) ends as a `CancelledError`
inside whatever it was waiting for. Calls that had finished by then are paid for all the same: they stand in the log.
"""

import asyncio
from contextvars import ContextVar, Token
from types import TracebackType

from corea.costs.token_estimate import estimate_usage
from corea.errors import BackendError
from corea.protocols import Backend
from corea.types import Completion, Question, Sampling

INTERRUPTED = "cut"  # the finish reason of a completion that was cut off by us


class CallLog:
    """Calls made inside `with CallLog() as log:`, also by tasks that are started there.

    Attributes:
        calls: Each with the backend that made it (None: not known), in the order in which they ended.
        interrupted: The part of a call that a backend knew of when it was cancelled.
    """

    __slots__: tuple[str, ...] = ("_token", "calls", "interrupted")

    def __init__(self) -> None:
        self.calls: list[tuple[Backend | None, Completion]] = []
        self.interrupted: Completion | None = None

    def __enter__(self) -> "CallLog":
        self._token: Token[CallLog | None] = _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.reset(self._token)


_current: ContextVar[CallLog | None] = ContextVar("corea_call_log", default=None)


def current_log() -> CallLog | None:
    """The log of the question being asked. A generator takes it when it starts, as it may be closed elsewhere."""
    return _current.get()


async def ask(backend: Backend, question: Question, sampling: Sampling) -> Completion:
    """`backend.complete`, logged: how a signal asks a model, so that the call is counted whatever follows.

    A call that is cancelled is logged with what its backend knew of it, else with its estimated prompt. One that ends
    in another error has used nothing that is known, except what its backend says.

    Raises:
        BackendError: As `backend.complete`; its `spent` is logged too.
    """
    log = current_log()
    if log is None:
        return await backend.complete(question, sampling)
    with CallLog() as inner:  # two calls at once must not write over each other's `interrupted`
        try:
            completion = await backend.complete(question, sampling)
        except BackendError as error:
            if isinstance(error.spent, Completion):
                log.calls.append((backend, error.spent))
            raise
        except BaseException as error:
            used = inner.interrupted or (
                interrupted_call(backend.model, question, sampling) if was_cut(error) else None
            )
            if used is not None:
                log.calls.append((backend, used))
            raise
    log.calls.append((backend, completion))
    return completion


def was_cut(error: BaseException) -> bool:
    """True for the error of a call that was cancelled, not of one that failed."""
    return isinstance(error, asyncio.CancelledError | GeneratorExit)


def interrupted_call(model: str, question: Question, sampling: Sampling) -> Completion:
    """A call of which only the prompt is known, estimated: its server never says what it counted."""
    usage = estimate_usage(question.messages, "", extra=sampling.extra)
    return Completion(text="", model=model, usage=usage, finish_reason=INTERRUPTED)
