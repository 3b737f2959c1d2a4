"""The result of one sentence: the value that it comes to, with its whole phrase, or None.

A formula, the object of "is" or "=", a time, a ratio, several values in a row; where a sentence has several numbers and
none is plainly its result, there is none.
"""

import re

from corea.parsing.amounts import Amount, amounts, is_whole
from corea.parsing.cleaning import Found, cleaned
from corea.parsing.objects import WORDY, conclusion_of, is_aside, object_of
from corea.parsing.text import lead

_BOLD = re.compile(r"(?<!\*)\*\*(?!\s)([^*\n]{1,80}?)\*\*(?!\*)|(?<!_)__(?!\s)([^_\n]{1,80}?)__|`([^`\n]{1,80})`")
_RESULT = re.compile(
    r"\W{0,8}(?:(?:the|final|overall|grand|net)\s){0,2}(?:total|result|sum|solution"
    r"|value)(?:\s\w{1,12}){0,2}[\s*_]{0,3}[:：][\s*_]{1,4}(?=\S)"
)
_FIELD = re.compile(
    r"(?!\W{0,4}(?:option|choice)\s\(?[a-j]\)?:)[^:=\n]{0,8}?[a-z][\w '’/()*-]{0,48}[:：][\s*_]{1,4}(?=\S)"
)


_FORMULA_WITH_UNIT = re.compile(r"(\$[^$]*=[^$]*\$)\s[a-z²³^/\d]{1,14}\W{0,3}")


def _has_colon(low: str, start: int, end: int) -> bool:
    """Whether a label may begin a sentence: this is cheap to look for."""
    end = min(end, start + 70)
    return low.find(":", start, end) >= 0 or low.find("：", start, end) >= 0


def labelled_result(text: str, low: str, start: int, end: int) -> Found | None:
    """The value after "Total:", "Result:" and their like, which needs no full stop to be complete."""
    field = _RESULT.match(low, start, end) if _has_colon(low, start, end) else None
    return cleaned(text, field.end(), end, 0) if field and _plain(low, field.end(), end) else None


def labelled_value(text: str, low: str, start: int, end: int) -> Found | None:
    """The one value after any label: "Cost of the trip: $45"."""
    field = _FIELD.match(low, start, end) if _has_colon(low, start, end) else None
    if field and field.end() < end <= field.end() + 60 and _plain(low, field.end(), end):
        whole = _FORMULA_WITH_UNIT.fullmatch(low, field.end(), end)
        return _formula_value(text, low, *whole.span(1)) if whole else cleaned(text, field.end(), end, 0)
    return None


def result(text: str, low: str, start: int, end: int) -> Found | None:
    """What a sentence comes to: what it prints bold, what follows its label or last "=", its object, its one number."""
    start += lead(low[start:end], " \t\n")
    marked = low.find("**", start, end) >= 0 or low.find("__", start, end) >= 0 or low.find("`", start, end) >= 0
    bold = [
        m for m in (_BOLD.finditer(low, start, end) if marked else ()) if not m[m.lastindex or 1].rstrip().endswith(":")
    ]
    if len(bold) == 1:
        a, b = bold[0].span(bold[0].lastindex or 1)
        if not amounts(low, a, b):
            return (
                cleaned(text, a, b, 0)
                if not amounts(low, start, end) and b - a <= 60 and low.count(" ", a, b) < 6
                else None
            )
        if not WORDY.search(low, a, b):
            return cleaned(text, a, b, 0) if _plain(low, a, b) else _of_numbers(text, low, a, b)
        start, end = a, b
    if field := labelled_value(text, low, start, end):
        return field
    return _of_numbers(text, low, start, end)


def _plain(low: str, start: int, end: int) -> bool:
    """Whether a phrase is one value with at most a few words beside it, and no verb."""
    found = amounts(low, start, end)
    return (
        len(found) == 1
        and is_whole(low, found[0], start, end)
        and not low[start : found[0].start].strip(" *_($~≈")
        and not WORDY.search(low, start, end)
        and low.count(" ", found[0].end, end) < 4
    )


_ASSIGNMENTS = re.compile(
    r"(?:[a-z](?:_\w)?\s?=\s?[-−]?[\d.,/]{1,20}\d|[a-z](?:_\w)?\s?=\s?[-−]?\d)(?:\s?(?:,|and|or|,\s?and"
    r"|,\s?or)\s{0,2}[a-z](?:_\w)?\s?=\s?[-−]?(?:\d[\d.,/]{0,20}\d|\d)){1,6}(?=[.\s)]*$)"
)


_TWO_SUBJECTS = re.compile(
    r"[\d$)²%][^.\d]{0,20}?\s(?:and|while)\s(?:the|its|his|her|their)\s"
    r"(?!(?:\w+\s){0,3}(?:total|sum|answer|result|difference|product|final|remaining))(?:[a-z]{1,14}\s){1,5}(?:is|are|was|equals)\s"
)
"""The perimeter is 26 and the area is 40: two statements, neither of which is the result."""


def _of_numbers(text: str, low: str, start: int, end: int) -> Found | None:
    if low.count("=", start, end) > 1 and (several := _ASSIGNMENTS.search(low, start, end)):
        return cleaned(text, *several.span(), 0)
    joined = low.find(" and ", start, end) >= 0 or low.find(" while ", start, end) >= 0
    if joined and _TWO_SUBJECTS.search(low, start, end):
        return None
    found = amounts(low, start, end)
    formulas = [amount for amount in found if amount.is_formula]
    if formulas:
        chosen = _formula(low, found, start, end)
        return _formula_value(text, low, *chosen) if chosen else None
    if (mark := low.rfind(">>", start, end)) >= 0 and low.find("<<", start, mark) >= 0:
        return _calculated(text, low, mark + 2, end)
    equals = max(low.rfind("=", start, end), low.rfind("≈", start, end))
    if equals >= 0 and (begin := conclusion_of(low, start, end)) > equals:
        found, equals = [amount for amount in found if amount.start >= begin], -1
    if equals >= 0:
        lone = _LONE_VARIABLE.search(low, start, equals) if low.count("=", start, end) < 2 else None
        found_after = _after_equals(text, low, found, equals + 1, end)
        return cleaned(text, lone.start(1), found_after.end, 0) if lone and found_after else found_after
    chosen = object_of(low, found, start, end)
    return cleaned(text, *chosen, 0) if chosen else None


def _calculated(text: str, low: str, begin: int, end: int) -> Found | None:
    """What stands after GSM8K's calculator marks: "5 * 4 = <<5*4=20>>20 eggs"."""
    found = amounts(low, begin, end)
    if not found or low[begin : found[0].start].strip(" *_$") or not is_whole(low, found[0], begin, end):
        return None
    return cleaned(text, found[0].start, found[0].end, 0)


_OBJECT_OF = re.compile(
    r"(?:\b(?:is|are|equals?|be|was|were|gets?|gives?|obtain|have|has|had|becomes?|to|of|therefore|thus|so|hence"
    r"|then|value|makes?|find|yields?|exactly|"
    r"approximately|about|only|simply|just|namely|answer|at|costs?|leaves?|left\swith|need|needs|there\sare)|[:=≈]"
    r"|^)[\s:,*_]{0,4}$"
)
_JOINS = re.compile(r"[\s,;.]{0,3}(?:and|or|,|;)?[\s*_]{0,3}$")


def _formula(low: str, found: list[Amount], start: int, end: int) -> tuple[int, int] | None:
    """The formulas in a row that end the sentence, where they are its object."""
    last = max(i for i, amount in enumerate(found) if amount.is_formula)
    after = [a for a in found[last + 1 :] if not is_aside(low, a, start)]
    first = last
    while first > 0 and found[first - 1].is_formula and _JOINS.fullmatch(low, found[first - 1].end, found[first].start):
        first -= 1
    a, b = found[first].start, found[last].end
    if last > first and len({_names_unknown(low, amount) for amount in found[first : last + 1]}) > 1:
        return None  # "$\\sin x = 1/2$ and $x = 30$": which of them was asked for is not clear
    if len(found) == 1 or (first == 0 and not after):
        return (a, b) if not after else None
    before = low[max(start, a - 30) : a]
    if after or not _OBJECT_OF.search(before):
        plain = [x for x in found if not x.is_formula and is_whole(low, x, start, end) and not is_aside(low, x, start)]
        return (plain[0].start, plain[0].end) if len(plain) == 1 and not _OBJECT_OF.search(before) else None
    return a, b


def _names_unknown(low: str, formula: Amount) -> bool:
    """Whether a formula gives the value of a single letter: "$x = 3$", "$\\theta = 60$"."""
    left, equals, _ = low[formula.start : formula.end].lstrip("$\\([ \n").partition("=")
    return bool(equals) and left.strip().isalpha()


_ASSIGNED = re.compile(
    r"\s*\\?[a-zA-Z](?:_\{?\w{1,3}\}?)?(?:\([a-z](?:,\s?[a-z])?\)|\^\{-1\}\(x\))?\s*$|\s*[a-z]\^\{-1\}\(x\)\s*$"
)


def _formula_value(text: str, low: str, start: int, end: int) -> Found | None:
    """A formula whole; of a chain "5! = 5 \\cdot 4 = 20" what it comes to."""
    stop = end
    content = low[start:end]
    if (
        content.count("$") <= 2
        and content.count("\\(") <= 1
        and not any(c in content for c in (">=", "<=", "\\text{ and }", "\\\\"))
    ):
        equals = low.rfind("=", start, stop)
        while equals > start and low[equals - 1] in "\\!<>":
            equals = low.rfind("=", start, equals)
        if equals > start and "," not in low[equals:stop].replace("{,}", "").replace(",\\", ""):
            left = low[start:equals].lstrip("$\\([ \n")
            if not _ASSIGNED.fullmatch(left) or "=" in left:
                return cleaned(text, equals + 1, equals + 1 + len(_CLOSES.sub("", low[equals + 1 : stop])), 0)
    return cleaned(text, start, end, 0)


_CLOSES = re.compile(r"(?:[\s$.]|\\[\])])+$")
_LONE_VARIABLE = re.compile(r"(?:^|[\s*_:,(])(?<![+*/^=×·÷-]\s)(?<!\d\s)([a-z](?:_\w)?|[a-z]\([a-z]\))\s?$")
_EXPRESSION = re.compile(
    r"[\s*_]{0,3}(?:[^a-zA-Z\n]|(?<![a-zA-Z])[a-zA-Z](?![a-zA-Z])|sqrt|pi|log|ln|sin|cos|tan){1,60}$"
)


def _after_equals(text: str, low: str, found: list[Amount], begin: int, end: int) -> Found | None:
    """What stands after the last "=" of a sentence: an expression to its end, or a number with words."""
    stop = begin + len(low[begin:end].rstrip(" .!*_"))
    found = [amount for amount in found if amount.start >= begin]
    leads = bool(found) and not low[begin : found[0].start].strip(" *_~≈$")
    if leads and is_whole(low, found[0], begin, stop) and all(is_aside(low, a, begin) for a in found[1:]):
        return cleaned(text, found[0].start, found[0].end, 0)
    if low[begin:stop].strip() and _EXPRESSION.fullmatch(low, begin, stop):
        return cleaned(text, begin, stop, 0)
    return None
