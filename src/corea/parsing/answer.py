"""The final answer that a text states, as written but for markup.

Text outside thinking (see `thinking`) has precedence over text inside it, and text before another question over what
follows. Patterns are tried from the most explicit to the least; the last match of a pattern counts: `<answer>` tags;
a JSON key "answer"; `\\boxed{}`; a GSM8K line "#### 42"; a label "Answer: 42" or a sentence "the answer is 42", in the
languages of `languages.toml`; without any of these, the end of the text (`final_sentence`). A correction replaces the
answer before it; a hypothetical or someone else's view does not. A text that ends in the middle of its reasoning has no
answer (None), nor has one that says "I don't know" instead.

Removed from the answer are `**`, `$`, `\\(`, `\\text{}`, `\\boxed{}`, a final period, "with confidence 0.9", and all
but the letter of a lettered choice ("B) bank" becomes "B"). That "1,234.50" equals 1234.5 is for graders to decide.
"""

import re
from typing import cast

from corea.parsing.answer_patterns import ANSWER_PATTERNS, boxed, chosen, tagged
from corea.parsing.cleaning import AnswerSpan, choice_letter, cleaned
from corea.parsing.discourse import confirms, doubt_after, introduces, is_remark, next_question
from corea.parsing.final_sentence import final_answer
from corea.parsing.json_answer import answer_in_json
from corea.parsing.text import Extracted, ends_of, fold, is_blank, regex
from corea.parsing.thinking import outside_markup, outside_thinking

_PLAINLY = regex(
    r"<answer>[ \n]?(-?\d{1,12}(?:\.\d{1,12})?"
    r"|[A-J](?:\) [\w ]{1,60})?)[ \n]?</answer>\s{0,9}(?:<confidence>[^<>]{0,40}</confidence>\s{0,9})?\Z"
)
_TAG = regex(r"<confidence>[^<]{0,60}|<[^<>\n]{1,40}>|conf(?:idence)?\s?[:=][^\n]{0,40}")
_PART_TAGS = ("<think>", "</think>", "<answer>", "</answer>", "<confidence>", "</confidence>")
_STATED = r"<confidence>\s*(?:0(?:\.\d+)?|\.\d+|1(?:\.0*)?)\s*</confidence>\s*"
_WELL_FORMED = regex(
    rf"\s*({_STATED})?<think>\s*\S.*?</think>\s*<answer>\s*\S.*?</answer>\s*(?(1)|{_STATED})",
    re.S,
)


def read_answer(text: str, *, choices: int | None = None, cut: bool = False) -> str | None:
    """The final answer as written, without markup; None if the text states none.

    Args:
        choices: Number of lettered options; 0: none, so that "E. coli" stays whole; None: unknown.
        cut: The text was cut off (`finish_reason` "length"): only an announced answer with text after it counts, or
            a letter that is the whole text.
    """
    found = _find_anywhere(text, choices, cut=cut)
    return found.value if found else None


def is_refusal(text: str, *, choices: int | None = None) -> bool:
    """True if the text says, in place of an answer, that its writer does not know one."""
    found = _find_anywhere(text, choices, cut=False)
    return found is not None and found.value is None


def find_answer(text: str, *, choices: int | None = None, cut: bool = False) -> Extracted[str] | None:
    """The final answer and the characters `text[start:end]` that write it, with escapes in JSON."""
    found = _find_anywhere(text, choices, cut=cut)
    return None if found is None or found.value is None else cast(Extracted[str], found)


def _find_anywhere(text: str, choices: int | None, *, cut: bool) -> AnswerSpan | None:
    """The answer; its value is None for a refusal."""
    at = text.rfind("<answer>")
    if at == text.find("<answer>") and (plainly := _PLAINLY.match(text, at)):
        written = plainly[1]  # in the required form: counts inside unclosed thinking, too
        letter = written[0] if ")" in written else ""
        if not letter or (choices != 0 and ord(letter) - ord("A") < (choices or 10)):
            return AnswerSpan(letter or written, *plainly.span(1))
    for offset, part in ends_of(text):
        low = fold(part)
        if found := _find(part, low, outside_thinking(low), choices, cut=cut):
            return AnswerSpan(found.value, found.start + offset, found.end + offset)
    return None


def _find(text: str, low: str, spans: list[tuple[int, int]], choices: int | None, *, cut: bool) -> AnswerSpan | None:
    """The answer outside thinking, else inside it."""
    if spans[-1][1] < len(low) and not any(tagged(text, low, *span) for span in spans):
        for a, b in tagged(text, low, spans[-1][1], len(low)):  # unclosed thinking
            if low.find("</", b, b + 2) >= 0 and (found := cleaned(text, a, b, choices)):
                return found
    for start, end in reversed(spans):
        if found := _first_of_several(text, low, start, end, choices, cut=cut):
            return found
    if spans == [(0, len(low))] or not all(_says_nothing(low, *span) for span in spans):
        return None
    return _inside_thinking(text, low, choices)


def _says_nothing(low: str, start: int, end: int) -> bool:
    """True if a span holds only tags and remarks."""
    if end - start > 300:
        return False
    rest = _TAG.sub("", low[start:end])
    return is_blank(rest) or is_remark(rest)


def _inside_thinking(text: str, low: str, choices: int | None) -> AnswerSpan | None:
    """An answer inside thinking, in one of the patterns that are not written in passing."""
    for find in (tagged, boxed):
        for a, b in find(text, low, 0, len(low)):
            if (found := cleaned(text, a, b, choices)) and doubt_after(low, found.end, len(low)) is None:
                return found
    return None


def _first_of_several(
    text: str, low: str, start: int, end: int, choices: int | None, *, cut: bool
) -> AnswerSpan | None:
    """The answer before the text continues with another question, else that of the whole span."""
    for at in next_question(low, start, end):
        head = _explicit(text, low, start, at, choices)
        blank = low.startswith(("\n\n", "<|"), at) or low.startswith("\n\n", at - 1)
        if not head and blank and not introduces(low, start, at):
            head = final_answer(text, low, start, at, choices)
        if head:
            return head
    return _with_corrections(text, low, start, end, choices, cut=cut)


def _with_corrections(
    text: str, low: str, start: int, end: int, choices: int | None, *, cut: bool
) -> AnswerSpan | None:
    """The answer of a span after the corrections that follow it."""
    found = _explicit(text, low, start, end, choices)
    if not found and cut:
        letter = choice_letter(text[start:end].strip(), choices)  # complete however short the limit is
        return AnswerSpan(letter, start, end) if letter else None
    if not found:
        return final_answer(text, low, start, end, choices)
    if cut and is_blank(low[found.end : end]):
        return None  # it may be incomplete
    for _ in range(6):
        doubt = doubt_after(low, found.end, end)
        if doubt is None:
            break
        at, strong = doubt
        later = _explicit(text, low, at, end, choices) or final_answer(text, low, at, end, choices, after_another=True)
        if later is None:
            return None if strong and not confirms(low, at, end) else found
        found = later
    return found


def _explicit(text: str, low: str, start: int, end: int, choices: int | None) -> AnswerSpan | None:
    """The answer that the first matching pattern announces."""
    for a, b in tagged(text, low, start, end):
        if found := cleaned(text, a, b, choices):
            return found
    stated = answer_in_json(text, low, start, end)
    if stated and (found := cleaned(stated.value, 0, len(stated.value), choices)):
        return AnswerSpan(found.value, stated.start, stated.end)
    for find in ANSWER_PATTERNS:
        if choices == 0 and find is chosen:
            break
        for a, b in find(text, low, start, end):
            if found := cleaned(text, a, b, choices):
                return found
    return None


def visible_text(text: str) -> str:
    """The text for an end user: without thinking, stated confidence and `<answer>` tags, otherwise as written.

    If nothing is left (some models put everything inside their thinking), the short answer; "" if there is none.
    """
    return outside_markup(text) or read_answer(text) or ""


def is_well_formed(text: str) -> bool:
    """True if reasoning, answer and confidence appear once each, in tags, with only space between them.

    The order is think, answer, confidence; the confidence, a plain number in [0, 1], may also come first.
    """
    return all(text.count(tag) == 1 for tag in _PART_TAGS) and _WELL_FORMED.fullmatch(text) is not None
