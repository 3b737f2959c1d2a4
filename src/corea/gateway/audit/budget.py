"""The audit's budget of a day, over all servers: a call is made only if its reserve fits, and is stored before."""

from dataclasses import dataclass
from decimal import Decimal

from corea.gateway.audit.store import DAY_SECONDS, closed_on, spent_on
from corea.gateway.billing.connection import SqlConnection
from corea.types import ZERO_USD

FIND = "SELECT spent_usd, closed FROM audit_days WHERE day = ?"
PUT = """INSERT INTO audit_days VALUES (?, ?, ?)
ON CONFLICT (day) DO UPDATE SET spent_usd = excluded.spent_usd, closed = excluded.closed"""


@dataclass(slots=True)
class AuditBudget:
    """Spending of the present day (UTC), as this server last saw it; the database has it.

    Args:
        spent: With the reserves of the calls in flight, of all servers.
        closed: A drawn question did not fit. No further one is then drawn on that day, even if it would fit: a sample
            of the cheap ones alone would be biased.
    """

    day: int = -1
    spent: Decimal = ZERO_USD
    closed: bool = False

    def today(self, now: float) -> int:
        """The present day since 1970; a new one begins with nothing spent."""
        if (day := int(now // DAY_SECONDS)) != self.day:
            self.day, self.spent, self.closed = day, ZERO_USD, False
        return day

    def read(self, connection: SqlConnection, day: int) -> tuple[Decimal, bool]:
        """Spending of a day, and whether it is closed."""
        found = connection.execute(FIND, (day,)).fetchone()
        if found is None:  # the first call of the day, or since an upgrade
            spent, closed = spent_on(connection, day), closed_on(connection, day)
        else:
            spent, closed = Decimal(found[0]), bool(found[1])
        if day == self.day:
            self.spent, self.closed = spent, closed
        return spent, closed

    def take(self, connection: SqlConnection, day: int, reserve: Decimal, limit: Decimal) -> bool:
        """Takes a reserve; False, and the day is closed, if it does not fit."""
        spent, closed = self.read(connection, day)
        fits = not closed and spent + reserve <= limit
        self._put(connection, day, spent + reserve if fits else spent, not fits)
        return fits

    def settle(self, connection: SqlConnection, day: int, change: Decimal) -> None:
        """Books the difference of a call's cost to its reserve."""
        spent, closed = self.read(connection, day)
        self._put(connection, day, spent + change, closed)

    def _put(self, connection: SqlConnection, day: int, spent: Decimal, closed: bool) -> None:
        connection.execute(PUT, (day, str(spent), int(closed)))
        if day == self.day:
            self.spent, self.closed = spent, closed
