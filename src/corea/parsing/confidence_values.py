"""Stated confidences, and the number among those of a tag or a label's value that states one."""

from enum import IntEnum
from itertools import islice

from msgspec import Struct
from msgspec.structs import replace

from corea.parsing.numbers import NumberContext, Unscaled, WrittenNumber, number_at, numbers_in
from corea.parsing.text import clause_end, lead, regex

_MOST_NUMBERS = 24
_SAY = r"(?:say|put|estimate|rate|give|guess|call)(?:\s(?:it|this|that))?(?:\sat|\sas)?"
OPENING = regex(
    r"(?:[^\w.+!%]|_|(?:text|textbf|textit|mathbf|mathrm|boxed|bf|large|lt|gt|quot|‹approximately›|i\sam|i'm|am\si"
    rf"|i\swould\s{_SAY}|i'd\s{_SAY}|i\s{_SAY}|it\sis|it's|is|of|at|a|an|my|own|overall|final|score|level|rating|value"
    r"|estimated?)(?![a-z])){0,80}"
)
"""Text without meaning between a separator and its number: markup, emoji, "about", "I'd say"."""
_LEAD_IN = regex(
    r"(?:(?P<overall>overall|final(?:ly)?|total|combined|in\ssum)|(?:score|confiden\w{2,4}|probability|likelihood"
    rf"|chance|certainty|so|thus|hence|therefore|‹approximately›|i\sam|i'm|i'd\s{_SAY}|i\swould\s{_SAY}|i\s{_SAY}"
    r"|→))[\W_]{1,6}(?:(?:is|of|it|this|at|as|a|an|my|i'm|only|score|confidence|‹approximately›|~)[\W_]{1,4}){0,4}$"
)
_SURE = regex(
    r"[ \t*_()]{0,4}(?:(?P<overall>overall|in\stotal|combined|(?:for|in)\s(?:the|my)\s(?:final\s)?answer"
    r"|final(?:\sanswer)?\))|sure|confiden|certain|likely|likelihood|probability|chance)(?!\w{0,3}ty?\s(?:interval"
    r"|level\sof))"
)
_NOT_BEFORE = regex(
    r"(?:(?<![a-z])(?:step|stage|part|claim|premise|check|option|less\sthan|below|under|at\smost|up\sto|not|was"
    r"|initially|from|passed|verified|tests?|sources?|(?:answer|result|value)(?=\s\Z)|(?:uncertainty|doubt|error"
    r"|risk)(?:\s(?:is|of))?[\s:=]{0,3}$|(?:answer|result|value|rate|total|sum|x|y)\s(?:is|=|of))"
    r"|n't)[\W_]{0,3}(?:\d{1,3}[\W_]{1,3}|\w{1,9}\s){0,1}$"
)
_NOT_AFTER = regex(
    r"[ \t*_)]{0,4}(?:initially|originally|at\sfirst|(?:for|in|on|about)\s(?:step|stage|part|claim|the\s(?:first|second"
    r"|third)|each)|(?:chance|risk|probability|likelihood|possibility)\s(?:of|that|i|it|for|the"
    r"|this)[^.;\n]{0,30}?(?:wrong|err|mis|slip|incorrect|fail)|(?:un(?:certain|sure)|doubt|error|risk|wrong|(?:of"
    r"|through)(?!\s(?:being|10))))"
)
_NOUN = regex(
    r"(?![ \t]{2})[ \t*_-]{1,4}(?!(?:confiden|sure|certain|likely|likelihood|based|because|since|as|for|in|that|on"
    r"|given|due|but|and|with|which|i|my|this|the|if|or|so|it|though|although|out|overall|points?|stars?|level|score"
    r"|percent|probability|chance|after|from)(?![a-z]{4}))(?:[a-z]{3,}|of\s(?:the|my|all|th[eo]se|them)(?![a-z]))"
)
_SHARE_OF = regex(r"[ \t*_]{1,4}of\s(?!(?:being|confidence|certainty|probability)(?![a-z]))[a-z]")  # "50% of facts"
_OVERALL_BEHIND = regex(r"[^\n.;]{0,100}?(?:\.\d[^\n.;]{0,60}?){0,3}(?:overall|final|total|combined|answer)")
WITHHELD = regex(
    r"[\s*_`\"'$\\()\[\]{}:=|<>-]{0,12}(?:n/a|na|none|null|nan|unknown|withheld|not\s(?:applicable|available|stated"
    r"|given|sure))(?![a-z])"
)
_DEGREE = regex(
    r"[\s*_`\"'$\\(\[{~<|-]{0,12}(?:\\text(?:bf)?\{)?(?:(?:very|fairly|extremely|quite|moderately|somewhat|pretty"
    r"|rather|relatively|reasonably|mostly|absolutely|completely|my)[\s-]){0,2}(?:‹degree›)(?:[\s/-](?:to[\s-])?(?:high"
    r"|low|medium|moderate|very|confidence|certainty))?(?![a-z])"
)
_BESIDE_DEGREE = regex(
    r"[^\w\n.!?%+|]{1,8}(?:(?:about|around|approximately|approx\.?|roughly|at|i'd\ssay|say|score"
    r"|i\.e\.,?)[\s:]{1,2})?(?=[.,]?\d)"
)
_CLOSED = regex(
    r"[ \t*_`$)\]}\"'|]*(?:$|[\n.,;:!?(/–—+-]|(?:confiden|sure|certain|based|because|since|as|given|for|in|that|due|out"
    r"|on)(?!\w*\s=))"
)
_LOW_DEGREE = regex(
    r"[ \t*_]{0,3}[(,=:-]{1,3}\s?(?:very|extremely|quite|completely|the|i'm|not|totally|=)?\s?(?:low|lowest|unsure"
    r"|uncertain|not|guess|no|least|worst|minimum|min)"
    r"|\s?stars?(?!\w)"
)
_OPTIONS = regex(
    r"[\s*_({\[\"']{0,8}\(?[a-j][)\"']?[\s:=-]{1,3}\(?[\d.]{1,6}\s?%?\)?[\s,;/|]{1,4}"
    r"(?:and\s)?[\"'(]?[a-j][)\"']?[\s:=-]{1,3}\(?[.\d]"
    r"|[\s*_(]{0,4}[\d.]{1,6}\s?%?\s\(?[a-j]\)?[\s,;/|]{1,3}(?:and\s)?[\d.]{1,6}\s?%?\s\(?[a-j](?![a-z])"
    r"|[\s*_(]{0,4}[\d.]{1,6}\s?%\s(?!confiden|sure|certain|likel|overall"
    r"|based)[a-z]{3,15}[,;/]\s(?:and\s)?[\d.]{1,6}\s?%\s[a-z]"
    r"|[\s*_({\[\"']{0,8}[\d.]{1,6}\s?%?,\s[\d.]{1,6}\s?%?\s{0,2}(?:$|\n|,)"
)
_LIST_MARK = regex(r"\d{1,2}[.)][ \t]+\S")
_OF_STEP = regex(r"[\s*_)]{0,4}(?:initially|originally|at\sfirst|(?:for|in|on)\s(?:step|stage|part|claim|each))")


class ConfidenceRole(IntEnum):
    """Subject of a stated confidence; higher roles have precedence."""

    OTHER = 0  # of a step, an alternative, someone else, a supposition, the opposite: never the answer's
    REVERSED = 1  # an uncertainty, as its complement
    PROSE = 2  # a label with words only
    EVENT = 3  # a probability: the answer's, unless a confidence is named too
    PLAIN = 4
    OVERALL = 5  # "overall", "final", or that of the stated answer among several


class StatedConfidence(Struct, frozen=True):
    """A stated confidence; its digits are `[start:end]` of the folded text and it ends at `stop`.

    `value` is None for text that is not a probability: "high", "N/A", "0.7 to 0.8".
    """

    value: float | None
    start: int
    end: int
    stop: int
    at: int
    """Start of its label or word."""
    role: ConfidenceRole
    option: str = ""
    """Option, or number in a list, that it belongs to."""
    is_key: bool = False
    """Read from a key of a JSON object."""

    @classmethod
    def of(
        cls,
        number: WrittenNumber,
        offset: int,
        at: int,
        role: ConfidenceRole = ConfidenceRole.PLAIN,
        *,
        option: str = "",
        is_key: bool = False,
        turned: bool = False,
    ) -> "StatedConfidence":
        """Statement of a number in a window that begins at `offset`; `turned`: of an uncertainty."""
        value = number.value
        if turned and value is not None:
            value, role = round(1 - value, 12), min(role, ConfidenceRole.REVERSED)
        start, end, stop = offset + number.start, offset + number.end, offset + number.stop
        return cls(value, start, end, stop, at, role, option, is_key)

    @classmethod
    def unread(cls, at: int, role: ConfidenceRole, *, key: bool = False) -> "StatedConfidence":
        """Statement without a number."""
        return cls(None, at, at, at, at, role, is_key=key)


def counts_things(number: WrittenNumber, words: str) -> bool:
    """True if a number counts what follows it: "3 checks", "2/3 steps correct", but not "4/5 stars"."""
    if number.fractional or "%" in words[number.end : number.stop] or number.whole == 100:
        return _SHARE_OF.match(words, number.stop) is not None
    return _NOUN.match(words, number.stop) is not None


def lists_options(words: str, begin: int) -> bool:
    """True if a value is one per option: "A 70%, B 30%"."""
    return _OPTIONS.match(words, begin) is not None


def stating_number(words: str, start: int, context: NumberContext) -> WrittenNumber | None:
    """The number in `words[start:]` that states a confidence; None if none clearly does.

    An overall one has precedence over one with an introduction ("so 0.85", "90 % sure"), and that over the only one
    (after a label only with a percent sign or the like: "0.75" may be the answer).
    """
    found = list(islice(numbers_in(words, start, context), _MOST_NUMBERS))
    fit = [number for number in found if _fits(number, words, alone=len(found) == 1)]
    if not fit:
        return None
    ranks = [_rank(number, words, start) for number in fit]
    best = max(ranks)
    if best == 0 and (len(fit) > 1 or (context.unscaled is Unscaled.LABEL and fit[0].whole is None)):
        return None
    return fit[len(ranks) - 1 - ranks[::-1].index(best)]


def _fits(number: WrittenNumber, words: str, *, alone: bool) -> bool:
    """True if a number can be a confidence, and is not said to be something else."""
    if number.value is None or not (number.whole is not None or number.fractional or alone):
        return False
    return not (
        counts_things(number, words)
        or _NOT_BEFORE.search(words, max(0, number.start - 40), number.start)
        or _NOT_AFTER.match(words, number.stop)
    )


def _rank(number: WrittenNumber, words: str, start: int) -> int:
    """2 for a number called the overall one, 1 for one called a confidence, else 0."""
    before = _LEAD_IN.search(words, max(start, number.start - 60), number.start)
    after = _SURE.match(words, number.stop)
    if (before and before["overall"]) or (after and after["overall"]):
        return 2
    return 1 if before or after else 0


def leading_number(content: str, begin: int, context: NumberContext) -> WrittenNumber | None:
    """The number at the start of a tag's content or a label's value, unless it counts or belongs to a step."""
    opening = OPENING.match(content, begin)
    number = number_at(content, opening.end() if opening else begin, context)
    if number is None or ("\n" in content[begin : number.start] and _LIST_MARK.match(content, number.start)):
        return None
    if counts_things(number, content) or _OF_STEP.match(content, number.stop):
        return None
    return _overall_behind(content, number, context) or number


def _overall_behind(words: str, first: WrittenNumber, context: NumberContext) -> WrittenNumber | None:
    """The overall number later in the same sentence: "0.9 for the method, 0.6 for the answer"."""
    if not _OVERALL_BEHIND.match(words, first.stop) or _rank(first, words, first.start) == 2:
        return None
    if (end := clause_end(words, first.stop)) >= 0:
        words, context = words[:end], replace(context, ends_text=False)
    behind = stating_number(words, first.stop, context)
    return behind if behind and _rank(behind, words, first.stop) == 2 else None


def value_behind(window: str, begin: int, mark: str, context: NumberContext) -> WrittenNumber | ConfidenceRole | None:
    """The number that a label's value states; its role if it states none; None if there is no value.

    Args:
        mark: The separator between the label and its value.
    """
    if WITHHELD.match(window, begin):
        return ConfidenceRole.PLAIN
    if lists_options(window, begin):
        return ConfidenceRole.OTHER
    if degree := _DEGREE.match(window, begin):  # "high (0.9)"
        beside = _BESIDE_DEGREE.match(window, degree.end())
        number = number_at(window, beside.end(), context) if beside else None
        is_stated = number and number.value is not None and _CLOSED.match(window, number.stop)
        return number if is_stated else ConfidenceRole.PLAIN
    if number := leading_number(window, begin, context):
        if number.value is None:
            return None if number.cut else ConfidenceRole.PLAIN
        is_rating = not number.scaled and not number.fractional and number.whole is None
        return ConfidenceRole.PLAIN if is_rating and _LOW_DEGREE.match(window, number.stop) else number
    end = clause_end(window, begin + lead(window[begin:], None))
    context = replace(context, ends_text=context.ends_text and end < 0)
    words = window[: end % (len(window) + 1)]
    if not words[begin:].strip():
        return None if context.ends_text else ConfidenceRole.PLAIN
    if mark == "\n":
        return None
    if "\n" in words[begin:].rstrip():
        return ConfidenceRole.PLAIN
    if mark.startswith("-") and ">" not in mark:
        return None
    return stating_number(words, begin, context) or ConfidenceRole.PROSE
