"""A unit of measurement at the end of an answer, in any of its spellings, for questions that state theirs."""

import re

_SPELLINGS = {
    "degree": r"^{\circ} ^\circ \degree ° degree degrees deg",
    "percent": r"% \% percent",
    "second": "s sec secs second seconds",
    "minute": "min mins minute minutes",
    "hour": "h hr hrs hour hours",
    "day": "day days",
    "week": "week weeks",
    "year": "yr yrs year years",
    "millimetre": "mm millimetre millimetres millimeter millimeters",
    "centimetre": "cm centimetre centimetres centimeter centimeters",
    "metre": "m metre metres meter meters",
    "kilometre": "km kilometre kilometres kilometer kilometers",
    "inch": "in inch inches",
    "foot": "ft foot feet",
    "mile": "mi mile miles",
    "gram": "g gram grams",
    "kilogram": "kg kilogram kilograms",
    "litre": "l litre litres liter liters",
    "dollar": r"\$ dollar dollars USD",
    "cent": "cent cents",
    "radian": "rad radian radians",
}
_NAME_OF = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings.split()}
_WRAPPED = re.compile(r"(?:\\[,;:! ]|~)*\s*\\(?:text|mathrm|mbox|textrm|operatorname)\s*\{\s*([^{}]{1,40}?)\s*\}\s*")
_ENDS = re.compile(
    r"(?P<value>.*[\d)}\]$])\s*(?P<unit>"
    + "|".join(sorted(map(re.escape, _NAME_OF), key=len, reverse=True))
    + r")(?P<power>\^\{?[23]\}?|[²³])?\s*\$?\.?$",
    re.S,
)


def unit_name(written: str) -> str:
    """One name for all spellings of a unit; a unit that is not known is its own name, in lower case."""
    plain = _WRAPPED.sub(r"\1", written.strip().strip("$").strip())
    return _NAME_OF.get(plain) or _NAME_OF.get(plain.casefold()) or plain.casefold().removesuffix("s")


def without_unit(answer: str) -> tuple[str, str | None]:
    """(value, name of the unit) of an answer that ends in a known unit; (answer, None) of any other."""
    plain = _WRAPPED.sub(r" \1 ", answer).strip()
    found = _ENDS.fullmatch(plain)
    if found is None:
        return answer, None
    power = "" if found["power"] is None else "^" + found["power"].strip("^{}").replace("²", "2").replace("³", "3")
    return found["value"].strip(), unit_name(found["unit"]) + power
