"""Confidences stated by sentences: "I am 95% sure", "my confidence is about 0.7", "I'd lower that to 0.6"."""

import re
from collections import deque
from itertools import islice

from corea.parsing.confidence_labels import LABEL, LABEL_STEMS, SCALE_BEFORE
from corea.parsing.confidence_roles import (
    heads_another,
    is_statistical,
    is_supposed,
    of_another,
    role_of,
)
from corea.parsing.confidence_values import ConfidenceRole, StatedConfidence, counts_things
from corea.parsing.languages import stems
from corea.parsing.numbers import (
    IN_LABEL,
    IN_TAG,
    NumberContext,
    Unscaled,
    WrittenNumber,
    first_number,
    numbers_in,
    plain,
)
from corea.parsing.text import clause_before, clause_end, positions, regex

_AHEAD, _BACK, _MOST = 200, 90, 24
_SURE_WORDS = ("conf", " sure", "unsure", "certain", "chance", "likel", "probab")
_SAID_BY = regex(
    r"[^\"”\n]{0,60}[,.!?][\"”]\s(?!i\s)(?:\w{1,12}\s){0,2}(?:said|says|replied|told|wrote|thought|answered)(?!\w)"
)
"""The end of someone's speech: 'sure," said Tom'."""
_FIRST_PERSON = regex(r"(?<![\w])(?:i|i'm|i'd|i've|we|we're|my|our|me)(?![\w])")
_NEGATED = regex(
    r"(?<!\w)(?:need|want|wish|require|take|enough|hope|try"
    r"|order)\w{0,3}\s(?:\w{1,12}\s){0,6}?to\sbe\s(?:\w{1,8}\s){0,2}$"
    r"|(?:(?<!\w)(?:not|cannot|never|no|without|hardly)|n't|less\sthan|under|below"
    r"|at\smost)\s(?:\w{1,12}(?:'\w{1,2})?\s){0,4}[\s*_~]{0,3}$"
)
_LINK = regex(
    r"(?<![a-z])(?:is|of|at|as|a|an|be|was|to|am|around|about|approximately|roughly|nearly|almost|over|above|say|than|maybe|perhaps|probably"
    r"|the|near|level|now|[:=~≈(,])[\s*_`$(\[\\~≈]{0,6}$"
)
_JOIN = regex(r"[\s*_`$)\\\]-]{0,6}(?:level\sof\s|of\s)?")
_ABOUT_ANSWER = regex(r"correct|right(?!\w)|accurate|true(?!\w)")
_ANSWER_WORD = regex(
    r"(?<![a-z])(?:(?:option\s)?\(?[a-j]\)?\sis\s(?:the\s)?(?:correct|right)|answers?|solution|response|result"
    r"|conclusion|choice|i(?:'m|\sam)|it(?:'s|\sis)?|this|being|to\sbe)(?![a-z])"
)
_BY_CHANCE = regex(r"guess(?:ing|ed|es)|random|by\schance|by\sluck|wrong|incorrect|mistak|error")
_ELSEWHERE = regex(
    r"[a-z]{3,12}(?:ly)?[\s,]{1,3}(?:of|about|in|on|with|for)\s(?:that\s|the\s|my\s|this\s)?(?:step|part|stage|first"
    r"|premise|set-?up|formula|arithmetic|calculation|claim|assumption|option|alternative)"
)
_DENIES = regex(
    r"[a-z]{3,12}\s(?:that\s)?(?:(?:the|my|this)\s)?(?:(?:final|correct|right)\s)?(?:answer|it|this|that|solution"
    r"|result|conclusion|(?:option\s)?\(?[a-j]\)?|i|i'm|i\sam)(?:\s(?:answer|choice))?(?:\s(?:is|are|am|was|can|could"
    r"|must|has|have)|'s|'m)?\s?(?:not(?!\sonly)|n't|cannot|wrong|incorrect|false|mistaken|made|making)(?!\w)"
)
_ADJECTIVE = regex(r"\s?(?:confident(?:ly)?|sure(?:ly)?|unsure|certain(?:ly)?|uncertain)(?![a-z])")
_BESIDE_ADJECTIVE = regex(
    r"(?:[\W_]|(?<=[,(:-]\s)about(?![a-z])|(?<=[,(:-])about(?![a-z])|(?:(?:in|of|about|on)\s(?:this|that|it|my\sanswer"
    r"|the\sanswer|this\sanswer)(?!\sof)|at|to|the|a|an|around|approximately|roughly|maybe|perhaps|probably|say|level|i'd|with"
    r"|degree)(?![a-z])){0,40}"
)
_STATES_ANSWER = regex(
    r"(?:(?P<own>in|of|for|about)\s)?(?:(?:the|my|this|our)\s)?(?:(?:final|correct|right)\s)?(?:answer|result|value"
    r"|probability|rate|total|solution)\s(?P<link>is|=|of|equals)\W{0,6}$"
)
_TO_ANSWER = regex(
    r"[ \t*_`$%\\)]{0,4}(?:to|for)\s(?:this|my|the)\s(?:final\s)?(?:answer|solution|result|conclusion)(?!\w)"
)
_THAT = regex(r"[ \t*_`$%\\)]{0,4}(?:that|of)\s")
_EARLIER = regex(r"(?<!\w)(?:initially|originally|at\sfirst|previously|earlier|used\sto\sbe|started)(?!\w)")
_LEVEL = regex(r"(?:at|with|for)\s(?:the|a|an)\s[\d.]{1,6}\s?%?\s?$")
_HEDGES = regex(
    r"(?:(?<!\w)(?:about|around|approximately|roughly|maybe|perhaps|probably|but|only|just|say)\s)+[*_~]{0,2}$"
)
_REASON = regex(r"(?<!\w)(?:from|because|based|since|due)(?!\w)")
_MOST_BEHIND = 4
_AFTER = regex(r"[ \t*_%]{0,4}(?:‹joins›)?(?:mi\s|la\s)?(?:‹sure›)")
_BEFORE_IT = regex(
    r"(?:‹sure_at›|(?:‹sure_noun›)(?:\s\w{1,10}){0,4}\s(?:‹amounts_to›))[ \t*_]{0,3}(?:(?:‹approximately›)\s?)?$"
)
_DENIED = regex(
    r"(?<!\w)(?:‹denial›)(?!\w)(?:\s\w{1,12}){0,3}\s?$"
    r"|(?:没有?|沒有?|不(?:是|太|能)?)\w{0,6}$"
)
_DENIED_BEHIND = regex(r"[^.\n。]{0,30}(?:ません|않|नहीं|ない(?!か))")
_OF_OTHERS = regex(
    r"(?<!\w)(?:‹third_person›)\s(?:(?!‹first_person›)\w{1,12}[\s']){0,3}\W*$"
    r"|(?:^|[,，。.!?\n])\s?(?![^,，。]{0,12}(?:我|对|對|此|所以|目前|大概|大约|应该|至少|仍|还|也|只))[\u4e00-\u9fff]{1,6}有$"
    r"|(?:‹other_people›)[^我,，。.]{0,12}$"
)
"""Someone else as the subject: a verb in the third person, "der Arzt ist zu", or such a person."""
_NOUN = regex(r"confian|konfiden|fiducia|certe|sicherheit|zekerheid|pewnoś|信心|自信|把握|확신도")
_CORRECTION_AHEAD = 2000
_ABOUT = r"(?:about|around|roughly|approximately|closer\sto|more\slike|maybe|perhaps|only|just|say|~|≈)"
_BEFORE_NUMBER = rf"(?:{_ABOUT}\s?){{0,2}}[*_(\[~≈]{{0,4}}(?=[.,]?\d)"
_CONFIDENCE = r"(?:confidence|certainty|estimate)"
_VERB = (
    r"(?:lower|reduc|rais|increas|decreas|revis|adjust|updat|chang|bump|dropp?|downgrad|upgrad|cut|bring|brought|mov"
    r"|mak|put|fall|fell|rise|rose|go|went|come|came|climb|shift|sink|sank|settl|shrink)\w{0,4}"
)
_TO = r"(?:\s(?:back|down|up|slightly|a\sbit|further|from\s[\d.]{1,6}\s?%?)){0,2}\s(?:to|at|as)"
_CHANGED = regex(
    rf"(?:(?<!\w){_VERB}\s(?:that|it|this|(?:(?:my|the)\s(?:\w{{1,10}}\s)?)?{_CONFIDENCE}(?:\s(?:score|level))?)(?:{_TO})?"
    rf"|(?:{_CONFIDENCE}(?:\s(?:in|for|of)\s(?:\w{{1,10}}\s?){{1,3}})?|i|i'd|i'll)\s(?:\w{{1,12}}\s){{0,3}}?{_VERB}{_TO}"
    rf"|\A[\W_]{{0,4}}(?:then\s|later\s|but\s)?{_VERB}{_TO}"
    r"|(?<!\w)now\s(?:(?:think|believe|say|feel|estimate|put|consider)\s(?:(?:it|it's|that|that's|this|i'm|i\sam"
    r"|my\sconfidence)\s)?(?:is\s|at\s)?(?:closer\sto|nearer|more\slike|at|to\sbe)?|it'?s|it\sis|i'?m|i\sam|at|is"
    r"|stands\sat)|(?:(?:it|that|this|confidence|certainty)\sis|it's|i'm|i\sam)\snow)\s" + _BEFORE_NUMBER
)
"""A verb that changes the confidence, up to the new number."""
_NEW_ANSWER = r"(?![^:\n]{0,40}(?:answer|result|value|solution|rule|total))"
_SEPARATOR = (
    r"(?:[^.\n\d%!?]{0,60}?[:,：，]\s?|\s(?=i'd\ssay|i\swould|it'?s\s(?:more\slike|closer))|\s(?:up\s|down\s)?to\s)"
)
_SAYS = r"(?:(?:i'd|i\swould|i|would|it's|it\sis|now|am|i'm|no|say|make\sit|that)\s){0,4}"
_HEADED = regex(rf"(?<!\w)(?:‹correction›){_NEW_ANSWER}{_SEPARATOR}{_SAYS}{_BEFORE_NUMBER}")
"""A heading such as "Update:" or "After a check,", up to the new number; "Revised answer: 0.5" is none."""
# the number ends its clause: "it is now 25% off" corrects nothing
_CLOSES = regex(r"[*_)\]]{0,3}\s?(?:confiden|sure|certain|(?:after|now|since|because|given)\s|[.!;,)(—–-]|$|\n)")
# verbs of other languages, which count in a clause that names the confidence
_CHANGES = regex(r"(?:‹changes›)\s?(?:‹approximately›)?\s?[*_]{0,2}(?=[.,]?\d)")
_NO_CORRECTION = regex(
    r"(?<!i\s)would(?!\w)"
    r"|(?<!\w)(?:if|unless|could|might|when|wouldn't|not|price|cost|temperature)(?!\w)"
)
_CUE = regex(
    r"(?<!\w)(?:now|actually|update|edit|correction|revis\w+|reflection|second\sthoughts?|wait|hmm|however|after"
    r"|reconsider\w*|re-?check\w*|double-check\w*|on\sreview)(?!\w)"
)
_WORD = regex(r"\s?[a-z]+")
_VERB_TO_BE = regex(r"(?<!\w)(?:is|are|was|were)(?!\w)")


def stated_in_sentence(low: str, start: int, end: int, labels: frozenset[int] = frozenset()) -> StatedConfidence | None:
    """The last sentence in which the writer gives a number for his or her certainty, else for an uncertainty.

    Args:
        labels: Positions of words that have been read as labels.
    """
    uncertainty = None
    for at in positions(low, _SURE_WORDS, start, end, _MOST):
        found = None if at in labels else _at(low, start, end, at)
        if found and found.role is not ConfidenceRole.REVERSED:
            return found
        uncertainty = uncertainty or found
    return uncertainty


def _at(low: str, start: int, end: int, at: int) -> StatedConfidence | None:
    """The number beside one word such as "sure"."""
    negated = low.startswith("un", max(start, at - 2)) and low.startswith("certain", at)
    at -= 2 * negated
    before, window = plain(low[max(start, at - _BACK) : at]), plain(low[at : min(at + _AHEAD, end)])
    if window[0].isalpha() and before[-1:].isalpha():
        return None
    if number := _number_before(before, window):
        offset, clause = at - len(before), clause_before(before[: number.start])
    elif number := _number_behind(before, window, ends_text=at + len(window) == len(low)):
        offset, clause = at, clause_before(before)
        if role_of(clause, "") is ConfidenceRole.OTHER:
            return None
    else:
        return None
    words = window.lstrip()
    at_level = window.startswith("confidence level") and _LEVEL.search(before)  # "at the 95% confidence level"
    if (
        at_level
        or _SAID_BY.match(window)
        or _DENIES.match(words)
        or _ELSEWHERE.match(words)
        or is_statistical(low, at, end)
    ):
        return None
    if is_supposed(clause + " " + _first_clause(window)):
        return None
    return StatedConfidence.of(number, offset, at, turned=negated or window.startswith("unsure"))


def _first_clause(words: str) -> str:
    return words[: clause_end(words, 0) % (len(words) + 1)]


def _names_event(window: str) -> bool:
    return window.startswith(("chance", "likel", "probab"))


def _number_before(before: str, window: str) -> WrittenNumber | None:
    """ "I am 95% sure", "9/10 confidence", "an 85% chance that my answer is right"."""
    pos = len(before) - min(40, len(clause_before(before)))
    number = deque(numbers_in(before, pos, IN_LABEL), maxlen=1)
    if not number or not number[0].is_clear or not _JOIN.fullmatch(before, number[0].stop):
        return None
    clause = clause_before(before[: number[0].start])
    if _NEGATED.search(clause) or of_another(clause) or heads_another(clause):
        return None
    if _names_event(window):
        about = (
            _first_clause(window) if not clause.rstrip().endswith(("with", "with a", "with an")) else clause + window
        )
        is_own = _speaks_of_answer(about) and not _BY_CHANCE.search(about)
    else:
        is_own = _is_own(clause)
    return number[0] if is_own else None


def _is_own(clause: str) -> bool:
    """True if the words before "90% sure" allow it to be the writer's: "I am", a short answer, "with"."""
    if _FIRST_PERSON.search(clause):
        return True
    clause = _HEDGES.sub("", clause)
    head = clause.strip(" \t\n*_`\"'($#>~-–—")
    if head.endswith(("answer:", "answer is", "result:")):
        return False  # "Answer: 95% confidence": the answer itself
    clause = clause.rstrip(" ~*_")
    if not head or head.endswith((":", "(")) or clause.endswith(("with", "with a", "with an", "the", "(", "[")):
        return True
    return len(head) <= 40 and clause.endswith((",", "–", "—", "-")) and not _VERB_TO_BE.search(head)


def _number_behind(before: str, window: str, *, ends_text: bool) -> WrittenNumber | None:
    """ "My confidence in this is about 0.7", "confidence 0.9", "the probability that my answer is right is 0.9"."""
    label = LABEL.match(window)
    clause = clause_before(before) + (" " if window[0] == " " else "")
    if (label and label["blocked"]) or (of_another(clause) and not _FIRST_PERSON.search(clause)):
        return None
    if not label and window.startswith("conf"):
        return None  # "configuration"
    word = label or _WORD.match(window)
    pos = word.end() if word else 0
    above = SCALE_BEFORE.search(before)
    context = NumberContext(Unscaled.LABEL, int(above["top"]) if above else None, ends_text)
    for number in islice(numbers_in(window, pos, context), _MOST_BEHIND):  # "my confidence in the answer 42 is 0.9"
        if number.start > pos + 120 or clause_end(window, pos, number.start) >= 0:
            return None
        if _is_linked(window, pos, number):
            return number if _is_of_own_answer(before, window, pos, number, label) else None
    return None


def _is_linked(window: str, pos: int, number: WrittenNumber) -> bool:
    """True if a probability is joined to the word before it: "is about 0.7", "of 90%"."""
    if number.value is None or not (number.whole or number.fractional) or counts_things(number, window):
        return False
    between = window[pos : number.start]
    linked = _LINK.search(between) and not between.rstrip().endswith((":", "="))
    return bool(linked) and not _REASON.search(between)


def _is_of_own_answer(before: str, window: str, pos: int, number: WrittenNumber, label: re.Match[str] | None) -> bool:
    """True if a linked number is the writer's certainty of the answer, and neither the answer nor another's."""
    between = window[pos : number.start]
    if _EARLIER.search(before + between) and "now" not in between and len(between) > 8:
        return False
    if label and label["right"]:
        return not _BY_CHANCE.search(between)
    answer = _STATES_ANSWER.search(between)  # "with confidence, the answer is"
    if answer and (answer["own"] is None or answer["link"] == "of"):
        return False
    if _ADJECTIVE.match(window):  # "I'm confident the answer is 0.75"
        return _BESIDE_ADJECTIVE.fullmatch(between) is not None
    if _names_event(window) and (_BY_CHANCE.search(between) or not _speaks_of_answer(between)):
        if _TO_ANSWER.match(window, number.stop) and _FIRST_PERSON.search(before):
            return True
        that = _THAT.match(window, number.stop)
        clause = _first_clause(window[that.end() : that.end() + 60]) if that else ""
        return _speaks_of_answer(clause) and not _BY_CHANCE.search(between + clause)
    return True


def _speaks_of_answer(words: str) -> bool:
    clause = _first_clause(words)
    return _ABOUT_ANSWER.search(clause) is not None and _ANSWER_WORD.search(clause) is not None


def stated_in_foreign_sentence(low: str, start: int, end: int) -> StatedConfidence | None:
    """The last such sentence in another language; a percentage or a fraction only."""
    for at in positions(low, stems("sure_stems", low), start, end, 24):
        if is_statistical(low, at, end) or _SAID_BY.match(low, at, end):
            continue
        begin = max(start, at - 50)
        window, stem = plain(low[begin : min(end, at + 60)]), at - begin
        for number in numbers_in(window, 0, IN_LABEL):
            if number.is_clear and _is_beside(window, stem, number):
                return StatedConfidence.of(number, begin, at)
    return None


def _is_beside(window: str, stem: int, number: WrittenNumber) -> bool:
    """True if the word for "sure" at `stem` belongs to a number, is not negated, and is the writer's own."""
    before = window[: number.start]
    if number.start > stem:
        joined = _BEFORE_IT.search(before) is not None
        is_own = _NOUN.match(window, stem) is not None or not _OF_OTHERS.search(before)
    else:
        after = _AFTER.match(window, number.stop) if number.stop <= stem + 1 else None
        joined = after is not None and after.end() > stem
        is_own = not _OF_OTHERS.search(before)
    if not joined or not is_own or _DENIED.search(before):
        return False
    if number.stop > stem and _DENIED.search(window[:stem]):
        return False
    return not _DENIED_BEHIND.match(window, max(stem, number.stop))


def correction(low: str, stop: int, end: int) -> StatedConfidence | None:
    """A later change of a confidence that was stated before `stop`."""
    if end - stop < 8:
        return None
    end = min(end, stop + _CORRECTION_AHEAD)
    found = [_changed(plain(low[stop:end]), stop)]
    later = stated_in_sentence(low, stop, end)
    if later and later.role is ConfidenceRole.PLAIN:  # opened by such as "on reflection" or "now"
        opened = _CUE.search(low[max(stop, min(later.at, later.start) - 80) : later.stop + 12])
        found.append(later if opened else None)
    return max((s for s in found if s), key=lambda s: s.start, default=None)


def _changed(window: str, stop: int) -> StatedConfidence | None:
    """The last number that a verb of change or a heading leads up to."""
    places = [match.end() for match in _HEADED.finditer(window)]
    for match in _CHANGED.finditer(window):
        if not _NO_CORRECTION.search(_clause_at(window, match.start(), 60)):
            places.append(match.end())
    for match in _CHANGES.finditer(window):
        clause = _clause_at(window, match.start(), 80) + match[0]
        named = (*LABEL_STEMS, *stems("confidence_stems", clause), *stems("sure_stems", clause))
        if any(stem in clause for stem in named):
            places.append(match.end())
    for place in sorted(places, reverse=True):
        number = first_number(window, place, IN_TAG)
        if number and number.is_clear and _CLOSES.match(window, number.stop):
            return StatedConfidence.of(number, stop, stop + place)
    return None


def _clause_at(window: str, at: int, back: int) -> str:
    return clause_before(window[max(0, at - back) : at])
