"""Roles of stated confidences: of the final answer, a step, an alternative, another person, a supposition."""

import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

from msgspec.structs import replace

from corea.parsing.confidence_values import ConfidenceRole, StatedConfidence
from corea.parsing.discourse import CONDITION
from corea.parsing.languages import members, stems
from corea.parsing.text import regex

_JUST_BEFORE = regex(
    r"(?<![\w-])(?:‹part›|‹before_now›|‹not_own›)(?:\s?#?\d{1,3}|\s\(?[a-z]\)?)?(?:'s|s')?(?:[\s_](?:answer"
    r"|option|choice|candidate|hypothesis|guess|stated|average|mean))?(?:'s|s')?[\s*_:(\[-]{1,4}(?:\w{1,12}\s)?$"
)
_HEADS = regex(
    r"[\W_]{0,8}(?:(?:the|an?|my|any)\s)?(?:(?:step|stage|claim|premise|part)\s?\d{1,3}(?!\w)|(?:alternat\w{1,6}"
    r"|runner[\s-]?up|backup|fallback|other|(?:less|least|next)(?:\smost)?\slikely|(?:my\s)?(?:second|third|2nd"
    r"|3rd)[\s-](?:best|choice|guess|option|answer|most))(?!\w))"
)
_ENDS_IN_PART = regex(r"(?<![\w-])(?:‹part›)(?:\s?\d{1,2})?\s(?:is|was|has|being)\s(?:\w{1,10}\s){0,2}$")
_HEADS_BLOCK = regex(
    r"[\W_]{0,8}(?:alternat\w{1,6}|runner[\s-]?up|backup|fallback|other|(?:my\s)?(?:second|third|2nd|3rd)[\s-](?:best"
    r"|choice|guess|option|answer|most)|(?:option|candidate|guess|choice|hypothesis|answer|question|problem|part"
    r"|q)\s?\(?#?(?P<option>[a-j]|\d{1,2})\)?(?:\s?[:.)=-]|\s?$))"
)
_OBJECT = regex(r"(?<![\w-])(?:‹part›|before|wrong|incorrect|mistaken|false|(?:is\s|am\s)?not|isn't|error)(?![\w-])")
_FINAL_OBJECT = regex(
    r"(?<!\w)(?:final|overall|after|now|(?:this|my|the)\s(?:(?:final|chosen|main|selected)\s)?(?:answer|solution|result"
    r"|conclusion))(?!\w)"
)
_OVERALL = regex(
    r"(?<!\w)(?:overall|final|total|combined|aggregate|updated|revised|new|adjusted|corrected|net|posterior"
    r"|joint)[\s*_\"'-]{1,3}(?:\w{1,12}\s)?$"
)
_WOULD = regex(
    r"(?<!\w)(?:would|were|could|might|should|had|instead)(?!\w)"
    r"|'d(?!\w)|:\W*$"
)
_MORE = regex(r"(?:would|could|might|'d)\s(?:be|feel|have\sbeen)\s(?:much\s|far\s|even\s|a\sbit\s)?(?:more|less)(?!\w)")
_OPTION = regex(r"(?:^|[\s(\[\"'])(?:option\s|choice\s|answer\s)?[(\[]?([a-j]|\d{1,2})[)\]]?[\s*_\"']{0,3}$")
_HEADING_OPTION = regex(
    r"[\s*_#>\"'{(\[-]{0,8}(?:(?:option|choice|answer|candidate|question|problem|part|q)\s?)?\(?([a-j]|\d{1,2})(?:[).:]"
    r"|\s[-=:])(?=\W)"
)
_OF_ANOTHER = regex(
    r"(?<!\w)according\sto\s(?!my|our)|(?<!\w)(?:‹other_source›)s?(?!\w)"
    r"|(?<!\w)(?:(?:detect|predict|classifi|label+|report|identifi|recogni[sz]|claim|show|conclud|believ|assign|return"
    r"|output|stat)(?:e?s|e?d)|says|said|finds|found)(?!\w)"
)
_SUBJECT = regex(
    r"(?P<who>[^\W\d_]{1,24})(?:'s|'re|\s(?:is|are|was|were|feels?|felt|seems?|became|remains?|had|has|have"
    r"|express(?:es|ed)|assigns?|gives?|gave|puts?|place[sd]?|holds?|shows?|indicates?))\s(?:(?:\w{2,12}ly|about|around"
    r"|still|only|now|at\sleast|over|also|then|just|quite|very|an?|well\sover|high|low|strong|great|full|some|moderate"
    r"|medium|little|more|less|much)\s){0,3}$"
)
_LIST_SPAN = 1000
_ANSWER_KEY = regex(
    r"[\"'](?:final_?)?(?:answer|option|choice|label|guess|candidate|value"
    r"|name)[\"']\s{0,4}:\s{0,4}[\"']?([^\"',}\n]{1,60})"
)
_OWNER = regex(r"[\"']([^\"'\n]{1,40})[\"']\s{0,4}:\s{0,4}$")
OPTION_EDGE = " \t*_`\"'$()[]{}.,:"
_PART_LIST = regex(
    r"[\"'][\w ]{0,20}(?:step|reason|thought|alternat|other|second|third|2nd|backup|initial|draft|runner|verif|critique"
    r"|sub_|check|premise|claim|evidence|source)[\w ]{0,20}[\"']\s{0,4}:\s{0,4}\[?\s{0,4}$"
)
_BRACKET = regex(r"[\[\]{}]")


def is_statistical(low: str, at: int, end: int) -> bool:
    """True if the surrounding words are about statistics, where "95% confidence" is a term."""
    around = low[max(0, at - 150) : min(end, at + 150)]
    return any(term in around for term in stems("statistics", around))


def of_another(lead: str) -> bool:
    """True if a clause reports the certainty of someone else."""
    subject = _SUBJECT.search(lead)
    if subject and subject["who"] not in members("speaker"):
        return True
    return _OF_ANOTHER.search(lead) is not None and not re.search(
        r"(?<!\w)(?:i|i'm|i'd|my\sconfidence|my\sanswer)(?!\w)", lead
    )


def line_above(text: str, line: int) -> str:
    """The last non-empty line before the one that begins at `line`."""
    above = text[max(0, line - 120) : line].rstrip()
    return above[above.rfind("\n") + 1 :]


def names_another(line: str) -> bool:
    """True if a line, "Alternative: C" or "Option B: 12", makes the label below it one of several."""
    return _HEADS_BLOCK.match(line) is not None


def heads_another(clause: str) -> bool:
    """True if a clause is about a step or an alternative, or ends in one: "B is likely, though step 3 is only"."""
    return _HEADS.match(clause) is not None or _ENDS_IN_PART.search(clause) is not None


def role_of(clause: str, about: str) -> ConfidenceRole:
    """Role of a label, from the words before it in its clause and those that say what it is about."""
    if clause and not clause.isspace():
        if _JUST_BEFORE.search(clause) or _HEADS.match(clause) or is_supposed(clause):
            return ConfidenceRole.OTHER
        if not about and _OVERALL.search(clause):
            return ConfidenceRole.OVERALL
    if about and _OBJECT.search(about):
        return ConfidenceRole.OTHER
    is_overall = about and (_FINAL_OBJECT.search(about) or _OVERALL.search(clause))
    return ConfidenceRole.OVERALL if is_overall else ConfidenceRole.PLAIN


def is_supposed(clause: str) -> bool:
    """True if a clause is hypothetical: "if it were C, my confidence would be"."""
    if CONDITION.search(clause) is None:
        return _MORE.search(clause) is not None
    return _WOULD.search(clause) is not None


def role_below(line: str) -> tuple[ConfidenceRole, str]:
    """Role and option of a label on its own below a line."""
    heads = _HEADS_BLOCK.match(line)
    if not heads:
        return ConfidenceRole.PLAIN, ""
    return (ConfidenceRole.PLAIN, heads["option"]) if heads["option"] else (ConfidenceRole.OTHER, "")


def option_of(clause: str, about: str) -> str:
    """The option, or the number of a list, that a confidence belongs to; "" if none is named."""
    named = _OPTION.search(about.rstrip(" *_)]\"'")) if about else _HEADING_OPTION.match(clause)
    return named[1] if named else ""


def top_level(low: str, statements: list[StatedConfidence]) -> list[StatedConfidence]:
    """The statements, with the role OTHER for JSON keys of a step, an alternative or a deeper level."""
    keys = [s for s in statements if s.is_key]
    if not keys:
        return statements
    depths = {keys[0].at: 0}
    for later, earlier in pairwise(keys):
        depths[earlier.at] = depths[later.at] - _levels(low, earlier.at, later.at)
    top = min(depths.values())
    lists = {at: _list_around(low, at) for at in depths}
    shared = Counter(lists.values())

    def changed(key: StatedConfidence) -> StatedConfidence:
        around = lists[key.at]
        option = key.option or (_answer_beside(low, key.at) if len(keys) > 1 else "")
        several = around is not None and shared[around] > 1 and not option
        in_part = around is not None and _PART_LIST.search(low[max(0, around - 40) : around])
        if depths[key.at] > top or several or in_part:
            return replace(key, role=ConfidenceRole.OTHER)
        return replace(key, option=option)

    return [changed(s) if s.is_key else s for s in statements]


def _list_around(low: str, at: int) -> int | None:
    """Start of the list whose objects hold a key, else of the object that another key holds."""
    begin = max(0, at - _LIST_SPAN)
    depth, inner = 0, None
    for bracket in reversed(list(_BRACKET.finditer(low, begin, at))):
        depth += 1 if bracket[0] in "]}" else -1
        if depth < 0:
            if bracket[0] == "[":
                return bracket.start()
            inner, depth = (bracket.start() if inner is None else inner), 0
    return inner if inner is not None and low[begin:inner].rstrip().endswith(":") else None


def _levels(low: str, start: int, end: int) -> int:
    """Number of braces and brackets that `low[start:end]` opens minus those it closes."""
    opened = low.count("{", start, end) + low.count("[", start, end)
    return opened - low.count("}", start, end) - low.count("]", start, end)


def _answer_beside(low: str, at: int) -> str:
    """The answer in the same JSON object as a key."""
    begin, stop = low.rfind("{", max(0, at - 300), at), low.find("}", at, at + 300)
    if begin < 0:
        return ""
    named = _ANSWER_KEY.search(low, begin, stop if stop >= 0 else at) or _OWNER.search(low[max(0, begin - 60) : begin])
    return named[1].strip(OPTION_EDGE) if named else ""


def of_the_answer(statements: list[StatedConfidence], answer: Callable[[], str | None]) -> list[StatedConfidence]:
    """The statements; of several options, that of the stated answer is the overall one, the others OTHER."""
    options = {s.option for s in statements if s.option and s.role >= ConfidenceRole.EVENT}
    if len(options) < 2:
        return statements
    stated = (answer() or "").lower()
    stated = "" if "{" in stated else stated.strip(OPTION_EDGE)  # JSON that names no answer

    def role(option: str) -> ConfidenceRole:
        return ConfidenceRole.OVERALL if stated and _names(option, stated) else ConfidenceRole.OTHER

    return [replace(s, role=role(s.option)) if s.option else s for s in statements]


def _names(option: str, answer: str) -> bool:
    """True if an option, "b" or "b) paris", is the answer "b" or "paris"."""
    if option == answer:
        return True
    letter, _, rest = option.partition(")") if ")" in option else option.partition(". ")
    return bool(rest) and answer in (letter.strip(OPTION_EDGE), rest.strip(OPTION_EDGE))
