"""The object of a sentence: the one of its values that it states, or its values in a row; None where that is not clear.

Values that only say when, of how many or compared with what ("in 5 weeks", "of the 48") are passed over.
"""

import re
from itertools import pairwise

from corea.parsing.amounts import Amount, is_whole

WORDY = re.compile(
    r"(?<![a-z'])(?:is|are|was|were|be|has|have|had|will|would|can|needs?|gets?|takes?|makes?|costs?|leaves?"
    r"|equals?|gives?|becomes?|arrives?|"
    r"sells?|sold|pays?|paid|earns?|earned|spends?|spent|holds?|made|lasts?|weighs?|contains?|produces?|produced"
    r"|runs?|ran|returns?|prints?|walks?|saves?|saved|uses?|used|drives?|drove|reads?|buys?|bought|eats?|ate|does|did|collects?"
    r"|collected|receives?|received|grows?|grew|travels?|travell?ed|remains?|remain|measures?|covers?|there|so|thus"
    r"|therefore|hence|then|since|because|we|they|he|she|you|it|each|in\stotal|total|altogether)(?![a-z])"
)
"""Words of a sentence, as against the bare name of an answer."""

_ASIDE = re.compile(
    r"(?:\b(?:in|for|after|every|per|within|over|during|by|from|out\sof|than|before|until|since|with|through|between|"
    r"first|next|last|full|step|day|week|year|grade|page|chapter|part|problem|question|room|number|age|figure|"
    r"the|these|those|his|her|their|its|our|all|both|another|to\s(?:reach|make|get|buy|feed|fill|finish|cover|choose|select|arrange|form|seat"
    r"|complete)|"
    r"(?:each|all|both|any|some|most|one|none|every|\d[\d,.]{0,12}%?(?:\s\w{1,14})?)\sof(?:\s(?:the|his|her|their"
    r"|those|these))?)"
    r"|from\s[^;]{1,20}\sto|[,(]\s?an?\s[a-z]{1,14}\sof|[,(]|[,(]\s?(?:about|or|approximately|roughly|i\.e\.,?|e\.g\.,?|including|that\sis,?))\s?(?:a\s|an\s|about\s"
    r"|only\s|just\s|another\s|other\s|original\s|remaining\s|initial\s|same\s|total\s|whole\s)?$"
)
_CLAUSE = re.compile(
    r"[,;(]\s?(?:which|who|whose|where|whereas|including|i\.?e\.?|e\.?g\.?|or|plus|with|since|because|as|while|if"
    r"|when|not|instead|compared|rather|about|given|given\sthat|out\sof|after|before|having)(?![a-z])|\s(?:because"
    r"|since|compared|given\sthat|assuming|while|if|when|who)\s|[,;]\s\d{1,9}\s(?:of\swhich|of\swhom)"
)
_OPENING = re.compile(
    r"[\s*_]{0,3}(?:(?:so|therefore|thus|hence|then|now|finally|and|but)[,\s]\s?)?(?:since|as|if|because|when|after"
    r"|given|with|out\sof|for\severy|before|by|having|while|although|though)\s[^,;]{1,160},\s(?!and\b|or\b|\d)"
)
_SO = re.compile(
    r"[,;]\s(?:and\s)?(?:so|therefore|thus|hence|leaving|making|giving|total+ing|meaning|which\sleaves"
    r"|for\sa\stotal\sof)\b"
)
_IS = re.compile(
    r"(?<![a-z])(?:is|are|equals?|was|were|be|becomes|makes|leaves)\s(?:about\s|only\s|exactly\s|just\s|now\s"
    r"|then\s|equal\sto\s|therefore\s|thus\s|approximately\s|actually\s|at\sleast\s){0,2}[*_~≈]{0,3}$"
)
_WHICH_IS = re.compile(r",\s(?:which|that)\s(?:is|equals|comes\sto|makes|means|gives|totals|amounts\sto)\s")
_TOTAL_BEFORE = re.compile(
    r"(?:total(?:ing|s|ling)?(?:\s(?:of|is|was|cost|comes\sto|amount))*|altogether,?|sum\sof|in\sall,?"
    r"|(?:final|new|remaining)\s[a-z]{1,14}\sof|adds?\sup\sto|comes\sto|amounts?\sto|leaves|left\swith|for)\s(?:a\stotal\sof\s)?$"
)
_TOTAL_AFTER = re.compile(
    r"\s?(?:[a-z]{1,14}\s){0,2}(?:in\stotal|altogether|in\sall|total|all\stogether|overall|remaining"
    r"|left(?!\sover))(?![a-z])"
)


_IN_REMARK = re.compile(r"\w\s\([^()]*[a-z][^()]*$")  # "the Pacific Ocean (about 165 million km²)"


def is_aside(low: str, amount: Amount, start: int) -> bool:
    """Whether a number only goes with another statement: "in 5 weeks", "(about 9.5 liters)", "of the 48"."""
    return _ASIDE.search(low, max(start, amount.start - 36), amount.start) is not None


_JOINED_UNIT = re.compile(r"\s?[a-z]{1,14}\.?,?\s(?:and\s)?")


def _without_asides(low: str, found: list[Amount], start: int) -> list[Amount]:
    """The numbers that say more than when or of how many; the parts of "for 2 hours and 15 minutes" go together."""
    own: list[Amount] = []
    before: Amount | None = None
    for amount in found:
        joined = before is not None and _JOINED_UNIT.fullmatch(low, before.end, amount.start) is not None
        if is_aside(low, amount, start) or (joined and before not in own):
            before = amount
            continue
        own.append(amount)
        before = amount
    return own


def conclusion_of(low: str, start: int, end: int) -> int:
    """Where the main clause of a sentence begins, after "Since 360 / 8 = 45," or "2^10 = 1024, so"."""
    opening = _OPENING.match(low, start, end)
    so = [match.end() for match in _SO.finditer(low, start, end)]
    return max(so[-1] if so else start, opening.end() if opening else start)


def object_of(low: str, found: list[Amount], start: int, end: int) -> tuple[int, int] | None:
    """The one value of a sentence that is its object, or its values in a row; None where it is not clear which."""
    found = [a for a in found if a.kind != "ordinal"] or found
    if not found:
        return None
    if len(found) == 1:
        return None if _IN_REMARK.search(low, start, found[0].start) else _alone(low, found[0], start, end)
    if opening := _OPENING.match(low, start, end):
        later = [a for a in found if a.start >= opening.end()]
        if later:
            return object_of(low, later, opening.end(), end)
    if which := _WHICH_IS.search(low, found[0].end, end):
        later = [a for a in found if a.start >= which.end()]
        if later:
            return _alone(low, later[0], start, end) if len(later) == 1 else None
    if so := list(_SO.finditer(low, start, end)):
        later = [a for a in found if a.start >= so[-1].end()]
        if later:
            return object_of(low, later, so[-1].end(), end)
    stated = [a for a in found if _IS.search(low, max(start, a.start - 30), a.start)]
    if len(stated) == 1 and all(is_aside(low, a, start) for a in found if a.start > stated[0].start):
        return _alone(low, stated[0], start, end)
    clause = _CLAUSE.search(low, found[0].end, end)
    main = [a for a in found if not clause or a.start < clause.start()]
    if total := [a for a in found if _is_total(low, a, start, end)]:
        others = [a for a in main if a.start > total[-1].start and low.find(" and ", total[-1].end, a.start) >= 0]
        return _alone(low, total[0], start, end) if len(total) == 1 and not others else None
    own = _without_asides(low, main, start)
    if len(own) == 1:
        return _alone(low, own[0], start, end)
    if not own and len(main) == 1:
        return _alone(low, main[0], start, end)
    money = [a for a in own if any(sign in low[a.start : a.end] for sign in "$€£¥₹")]
    if len(money) == 1:
        return _alone(low, money[0], start, end)
    return _in_a_row(low, own, end) if len(own) == len(main) else None


def _is_total(low: str, amount: Amount, start: int, end: int) -> bool:
    before = _TOTAL_BEFORE.search(low, max(start, amount.start - 40), amount.start)
    if before and before[0].startswith("for") and not _TOTAL_AFTER.match(low, amount.end, end):
        before = None
    after = _TOTAL_AFTER.match(low, amount.end, end)
    return bool(before or after)


def _alone(low: str, amount: Amount, start: int, end: int) -> tuple[int, int] | None:
    return (amount.start, amount.end) if is_whole(low, amount, start, end) else None


_BETWEEN = re.compile(
    r"\s?(?:[a-z]{1,14}\s?){0,3}(?:,\s?(?:and|or)?|\s?(?:and|or|to|by|[-–]))\s?(?:[a-z]\s?=\s?)?(?:a\stotal\sof\s)?$"
)
_UNIT = re.compile(r"\s?(?!(?:for|in|of|per|to|each|with|at|by|on|from|and|or)(?![a-z]))[a-z]{1,14}(?![a-z])")


def _in_a_row(low: str, found: list[Amount], end: int) -> tuple[int, int] | None:
    """Values that follow each other with only units and "and" between: "2 hours and 30 minutes", "7 and 3"."""
    if len(found) < 2:
        return None
    gaps = [low[a.end : b.start] for a, b in pairwise(found)]
    joined = all(
        _BETWEEN.fullmatch(gap)
        or (not gap.strip(" a-z") or (gap.strip().isalpha() and len(gap) < 12 and not WORDY.search(gap)))
        for gap in gaps
    )
    if not joined or len(low[found[-1].end : end].split()) > 3:
        return None
    unit = (
        _UNIT.match(low, found[-1].end, end)
        if any(gap.strip(" ,").split(" ")[0] not in ("and", "or", "") for gap in gaps)
        else None
    )
    return found[0].start, unit.end() if unit else found[-1].end
