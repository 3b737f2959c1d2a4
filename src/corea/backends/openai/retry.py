"""Retries: the failed calls that are worth repeating, and the time to wait first."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

# a timeout, a conflict or lock, too early, too many: the same request may succeed later. 5xx are in `may_help`.
PASSING = frozenset({408, 409, 425, 429})
# not implemented, version, loop, network login: the same request never succeeds
LASTING = frozenset({501, 505, 508, 511})
# a 429 of these codes is about credit, not rate
OUT_OF_CREDIT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})


def may_help(status: int, code: str | None, headers: Mapping[str, str]) -> bool:
    """True if repeating a request with this response can help.

    Args:
        code: The server's own error code, if any.
        headers: Of the response; `x-should-retry` (OpenAI) overrules the status.
    """
    said = headers.get("x-should-retry", "").lower()
    if said in ("true", "false"):
        return said == "true"
    if code in OUT_OF_CREDIT:
        return False
    return status in PASSING or (status >= 500 and status not in LASTING)


def retry_after_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """The delay that a server asks for: `retry-after-ms`, or Retry-After in seconds or as a date; None without one.

    Args:
        now: Seconds since 1970, for a date if the response has no `Date` of its own (the clocks may differ).

    Source: RFC 9110, sec. 10.2.3; retry-after-ms: Azure OpenAI.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None:
        return seconds
    until = _date(value)
    if until is None:
        return None
    sent = _date(headers.get("date"))
    return max(0.0, until - (now if sent is None else sent))


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential backoff with full jitter.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    base_seconds: float
    cap_seconds: float
    retry_after_cap_seconds: float

    def wait_seconds(self, failed: int, asked_seconds: float | None, rng: random.Random) -> float:
        """Delay before the next attempt.

        Args:
            failed: Number of failed attempts, at least 1.
            asked_seconds: The delay that the server asked for: the minimum, up to the cap, plus up to the base, so that
                callers refused together do not return together.
        """
        if asked_seconds is not None:
            return min(asked_seconds, self.retry_after_cap_seconds) + rng.uniform(0, self.base_seconds)
        return rng.uniform(0, min(self.cap_seconds, self.base_seconds * 2 ** min(failed - 1, 30)))


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else -1.0
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def _date(value: str | None) -> float | None:
    try:
        return parsedate_to_datetime(value).timestamp() if value else None
    except (ValueError, TypeError):
        return None
