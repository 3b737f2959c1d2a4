"""The numbers that a server's likeliest tokens (top_logprobs) could have written in place of the stated one."""

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from corea.signals.number_forms import FRACTIONS, HUNDREDTHS, OF_TEN, PERCENTS, TENTHS, Place, Scale
from corea.types import TokenLogprob

FEWEST = 1e-5  # an alternative below this probability counts as unseen
LAST_DIGIT = 0.045  # the middle of what an unseen digit of hundredths may add
_NUMERIC = re.compile(r"[\d.,]*")
_CHANGES_SCALE = re.compile(r"\s*(?:%|/|percent\b|out\b|of\b|to\b|or\b|[-–—±])")
_SPACES = " \t\r\n▁Ġ"


@dataclass(frozen=True, slots=True)
class WeightedValue:
    """A share of the probability, and the confidence that it states.

    Args:
        low, high: The least and the greatest confidence that the tokens seen leave possible; equal if it is known.
        near: The same bounds among numbers written like the stated one, for the estimate between the bounds.
    """

    mass: float
    low: float
    high: float
    near: tuple[float, float]

    def estimate(self, mean: float) -> float:
        """The possible value nearest to the mean of what is known, an unseen last digit in its middle."""
        low, high = self.near
        margin = min(LAST_DIGIT, (high - low) / 2)
        return min(high - margin, max(low + margin, mean))


def exactly(mass: float, value: float) -> WeightedValue:
    """A share of the probability whose confidence is known."""
    return WeightedValue(mass, value, value, (value, value))


def branches(place: Place, start: int, tokens: Sequence[tuple[int, TokenLogprob]]) -> list[WeightedValue]:
    """The written number, and all that an alternative to one of its tokens would have begun.

    Args:
        start: Of the number in the text.
        tokens: Those of the number, the one behind it, and the spaces before it where they are a token of their own
            (" ." may replace " "); each with its start in the text.
    """
    found: list[WeightedValue] = []
    reached = whole = 1.0
    for at, token in tokens:
        for text, probability in _others(token):
            outcome = _alternative(place, start, at, token.token, text)
            if outcome is not None:
                low, high, near = outcome
                found.append(WeightedValue(reached * probability, low, high, near))
        reached *= math.exp(min(0.0, token.logprob))
        if at + len(token.token) <= start:  # the spaces: of all that could follow, numbers alone are looked at
            whole = min(1.0, reached + math.fsum(each.mass for each in found))
    found.append(exactly(reached, place.value))
    return [replace(each, mass=each.mass / whole) for each in found] if whole < 1 else found


def _alternative(place: Place, start: int, at: int, written: str, text: str) -> "_Outcome | None":
    """The bounds of the confidence if `text` replaces the token `written`; None: no number."""
    lead = written[: max(0, start - at)]
    piece = _without_lead(text, lead)
    if piece is None:
        return None
    return _outcome(place, place.written[: max(0, at - start)], piece, _digits(written[len(lead) :]))


def _others(token: TokenLogprob) -> list[tuple[str, float]]:
    """The tokens that could have stood there instead, with their probabilities."""
    found = [(text, math.exp(min(0.0, logprob))) for text, logprob in token.top if text != token.token]
    return [(text, probability) for text, probability in found if probability >= FEWEST]


def _without_lead(text: str, lead: str) -> str | None:
    """The part of an alternative that replaces the number; None if it differs before that."""
    if not lead:
        return text
    if text.startswith(lead):
        return text[len(lead) :]
    return None if lead.strip(_SPACES) else text.lstrip(_SPACES)


_Outcome = tuple[float, float, tuple[float, float]]


def _digits(piece: str) -> str:
    """The part of a number that a piece of text begins with."""
    found = _NUMERIC.match(piece)
    return found[0] if found else ""


def _outcome(place: Place, done: str, piece: str, instead_of: str) -> _Outcome | None:
    """The confidence, or its bounds, where a piece follows the first characters of the number; None: no number.

    Args:
        instead_of: The digits of the token that was written.
    """
    piece = unicodedata.normalize("NFKC", piece if done else piece.lstrip(_SPACES))
    digits = _digits(piece)
    number, rest = done + digits, piece[len(digits) :]
    if not number or _NUMERIC.fullmatch(number) is None:
        return None
    if rest:
        value = _ended(place, number.rstrip(".,"), rest)
        return None if value is None else (value, value, (value, value))
    return _open(place, number, short=digits.isdigit() and len(digits) < len(instead_of.strip(".,")))


def _ended(place: Place, number: str, rest: str) -> float | None:
    """The confidence that a whole number states before `rest`."""
    if place.behind.startswith(rest):
        return place.read(number)
    return place.read(number, rest + "\n" if _CHANGES_SCALE.match(rest) else place.behind_unit)


def _open(place: Place, number: str, *, short: bool) -> _Outcome | None:
    """The bounds of what a number states whose further digits were not seen.

    Args:
        short: It has one digit where a token of several was written: of such tokens, "9" hardly begins "95".
    """
    ways = _ways(place, short=short)
    values = _range(place, number, ways)
    if values is None and place.scale is Scale.FRACTION:  # another scale was begun
        values = _range(place, number, _behind(PERCENTS, place.behind_unit) + DIGITS_PERCENT)
    if values is None:
        values = _range(place, number, [(number, place.behind), (number, place.behind_unit)])
    if values is None:
        return None
    near = None
    if place.scale is Scale.FRACTION and len(place.written) > 1:
        like = [number] if short else place.in_its_style(TENTHS if _decimals(place.written) == 1 else HUNDREDTHS)
        near = _range(place, number, _behind(like, place.behind))
    return (*values, near or values)


_Ways = list[tuple[str, str]]
"""Numbers, each with the text behind it."""


def _behind(numbers: Iterable[str], behind: str) -> _Ways:
    return [(number, behind) for number in numbers]


SHARES = [form for form in FRACTIONS if "." in form]
POINTED = [form.removeprefix("0") for form in SHARES if form.startswith("0")]
DIGITS_PERCENT = _behind(PERCENTS[:10], "%\n")


def _ways(place: Place, *, short: bool) -> _Ways:
    """The ways to write a number here that count: those of the written scale, and shares behind another one.

    Percentages are taken to have as many digits as the written one (or to be 100): "9" begins 90 to 99.
    """
    if place.scale is Scale.FRACTION:
        return _behind(dict.fromkeys([*place.in_its_style(FRACTIONS), *FRACTIONS, *POINTED]), place.behind)
    shares = _behind([*SHARES, *POINTED], place.behind_unit)
    if place.scale is Scale.TEN:
        return _behind(OF_TEN if _decimals(place.written) else PERCENTS[:11], place.behind) + shares
    if short or len(place.written) == 1:
        return _behind(PERCENTS, place.behind) + DIGITS_PERCENT + shares
    return _behind(PERCENTS[10:], place.behind) + shares


def _decimals(number: str) -> int:
    return len(number.replace(",", ".").partition(".")[2])


def _range(place: Place, number: str, ways: _Ways) -> tuple[float, float] | None:
    """The least and the greatest confidence of the ways that begin with a number."""
    values = [
        value for form, behind in ways if form.startswith(number) and (value := place.read(form, behind)) is not None
    ]
    return (min(values), max(values)) if values else None
