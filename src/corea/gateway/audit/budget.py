"""The audit's budget of a day: a call is made only if its reserve fits, and its reserve is on disk before."""

import sqlite3
from dataclasses import dataclass
from decimal import Decimal

from corea.gateway.audit.store import DAY_SECONDS, closed_on, lose_asked, spent_on
from corea.types import ZERO_USD


@dataclass(slots=True)
class AuditBudget:
    """Spending of the present day (UTC).

    Args:
        spent: With the reserves of the calls in flight.
        closed: A drawn question did not fit. No further one is then drawn on that day, even if it would fit: a sample
            of the cheap ones alone would be biased.
    """

    day: int = -1
    spent: Decimal = ZERO_USD
    closed: bool = False

    def begin(self, connection: sqlite3.Connection, now: float) -> None:
        """Takes the day's spending from the database; calls in flight at the last end count at their reserve."""
        lose_asked(connection)
        self.day = int(now // DAY_SECONDS)
        self.spent, self.closed = spent_on(connection, self.day), closed_on(connection, self.day)

    def today(self, now: float) -> int:
        """The present day since 1970; a new one begins with nothing spent."""
        if (day := int(now // DAY_SECONDS)) != self.day:
            self.day, self.spent, self.closed = day, ZERO_USD, False
        return day

    def take(self, reserve: Decimal, limit: Decimal) -> bool:
        """Takes a reserve; False, and the day is closed, if it does not fit."""
        self.closed = self.closed or self.spent + reserve > limit
        if not self.closed:
            self.spent += reserve
        return not self.closed

    def settle(self, day: int, reserve: Decimal, cost: Decimal) -> None:
        """Replaces a reserve by the actual cost."""
        if day == self.day:
            self.spent += cost - reserve
