"""Numbers as people write a probability: 0.85, .85, 0,85, 85%, ８５％, 8.5/10, nine out of ten, 8.5e-1.

Every function here works on a short window of text, in lower case; `plain` makes one.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto

_ALIKE = (
    {0xFF10 + i: ord("0") + i for i in range(10)}
    | {0x0660 + i: ord("0") + i for i in range(10)}
    | {ord(a): ord(b) for a, b in zip("％．：，／（）＝−–—’＜＞٫٪", "%.:,/()=---'<>.%", strict=True)}
)

_UNITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_TEENS = [
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS = {word: i for i, word in enumerate(_UNITS + _TEENS)} | {word: 20 + 10 * i for i, word in enumerate(_TENS)}

_NUMBER = re.compile(
    r"""(?:
      \\[dt]?frac\s?\{\s?(?P<over>\d{1,3})\s?\}\s?\{\s?(?P<under>\d{1,3})\s?\}
    | (?P<digits>\d{1,12}(?:[.,]\d{1,24})?|[.,]\d{1,24})(?![\d])(?:e(?P<exponent>[-+]?\d{1,2})(?!\w))?
    | (?P<words>(?:one\s)?hundred|(?:"""
    + "|".join(_TENS)
    + r")(?:[-\s](?:"
    + "|".join(_UNITS[1:10])
    + r"))?|"
    + "|".join(_TEENS + _UNITS)
    + r""")(?![\w])
    )""",
    re.VERBOSE,
)
_START = re.compile(
    r"(?<![^\W_\u3040-\u9fff\uac00-\ud7af])(?<![.,])(?:[.,]?\d|\\[dt]?frac|(?:"
    + "|".join([*_UNITS, *_TEENS, *_TENS, "hundred"])
    + r")(?!\w))"
)
_PERCENT = re.compile(r"[\s*_$`\\,-]{0,5}(?:%|per\s?cents?(?!\w)|pct(?!\w)|prozent|pour\s?cent|por\s?ciento)")
_OUT_OF = re.compile(
    r"[*_$`}]{0,3}\s{0,3}(?:/|\(?out\s{1,2}of|of|in(?=\s(?:\d|ten|five))|on\sa\sscale\s(?:of|from)(?:\s\d{1,3}\s?(?:-|to))?|von|sur)"
    r"[\s*_$`]{0,3}(?:a\s(?:possible\s|maximum\sof\s)?)?(?P<whole>\d{1,4}(?:\.0{1,2})?|ten|five|(?:one\s|a\s)?hundred)(?![\w]|[.,]\d)"
)
_TIMES_TEN = re.compile(r"\s{0,2}(?:\\times|\\cdot|×|x|\*)\s{0,2}10\s{0,2}(?:\^|\*\*)\s{0,2}\{?(-?\d{1,2})\}?")
_RANGE = re.compile(r"[\s*_$`]{0,3}(?:-{1,3}|~|to|and|or)[\s*_$`]{0,3}(?:[.,]?\d)")
_REST = re.compile(r"[\d.,]{0,20}\s?%?")
_COMPUTED = re.compile(r"[\s*_$`\\%\d.,x×/+()-]{1,60}=\s{0,3}(?=[\d.])")


class Bare(Enum):
    """What a number without a scale can mean where it stands."""

    LABEL = auto()  # "Confidence: 8" may be 8 % or 8 of 10: nothing
    TAG = auto()  # asked for [0, 1], some write percent: 10 and more are percent
    PERCENT = auto()  # a field that is never out of ten: every whole number from 2 is percent


@dataclass(frozen=True, slots=True)
class Number:
    """A number in a window: its digits are `window[start:end]`, and what belongs to it ends at `stop`.

    `value` is the probability it states, None where it states none (out of range, a span of values, cut off).
    """

    value: float | None
    start: int
    end: int
    stop: int
    scaled: bool  # a percent sign, a fraction or "out of" says what it is measured in
    fractional: bool  # written with a decimal point, and at most 1


def plain(window: str) -> str:
    """A window with full-width and other digits, signs and dashes as their ASCII likes, length kept."""
    return window if window.isascii() else window.translate(_ALIKE)


def first_number(
    window: str, start: int = 0, *, bare: Bare, whole: int | None = None, ends_text: bool = False
) -> Number | None:
    """The first number in `window[start:]`, read as a probability.

    Args:
        bare: What a number with no scale means here.
        whole: What the number is out of, where a label has said so: 1, 10, 100.
        ends_text: The window ends where the text does, with no closing tag: its last number may be cut off.
    """
    found = _START.search(window, start)
    if not found:
        return None
    return number_at(window, found.start(), bare=bare, whole=whole, ends_text=ends_text)


def number_at(window: str, at: int, *, bare: Bare, whole: int | None = None, ends_text: bool = False) -> Number | None:
    """The number that begins at `at`; see `first_number`."""
    match = _NUMBER.match(window, at)
    if not match:
        return None
    start, end = match.span()
    value, denominator = _amount(match)
    stop, scaled = end, denominator is not None
    if times := _TIMES_TEN.match(window, end):
        value, stop = value * 10.0 ** int(times[1]), times.end()
    if percent := _PERCENT.match(window, stop):
        denominator, stop, scaled = 100.0, percent.end(), True
    elif out_of := _OUT_OF.match(window, stop):
        denominator, stop, scaled = _whole(out_of["whole"]), out_of.end(), True
    elif computed := _COMPUTED.match(window, stop):  # "0.9 * 0.8 = 0.72": what it comes to
        return number_at(window, computed.end(), bare=bare, whole=whole, ends_text=ends_text)
    fractional = match["digits"] is not None and not match["digits"].isdigit() and value <= 1
    spans = _RANGE.match(window, stop)
    if spans and not _only_and(window, start, spans):
        return Number(None, start, end, _REST.match(window, spans.end()).end(), scaled, fractional)  # pyright: ignore[reportOptionalMemberAccess]: it matches ""
    if window[stop:] == "/":  # "8/" and no more: cut off
        return Number(None, start, end, stop, scaled, fractional)
    if not scaled and whole:
        denominator = float(whole)
    cut = ends_text and not window[end:].strip(". \t*_`$") and window[end:].strip() == window[end:]
    dot = window[end : end + 1] == "."
    stated = _meaning(value, denominator, match["words"] is not None, fractional, bare, cut=cut, dot=dot)
    if window[max(0, start - 1) : start] == "-" and _negative(window, start - 1):
        stated = None
    return Number(stated, start, end, stop, scaled, fractional)


def _amount(match: re.Match[str]) -> tuple[float, float | None]:
    """The number as written, and its denominator if it is a fraction."""
    if match["over"]:
        return float(match["over"]), float(match["under"]) or 1e9
    if match["words"]:
        words = match["words"].replace("-", " ").split()
        return (100.0 if words[-1] == "hundred" else float(sum(_WORDS[word] for word in words))), None
    digits = match["digits"].replace(",", ".")
    return float(f"{digits}e{match['exponent'] or 0}"), None


def _whole(written: str) -> float:
    named = {"ten": 10.0, "five": 5.0}
    return named.get(written) or (100.0 if "hundred" in written else float(written)) or 1e9


def _only_and(window: str, start: int, spans: re.Match[str]) -> bool:
    """ "0.9 and 3 more" is no span of values, "between 0.7 and 0.8" is."""
    return ("and" in spans[0] or "or" in spans[0]) and "between" not in window[:start]


def _negative(window: str, sign: int) -> bool:
    """Whether a dash before a number is its sign, not punctuation: "Confidence: -0.5", "<confidence>-1"."""
    before = window[:sign].rstrip()
    return before.endswith((":", "=", ">", "|", "is", "of")) or (sign > 0 and window[sign - 1] == '"')


def _meaning(
    value: float,
    denominator: float | None,
    in_words: bool,
    fractional: bool,
    bare: Bare,
    *,
    cut: bool,
    dot: bool,
) -> float | None:
    """The probability that an amount states, or None."""
    if denominator is not None:
        share = value / denominator
    elif in_words:
        return None  # "one" of what?
    elif value <= 1:
        if value == 0 and not fractional and bare is not Bare.PERCENT and (cut or (dot and bare is Bare.LABEL)):
            return None  # "CONF: 0." was cut off
        share = value
    elif value > 10 or bare is Bare.PERCENT:
        share = value / 100
    elif value == 10 and bare is Bare.TAG:
        share = 0.1
    else:
        return None
    return round(share, 12) if 0 <= share <= 1 else None
