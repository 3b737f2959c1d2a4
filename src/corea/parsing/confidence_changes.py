"""Later corrections of a stated confidence: "I'd lower that to 0.6", "Update: 90%", "ma confiance tombe à 50 %"."""

import re

from corea.parsing.label_words import ENGLISH_STEMS, OTHER_STEMS
from corea.parsing.languages import STEMS as SURE_STEMS
from corea.parsing.numbers import Bare, first_number, plain
from corea.parsing.roles import Role, clause_before
from corea.parsing.sentences import sentence
from corea.parsing.statement import Statement

_AHEAD = 2000
_ABOUT = r"(?:about|around|roughly|approximately|closer\sto|more\slike|maybe|perhaps|only|just|say|~|≈)"
_BEFORE_NUMBER = rf"(?:{_ABOUT}\s?){{0,2}}[*_(\[~≈]{{0,4}}(?=[.,]?\d)"
_CONFIDENCE = r"(?:confidence|certainty|estimate)"

_VERB = (
    r"(?:lower|reduc|rais|increas|decreas|revis|adjust|updat|chang|bump|dropp?|downgrad|upgrad|cut|bring|brought|mov|mak"
    r"|put|fall|fell|rise|rose|go|went|come|came|climb|shift|sink|sank|settl|shrink)\w{0,4}"
)
_TO = r"(?:\s(?:back|down|up|slightly|a\sbit|further|from\s[\d.]{1,6}\s?%?)){0,2}\s(?:to|at|as)"
_CHANGED = re.compile(
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
    r"|re-?evaluat\w{2,5}|on\s(?:second\sthoughts?|reflection|review)"
    r"|(?:after|upon|having)\s(?:[\w-]{1,14}\s){0,3}?(?:re-?)?(?:verif|check|double|review|reconsid|reflect|comput"
    r"|calculat|read|think|thought|examin|test|analy)\w{0,7}"
    r"|korrektur|nach\s\w{0,12}prüfung|corrección|correção|correzione|correctie|korekta|исправление|уточнение|更正|修正"
    r"|訂正|更新|정정|수정)"
)
_NEW_ANSWER = r"(?![^:\n]{0,40}(?:answer|result|value|solution|rule|total))"
_SEPARATOR = (
    r"(?:[^.\n\d%!?]{0,60}?[:,：，]\s?|\s(?=i'd\ssay|i\swould|it'?s\s(?:more\slike|closer))|\s(?:up\s|down\s)?to\s)"
)
_SAYS = r"(?:(?:i'd|i\swould|i|would|it's|it\sis|now|am|i'm|no|say|make\sit|that)\s){0,4}"
_HEADED = re.compile(rf"(?<!\w){_HEADING}{_NEW_ANSWER}{_SEPARATOR}{_SAYS}{_BEFORE_NUMBER}")
"""A heading or an opening such as "Update:", "After a check,", up to the new number; "Revised answer: 0.5" is none."""

# the number ends its clause: "it is now 25% off" corrects nothing
_CLOSES = re.compile(r"[*_)\]]{0,3}\s?(?:confiden|sure|certain|(?:after|now|since|because|given)\s|[.!;,)(—–-]|$|\n)")

# verbs of other languages, which count in a clause that names the confidence
_ABROAD = re.compile(
    r"(?:(?:sinkt|fällt|steigt|senke|erhöhe|reduziere|korrigiere)\s(?:\w{1,12}\s){0,4}auf|nur\snoch|(?:tombe|passe"
    r"|descend|monte|baisse|chute|réduite?|remonte)\sà|(?:n'est|est)\splus\sque\s(?:de|à)|(?:baja|sube|reduce|reduzco"
    r"|desciende|cae|bajo)\s(?:a|al|hasta)(?:\sun|\sel)?|(?:cai|sobe|reduzo|reduz|baixa|aumenta|diminui)\s(?:para|a)"
    r"|(?:scende|sale|cala|riduco)\s(?:al?|allo)|(?:daalt|stijgt|zakt)\snaar|nog\smaar|(?:spada|wzrasta|rośnie)\sdo"
    r"|(?:снижа|пада|повыша|раст|уменьша|увеличива)[а-яё]{1,6}\sдо"
    r"|(?:降|升|提高|提升|调整|調整|下调|上调|改|修正|更新|下降|上升|变|變)(?:低)?(?:为|為|至|到|成))\s?"
    r"(?:etwa|rund|environ|circa|约|約|около)?\s?[*_]{0,2}(?=[.,]?\d)"
)
_NO_CORRECTION = re.compile(
    r"(?<!i\s)would(?!\w)|(?<!\w)(?:if|unless|could|might|when|wouldn't|not|price|cost|temperature)(?!\w)"
)
_CUE = re.compile(
    r"(?<!\w)(?:now|actually|update|edit|correction|revis\w+|reflection|second\sthoughts?|wait|hmm|however|after"
    r"|reconsider\w*|re-?check\w*|double-check\w*|on\sreview)(?!\w)"
)
_WORDS = (*ENGLISH_STEMS, *OTHER_STEMS, *SURE_STEMS)


def correction(low: str, stop: int, end: int) -> Statement | None:
    """What a confidence already stated, up to `stop`, is changed to later on."""
    if end - stop < 8:
        return None
    window = plain(low[stop : min(end, stop + _AHEAD)])
    found = [s for s in (_phrase(window, stop), _later_sentence(low, stop, end)) if s]
    return max(found, key=lambda s: s.start, default=None)


def _phrase(window: str, stop: int) -> Statement | None:
    """The last number that such a phrase leads up to."""
    places = [match.end() for match in _CHANGED.finditer(window) if not _is_supposed(window, match.start())]
    places += [match.end() for match in _HEADED.finditer(window)]
    places += [match.end() for match in _ABROAD.finditer(window) if _names_confidence(window, match)]
    for place in sorted(places, reverse=True):
        number = first_number(window, place, bare=Bare.TAG)
        if number is None or number.value is None or not (number.scaled or number.fractional):
            continue
        if _CLOSES.match(window, number.stop):
            return Statement.of(number, stop, stop + place)
    return None


def _is_supposed(window: str, at: int) -> bool:
    return _NO_CORRECTION.search(clause_before(window[max(0, at - 60) : at])) is not None


def _names_confidence(window: str, match: re.Match[str]) -> bool:
    clause = clause_before(window[max(0, match.start() - 80) : match.start()]) + match[0]
    return any(word in clause for word in _WORDS)


def _later_sentence(low: str, stop: int, end: int) -> Statement | None:
    """A later sentence of the writer's, opened by such as "on reflection" or "now"."""
    found = sentence(low, stop, min(end, stop + _AHEAD))
    if found is None or found.role is not Role.PLAIN:
        return None
    return found if _CUE.search(low[max(stop, min(found.at, found.start) - 80) : found.stop + 12]) else None
