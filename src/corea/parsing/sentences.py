"""Confidences that a sentence states: "I am 95% sure", "my confidence in this is about 0.7"."""

import re

from corea.parsing.label_words import LABEL
from corea.parsing.labels import SCALE_BEFORE, positions
from corea.parsing.numbers import Bare, Number, first_number, plain
from corea.parsing.roles import Role, clause_before, heads_another, is_statistical, is_supposed, of_another, role_of
from corea.parsing.statement import Statement
from corea.parsing.stating import counts_things

_AHEAD, _BACK, _MOST = 200, 90, 24

STEMS = ("conf", " sure", "unsure", "certain", "chance", "likel", "probab")

_FIRST_PERSON = re.compile(r"(?<![\w])(?:i|i'm|i'd|i've|we|we're|my|our|me)(?![\w])")
_NEGATED = re.compile(
    r"(?<!\w)(?:need|want|wish|require|take|enough|hope|try|order)\w{0,3}\s(?:\w{1,12}\s){0,6}?to\sbe\s(?:\w{1,8}\s){0,2}$"
    r"|(?:(?<!\w)(?:not|cannot|never|no|without|hardly)|n't|less\sthan|under|below"
    r"|at\smost)\s(?:\w{1,12}(?:'\w{1,2})?\s){0,4}[\s*_~]{0,3}$"
)
_BREAK = re.compile(r"[.!?;](?=\s)|\n\s*\n")
_LINK = re.compile(
    r"(?<![a-z])(?:is|of|at|as|a|an|be|was|to|am|around|about|approximately|roughly|nearly|almost|over|above"
    r"|say|than|the|near|level|now|[:=~≈(,])[\s*_`$(\[\\~≈]{0,6}$"
)
_JOIN = re.compile(r"[\s*_`$)\\\]-]{0,6}(?:level\sof\s|of\s)?")
_ABOUT_ANSWER = re.compile(r"correct|right(?!\w)|accurate|true(?!\w)")
_ANSWER_WORD = re.compile(
    r"(?<![a-z])(?:(?:option\s)?\(?[a-j]\)?\sis\s(?:the\s)?(?:correct|right)|answers?|solution|response|result|conclusion|choice|i(?:'m|\sam)|it(?:'s|\sis)?|this|being"
    r"|to\sbe)(?![a-z])"
)
_BY_CHANCE = re.compile(r"guess(?:ing|ed|es)|random|by\schance|by\sluck|wrong|incorrect|mistak|error")
_ELSEWHERE = re.compile(
    r"[a-z]{3,12}(?:ly)?[\s,]{1,3}(?:of|about|in|on|with|for)\s(?:that\s|the\s|my\s|this\s)?(?:step|part|stage"
    r"|first|premise|set-?up|formula|arithmetic|calculation|claim|assumption|option|alternative)"
)
_DENIES = re.compile(
    r"[a-z]{3,12}\s(?:that\s)?(?:(?:the|my|this)\s)?(?:(?:final|correct|right)\s)?(?:answer|it|this|that"
    r"|solution|result|conclusion|(?:option\s)?\(?[a-j]\)?|i|i'm|i\sam)"
    r"(?:\s(?:answer|choice))?(?:\s(?:is|are|am|was|can|could|must|has|have)|'s|'m)?\s?(?:not(?!\sonly)|n't"
    r"|cannot|wrong|incorrect|false|mistaken|made|making)(?!\w)"
)
_ADJECTIVE = re.compile(r"\s?(?:confident(?:ly)?|sure(?:ly)?|unsure|certain(?:ly)?|uncertain)(?![a-z])")
_BESIDE_ADJECTIVE = re.compile(
    r"(?:[\W_]|(?<=[,(:-]\s)about(?![a-z])|(?<=[,(:-])about(?![a-z])|(?:(?:in|of|about|on)\s(?:this|that|it|my\sanswer"
    r"|the\sanswer|this\sanswer)(?!\sof)|at|to|the|a|an|around|approximately|roughly|maybe|say|level|i'd|with"
    r"|degree)(?![a-z])){0,40}"
)
_STATES_ANSWER = re.compile(
    r"(?:(?P<own>in|of|for|about)\s)?(?:(?:the|my|this|our)\s)?(?:(?:final|correct|right)\s)?"
    r"(?:answer|result|value|probability|rate|total|solution)\s(?P<link>is|=|of|equals)\W{0,6}$"
)
_THAT = re.compile(r"[ \t*_`$%\\)]{0,4}(?:that|of)\s")
_EARLIER = re.compile(r"(?<!\w)(?:initially|originally|at\sfirst|previously|earlier|used\sto\sbe|started)(?!\w)")


def sentence(low: str, start: int, end: int, labels: frozenset[int] = frozenset()) -> Statement | None:
    """The last sentence in which the writer puts a number to how sure he or she is; an uncertainty is turned round.

    The words at `labels` have been read as labels.
    """
    turned = None
    for at in positions(low, STEMS, start, end, _MOST):
        found = None if at in labels else _at(low, start, end, at)
        if found and found.role is not Role.REVERSED:
            return found
        turned = turned or found
    return turned


def _at(low: str, start: int, end: int, at: int) -> Statement | None:
    """The number beside one word such as "sure"."""
    un = 2 if low.startswith("un", max(start, at - 2)) and low.startswith("certain", at) else 0
    at -= un
    before, window = plain(low[max(start, at - _BACK) : at]), plain(low[at : min(at + _AHEAD, end)])
    event = window.startswith(("chance", "likel", "probab"))
    if window[0].isalpha() and before[-1:].isalpha():
        return None
    offset = at - len(before)
    if number := _number_before(before, window, event):
        clause = clause_before(before[: number.start])
    elif number := _number_behind(before, window, event, ends_text=at + len(window) == len(low)):
        offset, clause = at, clause_before(before)
    else:
        return None
    words = window.lstrip()
    if _DENIES.match(words) or _ELSEWHERE.match(words) or is_statistical(low, at, end) or _at_level(before, window):
        return None
    if is_supposed(clause + " " + _BREAK.split(window)[0]) or (number.value is None):
        return None
    if offset == at and role_of(clause, "") is Role.OTHER:
        return None
    return Statement.of(number, offset, at, turned=bool(un) or window.startswith("unsure"))


def _at_level(before: str, window: str) -> bool:
    """Whether "at the 95% confidence level" stands here."""
    return window.startswith("confidence level") and _LEVEL.search(before) is not None


_LEVEL = re.compile(r"(?:at|with|for)\s(?:the|a|an)\s[\d.]{1,6}\s?%?\s?$")


def _number_before(before: str, window: str, event: bool) -> Number | None:
    """ "I am 95% sure", "9/10 confidence", "an 85% chance that my answer is right"."""
    pos, number = len(before) - min(40, len(clause_before(before))), None
    while candidate := first_number(before, pos, bare=Bare.LABEL):
        number, pos = candidate, max(candidate.stop, candidate.start + 1)
    if number is None or number.value is None or not (number.scaled or number.fractional):
        return None
    if not _JOIN.fullmatch(before, number.stop):
        return None
    lead = clause_before(before[: number.start])
    if _NEGATED.search(lead) or of_another(lead) or heads_another(lead):
        return None
    if event:
        return number if _speaks_of_answer(window) and not _BY_CHANCE.search(_BREAK.split(window)[0]) else None
    return number if _is_own(lead) else None


_HEDGES = re.compile(
    r"(?:(?<!\w)(?:about|around|approximately|roughly|maybe|perhaps|probably|but|only|just|say)\s)+[*_~]{0,2}$"
)


def _is_own(lead: str) -> bool:
    """Whether what stands before "90% sure" lets it be the writer's: "I am", a short answer, "with"."""
    if _FIRST_PERSON.search(lead):
        return True
    lead = _HEDGES.sub("", lead)
    head = lead.strip(" \t\n*_`\"'($#>~-–—")
    if head.endswith(("answer:", "answer is", "result:")):
        return False  # "Answer: 95% confidence": the answer itself
    if (
        not head
        or head.endswith((":", "("))
        or lead.rstrip(" ~*_").endswith(("with", "with a", "with an", "the", "(", "["))
    ):
        return True
    return (
        len(head) <= 40
        and lead.rstrip(" *_~").endswith((",", "(", "–", "—", "-"))
        and not re.search(r"(?<!\w)(?:is|are|was|were)(?!\w)", head)
    )


def _number_behind(before: str, window: str, event: bool, *, ends_text: bool) -> Number | None:
    """ "My confidence in this is about 0.7", "confidence 0.9", "the probability that my answer is right is 0.9"."""
    label = LABEL.match(window)
    clause = clause_before(before) + (" " if window[0] == " " else "")
    if (label and label["blocked"]) or (of_another(clause) and not _FIRST_PERSON.search(clause)):
        return None
    if not label and window.startswith("conf"):
        return None  # "configuration"
    word = re.match(r"\s?[a-z]+", window)
    pos = label.end() if label else word.end() if word else 0
    above = SCALE_BEFORE.search(before)
    whole, at = int(above["top"]) if above else None, pos
    for _ in range(_MOST_BEHIND):  # "my confidence in the answer 42 is 0.9"
        number = first_number(window, at, bare=Bare.LABEL, whole=whole, ends_text=ends_text)
        if number is None or number.start > pos + 120 or _BREAK.search(window, pos, number.start):
            return None
        if _is_linked(window, pos, number):
            return number if _is_of_own_answer(before, window, pos, number, event, label) else None
        at = max(number.stop, number.start + 1)
    return None


_REASON = re.compile(r"(?<!\w)(?:from|because|based|since|due)(?!\w)")


def _is_linked(window: str, pos: int, number: Number) -> bool:
    """Whether a probability is joined to the word before it: "is about 0.7", "of 90%"."""
    if number.value is None or not (number.whole or number.fractional) or counts_things(number, window):
        return False
    between = window[pos : number.start]
    return (
        _LINK.search(between) is not None and not between.rstrip().endswith((":", "=")) and not _REASON.search(between)
    )


def _is_of_own_answer(
    before: str, window: str, pos: int, number: Number, event: bool, label: re.Match[str] | None
) -> bool:
    """Whether a number behind such a word is how sure the writer is of the answer, not the answer, nor another's."""
    between = window[pos : number.start]
    if _EARLIER.search(before + between) and "now" not in between and len(between) > 8:
        return False
    if label and label["right"]:
        return not _BY_CHANCE.search(between)
    if _states_answer(between):
        return False
    if _ADJECTIVE.match(window):  # "I'm confident the answer is 0.75"
        return _BESIDE_ADJECTIVE.fullmatch(between) is not None
    if event and (_BY_CHANCE.search(between) or not _speaks_of_answer(between)):
        that = _THAT.match(window, number.stop)
        clause = _BREAK.split(window[that.end() : that.end() + 60])[0] if that else ""
        return _speaks_of_answer(clause) and not _BY_CHANCE.search(between + clause)
    return True


_MOST_BEHIND = 4


def _states_answer(between: str) -> bool:
    """Whether the words before a number make it the answer, not how sure one is: "with confidence, the answer is"."""
    found = _STATES_ANSWER.search(between)
    if found is None:
        return False
    return found["own"] is None or found["link"] == "of"


def _speaks_of_answer(words: str) -> bool:
    clause = _BREAK.split(words)[0]
    return _ABOUT_ANSWER.search(clause) is not None and _ANSWER_WORD.search(clause) is not None
