"""The ways to write a confidence at one place of a text, and the value of each there."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from corea.parsing import Extracted, find_confidence

HUNDREDTHS = tuple(f"{i / 100:.2f}" for i in range(101))
TENTHS = tuple(f"{i / 10:.1f}" for i in range(11))
WHOLE = ("0", "1")
FRACTIONS = (*HUNDREDTHS, *TENTHS, *WHOLE)
PERCENTS = tuple(str(i) for i in range(101))
OF_TEN = tuple(f"{i / 10:.1f}" for i in range(101))
CONTEXTS = (120, 4000)  # characters around the number that show its scale; the second where the first is too little
_UNIT = re.compile(r"\s{0,2}(?:%|percent\b|/\s?\d+|out\s+of\s+\d+)")


class Scale(StrEnum):
    """The scale of a stated number."""

    FRACTION = "fraction"  # 0.85
    PERCENT = "percent"  # 85, 85 %, or a number out of another whole one
    TEN = "ten"  # 8.5/10


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a stated confidence in its text.

    Args:
        before, behind: The text around the number, as much as its reading needs.
        written: The number as written.
        value: The confidence that it states.
    """

    before: str
    written: str
    behind: str
    value: float

    @property
    def scale(self) -> Scale:
        number = _float(self.written)
        if number is None or (abs(self.value - number) < 1e-9 and not self.unit):
            return Scale.FRACTION
        return Scale.TEN if number and abs(10 * self.value - number) < 1e-9 else Scale.PERCENT

    def read(self, number: str, behind: str | None = None) -> float | None:
        """The confidence stated if `number` were written here, before `behind`."""
        behind = self.behind if behind is None else behind
        found = find_confidence(self.before + number + (behind or " "))
        return found.value if found and found.start == len(self.before) else None

    @property
    def unit(self) -> str:
        """The percent sign, or "/10", behind the number; "" where there is none."""
        unit = _UNIT.match(self.behind)
        return unit[0] if unit else ""

    @property
    def behind_unit(self) -> str:
        """The text behind the number and its unit: what would follow a number of another scale."""
        return self.behind[len(self.unit) :]

    def in_its_style(self, forms: Sequence[str]) -> tuple[str, ...]:
        """The forms with the decimal comma, or without the leading zero, of the written number."""
        if self.written[:1] in ".,":
            forms = [form.removeprefix("0") if "." in form else form for form in forms]
        return tuple(form.replace(".", ",") for form in forms) if "," in self.written else tuple(forms)


def place_of(text: str, stated: Extracted[float]) -> Place | None:
    """The place of a stated number; None if its reading depends on more than the text near it."""
    for context in CONTEXTS:
        before = text[max(0, stated.start - context) : stated.start]
        behind = text[stated.end : stated.end + context]
        place = Place(before, text[stated.start : stated.end], behind, stated.value)
        if place.read(place.written) == stated.value:
            return place
    return None


def _float(number: str) -> float | None:
    try:
        return float(number.replace(",", "."))
    except ValueError:
        return None
