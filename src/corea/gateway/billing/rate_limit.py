"""Rate limits: so many per minute, evenly refilled."""

from dataclasses import dataclass


@dataclass(slots=True)
class TokenBucket:
    """Holds at most `per_minute`, full at first, and refills evenly (a token bucket).

    Source: RFC 2697, section 3, with one bucket.
    """

    per_minute: int
    level: float
    at: float

    def refill(self, now: float, per_minute: int) -> None:
        """Lets time pass; the limit may have been changed meanwhile."""
        self.per_minute = per_minute
        self.level = min(self.level + (now - self.at) * per_minute / 60, per_minute)
        self.at = now

    def wait_seconds(self, amount: float) -> float:
        """How long until `amount` can be taken; 0 is now. More than a minute's worth needs a full bucket."""
        missing = min(amount, self.per_minute) - self.level
        return max(missing * 60 / self.per_minute, 0.0)
