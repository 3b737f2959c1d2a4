"""Units and other words after a value: "cm^2", "square centimetres", "\\$", "apples"."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from corea.graders.algebra.notation import MathToken

_TABLE = """
length m 1: m meter meters metre metres
length mm 1/1000: mm millimeter millimeters millimetre millimetres
length cm 1/100: cm centimeter centimeters centimetre centimetres
length dm 1/10: dm decimeter decimeters decimetre decimetres
length km 1000: km kilometer kilometers kilometre kilometres
length in 254/10000: in inch inches
length ft 3048/10000: ft foot feet
length yd 9144/10000: yd yard yards
length mi 1609344/1000: mi mile miles
mass g 1: g gram grams gramme grammes
mass mg 1/1000: mg milligram milligrams
mass kg 1000: kg kilogram kilograms kilo kilos kgs
mass lb 45359237/100000: lb lbs pound pounds
mass oz 45359237/1600000: oz ounce ounces
volume l 1: l liter liters litre litres
volume ml 1/1000: ml milliliter milliliters millilitre millilitres
time s 1: s sec secs second seconds
time min 60: min mins minute minutes
time h 3600: h hr hrs hour hours
time day 86400: day days
time week 604800: week weeks
month month 1: month months
year year 1: yr yrs year years
money $ 1: $ usd dollar dollars buck bucks us$
money cent 1/100: cent cents ¢
euro € 1: € eur euro euros
pounds £ 1: £ gbp
yen ¥ 1: ¥ yen jpy yuan rmb cny
rupees ₹ 1: ₹ inr rs rupee rupees
angle ° 1: ° degree degrees deg
angle rad 180/pi: rad rads radian radians
temperature C 1: celsius
temperature F 1: fahrenheit
speed mph 1: mph
speed kph 1: kph kmh
data bps 1: bps
half am 1: am
half pm 1: pm
"""
_UNITS: dict[str, tuple[str, str, Fraction]] = {}
for _line in _TABLE.strip().splitlines():
    _head, _names = _line.split(": ")
    _dimension, _unit, _factor = _head.split()
    for _name in _names.split():
        _value = Fraction(180) if _factor.endswith("pi") else Fraction(_factor)
        _UNITS[_name] = (_dimension if _dimension not in ("temperature", "speed", "half") else _unit, _unit, _value)

_BLANK_TEXT = """
unit units square cubic sq cu u of a an the per each in total long wide tall high old away left
"""
_BLANK = frozenset(_BLANK_TEXT.split())
_NOT_A_UNIT_TEXT = """
quadrillion quadrillions quintillion googol lakh lakhs crore crores tens dozens scores tausend hundert millionen mille
reciprocal inverse conjugate complement negated opposite cubes squares plusminus ish guess guesses instead wait
more less fewer greater least most than over under above below up to down or and not no nor but except half
halves third thirds quarter quarters fourth fourths fifth fifths sixth sixths seventh sevenths eighth eighths
ninth ninths tenth tenths hundredth hundredths thousandth thousandths squared cubed root roots dozen hundred
hundreds thousand thousands million millions billion billions trillion times plus minus divided multiplied mod
modulo base choose factorial percent percentage if unless when otherwise either maybe possibly ago past
remainder is are was equals equal both only where for any all some sin cos tan log ln exp pi sqrt infinity power
exponent negative positive double twice triple one two three four five six seven eight nine ten with without
between from until mod undefined false wrong incorrect right correct true odd even prime never none nothing
infinite score pair pairs gross couple point fold
"""
_NOT_A_UNIT = frozenset(_NOT_A_UNIT_TEXT.split())
_MOST_WORDS = 5
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit; `factor` turns a value into the base unit of its `dimension`. A counted noun is its own dimension."""

    dimension: str
    factor: Fraction = Fraction(1)

    def agrees(self, other: "Unit") -> bool:
        """Whether both measure the same thing ("red apples" are apples)."""
        a, b = self.dimension.split("|"), other.dimension.split("|")
        if not all(word.startswith("#") for word in (*a, *b)):
            return sorted(a) == sorted(b)
        return set(a) <= set(b) or set(b) <= set(a)


def read_unit(tokens: Sequence[MathToken]) -> Unit | None:
    """The unit that the tokens are, all of them; None where any of them is none."""
    if not tokens or sum(token.kind in ("word", "letter") for token in tokens) > _MOST_WORDS:
        return None
    factors, words = Fraction(1), list[str]()
    sign, power, at = 1, 1, 0
    while at < len(tokens):
        token = tokens[at]
        name = token.text if token.kind == "sign" else token.text.lower()
        at += 1
        if name in ("/", "per"):
            sign = -1
            continue
        if name in ("*", "-", "'", "(", ")", "{", "}"):
            continue
        if name in _POWERS:
            power = _POWERS[name]
            words += [f"power{power}"] if at == len(tokens) else []
            continue
        if name in _NOT_A_UNIT or (token.kind == "command" and name not in ("min", "sec")):
            return None
        if name in ("c", "f") and words[-1:] == ["angle"]:
            words[-1] = f"temperature {name}"
            continue
        raised, at = _power(tokens, at)
        if name in _BLANK and name not in ("in",):
            continue
        known = _UNITS.get(name)
        if known is None and not _is_noun(token):
            return None
        dimension, _, factor = known or ("#" + _singular(name), "", Fraction(1))
        exponent = sign * (raised if raised != 1 else power)
        words.append(dimension + (f"^{exponent}" if exponent != 1 else ""))
        factors *= factor**exponent
        power = 1
    return Unit("|".join(words), factors)


def _power(tokens: Sequence[MathToken], at: int) -> tuple[int, int]:
    """The power after a unit, and where it ends: "cm^2", "cm^{-1}", "m2" is none."""
    if at < len(tokens) and tokens[at].text == "^":
        inside = "".join(token.text for token in tokens[at + 1 :])
        match = re.match(r"\{?(-?\d)\}?", inside)
        if match:
            return int(match[1]), at + 1 + len(match[0])
    return 1, at


def _is_noun(token: MathToken) -> bool:
    return (
        token.kind == "word"
        and len(token.text) >= 3
        and bool(re.search(r"(?i:[aeiou])|\w{2}y\w|\w{3}y|[^\x00-\x7f]", token.text))
    )


def _singular(word: str) -> str:
    return word.removesuffix("s") if len(word) > 3 else word


def starts_unit(token: MathToken) -> bool:
    """Whether a token may begin a unit: a word apart from what stands before it, or a unit of the table."""
    if token.kind == "sign":
        return token.text in _UNITS or (token.text == "(" and token.spaced)
    name = token.text.lower()
    if token.kind == "letter":
        return token.text in ("m", "g", "s", "h", "l", "L") and (token.upright or token.spaced)
    if token.kind == "command":
        return name in ("min", "sec") and (token.spaced or token.upright)
    return token.kind == "word" and (name in _UNITS or token.spaced or token.upright)


def is_hedge(words: Sequence[str]) -> bool:
    """Whether any of the words negates, bounds or reckons with a value, so that what follows is not the answer."""
    return any(word.lower().strip(",.'") in _NOT_A_UNIT for word in words)
