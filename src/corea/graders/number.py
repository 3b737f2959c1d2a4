"""Numbers as people write them: 1,234.50, 1.234,50, $4.00, 85 %, 3 1/2, \\frac{7}{2}, ½, 1.2e5, twenty-one, 3 million.

They are compared as fractions, so 0.1 + 0.2 is 0.3, and 0.333 is not 1/3. Everything beside a number must be accounted
for: a currency, a unit ("5 apples", "20 °C", "18 dollars per week"), a name before it ("x = 5", "about 5", "She has 5
eggs left"), or a remark in brackets. Sums of numbers are evaluated ("6*7", "10 minus 4", "half of 18"). Bounds
("at least 5"), negations ("not 5"), factors ("5x", "twice 6") and second values ("7 or 8", "3:45") leave no number at
all.

Percent: where both sides have a percent sign, or neither, the numbers before it are compared. Where one side alone has
one, it may mean the number before it or a hundredth of it: 50% is both 50 and 0.5, and 0.5 is not 50.
"""

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

from corea.graders.literals import NUMBER, evaluate, in_digits, literal
from corea.graders.text import unified
from corea.graders.units import may_precede, parts_of_larger, same_unit, unit_after
from corea.parsing import read_answer
from corea.parsing.text import STYLED
from corea.types import Question, Verdict

_LONGEST = 400  # characters that are looked at; a number that a person means is shorter
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number that a text states; `percent` is whether a percent sign stood after it (50 % has value 50)."""

    value: Fraction
    percent: bool = False
    unit: str = ""
    """The words or sign beside the number: "apples per week", "$"; empty where there are none."""


@dataclass(frozen=True, slots=True)
class NumberGrader:
    """Right when the answer's number equals the reference's.

    Args:
        tolerance: Relative difference that is forgiven where neither number is a whole one: 0.333333 is 1/3.
    """

    tolerance: float = _ROUNDING

    def grade(self, question: Question, text: str) -> Verdict:
        extracted = read_answer(text, choices=0)
        if extracted is None:
            return Verdict(False, None, "no answer found")
        stated, wanted = read_number(extracted), read_number(question.reference or "")
        if wanted is None:
            return Verdict(False, extracted, f"the reference {question.reference!r} is no number")
        if stated is None:
            return Verdict(False, extracted, "the answer is not one number with its unit")
        return Verdict(same_amount(wanted, stated, self.tolerance), extracted)

    def reference_error(self, question: Question) -> str | None:
        return None if read_number(question.reference or "") else "is no number"


def same_amount(wanted: Quantity, stated: Quantity, tolerance: float = _ROUNDING) -> bool:
    """True if two amounts are equal; where one has a percent sign and the other none, 50 % is both 50 and 0.5.

    A unit counts only where both sides name one that we know: 5 km is not 5 miles, but 5 may be either.
    """
    if not same_unit(wanted.unit, stated.unit):
        return False
    if _close(wanted.value, stated.value, tolerance):
        return True
    if wanted.percent == stated.percent:
        return False
    whole, part = (stated, wanted) if wanted.percent else (wanted, stated)
    return _close(whole.value, part.value / 100, tolerance)


def _close(a: Fraction, b: Fraction, tolerance: float) -> bool:
    """True if two numbers differ by rounding alone; whole numbers are exact, and cents of large sums too."""
    if a == b:
        return True
    if 1 in (a.denominator, b.denominator):
        return False
    if abs(a - b) > Fraction(tolerance).limit_denominator(10**15) * max(abs(a), abs(b)):
        return False
    return tolerance > _ROUNDING or _rounds(a, b) or _rounds(b, a)


def _rounds(exact: Fraction, short: Fraction) -> bool:
    """True if `short` is `exact` rounded to its decimal places, or from the third place on, cut off there."""
    places = next((n for n in range(31) if 10**n % short.denominator == 0), None)
    if places is None:
        return False
    difference = abs(exact - short) * 10**places
    return difference < 1 if places > 2 else difference * 2 <= 1


def read_number(text: str, *, whole: bool = False) -> Quantity | None:
    """The number that a short answer states; None where anything beside it changes it, or may.

    Args:
        whole: Only where the text is nothing but a number with its currency or percent sign: "5 apples" is None.
    """
    if len(text) > _LONGEST:
        return None
    plain = _plain(text)
    bare = plain.removesuffix(".")
    if match := NUMBER.fullmatch(bare):
        number = literal(match, decimal_comma=not whole)
        return Quantity(number.value, number.percent, number.currency) if number else None
    return None if whole or not plain or _NOT_ONE.search(plain) else _stated(in_digits(plain).strip())


_NOT_ONE = re.compile(
    r"\d/\d+/\d|\d{4}-\d\d?-\d|\d:\d|\d\s?(?:\.\.|…|\\[lc]?dots)"
)  # dates, times, ratios, digits that go on
_REMARK = re.compile(r"(?<=[^\s(])(?<!minus)(?<!negative)(?<!plus)(?<!times)\s+\(([^()]{1,200})\)(?!\s*[*/^×÷=])")
_UNREAL = re.compile(r"(?:in\s)?(?:hundreds|thousands|millions|billions|dozens|mod\s?\d*|base\s\w+|%|squared)", re.I)
_DENIED = re.compile(
    r"(?:and\s)?(?:not|never|rather than|instead of|rounded from|down from|up from|was|previously)\s", re.I
)
_OF_PARTS = re.compile(r"\b(?:per|each|every|of which|including)\b", re.I)
_OR_ANOTHER = re.compile(r"\s*(?:or|maybe|perhaps|possibly|could be)\b.*\d", re.I | re.S)
_REASON = re.compile(r"(?<=\w)[,;]?\s(?:since|because)\s.*$", re.I | re.S)
_ALTERNATIVE = re.compile(r",?\s+or\s+|,?\s+(?:i\.e\.|that\sis),?\s+|\s*;\s*")
_EQUALS = re.compile(r"\s*(?:=|≈|\\approx(?![a-z]))\s*")


def _stated(plain: str) -> Quantity | None:
    """The number that a text states, with its remarks in brackets, or alternatives that agree: "3/4 (75%)"."""
    plain = _REASON.sub("", plain)
    if (remark := _REMARK.search(plain)) is not None:
        return _remarked(_stated(plain[: remark.start()] + plain[remark.end() :]), remark[1])
    values = [_chain(part) for part in _ALTERNATIVE.split(plain)]
    first = values[0]
    agreed = first and all(value and same_amount(first, value) for value in values)
    return first if agreed else None


def _remarked(amount: Quantity | None, remark: str) -> Quantity | None:
    """The amount, unless the remark after it says another: "5 (or 6)", "5 (in thousands)"."""
    if amount is None or _UNREAL.fullmatch(remark.strip()):
        return None
    if _DENIED.match(remark) or _OF_PARTS.search(remark):
        return amount
    other = _stated(re.sub(r"^\s*(?:or|and|=|i\.e\.,?)\s*", "", remark))
    if other is None and _OR_ANOTHER.match(remark):
        return None
    agrees = other is None or same_amount(amount, other) or other.percent != amount.percent
    converted = other is not None and "" not in (amount.unit, other.unit) and amount.unit != other.unit
    return amount if agrees or converted else None


def _chain(plain: str) -> Quantity | None:
    """The value of "x = 5", "6*7 = 42" or "42 = 6*7"; None where the sides contradict each other or hold an unknown."""
    sides = [side.strip() for side in _EQUALS.split(plain)]
    if len(sides) == 1:
        return _sentence(plain)
    last = _sentence(sides[-1])
    if any(_UNKNOWN.search(side) for side in sides[:-1] if not _CALL.fullmatch(side)):
        return None
    if last and NUMBER.match(sides[-1]):
        match = NUMBER.match(sides[-1])
        if match and not _OPERATES.match(sides[-1], match.end()):
            return last
    values = [_sentence(side) for side in sides if any(map(str.isdigit, side))]
    first = values[0] if values else None
    return first if first and all(value and same_amount(first, value) for value in values) else None


_OPERATES = re.compile(r"\s*[-+*/×·÷^!]|\s*\\(?:times|cdot|div)|\s(?:x|times|plus|minus|over)\s")
_CALL = re.compile(r"[A-Za-z]+(?:_\{?\w+\}?)?\([^()]*\)|\\binom\s?\{\w+\}\s?\{\w+\}")  # P(X ≥ 2), C(5, 2)
_UNKNOWN = re.compile(
    r"\d\s?[a-zA-Z](?![\w°])(?:\s*[-+*^/]|\s*$)|(?<![\w])[a-zA-Z]\s?[-+*/^]\s?[\w(]|[-+*/]\s?[a-zA-Z](?![\w(])|^-|\||\d[,;]|\b(?:and|or)\b"
)
_VERB = re.compile(r"(?<![\w])(?:is|are|was|were|be|equals?|totals?|totaled|makes)(?:\s+equal\s+to)?[\s:]+(?=\S)", re.I)


def _sentence(plain: str) -> Quantity | None:
    """The number that a sentence states of its subject ("The sum of 3 and 5 is 8"), or its only number."""
    stated = [piece for piece in _VERB.split(plain)[1:] if any(map(str.isdigit, piece))]
    if len(stated) > 1:
        return None
    return _phrase(stated[0] if stated else plain)


_START = re.compile(
    r"(?<![A-Za-zÀ-ɏΑ-ω\d_.\\^])(?:(?:[-+]|(?:minus|negative)\s)\s?)?(?:[A-Z]{0,3}[$€£¥₹₽₩₺₫₴(|]|(?:USD|EUR|GBP|CHF|INR|JPY|CNY|CAD|AUD|Rs\.?)\s?(?=\d)"
    r"|[.,]?\d|\\frac|√|\\?sqrt)",
    re.I,
)
_FRONTED = re.compile(
    r"(?:in|after|for|during|by|over|within|on|at)\s(?:[^\W\d]+\s){0,2}\d[\d.,]*\s[^\W\d]+,?\s(?=[^\W\d])", re.I
)
_CONTRAST = re.compile(
    r"(?:,\s*|\s)(?:and\s)?(?:not|rather than|instead of)\s[^,]*$|,?\s(?:and|with)\s(?:a\s)?confidence\b.*$", re.I
)
_ASIDE = re.compile(
    r",?\s(?:in|for|over|after|during|within|per|every|including|out\sof|of)\s"
    r"(?:(?:the|a|an|his|her|their|its|each|all|those|these|next|first|last)\s)*\d[\d.,]*(?:\s?%|[\s-](?=[^\W\d]))"
    r"|\sby\s\d\d?\s?[ap]\.?m\b",
    re.I,
)
_SECOND_PART = re.compile(
    r"\s?(?P<larger>[a-zA-Z]+|')\.?(?:,?\s(?:and\s)?|(?<='))(?P<count>\d{1,4}(?:\.\d{1,9})?)\s?(?P<smaller>[a-zA-Z]+|\")"
)


def _phrase(plain: str) -> Quantity | None:
    """The only number of a phrase, where the words before and after it leave it as it is."""
    plain = _FRONTED.sub("", plain, count=1) if _FRONTED.match(plain) else plain
    start = _START.search(plain)
    if start is None or not may_precede(plain[: start.start()]):
        return None
    number = evaluate(plain, start.start())
    if number is None:
        return None
    value, rest = number.value, plain[number.end :]
    if (part := _SECOND_PART.match(rest)) and (count := parts_of_larger(part["larger"], part["smaller"])):
        value += (1 if value >= 0 else -1) * Fraction(part["count"]) / count
        rest = " " + part["larger"] + rest[part.end() :]
    elif any(map(str.isdigit, rest)):
        rest = _without_asides(rest, has_unit=bool(number.currency or number.percent))
    unit = unit_after(rest)
    return None if unit is None else Quantity(value, number.percent, number.currency or unit)


def _without_asides(rest: str, *, has_unit: bool) -> str:
    """The words after a number without other numbers that say when, or of how many: "cups in 3 days", "of the 60"."""
    rest = _CONTRAST.sub("", rest)
    aside = _ASIDE.search(rest)
    if aside and (has_unit or re.search(r"[^\W\d]|°", rest[: aside.start()]) or aside[0].startswith(" of the ")):
        return rest[: aside.start()] + " " + rest[aside.end() :]
    return rest


_NEUTRAL = (
    (re.compile(r"\{,\}"), ","),
    (
        re.compile(
            r"\\!\s*|\\left(?![a-z])|\\right(?![a-z])|\\displaystyle(?![a-z])|`|\*\*(?=\s|$|[^\s\d({-])|(?<![\d)}\s])\*\*|^\*\*"
        ),
        "",
    ),
    (re.compile(r"\\[,;:]|\\\s|(?<=[\d}])~(?=\\)"), " "),
    (re.compile(r"\\\$"), "$"),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\\[dtc]frac"), r"\\frac"),
    (re.compile(STYLED + r"\{([^{}]{0,200})\}"), r" \1 "),
    (re.compile(r"\s?\^\s?\{?\s?\\circ\s?\}?|\\degree(?![a-z])"), "°"),
    (re.compile(r"\\[()\[\]]|\$(?=\s*$)"), ""),
    (re.compile(r">=|\\geq?(?![a-z])|=>"), "≥"),
    (re.compile(r"<=|\\leq?(?![a-z])"), "≤"),
    (re.compile(r"!=|\\neq?(?![a-z])"), "≠"),
    (re.compile(r"=="), "="),
)
_VULGAR_FRACTION = re.compile("[¼-¾⅐-⅞]")


def _plain(text: str) -> str:
    """The text without LaTeX markup; signs, vulgar fractions, powers and digits of other scripts in plain form."""
    plain = text
    if not text.isascii():
        spaced = _VULGAR_FRACTION.sub(r" \g<0>", text)
        same = "…".join(map(unified, spaced.split("…")))  # else it would be three dots
        plain = " ".join("".join(str(unicodedata.decimal(char, char)) for char in same).split())
    if "\\" in plain or not _SIMPLE.fullmatch(plain):
        for pattern, replacement in _NEUTRAL:
            plain = pattern.sub(replacement, plain)
    plain = plain.strip()
    return plain.removeprefix("$").strip() if plain.count("$") == 1 and plain.startswith("$\\") else plain


_SIMPLE = re.compile(r"[\w\s.,$%/-]*")
