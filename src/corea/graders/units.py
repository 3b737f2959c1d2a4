"""Units of measurement and the other words by a number: one table, read in prose, in tokens and at an answer's end.

Prose around a number keeps its value (units, "She has") or changes it (bounds, negations, factors): `unit_after` and
`may_precede`. Tokens after an expression are a unit with a dimension and a factor: `read_unit`. A question that states
its unit takes it at the end of an answer: `without_unit`.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from corea.graders.algebra.notation import MathToken
from corea.parsing.text import STYLED

_TABLE = """
length metre 1: m meter meters metre metres
length millimetre 1/1000: mm millimeter millimeters millimetre millimetres
length centimetre 1/100: cm centimeter centimeters centimetre centimetres
length decimetre 1/10: dm decimeter decimeters decimetre decimetres
length kilometre 1000: km kilometer kilometers kilometre kilometres
length inch 254/10000: in inch inches | "
length foot 3048/10000: ft foot feet | '
length yard 9144/10000: yd yard yards | yds
length mile 1609344/1000: mi mile miles
mass gram 1: g gram grams gramme grammes
mass milligram 1/1000: mg milligram milligrams
mass kilogram 1000: kg kilogram kilograms kilo kilos kgs
mass pound 45359237/100000: lb lbs pound pounds
mass ounce 45359237/1600000: oz ounce ounces
volume litre 1: l liter liters litre litres
volume millilitre 1/1000: ml milliliter milliliters millilitre millilitres
time second 1: s sec secs second seconds
time minute 60: min mins minute minutes
time hour 3600: h hr hrs hour hours
time day 86400: day days | d
time week 604800: week weeks | wk wks
calendar month 1: month months
calendar year 12: yr yrs year years
money dollar 1: $ usd dollar dollars buck bucks us$
money cent 1/100: cent cents ¢
euro euro 1: € eur euro euros
gbp gbp 1: £ gbp
yen yen 1: ¥ yen jpy yuan rmb cny
rupee rupee 1: ₹ inr rs rupee rupees
angle degree 1: ° degree degrees deg
angle radian 180: rad rads radian radians
celsius celsius 1: celsius | °c ℃
fahrenheit fahrenheit 1: fahrenheit | °f ℉
mph mph 1: mph
km/h km/h 1: kph kmh | km/h
am am 1: am
pm pm 1: pm
bps bps 1: bps | bp
ton ton 1: | t ton tons tonne tonnes
gallon gallon 1: | gal gallon gallons
m/s m/s 1: | m/s
kelvin kelvin 1: | k kelvin
newton newton 1: | n newton newtons
joule joule 1: | j joule joules
watt watt 1: | w watt watts
volt volt 1: | v volt volts
ampere ampere 1: | a amp amps
hertz hertz 1: | hz hertz
pascal pascal 1: | pa pascal
"""
"""Dimension, name, factor to the dimension's base unit, and spellings; those after | may be symbols of variables, and
are units in prose only."""
_PROSE_SYMBOLS = "b kb mb gb tb kw mw kwh kj kpa mpa khz mhz ghz ev"
"""Each a unit of its own."""


class _Measure(NamedTuple):
    dimension: str
    name: str
    factor: Fraction


def _spellings(*, in_prose: bool) -> dict[str, _Measure]:
    """Measures by their spellings; in prose without angles, since degrees may be of temperature."""
    found: dict[str, _Measure] = {}
    for line in _TABLE.strip().splitlines():
        head, _, spellings = line.partition(":")
        dimension, name, factor = head.split()
        if not (in_prose and dimension == "angle"):
            used = spellings.replace("|", " ") if in_prose else spellings.partition("|")[0]
            found |= dict.fromkeys(used.split(), _Measure(dimension, name, Fraction(factor)))
    return found


_IN_TOKENS = _spellings(in_prose=False)
_IN_PROSE = _spellings(in_prose=True) | {
    symbol: _Measure(symbol, symbol, Fraction(1)) for symbol in _PROSE_SYMBOLS.split()
}

_CHANGES = """not never no cannot neither nor non without except unless if unlike instead otherwise wrong incorrect
least most than fewer less under below above beyond exceeding minimum maximum max upwards upward up or between range
ranges plus minus negative half halves thirds fourths fifths sixths sevenths eighths ninths tenths hundredths
thousandths third tens hundreds thousands millions billions trillions mil point pi sqrt log ln lg exp sin cos tan cot
arcsin arccos arctan infinity infinite mod modulo factorial versus vs
nicht kein keine mindestens höchstens mehr weniger als unter über bis oder pas moins plus ou más menos mas no ni
meno più almeno não mais"""
_BEFORE_ONLY = """but besides excluding apart more over double twice thrice triple quadruple quarter times root square
squared cube cubed power reciprocal inverse opposite multiple multiples factor factors divisible sec
base nearly almost just before until min exceeds exceed ratio one ranks percent hardly barely"""
_NO_UNIT = """quadrillion quadrillions quintillion googol lakh lakhs crore crores dozen dozens scores tausend hundert
millionen mille reciprocal inverse conjugate complement negated opposite cubes squares plusminus ish guess guesses wait
more greater over down and but quarter quarters fourth fifth sixth seventh eighth ninth tenth hundredth thousandth
squared cubed root roots hundred thousand million billion trillion times divided multiplied base choose percent
percentage when either maybe possibly ago past remainder is are was equals equal both only where for any all some power
exponent positive double twice triple one two three four five six seven eight nine ten with from until undefined false
right correct true odd even prime none nothing score pair pairs gross couple fold"""
_CHANGED_AFTER = frozenset(_CHANGES.split())
_CHANGED_BEFORE = _CHANGED_AFTER | frozenset(_BEFORE_ONLY.split())
_NOT_A_UNIT = _CHANGED_AFTER | frozenset(_NO_UNIT.split())
_CHANGES_CJK = re.compile(
    r"至少|最多|最少|超过|超過|多于|多於|少于|少於|大于|大於|小于|小於|以上|以下|以内|未满|未満|不|非|负|負|半|倍|或|到|至"
)

_SINGLE = frozenset("mghslLAVWJNKaI")  # units, an article and a pronoun; all others may be unknowns
_TWO = "an am pm as at by in is it of on to so we he my us st nd rd th km mi ft cm mm dm kg mg lb oz ml sq cu"
_SHORT = frozenset(_TWO.split())
_ORDINAL_ENDS = ("st", "nd", "rd", "th")

_ENDS = ".,;:?…`*_ \n\t"
_ALLOWED = re.compile(r"(?:[^\W\d_]|[\s.,;:'\"’/°℃℉¢%~·&€$£¥₹-]|\(e?s\)|(?<=[^\W\d_])\^\{?-?[1-4]\}?|\^\{?\\circ\}?)*")
_NUMERO = re.compile(r"(?<!\w)n[or]\.$", re.I)
_DEGREES = re.compile(r"°\s?[CF](?!\w)")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def unit_after(rest: str) -> str | None:
    """The words after a number (its unit, and remarks), where they keep its value; None where they may change it."""
    bare = "".join(c for c in rest if unicodedata.category(c) != "So" or c in "°℃℉").rstrip(_ENDS)
    if not bare:
        return ""
    if bare.endswith("-") or not _ALLOWED.fullmatch(bare) or _CHANGES_CJK.search(bare):
        return None
    words = _WORD.findall(_DEGREES.sub("°", bare))
    if words and words[-1] == "a":
        return None
    is_glued = words and bare.startswith(words[0]) and words[0].isascii() and len(words[0]) < 4
    if is_glued and words[0].lower() not in _IN_PROSE and words[0].lower() not in _ORDINAL_ENDS:
        return None
    return bare.strip(" -~").casefold() if all(_keeps_value(word, _CHANGED_AFTER) for word in words) else None


def may_precede(before: str) -> bool:
    """True if words before a number keep its value: "She has", "about", "Total:"."""
    bare = _NUMERO.sub("", before.strip(" ≈~:*→•#\n\t"))
    if not bare:
        return True
    if bare.endswith("-") or re.search(r"[<>≤≥±√^\\{}|+*×÷%=!≠≡/²³]", bare) or _CHANGES_CJK.search(bare):
        return False
    words = _WORD.findall(bare)
    is_label = len(words) == 1 and bare == words[0] and before.rstrip().endswith(":")
    return is_label or all(_keeps_value(word, _CHANGED_BEFORE) for word in words)


def _keeps_value(word: str, changes: frozenset[str]) -> bool:
    """True if a word beside a number keeps its value; a single letter may be a factor."""
    low = word.casefold()
    if low in changes or low.endswith(("n't", "n’t")):
        return False
    if len(low) == 1:
        return word in _SINGLE or not (low.isascii() or "GREEK" in unicodedata.name(low, ""))
    return len(low) > 2 or low in _SHORT or low in _IN_PROSE or not low.isascii()


def same_unit(one: str, other: str) -> bool:
    """True if two units in prose may be the same: all but two different ones of the table."""
    first, second = _in_prose(one), _in_prose(other)
    return first is None or second is None or first.name == second.name


def _in_prose(unit: str) -> _Measure | None:
    symbol = unit.casefold().strip()
    symbol = {"degrees celsius": "°c", "degrees fahrenheit": "°f"}.get(symbol, symbol)
    return _IN_PROSE.get(symbol) or _IN_PROSE.get(symbol.replace(" ", ""))


def parts_of_larger(larger: str, smaller: str) -> int | None:
    """Number of smaller units in one larger: 60 minutes an hour; None if that is not a whole number above 1."""
    whole, part = _in_prose(larger), _in_prose(smaller)
    if not whole or not part:
        return None
    if whole.name == "euro" and part.name == "cent":
        return 100
    count = whole.factor / part.factor
    return int(count) if whole.dimension == part.dimension and count > 1 and count.denominator == 1 else None


_BLANK_TEXT = "unit units square cubic sq cu u of a an the per each total long wide tall high old away left"
_BLANK = frozenset(_BLANK_TEXT.split())
_MOST_WORDS = 5
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit; `factor` converts a value to the base unit of its `dimension`. A counted noun is its own dimension."""

    dimension: str
    factor: Fraction = Fraction(1)

    def agrees(self, other: "Unit") -> bool:
        """True if both have the same dimension ("red apples" are apples)."""
        a, b = self.dimension.split("|"), other.dimension.split("|")
        if not all(word.startswith("#") for word in (*a, *b)):
            return sorted(a) == sorted(b)
        return set(a) <= set(b) or set(b) <= set(a)


def read_unit(tokens: Sequence[MathToken]) -> Unit | None:
    """The unit that all the tokens together are; None where one of them belongs to none."""
    if not tokens or sum(token.kind in ("word", "letter") for token in tokens) > _MOST_WORDS:
        return None
    factor, words = Fraction(1), list[str]()
    sign, power, at = 1, 1, 0
    while at < len(tokens):
        token = tokens[at]
        name = token.text if token.kind == "sign" else token.text.lower()
        at += 1
        if name in ("/", "per"):
            sign = -1
        elif name in _POWERS:
            power = _POWERS[name]
            words += [f"power{power}"] if at == len(tokens) else []
        elif name in _NOT_A_UNIT or (token.kind == "command" and name not in ("min", "sec")):
            return None
        elif name in ("c", "f") and words[-1:] == ["angle"]:
            words[-1] = {"c": "celsius", "f": "fahrenheit"}[name]
        elif name not in ("*", "-", "'", "(", ")", "{", "}"):
            raised, at = _power(tokens, at)
            if name in _BLANK:
                continue
            known = _IN_TOKENS.get(name)
            if known is None and not _is_noun(token):
                return None
            exponent = sign * (raised if raised != 1 else power)
            dimension = known.dimension if known else "#" + (name.removesuffix("s") if len(name) > 3 else name)
            words.append(dimension + (f"^{exponent}" if exponent != 1 else ""))
            factor *= known.factor**exponent if known else 1
            power = 1
    return Unit("|".join(words), factor)


def _power(tokens: Sequence[MathToken], at: int) -> tuple[int, int]:
    """The power after a unit, and where it ends: "cm^2", "cm^{-1}"; 1 where there is none."""
    if at < len(tokens) and tokens[at].text == "^":
        match = re.match(r"\{?(-?\d)\}?", "".join(token.text for token in tokens[at + 1 :]))
        if match:
            return int(match[1]), at + 1 + len(match[0])
    return 1, at


_PRONOUNCEABLE = re.compile(r"(?i:[aeiou])|\w{2}y\w|\w{3}y|[^\x00-\x7f]")


def _is_noun(token: MathToken) -> bool:
    return token.kind == "word" and len(token.text) >= 3 and _PRONOUNCEABLE.search(token.text) is not None


def starts_unit(token: MathToken) -> bool:
    """True if a token may begin a unit: a word apart from what stands before it, or a unit of the table."""
    if token.kind == "sign":
        return token.text in _IN_TOKENS or (token.text == "(" and token.spaced)
    name = token.text.lower()
    if token.kind == "letter":
        return token.text in ("m", "g", "s", "h", "l", "L") and (token.upright or token.spaced)
    if token.kind == "command":
        return name in ("min", "sec") and (token.spaced or token.upright)
    return token.kind == "word" and (name in _IN_TOKENS or token.spaced or token.upright)


def is_hedge(words: Sequence[str]) -> bool:
    """True if any of the words negates, bounds or computes with a value, so that what follows is not the answer."""
    return any(word.lower().strip(",.'") in _NOT_A_UNIT for word in words)


_STATED = {spelling: unit.name for spelling, unit in _IN_TOKENS.items() if spelling.isalpha()} | {
    **dict.fromkeys((r"^{\circ}", r"^\circ", r"\degree", "°"), "degree"),
    **dict.fromkeys(("%", r"\%", "percent"), "percent"),
    **dict.fromkeys((r"\$", "USD"), "dollar"),
}
_WRAPPED = re.compile(rf"(?:\\[,;:! ]|~)*\s*{STYLED}\{{\s*([^{{}}]{{1,40}}?)\s*\}}\s*")
_UNIT_AT_END = re.compile(
    r"(?P<value>.*[\d)}\]$])\s*(?P<unit>"
    + "|".join(sorted(map(re.escape, _STATED), key=len, reverse=True))
    + r")(?P<power>\^\{?[23]\}?|[²³])?\s*\$?\.?$",
    re.S,
)


def unit_name(written: str) -> str:
    """One name for all spellings of a unit; a unit outside the table is its own name, in lower case."""
    plain = _WRAPPED.sub(r"\1", written.strip().strip("$").strip())
    return _STATED.get(plain) or _STATED.get(plain.casefold()) or plain.casefold().removesuffix("s")


def without_unit(answer: str) -> tuple[str, str | None]:
    """(value, name of the unit) of an answer that ends in a known unit; (answer, None) of any other."""
    plain = _WRAPPED.sub(r" \1 ", answer).strip()
    found = _UNIT_AT_END.fullmatch(plain)
    if found is None:
        return answer, None
    power = "" if found["power"] is None else "^" + found["power"].strip("^{}").replace("²", "2").replace("³", "3")
    return found["value"].strip(), unit_name(found["unit"]) + power
