"""Confidences that a sentence states: "I am 95% sure", "my confidence in this is about 0.7"."""

import re

from corea.parsing.confidence_labels import LABEL, LABEL_STEMS, SCALE_BEFORE, positions
from corea.parsing.confidence_roles import (
    clause_before,
    heads_another,
    is_statistical,
    is_supposed,
    of_another,
    role_of,
)
from corea.parsing.confidence_values import ConfidenceRole, StatedConfidence, counts_things
from corea.parsing.languages import stems
from corea.parsing.numbers import Unscaled, WrittenNumber, first_number, plain
from corea.parsing.text import regex

_AHEAD, _BACK, _MOST = 200, 90, 24
_SURE_WORDS = ("conf", " sure", "unsure", "certain", "chance", "likel", "probab")
_FIRST_PERSON = regex(r"(?<![\w])(?:i|i'm|i'd|i've|we|we're|my|our|me)(?![\w])")
_NEGATED = regex(
    r"(?<!\w)(?:need|want|wish|require|take|enough|hope|try"
    r"|order)\w{0,3}\s(?:\w{1,12}\s){0,6}?to\sbe\s(?:\w{1,8}\s){0,2}$"
    r"|(?:(?<!\w)(?:not|cannot|never|no|without|hardly)|n't|less\sthan|under|below"
    r"|at\smost)\s(?:\w{1,12}(?:'\w{1,2})?\s){0,4}[\s*_~]{0,3}$"
)
_BREAK = regex(r"[.!?;](?=\s)|\n\s*\n")
_LINK = regex(
    r"(?<![a-z])(?:is|of|at|as|a|an|be|was|to|am|around|about|approximately|roughly|nearly|almost|over|above|say|than"
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
    r"|the\sanswer|this\sanswer)(?!\sof)|at|to|the|a|an|around|approximately|roughly|maybe|say|level|i'd|with"
    r"|degree)(?![a-z])){0,40}"
)
_STATES_ANSWER = regex(
    r"(?:(?P<own>in|of|for|about)\s)?(?:(?:the|my|this|our)\s)?(?:(?:final|correct|right)\s)?(?:answer|result|value"
    r"|probability|rate|total|solution)\s(?P<link>is|=|of|equals)\W{0,6}$"
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
    r"(?<!\w)(?:‹third_person›)\s(?:(?!‹first_person›)\w{1,12}\s){0,3}\W*$"
    r"|(?:^|[,，。.!?\n])\s?(?![^,，。]{0,12}(?:我|对|對|此|所以|目前|大概|大约|应该|至少|仍|还|也|只))[\u4e00-\u9fff]{1,6}有$"
    r"|(?:‹other_people›)[^我,，。.]{0,12}$"
)
"""Somebody else as subject: a verb in the third person, "der Arzt ist zu", or such a person."""
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
"""A verb that changes the confidence, up to its new number."""
_HEADING = (
    r"(?:updated?|actually|wait|hmm|scratch\sthat|edit(?:ed)?|correction|correcting|revision|revised|reconsidered"
    r"|re-?evaluat\w{2,5}|on\s(?:second\sthoughts?|reflection|review)|(?:after|upon"
    r"|having)\s(?:[\w-]{1,14}\s){0,3}?(?:re-?)?(?:verif|check|double|review|reconsid|reflect|comput|calculat|read"
    r"|think|thought|examin|test|analy)\w{0,7})"
)
_NEW_ANSWER = r"(?![^:\n]{0,40}(?:answer|result|value|solution|rule|total))"
_SEPARATOR = (
    r"(?:[^.\n\d%!?]{0,60}?[:,：，]\s?|\s(?=i'd\ssay|i\swould|it'?s\s(?:more\slike|closer))|\s(?:up\s|down\s)?to\s)"
)
_SAYS = r"(?:(?:i'd|i\swould|i|would|it's|it\sis|now|am|i'm|no|say|make\sit|that)\s){0,4}"
_HEADED = regex(rf"(?<!\w)(?:{_HEADING}|‹correction›){_NEW_ANSWER}{_SEPARATOR}{_SAYS}{_BEFORE_NUMBER}")
"""A heading or an opening such as "Update:", "After a check,", up to the new number; "Revised answer: 0.5" is none."""
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


def sentence(low: str, start: int, end: int, labels: frozenset[int] = frozenset()) -> StatedConfidence | None:
    """The last sentence in which the writer puts a number to how sure he or she is; an uncertainty is turned round.

    The words at `labels` have been read as labels.
    """
    turned = None
    for at in positions(low, _SURE_WORDS, start, end, _MOST):
        found = None if at in labels else _at(low, start, end, at)
        if found and found.role is not ConfidenceRole.REVERSED:
            return found
        turned = turned or found
    return turned


def _at(low: str, start: int, end: int, at: int) -> StatedConfidence | None:
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
    if offset == at and role_of(clause, "") is ConfidenceRole.OTHER:
        return None
    return StatedConfidence.of(number, offset, at, turned=bool(un) or window.startswith("unsure"))


def _at_level(before: str, window: str) -> bool:
    """Whether "at the 95% confidence level" stands here."""
    return window.startswith("confidence level") and _LEVEL.search(before) is not None


def _number_before(before: str, window: str, event: bool) -> WrittenNumber | None:
    """ "I am 95% sure", "9/10 confidence", "an 85% chance that my answer is right"."""
    pos, number = len(before) - min(40, len(clause_before(before))), None
    while candidate := first_number(before, pos, bare=Unscaled.LABEL):
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


def _number_behind(before: str, window: str, event: bool, *, ends_text: bool) -> WrittenNumber | None:
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
        number = first_number(window, at, bare=Unscaled.LABEL, whole=whole, ends_text=ends_text)
        if number is None or number.start > pos + 120 or _BREAK.search(window, pos, number.start):
            return None
        if _is_linked(window, pos, number):
            return number if _is_of_own_answer(before, window, pos, number, event, label) else None
        at = max(number.stop, number.start + 1)
    return None


def _is_linked(window: str, pos: int, number: WrittenNumber) -> bool:
    """Whether a probability is joined to the word before it: "is about 0.7", "of 90%"."""
    if number.value is None or not (number.whole or number.fractional) or counts_things(number, window):
        return False
    between = window[pos : number.start]
    return (
        _LINK.search(between) is not None and not between.rstrip().endswith((":", "=")) and not _REASON.search(between)
    )


def _is_of_own_answer(
    before: str, window: str, pos: int, number: WrittenNumber, event: bool, label: re.Match[str] | None
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


def _states_answer(between: str) -> bool:
    """Whether the words before a number make it the answer, not how sure one is: "with confidence, the answer is"."""
    found = _STATES_ANSWER.search(between)
    if found is None:
        return False
    return found["own"] is None or found["link"] == "of"


def _speaks_of_answer(words: str) -> bool:
    clause = _BREAK.split(words)[0]
    return _ABOUT_ANSWER.search(clause) is not None and _ANSWER_WORD.search(clause) is not None


def foreign_sentence(low: str, start: int, end: int) -> StatedConfidence | None:
    """The last such sentence; a percentage or a fraction only."""
    for at in positions(low, stems("sure_stems", low), start, end, 24):
        if is_statistical(low, at, end):
            continue
        begin = max(start, at - 50)
        window, stem = plain(low[begin : min(end, at + 60)]), at - begin
        if found := _beside(window, stem, begin):
            return found
    return None


def _beside(window: str, stem: int, begin: int) -> StatedConfidence | None:
    """The number just before or behind the word for "sure" at `stem`."""
    pos = 0
    while number := first_number(window, pos, bare=Unscaled.LABEL):
        pos = max(number.stop, number.start + 1)
        if number.value is None or not (number.scaled or number.fractional):
            continue
        joined = _AFTER.match(window, number.stop) if number.stop <= stem + 1 else None
        says = (joined and joined.end() > stem) or (number.start > stem and _BEFORE_IT.search(window, 0, number.start))
        if (
            says
            and not _DENIED.search(window[: number.start])
            and not _denied(window, stem, number.stop)
            and ((number.start > stem and _NOUN.match(window, stem)) or not _OF_OTHERS.search(window[: number.start]))
        ):
            return StatedConfidence.of(number, begin, begin + stem)
    return None


def _denied(window: str, stem: int, stop: int) -> bool:
    """Whether "not" comes behind, or before the word for "sure" that the number follows."""
    return _DENIED_BEHIND.match(window, max(stem, stop)) is not None or (
        stop > stem and _DENIED.search(window[:stem]) is not None
    )


def correction(low: str, stop: int, end: int) -> StatedConfidence | None:
    """What a confidence already stated, up to `stop`, is changed to later on."""
    if end - stop < 8:
        return None
    window = plain(low[stop : min(end, stop + _CORRECTION_AHEAD)])
    found = [s for s in (_phrase(window, stop), _later_sentence(low, stop, end)) if s]
    return max(found, key=lambda s: s.start, default=None)


def _phrase(window: str, stop: int) -> StatedConfidence | None:
    """The last number that such a phrase leads up to."""
    places = [match.end() for match in _CHANGED.finditer(window) if not _is_supposed(window, match.start())]
    places += [match.end() for match in _HEADED.finditer(window)]
    places += [match.end() for match in _CHANGES.finditer(window) if _names_confidence(window, match)]
    for place in sorted(places, reverse=True):
        number = first_number(window, place, bare=Unscaled.TAG)
        if number is None or number.value is None or not (number.scaled or number.fractional):
            continue
        if _CLOSES.match(window, number.stop):
            return StatedConfidence.of(number, stop, stop + place)
    return None


def _is_supposed(window: str, at: int) -> bool:
    return _NO_CORRECTION.search(clause_before(window[max(0, at - 60) : at])) is not None


def _names_confidence(window: str, match: re.Match[str]) -> bool:
    clause = clause_before(window[max(0, match.start() - 80) : match.start()]) + match[0]
    named = (*LABEL_STEMS, *stems("confidence_stems", clause), *stems("sure_stems", clause))
    return any(stem in clause for stem in named)


def _later_sentence(low: str, stop: int, end: int) -> StatedConfidence | None:
    """A later sentence of the writer's, opened by such as "on reflection" or "now"."""
    found = sentence(low, stop, min(end, stop + _CORRECTION_AHEAD))
    if found is None or found.role is not ConfidenceRole.PLAIN:
        return None
    return found if _CUE.search(low[max(stop, min(found.at, found.start) - 80) : found.stop + 12]) else None
