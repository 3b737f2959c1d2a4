"""Numbers: probabilities in any notation (0.85, 0,85, 85%, ８５％, 8.5/10, nine out of ten), and values in sentences.

Probabilities are read in short windows of text in lower case, which `plain` makes.
"""

import re
from collections.abc import Iterator
from enum import Enum, auto

from msgspec import Struct

from corea.parsing.text import regex

ARROWS = "⇒➜➔➡⟶⟹▶►➤"
"""Arrows that `plain` turns into "→"."""

_ALIKE = (
    {0xFF10 + i: ord("0") + i for i in range(10)}
    | {first + i: ord("0") + i for first in (0x0660, 0x06F0, 0x0966) for i in range(10)}  # Arabic, Persian, Hindi
    | {ord(a): ord(b) for a, b in zip("％．：，／（）＝−–—’＜＞٫٪｜", "%.:,/()=---'<>.%|", strict=True)}
    | dict.fromkeys(map(ord, ARROWS), ord("→"))
)

_UNITS = "zero|one|two|three|four|five|six|seven|eight|nine|ten"
_TEENS = "eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen"
_TENS = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
TENS = {word: 20 + 10 * i for i, word in enumerate(_TENS.split("|"))}
NUMBER_WORDS = {word: i for i, word in enumerate(f"{_UNITS}|{_TEENS}".split("|"))} | TENS
"""The values of the words for 0 to 19 and for the tens."""

_NUMBER = regex(
    r"""(?:
      \\[dt]?frac\s?\{\s?(?P<over>\d{1,3})\s?\}\s?\{\s?(?P<under>\d{1,3})\s?\}
    | (?P<digits>\d{1,12}(?:[.,]\d{1,24})?|[.,]\d{1,24})(?![\d])(?:e(?P<exponent>[-+]?\d{1,2})(?!\w))?
    | (?P<words>(?:one\s)?hundred|(?:"""
    + rf"{_TENS})(?:[-\s](?:{_UNITS}))?|{_TEENS}|{_UNITS}"
    + r""")(?![\w])
    )""",
    re.VERBOSE,
)
_START = regex(
    rf"(?<![^\W_\u3040-\u9fff\uac00-\ud7af])(?<![.,])(?:[.,]?\d|\\[dt]?frac|(?:{_UNITS}|{_TEENS}|{_TENS}"
    r"|hundred)(?!\w))"
)
_PERCENT = regex(r"[ \t*_$`\\,-]{0,5}(?:%|per\s?cent[so]?(?!\w)|pct(?!\w)|‹percent›)")
_PERCENT_FIRST = regex(r"(?<![\w.,%\\)}])(?<![\d)}] )%(\d{1,3}(?:[.,]\d{1,4})?)(?![\d%]|\s%)")
_OUT_OF = regex(
    r"[*_$`}]{0,3}[ \t]{0,3}(?:/|\(?out\s{1,2}of|of|in(?=\s(?:\d|ten|five))|\(?on\sa\sscale\s(?:of"
    r"|from)(?:\s\d{1,3}\s?(?:-|to))?|(?:‹out_of›)(?=\s10))[\s*_$`]{0,3}(?:a\s(?:possible\s"
    r"|maximum\sof\s)?)?(?P<whole>\d{1,4}(?:\.0{1,2})?|ten|five|(?:one\s|a\s)?hundred)(?![\w]|[.,]\d)"
)
_TIMES_TEN = regex(r"[ \t]{0,2}(?:\\times|\\cdot|×|x|\*)\s{0,2}10\s{0,2}(?:\^|\*\*)\s{0,2}\{?(-?\d{1,2})\}?")
_RANGE = regex(r"[ \t*_$`]{0,3}(?:-{1,3}|~|to|and|or)[ \t*_$`]{0,3}(?=[.,]?\d)")
_COUNTED = regex(r"\d{1,6}\s(?!per\s?cent|out\sof|of\s1)[^\W\d_]{2,}")  # "0.92 - 3 steps verified"
_ARROW = regex(r"[ \t*_$`]{0,3}(?:→|[-=]{1,2}>)[\s*_$`~≈]{0,4}(?=[.,]?\d)")
_NO_NUMBER = regex(r"[:.]\d|(?:s|st|nd|rd|th)(?![a-z])")  # "3:1", "the 70s", "1st"
_PLAIN_ENDS = ("", "\n", "<", "}", '"')  # characters that end a number
_REST = regex(r"[\d.,]{0,20}\s?%?")
_COMPUTED = regex(r"[ \t*_$`\\%\d.,x×/+()-]{1,60}=\s{0,3}(?=[\d.])")


class Unscaled(Enum):
    """Meaning of a number without a scale, by its place."""

    LABEL = auto()  # "Confidence: 8" may be 8 % or 8 of 10: no value
    TAG = auto()  # expected in [0, 1], but 10 and more are percent
    PERCENT = auto()  # a field that is never out of ten: every whole number from 2 is percent


class NumberContext(Struct, frozen=True):
    """Interpretation of a number from its place.

    Args:
        unscaled: Meaning of a number without a scale.
        whole: Top of the scale, if a label gives it: 1, 10, 100.
        ends_text: The window ends where the text does, with no closing tag: its last number may be cut off.
    """

    unscaled: Unscaled
    whole: int | None = None
    ends_text: bool = False


IN_TAG = NumberContext(Unscaled.TAG)
IN_LABEL = NumberContext(Unscaled.LABEL)


class WrittenNumber(Struct, frozen=True):
    """A number in a window: its digits are `window[start:end]`, and its notation ends at `stop`.

    `value` is the stated probability, None if it states none (out of range, a range of values, cut off).
    """

    value: float | None
    start: int
    end: int
    stop: int
    scaled: bool  # a percent sign, a fraction or "out of" says what it is measured in
    fractional: bool  # written with a decimal point, and at most 1
    whole: float | None = None  # what it is out of: 100 of a percentage
    cut: bool = False  # the text ends in it: "0.", "8/"

    @property
    def is_clear(self) -> bool:
        """True if its notation makes it a probability: "90%", "8/10", "0.9"."""
        return self.value is not None and (self.scaled or self.fractional)


def plain(window: str) -> str:
    """A window of equal length with full-width and other digits, signs and dashes in ASCII, "%80" as "80%"."""
    window = window if window.isascii() else window.translate(_ALIKE)
    return _PERCENT_FIRST.sub(r"\1%", window) if "%" in window else window


def first_number(window: str, start: int, context: NumberContext) -> WrittenNumber | None:
    """The first number in `window[start:]`, read as a probability."""
    found = _START.search(window, start)
    return number_at(window, found.start(), context) if found else None


def numbers_in(window: str, start: int, context: NumberContext) -> Iterator[WrittenNumber]:
    """The numbers in `window[start:]`, from left to right."""
    while number := first_number(window, start, context):
        yield number
        start = max(number.stop, number.start + 1)


def number_at(window: str, at: int, context: NumberContext) -> WrittenNumber | None:
    """The number that begins at `at`, read as a probability."""
    match = _NUMBER.match(window, at)
    if not match:
        return None
    value, denominator = _amount(match)
    start, stop = match.span()
    if window[stop : stop + 1] in _PLAIN_ENDS:
        return _number(window, match, value, denominator, stop, context)
    if times := _TIMES_TEN.match(window, stop):
        value, stop = value * 10.0 ** int(times[1]), times.end()
    if percent := _PERCENT.match(window, stop):
        denominator, stop = 100.0, percent.end()
    elif out_of := _OUT_OF.match(window, stop):
        denominator, stop = _whole(out_of["whole"]), out_of.end()
    elif computed := _COMPUTED.match(window, stop):  # "0.9 * 0.8 = 0.72": the result
        return number_at(window, computed.end(), context)
    if arrow := _ARROW.match(window, stop):  # "0.9 → 0.6 after checking": the later one
        return number_at(window, arrow.end(), context)
    number = _number(window, match, value, denominator, stop, context)
    if beyond := _end_of_span(window, number):
        return WrittenNumber(None, start, match.end(), beyond, number.scaled, number.fractional)
    if window[stop:] == "/" or _NO_NUMBER.match(window, stop):  # "8/" at the end; "3:1"
        return WrittenNumber(None, start, match.end(), stop, number.scaled, number.fractional, cut=window[stop:] == "/")
    return number


def _amount(match: re.Match[str]) -> tuple[float, float | None]:
    """The number as written, and its denominator if it is a fraction."""
    if match["over"]:
        return float(match["over"]), float(match["under"]) or 1e9
    if match["words"]:
        words = match["words"].replace("-", " ").split()
        return (100.0 if words[-1] == "hundred" else float(sum(NUMBER_WORDS[word] for word in words))), None
    digits = match["digits"].replace(",", ".")
    return float(f"{digits}e{match['exponent'] or 0}"), None


def _whole(written: str) -> float:
    named = {"ten": 10.0, "five": 5.0}
    return named.get(written) or (100.0 if "hundred" in written else float(written)) or 1e9


def _number(
    window: str, match: re.Match[str], value: float, denominator: float | None, stop: int, context: NumberContext
) -> WrittenNumber:
    """The number with its meaning, given its whole notation."""
    start, end = match.span()
    digits, scaled = match["digits"], denominator is not None
    fractional = digits is not None and value <= 1 and not digits.isdigit()
    if not scaled and context.whole:
        denominator = float(context.whole)
    cut = context.ends_text and not window[end:].strip(". \t*_`$") and window[end:].strip() == window[end:]
    sign = window[start - 1 : start]
    if (
        (sign == "-" and _negative(window, start - 1))
        or sign == "±"
        or (sign == "<" and window[stop : stop + 1] != ">")
    ):
        stated = None  # "-0.5", "<50%"
    elif denominator is not None:
        stated = _share(value, denominator)
    elif match["words"]:
        stated = None  # "one" of what?
    elif value == 0 and not fractional and _breaks_off(context, cut=cut, dot=window[end : end + 1] == "."):
        stated = None
    else:
        stated = _unscaled(value, context.unscaled)
    stated = round(stated, 12) if stated is not None and 0 <= stated <= 1 else None
    return WrittenNumber(stated, start, end, stop, scaled, fractional, denominator, cut and value <= 1)


def _negative(window: str, sign: int) -> bool:
    """True if a dash before a number is its sign, not punctuation: "Confidence: -0.5", "<confidence>-1"."""
    before = window[:sign].rstrip()
    return before.endswith((":", "=", ">", "|", "is", "of")) or (sign > 0 and window[sign - 1] == '"')


def _share(value: float, denominator: float) -> float | None:
    """A fraction; "60/40" are two chances, and "50/50" is one half."""
    if value + denominator == 100 and value > 0:
        return 0.5 if value == denominator else None
    return value / denominator


def _breaks_off(context: NumberContext, *, cut: bool, dot: bool) -> bool:
    """True if a zero may be the start of a number: "CONF: 0."."""
    return context.unscaled is not Unscaled.PERCENT and (cut or (dot and context.unscaled is Unscaled.LABEL))


def _unscaled(value: float, meaning: Unscaled) -> float | None:
    if value <= 1:
        return value
    if value > 10 or meaning is Unscaled.PERCENT:
        return value / 100
    return 0.1 if value == 10 and meaning is Unscaled.TAG else None


def _end_of_span(window: str, number: WrittenNumber) -> int:
    """End of a range of values that begins with a number, "0.7 to 0.8"; 0 if it begins none."""
    spans = _RANGE.match(window, number.stop)
    if not spans or ((number.scaled or number.fractional) and _COUNTED.match(window, spans.end())):
        return 0
    if ("and" in spans[0] or "or" in spans[0]) and "between" not in window[: number.start]:
        return 0  # "0.9 and 3 more"
    rest = _REST.match(window, spans.end())
    return rest.end() if rest else 0


_N = (
    r"(?:\d{1,3}(?:,\d{2,3}){1,12}(?:\.\d{1,20})?(?![\d,]*\d)|\d{1,3}(?:\.\d{3}){1,6}(?:,\d{1,9})?(?![\d.,]*\d)"
    r"|\d{1,40},\d{1,20}(?![\d,]*\d)|\d{1,40}(?:\.\d{1,40})?|\.\d{1,40})"
)
"""Digits with separators: 1,234.5 and 1.234,5."""
_TEN = r"(?:\s?(?:×|x|\*|\\times|·)\s?10\s?(?:\^|\*\*)?\s?\{?[-−]?[\d⁰¹²³⁴⁵⁶⁷⁸⁹⁻]{1,4}\}?|[eE][-+]?\d{1,3})"
_MONTH = r"(?:january|february|march|april|may|june|july|august|september|october|november|december)"
_FORMULA = regex(
    r"""
    (?P<display>\$\$.{1,600}?\$\$|\\\[.{1,600}?\\\])
  | (?P<formula>\\\(.{1,400}?\\\)
      | (?<![\\\w])\$(?![\d.,]{1,20}\s[^$\n]{0,200}?[\s(][-+*=/]?\s?\$[\d.])
        (?=[^\s$])(?:[^$\n\\]|\\.){0,300}?(?<!\s)\$(?![\d]))
    """,
    re.VERBOSE | re.DOTALL,
)
_VALUE = regex(
    rf"""
    (?P<tuple>(?<![\w}}])[(\[]\s?[-−+]?(?:{_N}|∞|[a-z])(?:\s?,\s?[-−+]?(?:{_N}|∞|[a-z])){{1,8}}\s?[)\]]
      |\{{\s?[-−]?{_N}(?:\s?,\s?[-−]?{_N}){{0,12}}\s?\}})
  | (?P<date>(?<![\w.])(?:\d{{4}}-\d{{2}}-\d{{2}}|\d{{1,2}}[/.]\d{{1,2}}[/.]\d{{2,4}}
      |(?:{_MONTH}\s\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s\d{{4}})?
      |\d{{1,2}}\s{_MONTH}(?:\s\d{{4}})?))(?![\w/]))
  | (?P<time>(?<![\w.:])\d{{1,2}}:\d{{2}}(?::\d{{2}})?(?![\d:])(?:\s?(?:[ap]\.m\.|[ap]m(?![a-z])))?
      |(?<![\w.])\d{{1,2}}\s?(?:[ap]\.m\.|[ap]m(?![a-z]))|(?<![\w.])\d{{1,2}}\so'clock)
  | (?P<ratio>(?<![\w.:]){_N}
      (?:(?:\s?:\s?{_N}){{1,5}}|\s(?:(?:(?:out\s)?of|in|for|to)\severy|(?:out\s)?of)\s{_N})(?![\w:]))
  | (?P<range>between\s[$€£¥]?{_N}(?:\s?[a-z°%]{{1,9}})?\sand\s[$€£¥]?{_N})
  | (?P<ordinal>(?<![\w.])\d{{1,6}}(?:st|nd|rd|th)(?![a-z]))
  | (?P<number>(?<![a-zß-ɏα-ωа-ё\d])(?<![\w)][-−*/^])(?<!\d[.,])
      (?:(?:minus|negative)\s)?[-−±]?(?:\\?[$€£¥₹])?\s?[-−]?
      {_N}(?:\s\d{{1,4}}/\d{{1,4}}|\s?/\s?{_N}|(?:{_TEN})?(?!\d|(?:st|nd|rd|th)\b))
      (?:\s?\\?%|°\s?[cfk]?(?![a-z])|\s?[€£¥](?!\d)|\s?[万萬亿億千百]{{1,2}})?
      (?:\s(?:hundred|thousand|million|billion|trillion|dozen|percent|per\scent|squared|cubed|and\s(?:a|one|three)[\s-](?:half|third|quarter)s?|halves|thirds|quarters|fourths|fifths|sixths|eighths|tenths)(?![a-z])){{0,2}})
    """,
    re.VERBOSE | re.DOTALL,
)


_BEGINS = regex(r"[\d$\\(\[{€£¥₹−±.-](?<![-−±.](?![\d$€£¥]))")
"""Characters that may begin a value, except the words before it: one class is cheap to search."""
_WORDS_BEFORE = frozenset(["minus", "negative", "between", *_MONTH.strip("(?:)").split("|")])


class ValueSpan(Struct, frozen=True):
    """Place of a value in a text, and its kind: the name of a group of the pattern."""

    kind: str
    start: int
    end: int

    @property
    def is_formula(self) -> bool:
        """True if it is written as mathematics."""
        return self.kind in ("display", "formula")


def amounts(low: str, start: int, end: int) -> list[ValueSpan]:
    """The values in `low[start:end]`, from left to right."""
    found: list[ValueSpan] = []
    at = start
    while begin := _BEGINS.search(low, at, end):
        start_of_value = begin.start()
        paired = begin[0] == "\\" or (begin[0] == "$" and low.find("$", begin.end(), end) >= 0)
        value = _FORMULA.match(low, start_of_value, end) if paired else None
        word = low[max(at, start_of_value - 10) : start_of_value].rstrip()
        word = word[word.rfind(" ") + 1 :]
        if word in _WORDS_BEFORE:
            start_of_value -= len(word) + 1
        if value := value or _VALUE.match(low, start_of_value, end):
            found.append(ValueSpan(value.lastgroup or "number", *value.span()))
            at = value.end()
        else:
            at = begin.start() + 1
    return found


_PART = regex(
    r"\s(?:times\s(?:as|more|the|older|larger|faster)|of\s[$€£¥]?\d)|\s?(?:\*(?!\*)|[+×·÷^√=πθ!²³⁴∞<>≤≥≠])|[a-z]|\s[-−–/]\s?[\d(a-z]|[-–]\d|\s?\(\d|\\"
)
_PART_BEFORE = regex(
    r"(?:[*+×·÷^√π/<>≤≥≠\\_]|(?<![a-z])[a-z]\s?[-−]|\d\s?[-−–]|\b(?:log|ln|sin|cos|tan|sqrt|half(?:\sof)?|double|twice"
    r"|triple|times|not|plus|minus|(?:less|more|fewer|greater|larger|smaller)\sthan)|‹bound›)\s?$"
)


def is_whole(low: str, amount: ValueSpan, start: int, end: int) -> bool:
    """True if a plain number is not part of an expression such as "x^2 + 3" or "5x"."""
    if amount.kind != "number":
        return True
    unit = _ATTACHED_UNIT.match(low, amount.end, end)
    after = unit.end() if unit else amount.end
    return not _PART.match(low, after, end) and not _PART_BEFORE.search(
        low, max(start, amount.start - 16), amount.start
    )


_ATTACHED_UNIT = regex(
    r"(?:[kcm]?m|[kmµ]?g|m?l|km/h|mph|kwh?|hrs?|h|min|s|sec|ft|in|lbs?|oz|mm|gb|mb|kb|st|nd|rd|th|k|m²|cm²|usd"
    r"|x(?=\s(?:as|more|faster)))(?![\w^])"
)
