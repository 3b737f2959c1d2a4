"""The final answer that a text states, as written but for markup.

What stands outside thinking (see `thinking`) goes before all that stands inside; of a text that runs on into another
question, what stands before that. Forms are tried from the most explicit to the least, the last mention of a form
counting: `<answer>` tags; a JSON key "answer"; `\boxed{}`; a GSM8K line "#### 42"; a line "Answer: 42" or a sentence
"the answer is 42", in many languages; then, where there is none of these, what the text's end comes to (see
`closing`). A correction after an answer replaces it; a hypothetical or someone else's view does not. A text that ends
in the middle of its reasoning has no answer: None; nor has one that says "I don't know" in its place (see `unknown`).

What is not the answer is taken off: `**`, `$`, `\(`, `\text{}`, `\boxed{}`, a closing period, "with
confidence 0.9", and all but the letter of a lettered choice ("B) bank" is "B"). Whether "1,234.50" is
1234.5 is the grader's question.
"""

import re
from typing import cast

from corea.parsing.answer_patterns import FORMS, boxed, chosen, tagged
from corea.parsing.cleaning import AnswerSpan, choice_letter, cleaned
from corea.parsing.discourse import confirms, doubt_after, introduces, is_remark, next_question
from corea.parsing.final_sentence import closing
from corea.parsing.json_answer import keyed
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
    """The final answer as written, trimmed of markup; None where the text states none.

    Args:
        choices: How many lettered options there are; 0: none, so that "E. coli" stays whole; None: unknown.
        cut: The text was cut off (`finish_reason` "length"): only an announced answer with text after it counts, or
            a letter that is all there is; the end of an unfinished text comes to nothing.
    """
    found = _find_anywhere(text, choices, cut=cut)
    return found.value if found else None


def is_refusal(text: str, *, choices: int | None = None) -> bool:
    """Whether the text says, where its answer should be, that its writer does not know one."""
    found = _find_anywhere(text, choices, cut=False)
    return found is not None and found.value is None


def find_answer(text: str, *, choices: int | None = None, cut: bool = False) -> Extracted[str] | None:
    """The final answer with the characters `text[start:end]` that write it, which may have escapes (JSON)."""
    found = _find_anywhere(text, choices, cut=cut)
    return None if found is None or found.value is None else cast(Extracted[str], found)


def _find_anywhere(text: str, choices: int | None, *, cut: bool) -> AnswerSpan | None:
    """The same; its value is None where the text says "I don't know" in its place."""
    at = text.rfind("<answer>")
    if at == text.find("<answer>") and (plainly := _PLAINLY.match(text, at)):
        written = plainly[1]  # as asked for: it counts inside thinking that never ends, too
        letter = written[0] if ")" in written else ""
        if not letter or (choices != 0 and ord(letter) - ord("A") < (choices or 10)):
            return AnswerSpan(letter or written, *plainly.span(1))
    for offset, part in ends_of(text):
        low = fold(part)
        if found := _find(part, low, outside_thinking(low), choices, cut=cut):
            return AnswerSpan(found.value, found.start + offset, found.end + offset)
    return None


def _find(text: str, low: str, spans: list[tuple[int, int]], choices: int | None, *, cut: bool) -> AnswerSpan | None:
    if spans[-1][1] < len(low) and not any(tagged(text, low, *span) for span in spans):
        for a, b in tagged(text, low, spans[-1][1], len(low)):  # thinking that was never closed
            if low.find("</", b, b + 2) >= 0 and (found := cleaned(text, a, b, choices)):
                return found
    for start, end in reversed(spans):
        if found := _first_of_several(text, low, start, end, choices, cut=cut):
            return found
    if spans == [(0, len(low))] or not all(_says_nothing(low, *span) for span in spans):
        return None
    return _inside_thinking(text, low, choices)


def _says_nothing(low: str, start: int, end: int) -> bool:
    """Whether there is nothing outside thinking but tags and remarks."""
    if end - start > 300:
        return False
    rest = _TAG.sub("", low[start:end])
    return is_blank(rest) or is_remark(rest)


def _inside_thinking(text: str, low: str, choices: int | None) -> AnswerSpan | None:
    """An answer that all stands inside thinking, in a form that is not written in passing."""
    for find in (tagged, boxed):
        for a, b in find(text, low, 0, len(low)):
            if (found := cleaned(text, a, b, choices)) and doubt_after(low, found.end, len(low)) is None:
                return found
    return None


def _first_of_several(
    text: str, low: str, start: int, end: int, choices: int | None, *, cut: bool
) -> AnswerSpan | None:
    """The answer before the text runs on into another question; of the whole where none stands there."""
    for at in next_question(low, start, end):
        head = _explicit(text, low, start, at, choices)
        blank = low.startswith(("\n\n", "<|"), at) or low.startswith("\n\n", at - 1)
        if not head and blank and not introduces(low, start, at):
            head = closing(text, low, start, at, choices)
        if head:
            return head
    return _with_corrections(text, low, start, end, choices, cut=cut)


def _with_corrections(
    text: str, low: str, start: int, end: int, choices: int | None, *, cut: bool
) -> AnswerSpan | None:
    found = _explicit(text, low, start, end, choices)
    if not found and cut:
        letter = choice_letter(text[start:end].strip(), choices)  # it is whole, however short the limit
        return AnswerSpan(letter, start, end) if letter else None
    if not found:
        return closing(text, low, start, end, choices)
    if cut and is_blank(low[found.end : end]):
        return None  # there may have been more of it
    for _ in range(6):
        doubt = doubt_after(low, found.end, end)
        if doubt is None:
            break
        at, strong = doubt
        later = _explicit(text, low, at, end, choices) or closing(text, low, at, end, choices, after_another=True)
        if later is None:
            return None if strong and not confirms(low, at, end) else found
        found = later
    return found


def _explicit(text: str, low: str, start: int, end: int, choices: int | None) -> AnswerSpan | None:
    for a, b in tagged(text, low, start, end):
        if found := cleaned(text, a, b, choices):
            return found
    stated = keyed(text, low, start, end)
    if stated and (found := cleaned(stated.value, 0, len(stated.value), choices)):
        return AnswerSpan(found.value, stated.start, stated.end)
    for find in FORMS:
        if choices == 0 and find is chosen:
            break
        for a, b in find(text, low, start, end):
            if found := cleaned(text, a, b, choices):
                return found
    return None


def visible_text(text: str) -> str:
    """What a user should see: no thinking, no stated confidence, no `<answer>` tags, all else as written.

    Where nothing is left (some put everything inside their thinking), the short answer; "" if there is none.
    """
    return outside_markup(text) or read_answer(text) or ""


def is_well_formed(text: str) -> bool:
    """Whether reasoning, answer and confidence are there, well formed, once each, with space between.

    The order is think, answer, confidence; the confidence, a plain number in [0, 1], may also come first.
    """
    return all(text.count(tag) == 1 for tag in _PART_TAGS) and _WELL_FORMED.fullmatch(text) is not None
