"""Values in a sentence, each with its whole phrase: formulas, signed numbers, percents, times, ratios, tuples."""

import re

from msgspec import Struct

_N = (
    r"(?:\d{1,3}(?:,\d{2,3}){1,12}(?:\.\d{1,20})?(?![\d,]*\d)|\d{1,3}(?:\.\d{3}){1,6}(?:,\d{1,9})?(?![\d.,]*\d)"
    r"|\d{1,40},\d{1,20}(?![\d,]*\d)|\d{1,40}(?:\.\d{1,40})?|\.\d{1,40})"
)
"""Digits with separators: 1,234.5 and 1.234,5."""
_TEN = r"(?:\s?(?:×|x|\*|\\times|·)\s?10\s?(?:\^|\*\*)?\s?\{?[-−]?[\d⁰¹²³⁴⁵⁶⁷⁸⁹⁻]{1,4}\}?|[eE][-+]?\d{1,3})"
_MONTH = r"(?:january|february|march|april|may|june|july|august|september|october|november|december)"
_FORMULA = re.compile(
    r"""
    (?P<display>\$\$.{1,600}?\$\$|\\\[.{1,600}?\\\])
  | (?P<formula>\\\(.{1,400}?\\\)
      | (?<![\\\w])\$(?![\d.,]{1,20}\s[^$\n]{0,200}?[\s(][-+*=/]?\s?\$[\d.])
        (?=[^\s$])(?:[^$\n\\]|\\.){0,300}?(?<!\s)\$(?![\d]))
    """,
    re.VERBOSE | re.DOTALL,
)
_VALUE = re.compile(
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


_BEGINS = re.compile(r"[\d$\\(\[{€£¥₹−±.-](?<![-−±.](?![\d$€£¥]))")
"""Where a value may begin, but for the words before it: one class of characters is cheap to look for."""
_WORDS_BEFORE = frozenset(["minus", "negative", "between", *_MONTH.strip("(?:)").split("|")])


class Amount(Struct, frozen=True):
    """A value's place in a text, and its kind: the name of a group of the pattern."""

    kind: str
    start: int
    end: int

    @property
    def is_formula(self) -> bool:
        """Whether it is written as mathematics."""
        return self.kind in ("display", "formula")


def amounts(low: str, start: int, end: int) -> list[Amount]:
    """The values in `low[start:end]`, from left to right."""
    found: list[Amount] = []
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
            found.append(Amount(value.lastgroup or "number", *value.span()))
            at = value.end()
        else:
            at = begin.start() + 1
    return found


_PART = re.compile(
    r"\s(?:times\s(?:as|more|the|older|larger|faster)|of\s[$€£¥]?\d)|\s?(?:\*(?!\*)|[+×·÷^√=πθ!²³⁴∞<>≤≥≠])|[a-z]|\s[-−–/]\s?[\d(a-z]|[-–]\d|\s?\(\d|\\"
)
_PART_BEFORE = re.compile(
    r"(?:[*+×·÷^√π/<>≤≥≠\\_]|(?<![a-z])[a-z]\s?[-−]|\d\s?[-−–]|\b(?:log|ln|sin|cos|tan|sqrt|half(?:\sof)?|double"
    r"|twice|triple|times|not|plus|"
    r"minus|(?:less|more|fewer|greater|larger|smaller)\sthan|mindestens|höchstens|moins\sde|plus\sde|más\sde|menos\sde)"
    r"|至少|最多|超过|超過|不到|多于|少于|大于|小于|不是|非)\s?$"
)


def is_whole(low: str, amount: Amount, start: int, end: int) -> bool:
    """Whether a plain number stands alone, and is no part of an expression such as "x^2 + 3" or "5x"."""
    if amount.kind != "number":
        return True
    unit = _ATTACHED_UNIT.match(low, amount.end, end)
    after = unit.end() if unit else amount.end
    return not _PART.match(low, after, end) and not _PART_BEFORE.search(
        low, max(start, amount.start - 16), amount.start
    )


_ATTACHED_UNIT = re.compile(
    r"(?:[kcm]?m|[kmµ]?g|m?l|km/h|mph|kwh?|hrs?|h|min|s|sec|ft|in|lbs?|oz|mm|gb|mb|kb|st|nd|rd|th|k|m²|cm²|usd"
    r"|x(?=\s(?:as|more|faster)))(?![\w^])"
)
