"""Watching the calls to models: a hook of the caller's, which costs one look at a variable where there is none."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from corea.types import Completion, Question, Sampling, Step


class ObservedCall(Protocol):
    """One attempt of a call."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Further headers of its request, such as `traceparent`."""
        ...

    def ended(self, completion: Completion | None, error: BaseException | None) -> None:
        """Called once, with the completion or with the reason why there is none."""
        ...


class CallObserver(Protocol):
    """Watches the calls of one question."""

    def follow(self, plan: Any, on_step: Callable[[Step], None]) -> Callable[[Step], None]:
        """Called before the first stage, with the gateway's plan of the request; the result replaces `on_step`."""
        ...

    def begin(self, backend: Any, question: Question, sampling: Sampling) -> ObservedCall:
        """Called before each attempt.

        Args:
            backend: An `OpenAIBackend`.
        """
        ...


observer: ContextVar[CallObserver | None] = ContextVar("corea_call_observer", default=None)
