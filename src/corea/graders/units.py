"""Words beside a number: which leave it as it is (units, "She has"), and which bound, negate or multiply it."""

import re
import unicodedata

_CHANGES = """not never no cannot neither nor non without except unless if unlike instead otherwise wrong incorrect
least most than fewer less under below above beyond exceeding minimum maximum max upwards upward up or between range
ranges plus minus negative half halves thirds fourths fifths sixths sevenths eighths ninths tenths hundredths
thousandths third tens hundreds thousands millions billions trillions mil point pi sqrt log ln lg exp sin cos tan cot
sec arcsin arccos arctan infinity infinite mod modulo factorial versus vs
nicht kein keine mindestens höchstens mehr weniger als unter über bis oder pas moins plus ou más menos mas no ni
meno più almeno não mais"""
_BEFORE_ONLY = """but besides excluding apart more over double twice thrice triple quadruple quarter times root square
squared cube cubed power reciprocal inverse opposite multiple multiples factor factors divisible
base nearly almost just before until min exceeds exceed ratio one ranks percent hardly barely"""
_AFTER_ONLY = "sec"  # a second after a number, a secant before one
_CHANGED_AFTER = frozenset(_CHANGES.split()) - frozenset(_AFTER_ONLY.split())
_CHANGED_BEFORE = frozenset(_CHANGES.split()) | frozenset(_BEFORE_ONLY.split())
_CHANGES_CJK = re.compile(
    r"至少|最多|最少|超过|超過|多于|多於|少于|少於|大于|大於|小于|小於|以上|以下|以内|未满|未満|不|非|负|負|半|倍|或|到|至"
)

_UNITS = {
    "metre": "m meter meters metre metres", "centimetre": "cm centimeter centimeters centimetre centimetres",
    "millimetre": "mm millimeter millimeters millimetre millimetres",
    "kilometre": "km kilometer kilometers kilometre kilometres",
    "inch": 'in inch inches "', "foot": "ft foot feet '", "yard": "yd yds yard yards", "mile": "mi mile miles",
    "gram": "g gram grams", "kilogram": "kg kgs kilogram kilograms kilo kilos", "milligram": "mg milligram milligrams",
    "pound": "lb lbs pound pounds", "ounce": "oz ounce ounces", "ton": "t ton tons tonne tonnes",
    "litre": "l liter liters litre litres", "millilitre": "ml milliliter milliliters millilitre millilitres",
    "gallon": "gal gallon gallons", "second": "s sec secs second seconds", "minute": "min mins minute minutes",
    "hour": "h hr hrs hour hours", "day": "d day days", "week": "wk wks week weeks", "month": "month months",
    "year": "yr yrs year years", "celsius": "°c ℃ celsius", "fahrenheit": "°f ℉ fahrenheit", "kelvin": "k kelvin",
    "mph": "mph", "km/h": "km/h kph kmh", "m/s": "m/s", "newton": "n newton newtons", "joule": "j joule joules",
    "watt": "w watt watts", "volt": "v volt volts", "ampere": "a amp amps", "hertz": "hz hertz", "pascal": "pa pascal",
    "dollar": "$ us$ usd dollar dollars", "euro": "€ eur euro euros", "gbp": "£ gbp",
    "yen": "¥ jpy yen", "rupee": "₹ inr rs rupee rupees",
    "cent": "¢ cent cents", "point": "bp bps", "byte": "b kb mb gb tb", "power": "kw mw kwh kj kpa mpa khz mhz ghz ev",
}  # fmt: skip
_NAMES = {symbol: name for name, symbols in _UNITS.items() for symbol in symbols.split()}
_SEVERAL = ("byte", "power")  # of these names the symbol itself is the unit
_IN_LARGER = {
    ("hour", "minute"): 60, ("minute", "second"): 60, ("day", "hour"): 24, ("week", "day"): 7, ("year", "month"): 12,
    ("foot", "inch"): 12, ("pound", "ounce"): 16, ("kilogram", "gram"): 1000, ("kilometre", "metre"): 1000,
    ("metre", "centimetre"): 100, ("dollar", "cent"): 100, ("euro", "cent"): 100,
}  # fmt: skip
_SINGLE = frozenset("mghslLAVWJNKaI")  # units, an article and a pronoun; all others may be unknowns
_TWO = "an am pm as at by in is it of on to so we he my us st nd rd th km mi ft cm mm dm kg mg lb oz ml sq cu"
_SHORT = frozenset(_TWO.split())

_ENDS = ".,;:?…`*_ \n\t"
_ALLOWED = re.compile(r"(?:[^\W\d_]|[\s.,;:'\"’/°℃℉¢%~·&€$£¥₹-]|\(e?s\)|(?<=[^\W\d_])\^\{?-?[1-4]\}?|\^\{?\\circ\}?)*")
_NUMERO = re.compile(r"(?<!\w)n[or]\.$", re.I)
_DEGREES = re.compile(r"°\s?[CF](?!\w)")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def unit_after(rest: str) -> str | None:
    """The words after a number, where they leave it as it is: its unit, and what is said of it; else None."""
    bare = "".join(c for c in rest if unicodedata.category(c) != "So" or c in "°℃℉").rstrip(_ENDS)
    if not bare:
        return ""
    if bare.endswith("-") or not _ALLOWED.fullmatch(bare) or _CHANGES_CJK.search(bare):
        return None
    words = _WORD.findall(_DEGREES.sub("°", bare))
    if words and words[-1] == "a":
        return None
    glued = words[0] if words and bare.startswith(words[0]) else None
    if (
        glued
        and glued.isascii()
        and len(glued) < 4
        and glued.lower() not in _NAMES
        and glued.lower() not in ("st", "nd", "rd", "th")
    ):
        return None
    if not all(_leaves(word, _CHANGED_AFTER) for word in words):
        return None
    return bare.strip(" -~").casefold()


def may_precede(before: str) -> bool:
    """Whether words may stand before a number and leave it as it is: "She has", "about", "Total:"."""
    bare = _NUMERO.sub("", before.strip(" ≈~:*→•#\n\t"))
    if not bare:
        return True
    if bare.endswith("-") or re.search(r"[<>≤≥±√^\\{}|+*×÷%=!≠≡/²³]", bare) or _CHANGES_CJK.search(bare):
        return False
    words = _WORD.findall(bare)
    return all(_leaves(word, _CHANGED_BEFORE) or (bare == word and before.rstrip().endswith(":")) for word in words)


def _leaves(word: str, changes: frozenset[str]) -> bool:
    """Whether a word beside a number leaves the number as it is; a single letter may be a factor."""
    low = word.casefold()
    if low in changes or low.endswith(("n't", "n’t")):
        return False
    if len(low) == 1:
        return word in _SINGLE or (not low.isascii() and not _is_greek(low))
    return len(low) > 2 or low in _SHORT or low in _NAMES or not low.isascii()


def _is_greek(char: str) -> bool:
    return "GREEK" in unicodedata.name(char, "")


def same_unit(one: str, other: str) -> bool:
    """Whether two units may be the same: only two different ones that we know may not."""
    if not one or not other or one == other:
        return True
    first, second = _known(one), _known(other)
    return first is None or second is None or first == second


def _known(unit: str) -> str | None:
    symbol = unit.casefold().strip()
    symbol = {"degrees celsius": "°c", "degrees fahrenheit": "°f", "percent": "%"}.get(symbol, symbol)
    name = _NAMES.get(symbol) or _NAMES.get(symbol.replace(" ", ""))
    return symbol if name in _SEVERAL else name


def parts_of_larger(larger: str, smaller: str) -> int | None:
    """How many of the smaller unit make one of the larger: 60 minutes an hour; None where they make no pair."""
    return _IN_LARGER.get((_known(larger) or "", _known(smaller) or ""))
