"""The confidence that a text states about its own answer, in any notation.

Read outside the model's thinking, in this order:

1. a tag, a JSON key, a table or a label ("<confidence>0.8", "CONF: 0.80", "**Confidence:** 8/10");
2. a sentence of the writer's own ("my confidence in this is about 0.7", "I am 95% sure"), in other languages too;
3. a text that is only a short answer and a percentage ("B (85%)").

Then 1 inside the thinking. Of several, the overall one or that of the stated answer counts, else the last; never that
of a step, an alternative or a supposition (see `confidence_roles`). A later correction replaces it.

Nothing is guessed: a word ("high"), a range ("0.7 to 0.8"), a number out of range or "Confidence: 8" (of 10? percent?)
have no value, and rule out the statements before them and inside the thinking. At most `MOST_MENTIONS` windows of
bounded length are read for each word, so that time is linear in the length of the text.
"""

from functools import cache

from corea.parsing.answer import read_answer
from corea.parsing.confidence_labels import read_labels
from corea.parsing.confidence_roles import line_above, names_another, of_the_answer, top_level
from corea.parsing.confidence_sentences import correction, stated_in_foreign_sentence, stated_in_sentence
from corea.parsing.confidence_values import ConfidenceRole, StatedConfidence
from corea.parsing.discourse import refuses
from corea.parsing.languages import stems
from corea.parsing.numbers import IN_LABEL, number_at, plain
from corea.parsing.text import Extracted, ends_of, fold, regex
from corea.parsing.thinking import outside_thinking

_PLAINLY = regex(r"<confidence>[ \n]?(0?\.\d{1,17}|1\.0{1,17})[ \n]?</confidence>\s{0,9}\Z")
_LAST_LINE = regex(
    r"(?:\*\*|- |#{1,4} )?(?:CONF|[Cc]onfidence(?: (?:[Ll]evel"
    r"|[Ss]core))?):?(?:\*\*)?:? {0,2}(?:\*\*)?(?:(?P<share>0?\.\d{1,17}|1\.0{1,17})|(?P<percent>\d\d(?:\.\d{1,9})?"
    r"|100)%|(?P<ten>\d|10)/10)(?:\*\*)?\.?"
)
_WHOLE = {"share": 1, "percent": 100, "ten": 10}
_LAST_KEY = regex(r"\"confidence\": ?(?P<share>0?\.\d{1,17}|1\.0{1,17})\s{0,4}\}\s{0,4}(?:```)?")
_COMMON = ("onf", "cert", "prob", "chance", "likel", " sure", "unsure", "accuracy of", "p(")
_SHORT = 300
_ANNOUNCED = r"\s{0,9}[*_]{0,2}(?:(?:the\s)?(?:final\s)?answer(?:\sis)?[\s:*_]{1,4})?"
_HEDGED = r"[*_~≈]{0,3}(?:p\s?=\s?|about\s|approximately\s|roughly\s|around\s)?(?=[.\d])"
_CHOSEN = regex(
    rf"{_ANNOUNCED}\(?(?:[a-j]|yes|no|true|false)\)?(?:[.)]\s[^\d\n%=:,()]{{1,40}})?[*_]{{0,2}}(?:[,:]?\s|\s?\("
    rf"|\s?[-–—]{{1,2}}\s){{1,2}}{_HEDGED}"
)
_NAMED = regex(
    rf"{_ANNOUNCED}(?!(?:the|an?|about|approximately|roughly|around|up|down|by|it|it's|i|this|that|there|we|so|in|of"
    rf"|at)\s)[^\W\d_][\w'.-]{{0,20}}(?:\s[^\W\d_][\w'.-]{{0,20}}){{0,3}}[*_]{{0,2}}(?:,\s|\s?\(){_HEDGED}"
)
_QUANTITY = regex(
    r"(?<!\w)(?:is|are|was|rate|share|percent\w*|discount|increase\w*|decrease\w*|growth|profit|loss|tax|interest|of|by"
    r"|probability|chance|error|risk|doubt)(?!\w)"
)


@cache
def _foreign_stems(is_ascii: bool) -> tuple[str, ...]:
    """Stems of other languages without those that contain another one: if none of these occurs, none does."""
    low = "" if is_ascii else "ä"
    found = {*stems("confidence_stems", low), *stems("sure_stems", low)}
    return tuple(stem for stem in sorted(found) if not any(part in stem for part in {*found, *_COMMON} - {stem}))


def read_confidence(text: str) -> float | None:
    """The probability in [0, 1] that the text assigns to its own final answer; None if it states none."""
    stated = find_confidence(text)
    return stated.value if stated else None


def find_confidence(text: str) -> Extracted[float] | None:
    """The stated confidence and the characters of its number, without percent sign or scale."""
    if last := _last_word(text):
        return last
    for offset, part in ends_of(text):
        found = _find(part, fold(part))
        if found and found.value is not None:
            return Extracted(found.value, found.start + offset, found.end + offset)
        if found:
            return None
    return None


def _last_word(text: str) -> Extracted[float] | None:
    """A statement at the end of the text in the most frequent notations: a fast path."""
    at = text.rfind("<confidence>")
    if at >= 0 and (plainly := _PLAINLY.match(text, at)):
        return Extracted(float(plainly[1]), *plainly.span(1))
    end = len(text.rstrip())
    at = max(text.rfind("onfidence", max(0, end - 40), end), text.rfind("CONF", max(0, end - 20), end))
    if at < 0:
        return None
    line = text.rfind("\n", 0, at) + 1
    match = _LAST_LINE.fullmatch(text, line, end) if at - line < 8 else _LAST_KEY.fullmatch(text, at - 2, end)
    if match is None or not match.lastgroup:
        return None
    low = fold(text)
    if (
        outside_thinking(low)[-1][1] < end
        or names_another(line_above(low, line))
        or (at <= _SHORT and _declined(low[: line if at - line < 8 else at]))
    ):
        return None
    return Extracted(round(float(match[match.lastgroup]) / _WHOLE[match.lastgroup], 12), *match.span(match.lastgroup))


def _find(text: str, low: str) -> StatedConfidence | None:
    """The statement that counts; its value is None if it states no number."""
    if not (
        _has_any(low, _COMMON)
        or _has_any(low, _foreign_stems(low.isascii()))
        or (len(low) < 200 and ("%" in low or "(p" in low))
    ):
        return None
    spans = outside_thinking(low)
    for start, end in reversed(spans):
        if found := _outside(text, low, start, end):
            return found
    if spans == [(0, len(low))]:
        return None
    return _chosen(
        text,
        low,
        read_labels(low, 0, len(low)) or read_labels(low, 0, len(low), stems("confidence_stems", low)),
    )


def _has_any(low: str, stems: tuple[str, ...]) -> bool:
    for stem in stems:  # noqa: SIM110 -- any() with a generator takes twice as long
        if stem in low:
            return True
    return False


def _outside(text: str, low: str, start: int, end: int) -> StatedConfidence | None:
    """The statement in one span outside the thinking."""
    statements = read_labels(low, start, end)
    found = _chosen(text, low, statements)
    if found is None or found.value is None or found.role is ConfidenceRole.REVERSED:
        begin = found.at if found and found.role >= ConfidenceRole.PLAIN else start
        found = _in_a_sentence(text, low, begin, end, frozenset(s.at for s in statements)) or found
    if found is None and not statements:
        found = _beside_answer(low, start, end)
    if found is None or found.value is None:
        return found
    if found.at - start <= _SHORT and _declined(low[start : found.at]):
        return StatedConfidence.unread(found.at, found.role)
    return correction(low, found.stop, end) or found


def _in_a_sentence(text: str, low: str, start: int, end: int, labels: frozenset[int]) -> StatedConfidence | None:
    """A sentence in English, else a label or a sentence in another language."""
    if stated := stated_in_sentence(low, start, end, labels):
        return stated
    label = _chosen(text, low, read_labels(low, start, end, stems("confidence_stems", low)))
    behind = label.stop if label and label.role >= ConfidenceRole.PLAIN else start
    return stated_in_foreign_sentence(low, behind, end) or label


def _declined(words: str) -> bool:
    """True if the words before the confidence are only a refusal."""
    return _has_any(words, stems("refusal_stems", words)) and refuses(words.strip())


def _chosen(text: str, low: str, statements: list[StatedConfidence]) -> StatedConfidence | None:
    """The one of several statements (the last first) that counts; None if all are about something else."""
    if len(statements) > 1 or (statements and statements[0].is_key):
        statements = of_the_answer(top_level(low, statements), lambda: read_answer(text))
    best = max((s.role for s in statements), default=ConfidenceRole.OTHER)
    return next((s for s in statements if s.role is best), None) if best is not ConfidenceRole.OTHER else None


def _beside_answer(low: str, start: int, end: int) -> StatedConfidence | None:
    """The percentage of a text that is only "B (85%)"."""
    if end - start > 90 or not (pos := _short_answer(plain(low[start:end]))):
        return None
    window = low[start:end]
    number = number_at(plain(window), pos, IN_LABEL)
    if number is None or not number.is_clear or window[number.stop :].strip(" \n.*_)"):
        return None
    return StatedConfidence.of(number, start, start)


def _short_answer(words: str) -> int:
    """Position of the number after a short answer; 0 if there is none."""
    if chosen := _CHOSEN.match(words):
        return chosen.end()
    named = _NAMED.match(words)
    return named.end() if named and not _QUANTITY.search(named[0].replace("answer is", "")) else 0
