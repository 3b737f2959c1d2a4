"""Rate limits per minute of a key, as token buckets."""

from dataclasses import dataclass
from math import ceil

from corea.gateway.errors import GatewayError


@dataclass(slots=True)
class TokenBucket:
    """A bucket of `per_minute` units, full at first, refilled evenly.

    Source: RFC 2697, section 3, with one bucket.
    """

    per_minute: int
    level: float
    at: float

    def refill(self, now: float, per_minute: int) -> None:
        """Refills for the time since the last call; the limit may have changed meanwhile."""
        self.per_minute = per_minute
        self.level = min(self.level + (now - self.at) * per_minute / 60, per_minute)
        self.at = now

    def wait_seconds(self, amount: float) -> float:
        """Time until `amount` can be taken; 0 is now. More than a minute's worth needs a full bucket."""
        missing = min(amount, self.per_minute) - self.level
        return max(missing * 60 / self.per_minute, 0.0)


@dataclass(slots=True)
class RateLimits:
    """The two buckets of a key; None where it has no such limit."""

    requests: TokenBucket | None = None
    tokens: TokenBucket | None = None

    def refill(self, now: float, *, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        """Refills both, with the limits that the key has now."""
        self.requests = _refilled(self.requests, requests_per_minute, now)
        self.tokens = _refilled(self.tokens, tokens_per_minute, now)

    def take(self, tokens: int) -> None:
        """Takes one request and so many tokens.

        Raises:
            GatewayError: 429, either bucket is too low; nothing is taken.
        """
        wanted = ((self.requests, 1, "requests"), (self.tokens, tokens, "tokens"))
        for bucket, amount, unit in wanted:
            if bucket is not None and (wait := bucket.wait_seconds(amount)) > 0:
                raise rate_limited(bucket.per_minute, unit, wait)
        for bucket, amount, _ in wanted:
            if bucket is not None:
                bucket.level -= amount


def rate_limited(per_minute: int, unit: str, wait: float) -> GatewayError:
    """The error of a request that a limit refuses for so many seconds."""
    message = f"This key's limit is {per_minute} {unit} per minute; try again in {wait:.1f} s."
    retry = (("retry-after", str(ceil(wait))),)
    return GatewayError(429, message, "rate_limit_error", "rate_limit_exceeded", headers=retry)


def _refilled(bucket: TokenBucket | None, per_minute: int | None, now: float) -> TokenBucket | None:
    if per_minute is None:
        return None
    if bucket is None:
        return TokenBucket(per_minute, per_minute, now)
    bucket.refill(now, per_minute)
    return bucket
