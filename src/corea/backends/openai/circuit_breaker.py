"""A circuit breaker: after so many failures in a row a far end is left alone for a while, then tried with one call.

    closed     every call may go; `failures` in a row open it
    open       no call may go until `cool_down_seconds` have passed
    half-open  one call, the probe, may go: its success closes the breaker, its failure opens it again

Source: M. Nygard, Release It!, 2nd edition (2018), chapter 5, "Circuit Breaker".
"""

from collections.abc import Callable
from enum import StrEnum
from threading import Lock


class BreakerState(StrEnum):
    """Whether calls may go."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """Counts failures in a row, and says whether the next call may go. Any thread may call it.

    Each call that `admit` let go is followed by exactly one of `succeeded`, `failed` and `abandoned`.

    Args:
        failures: So many in a row open it.
        cool_down_seconds: How long it then stays open.
        clock: Seconds, monotonic.
        on_change: Receives the new state when calls begin to be held back, a probe is let go, and all may go again.
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
        """Whether calls may go now."""
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
        """0 lets the call go; else the seconds after which it is worth asking again."""
        with self._lock:
            opened_at = self._opened_at
            if opened_at is None:
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
        """The server is down. A call that was let go before the breaker opened tells it nothing new."""
        with self._lock:
            self._failures += 1
            opens = self._probing or (self._opened_at is None and self._failures >= self._most)
            if opens:
                self._opened_at, self._probing = self._clock(), False
        if opens:
            self._on_change(BreakerState.OPEN)

    def abandoned(self) -> None:
        """The call was cancelled and said nothing; another may be the probe."""
        self._probing = False
