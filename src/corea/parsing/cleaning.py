"""Taking off an answer what does not belong to it: markup, "the answer is", "with confidence 0.9"."""

import re

from corea.parsing.letters import choice_letter
from corea.parsing.refusals import refuses
from corea.parsing.text import CONCLUSIONS, LONGEST, Extracted, closing_brace, is_blank, lead


class Found(Extracted[str | None], frozen=True):
    """An answer and its place; its value is None where the text says "I don't know" in its place."""


_WRAPPED = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|boxed|fbox|mbox|operatorname)\s?\{", re.I)
_SURE = r"(?:confiden(?:ce|t)|certain(?:ty)?|sure|probability|likelihood)"
_CONFIDENCE_TAIL = re.compile(
    r"[\s,;.(|\[–—-]{1,4}(?:(?:and|with|at|conf\.?|i(?:'m|\sam))\s)?(?:a\s|an\s|my\s|the\s|about\s|~)?"
    rf"(?:(?:\d{{1,3}}(?:\.\d{{1,4}})?\s?%|0?\.\d{{1,4}})\s{_SURE}"
    r"|confidence(?!\s(?:interval|limit|band))(?:\slevel|\sscore)?(?:\s(?:in|for)\s[\w\s]{1,30})?\s{0,2}(?:of|is|:"
    r"|=|\)|\d|$))",
    re.I,
)
_PERCENT_TAIL = re.compile(r"[,;|]?\s{1,2}\(?\d{1,3}(?:\.\d{1,2})?\s?%\)?\s?$")
_SAYS = re.compile(
    rf"^(?:[^\n.!?]|\.(?=\S)){{0,300}}?(?<![a-z])(?<!this\s)(?<!that\s){CONCLUSIONS}(?:answer|choice"
    rf"|option)(?:\schoice|\soption)?\s(?:is|would\sbe)(?!\snot\s)[\s:]{{1,3}}(?=\S)",
    re.I,
)
_HEDGE = re.compile(
    r"(?:well,?\s)?(?:i(?:'d|\swould)?\s(?:think|believe|guess|say|suspect)(?:\sthat)?(?:\s(?:it(?:'s|’s|\sis)"
    r"|that(?:'s|\sis)|the\sanswer\sis))?"
    r"|(?:it|that)(?:'s|’s|\sis)(?:\s(?:probably|definitely|clearly|most\slikely))?|(?:probably|definitely"
    r"|most\slikely))\s(?=\S)",
    re.I,
)
_MAY_SAY = re.compile(
    r"(?<![^\W_])(?:final|answer|choice|option|antwort|result|solution|response|decision|i|it|that|well|probably"
    r"|definitely|most)(?![a-z])",
    re.I,
)
_FIELD = re.compile(
    r"^\s{0,4}(?:final[ _]answer|answer|result|solution|response|decision|choice"
    r"|antwort)\s{0,2}[:=]\s{0,4}([^\n]{1,300})",
    re.I,
)
_SPACES = "".join(char for char in map(chr, range(0x3001)) if char.isspace())
_EDGE = _SPACES + "\u200b\u200c\u200d\u2060\ufeff*`_"
_NOTHING = " \t\r\n.…?!_-–—*:"  # what stands for an answer that is not there
_ABBREVIATED = re.compile(r"(?:(?<![^\W\d_])[^\W\d_]\.){2,}$|\b(?:jr|sr|inc|ltd|co|corp|etc)\.$", re.I)
_PAIRS = (
    ("$$", "$$"),
    ("$", "$"),
    ("\\(", "\\)"),
    ("\\[", "\\]"),
    ('"', '"'),
    ("'", "'"),
    ("“", "”"),
    ("「", "」"),
    ("<<", ">>"),
)
_PLACEHOLDER = re.compile(
    r"[\[<({]{0,2}\s?(?:(?:your|my|the|insert|write|put|final|short)\s){0,3}(?:final\s|numeric(?:al)?\s)?"
    r"(?:answer|number|value|letter|result|response|option)(?:\s(?:here|goes here|choice"
    r"|only))?\s?[\])}>]{0,2}[.…]{0,3}",
    re.I,
)


def is_placeholder(written: str, *, words: bool = True) -> bool:
    """Whether a text stands for an answer that is to come: "[your answer]", "...", "____", and `words`: "answer"."""
    bare = written.strip()
    if not bare.strip(_NOTHING) or is_blank(bare):
        return True
    left_open = bare.casefold() in ("todo", "tbd")
    return left_open or (_PLACEHOLDER.fullmatch(bare) is not None and (words or not bare.isalpha()))


_PLAIN_NUMBER = re.compile(r"-?\d{1,12}(?:\.\d{1,12})?")


def cleaned(text: str, start: int, end: int, choices: int | None) -> Found | None:
    """The span with its markup taken off, as a found answer; None where nothing is left."""
    start, end = _inner(text, start, min(end, start + LONGEST))
    if _PLAIN_NUMBER.fullmatch(text, start, end):
        return Found(text[start:end], start, end)
    start, end = _without_confidence(text, start, end, choices)
    short = end - start <= 120 and text.find("boxed", start, end) < 0
    if short and (letter := choice_letter(text[start:end], choices)):
        return Found(letter, start, end)
    low_end = min(end, start + 700)
    wordy = end - start > 5 and any(c in text[start:low_end] for c in " :=")
    if wordy and refuses(text[start:end]):
        return Found(None, start, end)
    for pattern, group in (
        ((_FIELD, 1), (_SAYS, 0), (_HEDGE, 0)) if wordy and _MAY_SAY.search(text, start, low_end) else ()
    ):
        if end - start > 1 and (match := pattern.match(text[start : min(end, start + 700)])):
            if pattern is _HEDGE and text[start + match.end() : start + match.end() + 1].islower():
                continue  # "It's raining"
            stop = min(start + match.end(1), end) if group else end
            start, end = _inner(text, start + (match.start(1) if group else match.end()), stop)
    if (box := text.rfind("\\boxed{", start, end)) >= 0:
        close = closing_brace(text, box + 6, end)
        if close < 0:
            return None  # cut off inside
        start, end = _inner(text, box + 7, close)
    written = text[start:end]
    if _cut_label(written) or is_placeholder(written, words=False):
        return None
    letter = choice_letter(written, choices) if end - start <= 400 else None
    if letter is None and refuses(written):
        return Found(None, start, end)
    return Found(letter or (written if "\\\\" in written else written.replace("\\ ", " ")), start, end)


_NO_OBJECT = re.compile(r"(?:answer|result|value|solution|total|option|choice)\s(?:is|are|equals|would\sbe)$", re.I)


def _cut_label(written: str) -> bool:
    """Whether what is left is a label with nothing after it: "Final Answer:", "so the result is"."""
    if len(written) < 40 and written.endswith(":") and not written[0].isdigit():
        return True
    return len(written) < 80 and _NO_OBJECT.search(written) is not None


def _without_confidence(text: str, start: int, end: int, choices: int | None) -> tuple[int, int]:
    """The span without "(90% confident)", "| Confidence: 0.9" and, of a letter, ", 85%"."""
    low_end = min(end, start + 700)
    window = text[start:low_end].lower() if end - start > 6 else ""
    if window and any(word in window for word in ("confiden", "certain", "sure", "probab", "likelihood")):
        tail = _CONFIDENCE_TAIL.search(text, start + 1, low_end)
        if tail:
            start, end = _inner(text, start, tail.start())
    if choices != 0 and end - start < 60 and text.find("%", start, end) >= 0:
        tail = _PERCENT_TAIL.search(text, start + 1, end)
        if tail and choice_letter(text[start : tail.start()].strip(_EDGE + ",;"), choices):
            start, end = _inner(text, start, tail.start())
    return start, end


def _inner(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without the wrappers around it, at most eight deep."""
    for _ in range(8):
        if start < end and text[start].isalnum() and text[end - 1].isalnum():
            break
        before = (start, end)
        start += lead(text[start:end], _EDGE)
        end = start + len(text[start:end].rstrip(_EDGE))
        if end > start and text[end - 1] in ".,;。，" and not text.endswith("..", start, end):
            end -= not _ABBREVIATED.search(text, max(start, end - 12), end)
        if text.startswith("\\", end - 1, end) and end > start:
            end -= 1
        if text.startswith(("<|", "</s>"), max(start, text.rfind("<", start, end)), end):
            end = max(start, text.rfind("<", start, end))  # a special token
        start, end = _unpaired(text, *_unquoted(text, start, end))
        if (match := _WRAPPED.match(text, start, end)) and closing_brace(text, match.end() - 1, end) == end - 1:
            start, end = match.end(), end - 1
        if (start, end) == before:
            break
    return start, end


def _unquoted(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without quotes or mathematics' marks around it."""
    for left, right in _PAIRS:
        if (
            end - start >= len(left) + len(right)
            and text.startswith(left, start, end)
            and text.endswith(right, start, end)
        ):
            inside = text[start + len(left) : end - len(right)].replace("\\$", "")
            if left not in inside and right not in inside:
                start, end = start + len(left), end - len(right)
    return start, end


def _unpaired(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without a dollar sign at its edge that pairs with none: a currency's, or the rest of a pair."""
    if text.startswith("\\$", start, end):
        return start + 2, end
    if text.startswith("$", start, end) and text.find("$", start + 1, end) < 0:
        return start + 1, end
    if text.startswith("$", end - 1, end) and text.find("$", start, end - 1) < 0:
        return start, end - 1
    return start, end
