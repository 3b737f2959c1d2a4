"""The models that a signal asks, how often and how much they may write: read from its fields.

A signal that asks a model has the fields `backend` and `sampling`, and `k` where it asks more than once (see
`corea.protocols.Signal`). One around others has them as `inner` or `others`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

from corea.protocols import Backend
from corea.types import Sampling


class SignalCalls(NamedTuple):
    """Calls to one model.

    Args:
        times: At most.
        words: Text that the signal adds to the prompt, such as its second question.
    """

    backend: Backend
    sampling: Sampling
    times: int
    words: str


def signal_calls(signal: Any) -> list[SignalCalls]:
    """The calls that one measurement makes at most; none where the signal reads the completion alone."""
    if not (hasattr(signal, "backend") or hasattr(signal, "inner") or hasattr(signal, "others")):
        return []
    return list(_calls(signal))


def _calls(signal: Any) -> Iterator[SignalCalls]:
    backend, sampling = getattr(signal, "backend", None), getattr(signal, "sampling", None)
    if backend is not None and isinstance(sampling, Sampling):
        ask = getattr(signal, "ask", "")
        yield SignalCalls(backend, sampling, int(getattr(signal, "k", 1)), ask if isinstance(ask, str) else "")
    if (inner := getattr(signal, "inner", None)) is not None:
        yield from _calls(inner)
    others = getattr(signal, "others", None)
    if isinstance(others, Mapping):
        for other in cast(Mapping[str, Any], others).values():
            yield from _calls(other)
