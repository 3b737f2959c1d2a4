"""Checks a signal's confidence: a signal of another package may return anything."""

from collections.abc import Awaitable
from inspect import isawaitable
from numbers import Real
from types import CoroutineType
from typing import Any

from corea.errors import ConfigError
from corea.protocols import Signal
from corea.types import Completion, Confidence, Question, replace

REQUEST = "request"  # in a question's meta: the further fields that its stage was sent, such as `response_format`
ROUNDING = 1e-9  # a mean of ones may come to a little more than 1


async def measured(signal: Signal, question: Question, completion: Completion) -> Confidence:
    """The signal's confidence, its value a float in [0, 1] or None.

    Raises:
        ConfigError: It is not; names the signal's class and what it returned.
    """
    return checked(signal, await measuring(signal, question, completion))


def measuring(signal: Signal, question: Question, completion: Completion) -> Awaitable[Any]:
    """The signal's measurement under way, for `checked`; see `measured`."""
    found: Any = signal.measure(question, completion)
    if type(found) is not CoroutineType and not isawaitable(found):  # the first of these is quick
        raise _wrong(signal, "measure is not a coroutine function", "expected `async def measure`")
    return found


def checked(signal: Signal, found: Any) -> Confidence:
    """The confidence that a signal returned, its value a float in [0, 1] or None; see `measured`."""
    if not isinstance(found, Confidence):
        hint = "expected a Confidence; where it cannot be computed, one with value None and a reason"
        raise _wrong(signal, f"measure returned {_shown(found)}", hint)
    if found.calls != () and (
        not isinstance(found.calls, tuple) or not all(isinstance(call, Completion) for call in found.calls)  # pyright: ignore[reportUnnecessaryIsInstance] -- a plug may hold anything
    ):
        raise _wrong(signal, f"got calls {_shown(found.calls)}", "expected a tuple of Completion")
    if found.score is not None and not (type(found.score) is float and 0 <= found.score <= 1):
        raise _wrong(signal, f"got score {_shown(found.score)}", "expected a float from 0 to 1, or None")
    value: Any = found.value
    if value is None or (type(value) is float and 0 <= value <= 1):
        return found
    if isinstance(value, bool) or not isinstance(value, Real) or not -ROUNDING <= float(value) <= 1 + ROUNDING:
        raise _wrong(signal, f"got value {_shown(value)}", "expected a number from 0 to 1, or None and a reason")
    return replace(found, value=min(1.0, max(0.0, float(value))))


def _wrong(signal: Signal, got: str, expected: str) -> ConfigError:
    return ConfigError(f"signal {type(signal).__module__}.{type(signal).__qualname__}: {got}, {expected}")


def _shown(value: object) -> str:
    shown = " ".join(repr(value).split())[:60]
    return shown if value is None or isinstance(value, bool | float | str) else f"{shown} ({type(value).__name__})"
