"""Cleaning of answers: markup, "the answer is", "with confidence 0.9" and the text of a lettered choice are removed."""

import re
import unicodedata

from corea.parsing.discourse import refuses
from corea.parsing.text import CONCLUSIONS, LONGEST, STYLED, Extracted, closing_brace, is_blank, lead, regex

_NAMED = regex(
    r"(?:(?:(?:‹article›)\s?)?(?:option|choice|answer|letter|‹option›)\s{0,2}|(?:‹article›)\s)(?=[^\w\s]|[A-Z](?![\w]))",
    re.I,
)
_LONE = regex(r"[(\[{（【]?\s?([A-Z])\s?[)\]}）】]?[.):。]?(?:\s?(?:选项|番|번))?", re.I)
_LETTERED = regex(
    r"(?:[(\[（【]([A-Z])[)\]）】][\s:.,-]{0,4}|([A-Z])(?:\s?[):）、．：]|\.(?=\s)(?!\s?[A-Z]\.)|\s[-–—]\s|\s?(?:->|→)"
    r"|,?\s(?=because|since|as\s|which))\s{0,4})(?=\S)",
    re.I,
)
_TRAILING = regex(r"\s\(?(?:option|choice|answer)?\s?\(([A-Z])\)$|\s\((?:option|choice|answer)\s([A-Z])\)$", re.I)
_GLOSSED = regex(r"([A-Z])\s\([^()\n]{1,80}\)")  # C (Paris)
_ANOTHER = regex(r"(?:\band\b|\bor\b|[,;/&]|\n)\s{0,3}(?:option\s)?(?:\([A-Z]\)|[A-Z][).:])")
_MARKUP = regex(r"\\text(?:bf|it)?|\\mathrm|\*\*|[{}*]")
_INITIALS = regex(r"[A-Z]\.\s?[A-Z]\.")
_WRAPPED = regex(STYLED + r"\{", re.I)
_TAGGED = regex(r"<(?!answer)([a-z]{1,16})>([^<>]*)</\1>", re.I)
_SURE = r"(?:confiden(?:ce|t)|certain(?:ty)?|sure|probability|likelihood)"
_CONFIDENCE_TAIL = regex(
    r"[\s,;.(|\[–—-]{1,4}(?:(?:and|with|at|conf\.?|i(?:'m|\sam))\s)?(?:a\s|an\s|my\s|the\s|about\s"
    rf"|~)?(?:(?:\d{{1,3}}(?:\.\d{{1,4}})?\s?%|0?\.\d{{1,4}})\s{_SURE}|confidence(?!\s(?:interval|limit"
    r"|band))(?:\slevel|\sscore)?(?:\s(?:in|for)\s[\w\s]{1,30})?\s{0,2}(?:of|is|:|=|\)|\d|$))",
    re.I,
)
_PERCENT_TAIL = regex(r"[,;|]?\s{1,2}\(?\d{1,3}(?:\.\d{1,2})?\s?%\)?\s?$")
_SAYS = regex(
    rf"^(?:[^\n.!?]|\.(?=\S)){{0,300}}?(?<![a-z])(?<!this\s)(?<!that\s){CONCLUSIONS}(?:answer|choice|option)(?:\schoice"
    r"|\soption)?\s(?:is|would\sbe)(?!\s(?:not|correct|right|wrong|incorrect|clear)(?![a-z]))[\s:]{1,3}(?=\S)",
    re.I,
)
_HEDGE = regex(
    r"(?:well,?\s)?(?:i(?:'d|\swould)?\s(?:think|believe|guess|say|suspect)(?:\sthat)?(?:\s(?:it(?:'s|’s|\sis)"
    r"|that(?:'s|\sis)|the\sanswer\sis))?|(?:it|that)(?:'s|’s|\sis)(?:\s(?:probably|definitely|clearly|most\slikely))?"
    r"|(?:probably|definitely|most\slikely))\s(?=\S)",
    re.I,
)
_MAY_SAY = regex(
    r"(?<![^\W_])(?:final|answer|choice|option|antwort|result|solution|response|decision|i|it|that|well|probably"
    r"|definitely|most)(?![a-z])",
    re.I,
)
_FIELD = regex(
    r"^\s{0,4}(?:final[ _]answer|answer|result|solution|response|decision|choice"
    r"|antwort)\s{0,2}[:=]\s{0,4}([^\n]{1,300})",
    re.I,
)
_SPACES = "".join(char for char in map(chr, range(0x3001)) if char.isspace())
_EDGE = _SPACES + "\u200b\u200c\u200d\u2060\ufeff*`_"
_NOTHING = " \t\r\n.…?!_-–—*:"  # characters of a placeholder
_ABBREVIATED = regex(r"(?:(?<![^\W\d_])[^\W\d_]\.){2,}$|\b(?:jr|sr|inc|ltd|co|corp|etc)\.$", re.I)
_PAIRS = (
    *(("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")),
    *(('"', '"'), ("'", "'"), ("“", "”"), ("「", "」"), ("<<", ">>")),
)
_PLACEHOLDER = regex(
    r"[\[<({]{0,2}\s?(?:(?:your|my|the|insert|write|put|final|short)\s){0,3}(?:final\s|numeric(?:al)?\s)?(?:answer"
    r"|number|value|letter|result|response|option)(?:\s(?:here|goes here|choice|only))?\s?[\])}>]{0,2}[.…]{0,3}",
    re.I,
)
_PLAIN_NUMBER = regex(r"-?\d{1,12}(?:\.\d{1,12})?")
_NO_OBJECT = regex(r"(?:answer|result|value|solution|total|option|choice)\s(?:is|are|equals|would\sbe)$", re.I)


def choice_letter(answer: str, choices: int | None = None) -> str | None:
    """The letter of a choice in any notation (B, (b), B) bank, Option B, bank (B), la B, 选项B), else None.

    If the number of choices is unknown, only capitals A to J are letters, except a lone "(b)" or "b)".
    """
    if choices == 0 or (answer[:1].isdigit() and not answer.endswith(")")):
        return None
    answer = answer if answer.isascii() else unicodedata.normalize("NFKC", answer)
    text = _MARKUP.sub("", answer).replace("\\ ", " ").strip(" _`$\\.,。")
    named = _NAMED.match(text) if text[1:2].isalpha() or text[1:2] in "'’" else None
    text = text[named.end() :] if named else text
    if match := _LONE.fullmatch(text):
        letter = match[1]
        dressed = len(text) > 1 or named is not None
    elif match := _LETTERED.match(text):
        if _ANOTHER.search(text, match.end()) or _INITIALS.match(text):
            return None
        letter = match[1] or match[2]
        dressed = True
        if letter.islower() and choices is None:
            return None
    elif choices and (match := _GLOSSED.fullmatch(text)):
        letter, dressed = match[1], True
    elif len(text) <= 120 and (match := _TRAILING.search(text)):
        letter, dressed = match[1] or match[2], True
    else:
        return None
    if letter.islower() and not (dressed or choices):
        return None
    index = ord(letter.upper()) - ord("A")
    return letter.upper() if index < (choices or 10) else None


class AnswerSpan(Extracted[str | None], frozen=True):
    """An answer and its place; its value is None for a refusal ("I don't know")."""


def is_placeholder(written: str, *, words: bool = True) -> bool:
    """True if a text stands for an answer to come: "[your answer]", "...", "____" and, with `words`, "answer"."""
    bare = written.strip()
    if not bare.strip(_NOTHING) or is_blank(bare):
        return True
    left_open = bare.casefold() in ("todo", "tbd")
    return left_open or (_PLACEHOLDER.fullmatch(bare) is not None and (words or not bare.isalpha()))


def cleaned(text: str, start: int, end: int, choices: int | None) -> AnswerSpan | None:
    """The answer of a span, without its markup; None if nothing is left."""
    start, end = _inner(text, start, min(end, start + LONGEST))
    if _PLAIN_NUMBER.fullmatch(text, start, end):
        return AnswerSpan(text[start:end], start, end)
    start, end = _without_confidence(text, start, end, choices)
    short = end - start <= 120 and text.find("boxed", start, end) < 0
    if short and (letter := choice_letter(text[start:end], choices)):
        return AnswerSpan(letter, start, end)
    low_end = min(end, start + 700)
    wordy = end - start > 5 and any(c in text[start:low_end] for c in " :=")
    if wordy and refuses(text[start:end]):
        return AnswerSpan(None, start, end)
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
        return AnswerSpan(None, start, end)
    return AnswerSpan(letter or (written if "\\\\" in written else written.replace("\\ ", " ")), start, end)


def _cut_label(written: str) -> bool:
    """True if only a label is left: "Final Answer:", "so the result is"."""
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
        if match := _TAGGED.fullmatch(text, start, end):
            start, end = match.span(2)
        if (start, end) == before:
            break
    return start, end


def _unquoted(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without quotation marks or mathematical delimiters around it."""
    for left, right in _PAIRS:
        is_long = end - start >= len(left) + len(right)
        if is_long and text.startswith(left, start, end) and text.endswith(right, start, end):
            inside = text[start + len(left) : end - len(right)].replace("\\$", "")
            if left not in inside and right not in inside:
                start, end = start + len(left), end - len(right)
    return start, end


def _unpaired(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without an unpaired dollar sign at its edge: that of a currency, or half of a pair."""
    if text.startswith("\\$", start, end):
        return start + 2, end
    if text.startswith("$", start, end) and text.find("$", start + 1, end) < 0:
        return start + 1, end
    if text.startswith("$", end - 1, end) and text.find("$", start, end - 1) < 0:
        return start, end - 1
    return start, end
