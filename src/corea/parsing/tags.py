"""What of a model's text an end user should see, and whether it has the form it was asked for."""

import re

from corea.parsing.answer import read_answer
from corea.parsing.text import fold, is_blank
from corea.parsing.thinking import TOKENS, any_of, outside_thinking

_CONFIDENCE_TAGS = re.compile(r"<confidence>[^<\n]{0,200}(?:</confidence>|$|(?=[<\n]))", re.I)
_STRAY = re.compile(r"</?(?:answer|confidence)>", re.I)
_TOKENS = re.compile(any_of(TOKENS), re.I)
_TOKEN = re.compile(any_of(TOKENS))  # of a folded text: faster
_MOST_BLOCKS = 10_000
_CONFIDENCE_LINE = re.compile(
    r"(?:^|\n)[ \t*_#>-]{0,8}(?:conf|confidence)(?:[ _](?:level|score|rating))?"
    r"[ \t*_]{0,4}[:=][ \t*_$\\]{0,6}"
    r"[\d.,]{0,12}[ \t]?(?:\\?%|/[ \t]?\d{1,3}|out of \d{1,3}|n/?a)?[ \t*_$.]{0,6}(?=\n|$)",
    re.I,
)
_STATED = re.compile(r"\s*(?:0(?:\.\d+)?|\.\d+|1(?:\.0*)?)\s*")


def visible_text(text: str) -> str:
    """What a user should see: no thinking, no stated confidence, no `<answer>` tags, all else as written.

    Where nothing is left (some put everything inside their thinking), the short answer; "" if there is none.
    """
    return _outside(text) or read_answer(text) or ""


def is_visibly_blank(text: str) -> bool:
    """Whether nothing but thinking, tags and a stated confidence is there: no text for a reader."""
    return is_blank(_outside(text))


def _outside(text: str) -> str:
    seen = without_thinking(text)
    low = fold(seen)
    if "conf" in low:
        seen = _CONFIDENCE_LINE.sub("", _CONFIDENCE_TAGS.sub("", seen))
    if "answer>" in low or "confidence>" in low:
        seen = _STRAY.sub("", seen)
    return seen.strip()


def without_thinking(text: str) -> str:
    """The text without special tokens and its blocks of thinking (see `thinking`), unopened and unclosed ones too."""
    seen = "".join(text[start:end] for start, end in outside_thinking(fold(text), most=_MOST_BLOCKS))
    return _TOKENS.sub("", seen) if _TOKEN.search(fold(seen)) else seen


def is_well_formed(text: str) -> bool:
    """Whether reasoning, answer and confidence are there, well formed, once each, with space between.

    The order is think, answer, confidence; the confidence, a plain number in [0, 1], may also come first.
    """
    parts = {"think": "", "answer": "", "confidence": ""}
    places: dict[str, tuple[int, int]] = {}
    for name in parts:
        opening, closing = f"<{name}>", f"</{name}>"
        if text.count(opening) != 1 or text.count(closing) != 1:
            return False
        start, end = text.index(opening), text.index(closing)
        parts[name] = text[start + len(opening) : end]
        places[name] = (start, end + len(closing))
    order = sorted(places, key=lambda name: places[name])
    if order not in (["think", "answer", "confidence"], ["confidence", "think", "answer"]):
        return False
    ends = [0, *(places[name][1] for name in order)]
    starts = [*(places[name][0] for name in order), len(text)]
    if any(text[end:start].strip() or end > start for end, start in zip(ends, starts, strict=True)):
        return False
    full = parts["think"].strip() and parts["answer"].strip()
    return bool(full) and _STATED.fullmatch(parts["confidence"]) is not None
