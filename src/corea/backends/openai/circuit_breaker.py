"""A circuit breaker: after `failures` failures in a row a server is not called for a while, then tried with one call.

    closed     every call may go; `failures` in a row open it
    open       no call may go until `cool_down_seconds` have passed
    half-open  one call, the probe, may go: its success closes the breaker, its failure opens it again

Source: M. Nygard, Release It!, 2nd edition (2018), chapter 5, "Circuit Breaker".
"""

from collections.abc import Callable
from enum import StrEnum
from threading import Lock


class BreakerState(StrEnum):
    """The states of a breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """Counts failures in a row, and admits or refuses the next call. Thread-safe.

    Each admitted call is followed by exactly one of `succeeded`, `failed` and `abandoned`.

    Args:
        failures: Number in a row that opens it.
        cool_down_seconds: Time that it then stays open.
        clock: Seconds, monotonic.
        on_change: Receives the new state when it opens, admits a probe, and closes.
    """

    def __init__(
        self,
        failures: int,
        cool_down_seconds: float,
        clock: Callable[[], float],
        *,
        on_change: Callable[[BreakerState], None] = lambda state: None,
    ) -> None:
        self._most = failures
        self._cool_down_seconds = cool_down_seconds
        self._clock = clock
        self._on_change = on_change
        self._lock = Lock()
        self._failures = 0
        self._opened_at: float | None = None
        self._probing = False

    @property
    def state(self) -> BreakerState:
        """The state now."""
        opened_at = self._opened_at
        if opened_at is None:
            return BreakerState.CLOSED
        cooled = self._clock() - opened_at >= self._cool_down_seconds
        return BreakerState.HALF_OPEN if cooled else BreakerState.OPEN

    @property
    def failures(self) -> int:
        """Failures in a row so far."""
        return self._failures

    def admit(self) -> float:
        """0 admits the call; else the seconds after which to ask again."""
        opened_at = self._opened_at
        if opened_at is None:
            return 0.0
        with self._lock:
            opened_at = self._opened_at
            if opened_at is None:  # closed meanwhile
                return 0.0
            left = opened_at + self._cool_down_seconds - self._clock()
            if left > 0:
                return left
            if self._probing:
                return self._cool_down_seconds
            self._probing = True
        self._on_change(BreakerState.HALF_OPEN)
        return 0.0

    def succeeded(self) -> None:
        """The server answered."""
        if not self._failures and self._opened_at is None:
            return
        with self._lock:
            closes = self._opened_at is not None
            self._failures, self._opened_at, self._probing = 0, None, False
        if closes:
            self._on_change(BreakerState.CLOSED)

    def failed(self) -> None:
        """The server failed. Calls admitted before the breaker opened do not prolong it."""
        with self._lock:
            self._failures += 1
            opens = self._probing or (self._opened_at is None and self._failures >= self._most)
            if opens:
                self._opened_at, self._probing = self._clock(), False
        if opens:
            self._on_change(BreakerState.OPEN)

    def abandoned(self) -> None:
        """The call was cancelled without a result; another may be the probe."""
        self._probing = False
