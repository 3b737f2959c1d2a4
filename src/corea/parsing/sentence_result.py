"""The result of one sentence: the value that it states, with its whole phrase, or None.

A formula, the object of "is" or "=", a time, a ratio, several values in a row; None if a sentence has several numbers
and none is clearly its result. Values that only say when, of how many or compared with what ("in 5 weeks", "of the 48")
are skipped.
"""

from itertools import pairwise

from corea.parsing.cleaning import AnswerSpan, cleaned
from corea.parsing.numbers import ValueSpan, amounts, is_whole
from corea.parsing.text import lead, regex

_BOLD = regex(r"(?<!\*)\*\*(?!\s)([^*\n]{1,80}?)\*\*(?!\*)|(?<!_)__(?!\s)([^_\n]{1,80}?)__|`([^`\n]{1,80})`")
_RESULT = regex(
    r"\W{0,8}(?:(?:the|final|overall|grand|net)\s){0,2}(?:total|result|sum|solution"
    r"|value)(?:\s\w{1,12}){0,2}[\s*_]{0,3}[:：][\s*_]{1,4}(?=\S)"
)
_FIELD = regex(
    r"(?!\W{0,4}(?:option|choice)\s\(?[a-j]\)?:)[^:=\n]{0,8}?[^\W\d_][\w '’/()*-]{0,48}[:：][\s*_]{1,4}(?=\S)"
)
_FORMULA_WITH_UNIT = regex(r"(\$[^$]*=[^$]*\$)\s[a-z²³^/\d]{1,14}\W{0,3}")
_ASSIGNMENTS = regex(
    r"(?:[a-z](?:_\w)?\s?=\s?[-−]?[\d.,/]{1,20}\d|[a-z](?:_\w)?\s?=\s?[-−]?\d)(?:\s?(?:,|and|or|,\s?and"
    r"|,\s?or)\s{0,2}[a-z](?:_\w)?\s?=\s?[-−]?(?:\d[\d.,/]{0,20}\d|\d)){1,6}(?=[.\s)]*$)"
)
_TWO_SUBJECTS = regex(
    r"[\d$)²%][^.\d]{0,20}?\s(?:and|while)\s(?:the|its|his|her|their)\s(?!(?:\w+\s){0,3}(?:total|sum|answer|result"
    r"|difference|product|final|remaining))(?:[a-z]{1,14}\s){1,5}(?:is|are|was|equals)\s"
)
"""Two statements, neither of which is the result: "The perimeter is 26 and the area is 40"."""
_OBJECT_OF = regex(
    r"(?:\b(?:is|are|equals?|be|was|were|gets?|gives?|obtain|have|has|had|becomes?|to|of|therefore|thus|so|hence|then"
    r"|value|makes?|find|yields?|exactly|approximately|about|only|simply|just|namely|answer|at|costs?|leaves?"
    r"|left\swith|need|needs|there\sare)|[:=≈]|^)[\s:,*_]{0,4}$"
)
_JOINS = regex(r"[\s,;.]{0,3}(?:and|or|,|;)?[\s*_]{0,3}$")
_ASSIGNED = regex(
    r"\s*\\?[a-zA-Z](?:_\{?\w{1,3}\}?)?(?:\([a-z](?:,\s?[a-z])?\)|\^\{-1\}\(x\))?\s*$"
    r"|\s*[a-z]\^\{-1\}\(x\)\s*$"
)
_CLOSES = regex(r"(?:[\s$.]|\\[\])])+$")
_LONE_VARIABLE = regex(r"(?:^|[\s*_:,(])(?<![+*/^=×·÷-]\s)(?<!\d\s)([a-z](?:_\w)?|[a-z]\([a-z]\))\s?$")
_EXPRESSION = regex(r"[\s*_]{0,3}(?:[^a-zA-Z\n]|(?<![a-zA-Z])[a-zA-Z](?![a-zA-Z])|sqrt|pi|log|ln|sin|cos|tan){1,60}$")
WORDY = regex(r"(?<![a-z'])(?:‹sentence_word›)(?![a-z])")
"""Words of a sentence, which the bare name of an answer does not have."""
_ASIDE = regex(
    r"(?:\b(?:in|for|after|every|per|within|over|during|by|from|out\sof|than|before|until|since|with|through|between"
    r"|first|next|last|full|step|day|week|year|grade|page|chapter|part|problem|question|room|number|age|figure|the"
    r"|these|those|his|her|their|its|our|all|both|another|to\s(?:reach|make|get|buy|feed|fill|finish|cover|choose"
    r"|select|arrange|form|seat|complete)|(?:each|all|both|any|some|most|one|none|every"
    r"|\d[\d,.]{0,12}%?(?:\s\w{1,14})?)\sof(?:\s(?:the|his|her|their|those|these))?)|from\s[^;]{1,20}\sto"
    r"|[,(]\s?an?\s[a-z]{1,14}\sof|[,(]|[,(]\s?(?:about|or|approximately|roughly|i\.e\.,?|e\.g\.,?|including"
    r"|that\sis,?))\s?(?:a\s|an\s|about\s|only\s|just\s|another\s|other\s|original\s|remaining\s|initial\s|same\s"
    r"|total\s|whole\s)?$"
)
_CLAUSE = regex(
    r"[,;(]\s?(?:which|who|whose|where|whereas|including|i\.?e\.?|e\.?g\.?|or|plus|with|since|because|as|while|if|when"
    r"|not|instead|compared|rather|about|given|given\sthat|out\sof|after|before|having)(?![a-z])"
    r"|\s(?:because|since|compared|given\sthat|assuming|while|if|when|who)\s"
    r"|[,;]\s\d{1,9}\s(?:of\swhich|of\swhom)"
)
_OPENING = regex(
    r"[\s*_]{0,3}(?:(?:so|therefore|thus|hence|then|now|finally|and|but)[,\s]\s?)?(?:since|as|if|because|when|after"
    r"|given|with|out\sof|for\severy|before|by|having|while|although|though)\s[^,;]{1,160},\s(?!and\b|or\b|\d)"
)
_SO = regex(
    r"[,;]\s(?:and\s)?(?:so|therefore|thus|hence|leaving|making|giving|total+ing|meaning|which\sleaves"
    r"|for\sa\stotal\sof)\b"
)
_IS = regex(
    r"(?<![a-z])(?:is|are|equals?|was|were|be|becomes|makes|leaves)\s(?:about\s|only\s|exactly\s|just\s|now\s|then\s"
    r"|equal\sto\s|therefore\s|thus\s|approximately\s|actually\s|at\sleast\s){0,2}[*_~≈]{0,3}$"
)
_WHICH_IS = regex(r",\s(?:which|that)\s(?:is|equals|comes\sto|makes|means|gives|totals|amounts\sto)\s")
_TOTAL_BEFORE = regex(
    r"(?:total(?:ing|s|ling)?(?:\s(?:of|is|was|cost|comes\sto|amount))*|altogether,?|sum\sof|in\sall,?|(?:final|new"
    r"|remaining)\s[a-z]{1,14}\sof|adds?\sup\sto|comes\sto|amounts?\sto|leaves|left\swith|for)\s(?:a\stotal\sof\s)?$"
)
_TOTAL_AFTER = regex(
    r"\s?(?:[a-z]{1,14}\s){0,2}(?:in\stotal|altogether|in\sall|total|all\stogether|overall|remaining"
    r"|left(?!\sover))(?![a-z])"
)
_IN_REMARK = regex(r"\w\s\([^()]*[a-z][^()]*$")  # "the Pacific Ocean (about 165 million km²)"
_IN_REASON = regex(r"\w,?\s(?:because|since)\s[^,;]*$")  # "it is prime because 7 has no factors"
_JOINED_UNIT = regex(r"\s?[a-z]{1,14}\.?,?\s(?:and\s)?")
_BETWEEN = regex(
    r"\s?(?:[a-z]{1,14}\s?){0,3}(?:,\s?(?:and|or)?|\s?(?:and|or|to|by|[-–]))\s?(?:[a-z]\s?=\s?)?(?:a\stotal\sof\s)?$"
)
_UNIT = regex(r"\s?(?!(?:for|in|of|per|to|each|with|at|by|on|from|and|or)(?![a-z]))[a-z]{1,14}(?![a-z])")


def _has_colon(low: str, start: int, end: int) -> bool:
    """True if a label may begin a sentence; cheap to test."""
    end = min(end, start + 70)
    return low.find(":", start, end) >= 0 or low.find("：", start, end) >= 0


def labelled_result(text: str, low: str, start: int, end: int) -> AnswerSpan | None:
    """The value after "Total:", "Result:" and the like, which needs no full stop to be complete."""
    field = _RESULT.match(low, start, end) if _has_colon(low, start, end) else None
    return cleaned(text, field.end(), end, 0) if field and _plain(low, field.end(), end) else None


def labelled_value(text: str, low: str, start: int, end: int) -> AnswerSpan | None:
    """The only value after any label: "Cost of the trip: $45"."""
    field = _FIELD.match(low, start, end) if _has_colon(low, start, end) else None
    if field and field.end() < end <= field.end() + 60 and _plain(low, field.end(), end):
        whole = _FORMULA_WITH_UNIT.fullmatch(low, field.end(), end)
        return _formula_value(text, low, *whole.span(1)) if whole else cleaned(text, field.end(), end, 0)
    return None


def sentence_result(text: str, low: str, start: int, end: int) -> AnswerSpan | None:
    """The result of a sentence: its bold value, the value after its label or last "=", its object, its only number."""
    start += lead(low[start:end], " \t\n")
    marked = any(low.find(mark, start, end) >= 0 for mark in ("**", "__", "`"))
    bold = [match.span(match.lastindex or 1) for match in (_BOLD.finditer(low, start, end) if marked else ())]
    bold = [(a, b) for a, b in bold if not low[a:b].rstrip().endswith(":")]
    if len(bold) == 1:
        a, b = bold[0]
        if not amounts(low, a, b):
            is_name = not amounts(low, start, end) and b - a <= 60 and low.count(" ", a, b) < 6
            return cleaned(text, a, b, 0) if is_name else None
        if not WORDY.search(low, a, b):
            return cleaned(text, a, b, 0) if _plain(low, a, b) else _of_numbers(text, low, a, b)
        start, end = a, b
    return labelled_value(text, low, start, end) or _of_numbers(text, low, start, end)


def _plain(low: str, start: int, end: int) -> bool:
    """True if a phrase is one value with at most a few words beside it, and no verb."""
    found = amounts(low, start, end)
    return (
        len(found) == 1
        and is_whole(low, found[0], start, end)
        and not low[start : found[0].start].strip(" *_($~≈")
        and not WORDY.search(low, start, end)
        and low.count(" ", found[0].end, end) < 4
    )


def _of_numbers(text: str, low: str, start: int, end: int) -> AnswerSpan | None:
    if low.count("=", start, end) > 1 and (several := _ASSIGNMENTS.search(low, start, end)):
        return cleaned(text, *several.span(), 0)
    joined = low.find(" and ", start, end) >= 0 or low.find(" while ", start, end) >= 0
    if joined and _TWO_SUBJECTS.search(low, start, end):
        return None
    found = amounts(low, start, end)
    if found and _IN_REASON.search(low, start, found[0].start) and conclusion_of(low, start, end) == start:
        return None
    formulas = [amount for amount in found if amount.is_formula]
    if formulas:
        chosen = _formula(low, found, start, end)
        return _formula_value(text, low, *chosen) if chosen else None
    if (mark := low.rfind(">>", start, end)) >= 0 and low.find("<<", start, mark) >= 0:
        return _calculated(text, low, mark + 2, end)
    equals = max(low.rfind("=", start, end), low.rfind("≈", start, end))
    if equals >= 0 and (begin := conclusion_of(low, start, end)) > equals:
        found, equals = _from(found, begin), -1
    if equals >= 0:
        lone = _LONE_VARIABLE.search(low, start, equals) if low.count("=", start, end) < 2 else None
        found_after = _after_equals(text, low, found, equals + 1, end)
        return cleaned(text, lone.start(1), found_after.end, 0) if lone and found_after else found_after
    chosen = object_of(low, found, start, end)
    return cleaned(text, *chosen, 0) if chosen else None


def _calculated(text: str, low: str, begin: int, end: int) -> AnswerSpan | None:
    """The value after GSM8K's calculator annotation: "5 * 4 = <<5*4=20>>20 eggs"."""
    found = amounts(low, begin, end)
    if not found or low[begin : found[0].start].strip(" *_$") or not is_whole(low, found[0], begin, end):
        return None
    return cleaned(text, found[0].start, found[0].end, 0)


def _formula(low: str, found: list[ValueSpan], start: int, end: int) -> tuple[int, int] | None:
    """The formulas in a row that end the sentence, if they are its object."""
    last = max(i for i, amount in enumerate(found) if amount.is_formula)
    after = [a for a in found[last + 1 :] if not is_aside(low, a, start)]
    first = last
    while first > 0 and found[first - 1].is_formula and _JOINS.fullmatch(low, found[first - 1].end, found[first].start):
        first -= 1
    a, b = found[first].start, found[last].end
    if last > first and len({_names_unknown(low, amount) for amount in found[first : last + 1]}) > 1:
        return None  # "$\\sin x = 1/2$ and $x = 30$": the required one is unclear
    if len(found) == 1 or (first == 0 and not after):
        return (a, b) if not after else None
    before = low[max(start, a - 30) : a]
    if after or not _OBJECT_OF.search(before):
        plain = [x for x in found if not x.is_formula and is_whole(low, x, start, end) and not is_aside(low, x, start)]
        return (plain[0].start, plain[0].end) if len(plain) == 1 and not _OBJECT_OF.search(before) else None
    return a, b


def _names_unknown(low: str, formula: ValueSpan) -> bool:
    """True if a formula gives the value of a single letter: "$x = 3$", "$\\theta = 60$"."""
    left, equals, _ = low[formula.start : formula.end].lstrip("$\\([ \n").partition("=")
    return bool(equals) and left.strip().isalpha()


def _formula_value(text: str, low: str, start: int, end: int) -> AnswerSpan | None:
    """A whole formula; of a chain "5! = 5 \\cdot 4 = 20", its last member."""
    content = low[start:end]
    is_one = content.count("$") <= 2 and content.count("\\(") <= 1
    if is_one and not any(mark in content for mark in (">=", "<=", "\\text{ and }", "\\\\")):
        equals = low.rfind("=", start, end)
        while equals > start and low[equals - 1] in "\\!<>":
            equals = low.rfind("=", start, equals)
        if equals > start and "," not in low[equals:end].replace("{,}", "").replace(",\\", ""):
            left = low[start:equals].lstrip("$\\([ \n")
            if not _ASSIGNED.fullmatch(left) or "=" in left:
                return cleaned(text, equals + 1, equals + 1 + len(_CLOSES.sub("", low[equals + 1 : end])), 0)
    return cleaned(text, start, end, 0)


def _after_equals(text: str, low: str, found: list[ValueSpan], begin: int, end: int) -> AnswerSpan | None:
    """The value after the last "=" of a sentence: an expression up to its end, or a number with words."""
    stop = begin + len(low[begin:end].rstrip(" .!*_"))
    found = _from(found, begin)
    leads = bool(found) and not low[begin : found[0].start].strip(" *_~≈$")
    if leads and is_whole(low, found[0], begin, stop) and all(is_aside(low, a, begin) for a in found[1:]):
        return cleaned(text, found[0].start, found[0].end, 0)
    if low[begin:stop].strip() and _EXPRESSION.fullmatch(low, begin, stop):
        return cleaned(text, begin, stop, 0)
    return None


def is_aside(low: str, amount: ValueSpan, start: int) -> bool:
    """True if a number only qualifies another statement: "in 5 weeks", "(about 9.5 liters)", "of the 48"."""
    return _ASIDE.search(low, max(start, amount.start - 36), amount.start) is not None


def _without_asides(low: str, found: list[ValueSpan], start: int) -> list[ValueSpan]:
    """The numbers that are not asides; the parts of "for 2 hours and 15 minutes" go together."""
    own: list[ValueSpan] = []
    before: ValueSpan | None = None
    for amount in found:
        joined = before is not None and _JOINED_UNIT.fullmatch(low, before.end, amount.start) is not None
        if not is_aside(low, amount, start) and not (joined and before not in own):
            own.append(amount)
        before = amount
    return own


def conclusion_of(low: str, start: int, end: int) -> int:
    """Start of the main clause of a sentence, after "Since 360 / 8 = 45," or "2^10 = 1024, so"."""
    opening = _OPENING.match(low, start, end)
    so = [match.end() for match in _SO.finditer(low, start, end)]
    return max(so[-1] if so else start, opening.end() if opening else start)


def object_of(low: str, found: list[ValueSpan], start: int, end: int) -> tuple[int, int] | None:
    """The one value of a sentence that is its object, or its values in a row; None if that is ambiguous."""
    found = [a for a in found if a.kind != "ordinal"] or found
    if not found:
        return None
    if len(found) == 1:
        return None if _IN_REMARK.search(low, start, found[0].start) else _alone(low, found[0], start, end)
    if (opening := _OPENING.match(low, start, end)) and (later := _from(found, opening.end())):
        return object_of(low, later, opening.end(), end)
    if (which := _WHICH_IS.search(low, found[0].end, end)) and (later := _from(found, which.end())):
        return _alone(low, later[0], start, end) if len(later) == 1 else None
    so = [match.end() for match in _SO.finditer(low, start, end)]
    if so and (later := _from(found, so[-1])):
        return object_of(low, later, so[-1], end)
    stated = [a for a in found if _IS.search(low, max(start, a.start - 30), a.start)]
    if len(stated) == 1 and all(is_aside(low, a, start) for a in found if a.start > stated[0].start):
        return _alone(low, stated[0], start, end)
    clause = _CLAUSE.search(low, found[0].end, end)
    main = [a for a in found if not clause or a.start < clause.start()]
    if total := [a for a in found if _is_total(low, a, start, end)]:
        others = [a for a in main if a.start > total[-1].start and low.find(" and ", total[-1].end, a.start) >= 0]
        return _alone(low, total[0], start, end) if len(total) == 1 and not others else None
    own = _without_asides(low, main, start)
    money = [a for a in own if any(sign in low[a.start : a.end] for sign in "$€£¥₹")]
    for candidates in (own or main, money):
        if len(candidates) == 1:
            return _alone(low, candidates[0], start, end)
    return _in_a_row(low, own, end) if len(own) == len(main) else None


def _from(found: list[ValueSpan], begin: int) -> list[ValueSpan]:
    return [amount for amount in found if amount.start >= begin]


def _is_total(low: str, amount: ValueSpan, start: int, end: int) -> bool:
    if _TOTAL_AFTER.match(low, amount.end, end):
        return True
    before = _TOTAL_BEFORE.search(low, max(start, amount.start - 40), amount.start)
    return before is not None and not before[0].startswith("for")


def _alone(low: str, amount: ValueSpan, start: int, end: int) -> tuple[int, int] | None:
    return (amount.start, amount.end) if is_whole(low, amount, start, end) else None


def _in_a_row(low: str, found: list[ValueSpan], end: int) -> tuple[int, int] | None:
    """Values with only units and "and" between them: "2 hours and 30 minutes", "7 and 3"."""
    if len(found) < 2:
        return None
    gaps = [low[a.end : b.start] for a, b in pairwise(found)]
    joined = all(_BETWEEN.fullmatch(gap) or not gap.strip(" a-z") or _is_unit(gap) for gap in gaps)
    if not joined or len(low[found[-1].end : end].split()) > 3:
        return None
    with_units = any(gap.strip(" ,").split(" ")[0] not in ("and", "or", "") for gap in gaps)
    unit = _UNIT.match(low, found[-1].end, end) if with_units else None
    return found[0].start, unit.end() if unit else found[-1].end


def _is_unit(gap: str) -> bool:
    return gap.strip().isalpha() and len(gap) < 12 and not WORDY.search(gap)
