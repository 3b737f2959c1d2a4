"""The numbers that a model could have written in place of the stated one, each with its exact probability.

A backend that scores given text (`Scorer`) gives the probability that its reply goes on with a string. "0.8" begins
"0.85" too: that a number *ends* is the probability of the number with the text behind the written one, or that of the
number less that of all longer ones, whichever is greater. Both are at most the true one, so that what is missing shows
as not seen.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from corea.errors import BackendError
from corea.protocols import Scorer
from corea.signals.alternatives import WeightedValue, exactly
from corea.signals.number_forms import FRACTIONS, OF_TEN, PERCENTS, Place, Scale
from corea.types import Question

ENOUGH = 0.995  # of the probability on the written scale: others are then not asked for
TENS = (*OF_TEN, *PERCENTS[:11])
NOTHING = 1e-6  # of the probability, or less: no number is written here
ROUNDING = 0.01  # a log-probability of half precision may come out above 0
_MATTERS = 1e-9
_TAG = re.compile(r"</?\w{1,20}>")


@dataclass(frozen=True, slots=True)
class _Form:
    """A number as it may be written here.

    Args:
        behind: The text that follows it, for its reading.
        ends: Beginnings of that text, to score with it; none where hardly any number goes on from this one.
    """

    number: str
    behind: str
    ends: tuple[str, ...] = ()


_Forms = dict[str, _Form]
"""By the text that is scored: the number, and its unit where that makes it another one."""


async def branches(backend: Scorer, question: Question, prefix: str, place: Place) -> list[WeightedValue]:
    """Every number that carries probability, from one call to the backend; more where other forms carry some.

    Spaces at the end of the prefix may be part of a number's first token, so they are scored with it; not so for a
    scorer to which no number follows them then.
    """
    bare = prefix.rstrip(" ")
    found = await _seen_behind(backend, question, bare, prefix[len(bare) :], place)
    if prefix == bare or _total(found) > NOTHING:
        return found
    return await _seen_behind(backend, question, prefix, "", place)


async def _seen_behind(
    backend: Scorer, question: Question, prefix: str, spaces: str, place: Place
) -> list[WeightedValue]:
    """The numbers of the written scale; of every scale, where that leaves out too much."""
    forms = _like_written(place)
    found = _seen(place, forms, await _scores(backend, question, prefix, forms, spaces))
    if _total(found) >= ENOUGH or (spaces and _total(found) <= NOTHING):
        return found
    forms |= _of_every_scale(place)
    return _seen(place, forms, await _scores(backend, question, prefix, forms, spaces))


def _total(found: Iterable[WeightedValue]) -> float:
    return math.fsum(each.mass for each in found)


async def _scores(backend: Scorer, question: Question, prefix: str, forms: _Forms, spaces: str) -> "_Scores":
    """The probability of every text behind the prefix and the spaces."""
    texts = list(
        dict.fromkeys([*forms, *_further(forms), *(t + end for t, form in forms.items() for end in form.ends)])
    )
    asked = [*([spaces] if spaces else []), *(spaces + text for text in texts)]
    logprobs = await backend.score(question, prefix, asked)
    if len(logprobs) != len(asked):
        raise BackendError(f"score: got {len(logprobs)} numbers, expected one for each of {len(asked)} continuations")
    if wrong := [logprob for logprob in logprobs if not logprob <= ROUNDING]:
        raise BackendError(f"score: got {wrong[0]}, expected natural-log probabilities, at most 0")
    found = [math.exp(min(0.0, logprob)) for logprob in logprobs]
    given = found.pop(0) if spaces else 1.0
    return _Scores(dict(zip(texts, found, strict=True)), given)


@dataclass(frozen=True, slots=True)
class _Scores:
    """Probabilities by text, and that of the spaces before it, where they are tokens of their own."""

    of: Mapping[str, float]
    spaces: float

    def after_spaces(self, total: float) -> float:
        """The probability that all the numbers are a share of: less than 1 only if no number's token holds a space."""
        return self.spaces if 0 < total <= self.spaces * (1 + 1e-6) else 1.0


def _further(forms: _Forms) -> list[str]:
    """Beginnings of longer numbers that are none of these forms; to score them costs nothing."""
    digits = [text for text in PERCENTS[:11] if text in forms]  # to ten, "/10" and "%" make another number
    marks = [digit + mark for digit in digits for mark in "./%" if mark not in forms[digit].ends]
    return [text for text in (".", *marks, *(f"1{i}" for i in range(10) if "1" in forms)) if text not in forms]


def _like_written(place: Place) -> _Forms:
    """The forms of the written number's own scale; of one-digit percentages and numbers out of ten, with the unit."""
    ends, unit = ((place.behind[:1],) if place.behind else ()), place.unit
    numbers = place.in_its_style({Scale.FRACTION: FRACTIONS, Scale.PERCENT: PERCENTS, Scale.TEN: TENS}[place.scale])
    if not unit:
        return _made(dict.fromkeys([*numbers, place.written]), place.behind, ends)
    whole = [n for n in numbers if unit.strip()[0] in "%p" and place.scale is Scale.PERCENT and n not in PERCENTS[:11]]
    return _made(whole, place.behind, ends) | {n + unit: _Form(n, place.behind) for n in numbers if n not in whole}


def _of_every_scale(place: Place) -> _Forms:
    """All forms, as they would be written before the text behind the number and its unit."""
    behind = place.behind_unit
    ends = tuple(dict.fromkeys(end for end in (behind[:1], behind[:2], _tag(behind)) if end))
    pointed = [form.removeprefix("0") for form in FRACTIONS if form.startswith("0.")]
    percents = _made(PERCENTS[2:], behind, (*ends, "%"))
    small = {i + unit: _Form(i, unit + "\n", ends) for i in PERCENTS[:11] for unit in ("%", "/10")}
    own = {text: replace(form, ends=ends) for text, form in _like_written(place).items() if text.endswith(place.unit)}
    return percents | small | _made([*FRACTIONS, *pointed], behind, ends) | (own if place.unit else {})


def _made(numbers: Iterable[str], behind: str, ends: tuple[str, ...]) -> _Forms:
    return {
        number: _Form(number, behind, () if _is_exact(number) else _but_percent(number, ends)) for number in numbers
    }


def _is_exact(number: str) -> bool:
    return len(number.replace(",", ".").partition(".")[2]) >= 2


def _but_percent(number: str, ends: tuple[str, ...]) -> tuple[str, ...]:
    """ "1%" is another number than "1"; from 11 on, the sign changes nothing."""
    return tuple(end for end in ends if end[0] not in "%/") if number in PERCENTS[:11] else ends


def _tag(behind: str) -> str:
    found = _TAG.match(behind)
    return found[0] if found else ""


def _seen(place: Place, forms: _Forms, scores: _Scores) -> list[WeightedValue]:
    ending, total = _ending(forms, scores.of)
    whole = scores.after_spaces(total)
    found: list[WeightedValue] = []
    for text, mass in ending.items():
        form = forms[text]
        value = place.read(form.number, form.behind) if mass >= _MATTERS else None
        if value is not None:
            found.append(exactly(mass / whole, value))
    return found


def _ending(forms: _Forms, probabilities: Mapping[str, float]) -> tuple[dict[str, float], float]:
    """Probability that each number is written and ends there, at most the true one; and that of all, ended or not."""
    further = dict.fromkeys(sorted([*forms, *_further(forms)], key=len, reverse=True), 0.0)
    found: dict[str, float] = {}
    total = 0.0
    for text in further:
        ended = 0.0
        if text in forms:
            found[text] = ended = max(_before(text, forms[text], probabilities), probabilities[text] - further[text])
        begun = max(probabilities[text], further[text] + ended)
        parent = next((text[:i] for i in range(len(text) - 1, 0, -1) if text[:i] in further), None)
        if parent is None:
            total += begun
        else:
            further[parent] += begun
    return found, total


def _before(text: str, form: _Form, probabilities: Mapping[str, float]) -> float:
    """Probability of a number with any of its ends behind it; of those that begin alike, the shortest holds all."""
    alike: dict[str, float] = {}
    for end in form.ends:
        alike[end[0]] = max(alike.get(end[0], 0.0), probabilities[text + end])
    return math.fsum(alike.values())
