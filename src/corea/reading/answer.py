"""The final answer that a text states, as written but for markup.

Forms are tried from the most explicit to the least, the last mention of a form counting: `<answer>` tags; a
JSON key "answer"; `\\boxed{}`; a GSM8K line "#### 42"; a line "Answer: 42" or a sentence "the answer is
42"; then, where there is none of these, a text that is itself no more than an answer, the only choice that
the last paragraph names, or what a complete last sentence comes to. What stands outside `<think>` goes
before what stands inside. A text that ends in the middle of its reasoning has no answer: None; nor has one that
says "I don't know" in its place (see `unknown`).

What is not the answer is taken off: `**`, `$`, `\\(`, `\\text{}`, `\\boxed{}`, a closing period, "with
confidence 0.9", and all but the letter of a lettered choice ("B) bank" is "B"). Whether "1,234.50" is
1234.5 is the grader's question.
"""

import re
from typing import cast

from corea.reading.cleaning import Found, cleaned
from corea.reading.forms import FORMS
from corea.reading.text import Stated, ends_of, fold, lead, outside_thinking
from corea.reading.unknown import says_unknown


def read_answer(text: str, *, choices: int | None = None) -> str | None:
    """The final answer as written, trimmed of markup; None where the text states none.

    Args:
        choices: How many lettered options there are; 0: none, so that "E. coli" stays whole; None: unknown.
    """
    stated = find_answer(text, choices=choices)
    return stated.value if stated else None


_PLAINLY = re.compile(
    r"<answer>[ \n]?(-?\d{1,12}(?:\.\d{1,12})?|[A-J])[ \n]?</answer>\s{0,9}"
    r"(?:<confidence>[^<>]{0,40}</confidence>\s{0,9})?\Z"
)


def declines(text: str, *, choices: int | None = None) -> bool:
    """Whether the text says, where its answer should be, that its writer does not know one."""
    found = _find_anywhere(text, choices)
    return found is not None and found.value is None


def find_answer(text: str, *, choices: int | None = None) -> Stated[str] | None:
    """The final answer with the characters `text[start:end]` that write it."""
    found = _find_anywhere(text, choices)
    return None if found is None or found.value is None else cast(Stated[str], found)


def _find_anywhere(text: str, choices: int | None) -> Found | None:
    """The same; its value is None where the text says "I don't know" in its place."""
    at = text.rfind("<answer>")
    if (
        at >= 0
        and (plainly := _PLAINLY.match(text, at))
        and text.rfind("</think", 0, at) >= text.rfind("<think", 0, at)
    ):
        return Found(plainly[1], *plainly.span(1))  # as asked for: no need to look on
    for offset, part in ends_of(text):
        if found := _find(part, choices):
            return Stated(found.value, found.start + offset, found.end + offset)
    return None


def _find(text: str, choices: int | None) -> Found | None:
    low = fold(text)
    spans = outside_thinking(low)
    for start, end in reversed(spans):
        if found := _explicit(text, low, start, end, choices):
            return found
    if spans != [(0, len(low))]:
        return _explicit(text, low, 0, len(low), choices) or _implied(text, low, *spans[-1], choices)
    return _implied(text, low, 0, len(low), choices)


def _explicit(text: str, low: str, start: int, end: int, choices: int | None) -> Found | None:
    for find in FORMS if choices != 0 else FORMS[:-1]:
        for a, b in find(low, start, end):
            if found := cleaned(text, a, b, choices):
                return found
    return None


# ---- no explicit form: the text is the answer, or its last sentence ends in one

_NUMBER = re.compile(r"(?<![\w.])[-−]?[$€£¥]?\s?[-−]?(?:\d[\d,]{0,40}(?:\.\d{1,20})?|\.\d{1,20})(?:\s?/\s?\d{1,9})?%?")
_CONFIDENCE_LINE = re.compile(
    r"(?<![a-z])(?:conf(?:idence)?|prob(?:ability)?)(?![a-z])[^\n]{0,200}|<confidence[^\n]{0,100}"
)


_BARE_TAGS = re.compile(r"</?[a-z]{1,20}>")


def _implied(text: str, low: str, start: int, end: int, choices: int | None) -> Found | None:
    """An answer that nothing announces: a text of one short line, or what its last sentence comes to."""
    tail = max(start, end - 600)
    found = "conf" in low[tail:end] or "prob" in low[tail:end]
    found = _CONFIDENCE_LINE.search(low, tail, end) if found else None
    if found and found.start() > start and found.end() + 40 >= end:
        end = found.start()
    end = start + len(low[start:end].rstrip(" \t\n\r*_`|-"))
    start += lead(low[start:end], " \t\n\r")
    if start >= end or (low[start] == "{" and low.find('"answer"', start, end) >= 0):
        return None  # JSON whose answer is null
    last = _last_sentence(low, start, end)
    if says_unknown(text[start:end]) or says_unknown(text[last:end]):
        return Found(None, start, end)
    one_line = end - start <= 60 and "\n" not in low[start:end]
    if one_line and low[end - 1] not in ":=+?" and _BARE_TAGS.sub("", low[start:end]).strip("<>/ .…?"):
        sentence = _last_number(text, low, start, end) if low.count(" ", start, end) > 3 else None
        return sentence or cleaned(text, start, end, choices)
    if low[end - 1] not in ".!)]$%}\"'" or low.endswith(("...", "####", " $", "=$"), start, end):
        return None  # cut off in the middle
    return _lettered_paragraph(low, start, end, choices) or _last_number(text, low, start, end)


_DRESSED = re.compile(r"(?<![\w(])\(([a-j])\)\s")
_SENTENCE_END = re.compile(r"[.!?]\s|\n")
_ABBREVIATED = re.compile(r"(?<![a-z])(?:mrs?|ms|dr|st)$")
_ASIDE = re.compile(
    r"(?:\b(?:in|for|after|every|per|within|over|first|next|last|full|during|than|by|step|day|week)|[,(])\s$"
)


def _lettered_paragraph(low: str, start: int, end: int, choices: int | None) -> Found | None:
    """The letter of the only choice that the last paragraph names: "they experience (D) getting hurt."."""
    begin = max(low.rfind("\n\n", start, end), start, end - 600)
    named = [] if choices == 0 or low.find("(", begin, end) < 0 else list(_DRESSED.finditer(low, begin, end))
    if not named or len({match[1] for match in named}) > 1:
        return None
    return Stated(named[-1][1].upper(), *named[-1].span(1))


def _last_sentence(low: str, start: int, end: int) -> int:
    tail = max(start, end - 400)
    ends = [m for m in _SENTENCE_END.finditer(low, tail, end - 1) if not _ABBREVIATED.search(low, tail, m.start())]
    return ends[-1].end() if ends else tail


def _last_number(text: str, low: str, start: int, end: int) -> Found | None:
    """What a last sentence comes to.

    The number after its last "=", else the last amount of money, else the last number but asides ("in 5 weeks").
    """
    begin = _last_sentence(low, start, end)
    equals = low.rfind("=", begin, end)
    if equals >= 0 and (result := _NUMBER.search(low, equals, end)):
        return cleaned(text, *result.span(), 0)
    numbers = list(_NUMBER.finditer(low, begin, end))
    money = [m for m in numbers if any(sign in m[0] for sign in "$€£¥")]
    plain = [m for m in numbers if not _ASIDE.search(low, max(begin, m.start() - 10), m.start())]
    chosen = (money or plain or numbers)[-1:]
    return cleaned(text, *chosen[0].span(), 0) if chosen else None
