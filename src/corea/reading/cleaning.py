"""Taking off an answer what does not belong to it: markup, "the answer is", "with confidence 0.9", a choice's words."""

import re

from corea.reading.text import CONCLUSIONS, LONGEST, Stated, closing_brace, lead
from corea.reading.unknown import says_unknown

Found = Stated[str | None]
"""An answer and its place; its value is None where the text says "I don't know" in its place."""

_WRAPPED = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|boxed|fbox|mbox|operatorname)\s?\{", re.I)
_CONFIDENCE_TAIL = re.compile(
    r"[\s,;.(]{1,3}(?:(?:and|with)\s)?(?:a\s|an\s|my\s|the\s)?(?:\d{1,3}%\s)?confidence(?!\s(?:interval|limit|band))(?:\slevel)?"
    r"(?:\s(?:in|for)\s[\w\s]{1,30})?\s{0,2}(?:of|is|:|=|\)|$)",
    re.I,
)
_SAYS = re.compile(
    rf"^(?:[^\n.!?]|\.(?=\S)){{0,300}}?(?<![a-z])(?<!this\s)(?<!that\s){CONCLUSIONS}(?:answer|choice|option)(?:\schoice|\soption)?\s(?:is|would\sbe)[\s:]{{1,3}}(?=\S)",
    re.I,
)
_FIELD = re.compile(
    r"^\s{0,4}(?:final[ _]answer|answer|result|solution|response|decision|choice)\s{0,2}[:=]\s{0,4}([^\n]{1,300})", re.I
)
_EDGE = " \t\r\n*`_"
_NOTHING = " \t\r\n.…?"  # what stands for an answer that is not there
_PAIRS = (
    ("$$", "$$"),
    ("$", "$"),
    ("\\(", "\\)"),
    ("\\[", "\\]"),
    ('"', '"'),
    ("'", "'"),
    ("“", "”"),
    ("<<", ">>"),
)


def cleaned(text: str, start: int, end: int, choices: int | None) -> Found | None:
    """The span with its markup taken off, as a found answer; None where nothing is left."""
    start, end = _inner(text, start, min(end, start + LONGEST))
    low_end = min(end, start + 700)
    if text.find("onfidence", start, low_end) >= 0 and (tail := _CONFIDENCE_TAIL.search(text, start + 1, low_end)):
        start, end = _inner(text, start, tail.start())
    wordy = end - start > 7 and any(c in text[start:low_end] for c in " :=")
    if wordy and says_unknown(text[start:end]):
        return Found(None, start, end)
    for pattern, group in ((_FIELD, 1), (_SAYS, 0)) if wordy else ():
        if end - start > 1 and (match := pattern.match(text[start : min(end, start + 700)])):
            stop = min(start + match.end(1), end) if group else end
            start, end = _inner(text, start + (match.start(1) if group else match.end()), stop)
    if (box := text.rfind("\\boxed{", start, end)) >= 0:
        close = closing_brace(text, box + 6, end)
        if close > 0:
            start, end = _inner(text, box + 7, close)
    written = text[start:end]
    if not written.strip(_NOTHING):
        return None
    letter = choice_letter(written, choices) if end - start <= 400 else None
    if letter is None and says_unknown(written):
        return Found(None, start, end)
    return Found(letter or (written if "\\\\" in written else written.replace("\\ ", " ")), start, end)


def _inner(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without the wrappers around it, at most eight deep."""
    for _ in range(8):
        if start < end and text[start].isalnum() and text[end - 1].isalnum():
            break
        before = (start, end)
        start += lead(text[start:end], _EDGE)
        end = start + len(text[start:end].rstrip(_EDGE))
        if end > start and text[end - 1] in ".,;" and not text.endswith("..", start, end):
            end -= 1
        if text.startswith("\\", end - 1, end) and end > start:
            end -= 1
        for left, right in _PAIRS:
            if (
                end - start >= len(left) + len(right)
                and text.startswith(left, start, end)
                and text.endswith(right, start, end)
            ):
                inside = text[start + len(left) : end - len(right)].replace("\\$", "")
                if left not in inside and right not in inside:
                    start, end = start + len(left), end - len(right)
        if text.startswith("\\$", start, end):
            start += 2
        elif text.startswith("$", start, end) and text.find("$", start + 1, end) < 0:
            start += 1  # a currency sign, or the rest of a pair
        elif text.startswith("$", end - 1, end) and text.find("$", start, end - 1) < 0:
            end -= 1
        if (match := _WRAPPED.match(text, start, end)) and closing_brace(text, match.end() - 1, end) == end - 1:
            start, end = match.end(), end - 1
        if (start, end) == before:
            break
    return start, end


_LONE = re.compile(r"(?:(?:option|choice|answer|letter)\s{0,2})?[(\[{]?\s?([A-Z])\s?[)\]}]?[.):]?", re.I)
_LETTERED = re.compile(
    r"(?:(?:option|choice|answer)\s{0,2})?(?:[(\[]([A-Z])[)\]][\s:.,-]{0,4}|([A-Z])(?:\s?[):]|\.(?=\s)|\s[-–—]\s|,?\s(?=because|since|as\s|which))\s{0,4})(?=\S)",
    re.I,
)
_TRAILING = re.compile(r"\s\(?(?:option|choice|answer)?\s?\(([A-Z])\)$|\s\((?:option|choice|answer)\s([A-Z])\)$", re.I)
_ANOTHER = re.compile(r"(?:\band\b|\bor\b|[,;/&]|\n)\s{0,3}(?:option\s)?(?:\([A-Z]\)|[A-Z][).:])")


_MARKUP = re.compile(r"\\text(?:bf|it)?|\\mathrm|\*\*|[{}*]")


def choice_letter(answer: str, choices: int | None = None) -> str | None:
    """The letter of a choice in any of its dresses (B, (b), B) bank, Option B, bank (B)), else None.

    Where the number of choices is not known, only capitals A to J are letters, but for a lone "(b)" or "b)".
    """
    if choices == 0 or (answer[:1].isdigit() and not answer.endswith(")")):
        return None
    text = _MARKUP.sub("", answer).replace("\\ ", " ").strip(" _`$\\.,")
    if match := _LONE.fullmatch(text):
        letter = match[1]
        dressed = len(text) > 1
    elif match := _LETTERED.match(text):
        if _ANOTHER.search(text, match.end()):
            return None
        letter = match[1] or match[2]
        dressed = True
        if letter.islower() and choices is None:
            return None
    elif len(text) <= 120 and (match := _TRAILING.search(text)):
        letter, dressed = match[1] or match[2], True
    else:
        return None
    if letter.islower() and not (dressed or choices):
        return None
    index = ord(letter.upper()) - ord("A")
    return letter.upper() if index < (choices or 10) else None
