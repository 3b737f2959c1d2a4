"""The lines of a journal, and the questions that were in flight at kills."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from corea.prices import EXACT
from corea.types import ZERO_USD


class JournalLine(msgspec.Struct):
    """One line of a journal; the field that is set says of which kind."""

    journal: int | None = None
    settings: dict[str, Any] | None = None
    rows: int | None = None
    owner: int | None = None
    end: dict[str, Any] | None = None
    start: int | None = None
    next: int | None = None
    at_most_usd: Decimal = ZERO_USD
    done: int | None = None
    key: str = ""
    trace: msgspec.Raw = msgspec.Raw(b"")


decode_line = msgspec.json.Decoder(JournalLine).decode


@dataclass(slots=True)
class LostInFlight:
    """Questions in flight when a run was killed, over all its starts.

    Args:
        at_most_usd: Their worst-case cost by then, known under a budget; else 0.
        unbounded: Rows whose worst case is unknown, with the number of times.
    """

    questions: int = 0
    at_most_usd: Decimal = ZERO_USD
    unbounded: dict[int, int] = field(default_factory=dict[int, int])

    def add(self, row: int, at_most_usd: Decimal) -> None:
        """Adds one more; 0 is unknown."""
        self.questions += 1
        self.at_most_usd = EXACT.add(self.at_most_usd, at_most_usd)
        if not at_most_usd:
            self.unbounded[row] = self.unbounded.get(row, 0) + 1
