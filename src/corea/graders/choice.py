"""Multiple choice: a letter however it is written, or an option's own text where the question lists its options.

An answer names an option in one of these ways, tried in this order; where a way fits two options, or a letter and the
text beside it contradict each other, the answer names none:

1. it is the option's text, signs and case included ("-5", "C#", "E. coli"), LaTeX unified;
2. it is the same text once normalised ("BLUE." for "blue"; see `corea.graders.text.normalise`);
3. it is the option's letter (B, (b), "B) bank", "Option B", "bank (B)", "I think it's B");
4. it is the same number ("4.0" for "4", "1/2" for "0.5");
5. it has the option's words, and beside them only words that do not change it ("It is the blue one", "Yes, it is").
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from corea.graders.markup import as_written
from corea.graders.options import CONTRAST, DENIED, Options, is_name
from corea.graders.text import is_priced
from corea.parsing import Extracted, choice_letter, find_answer
from corea.types import Question, Verdict


@dataclass(frozen=True, slots=True)
class Choice:
    """Right when the answer names the same option as the reference, by letter or by its text."""

    def grade(self, question: Question, text: str) -> Verdict:
        options = question.choices
        wanted = _reference_letter(question.reference or "", options)
        if wanted is None:
            return Verdict(False, None, f"the reference {question.reference!r} is no option")
        stated = find_answer(text, choices=len(options) or None)
        if stated is None:
            return Verdict(False, None, "no answer found")
        written = _written(text, stated)
        if written is None:
            return Verdict(False, stated.value, "the answer says which option is wrong")
        letter = option_letter(stated.value, options, written=written)
        if letter is None and options and as_written(written) == as_written(options[_index(wanted)]):
            letter = wanted  # two options read the same
        if letter is None:
            return Verdict(False, stated.value, "the answer names no option, or several")
        return Verdict(letter == wanted, letter)


def _written(text: str, stated: Extracted[str]) -> str | None:
    """The answer as the text has it, with what reading takes off and means something; None where it is denied."""
    start, end = stated.start, stated.end
    if text[start - 1 : start] in _BEFORE_DENIED and DENIED.search(text, max(0, start - 40), start):
        return None
    written, after = text[start:end], text[end : end + 1]
    if is_priced(text, start, end):
        return "$" + written
    if after == "*" and _is_starred(text, start, end):
        return written + "*"
    if after in (",", "?") and len(stated.value) < 3:
        return written + text[end : end + 60].partition("\n")[0]  # "B, which is Rome" is read as B
    return written


def _is_starred(text: str, start: int, end: int) -> bool:
    """Whether the answer ends in a star that closes no emphasis: "A*" is a search, and no letter."""
    line = text.rfind("\n", 0, start) + 1
    return text[end : end + 1] == "*" != text[end + 1 : end + 2] and "*" not in text[line:start]


def _reference_letter(reference: str, options: Sequence[str]) -> str | None:
    """The letter of a reference: itself, else the option with its text."""
    letter = reference.strip().upper()
    if len(letter) == 1 and "A" <= letter <= _letter((len(options) or 26) - 1):
        return letter
    return option_letter(reference, options)


def option_letter(answer: str, options: Sequence[str], *, written: str | None = None) -> str | None:
    """The letter of the option that an answer names; None where it names none, or several.

    Args:
        written: The answer as the text has it, where `answer` is only what reading made of it ("E" of "E. coli").
    """
    written = written if written and len(written) >= len(answer) else answer
    if not options:
        return None if is_name(written) else choice_letter(answer) or _letter_said(written, 26)
    listed = Options.of(tuple(options))
    if len(written) == 1 and listed.are_letters:
        return choice_letter(answer, len(options))
    letter = choice_letter(answer, len(options))
    if (letter is None or listed.may_look_lettered) and (index := listed.named(written)) is not None:
        return _letter(index)
    if written.endswith("*"):
        return None
    letter = letter or _letter_said(written, len(options))
    if letter:
        return letter if (len(written) < 4 and "?" not in written) or listed.agrees(written, _index(letter)) else None
    index = listed.equal_number(written)
    if index is None:
        index = listed.inside(written)
    return None if index is None else _letter(index)


def _letter(index: int) -> str:
    return chr(ord("A") + index)


def _index(letter: str) -> int:
    return ord(letter) - ord("A")


_BEFORE_DENIED = (" ", "(", "*", '"', "'")
_LETTER_SAID = re.compile(
    r"(?i:(?:(?:so|therefore|thus|hence|then),?\s)?(?:i\s(?:would\s)?(?:think|believe|guess|choose|pick|select|say|go\swith)"
    r"|i['’]d\s(?:say|pick|choose|guess|go\swith)|(?:my|the)\s(?:(?:correct|right|best|final)\s)?(?:answer|option|choice)\s(?:is|must\sbe|should\sbe)"
    r"|it\s(?:is|must\sbe|should\sbe)|it['’]s|that['’]s|that\sis|definitely|probably|clearly|only|must\sbe),?\s"
    r"(?:(?:that|it['’]s|it\sis|probably|definitely|clearly|the\sanswer\sis)\s){0,3}(?:(?:option|choice|letter)\s)?)?[(\[]?([A-Z])[)\]]?(?:\sonly)?[.!?]?"
)


_REMARKED = re.compile(r"\(?([A-Z])\)?\s\([^()]*\)")


def _letter_said(written: str, count: int) -> str | None:
    """The letter of a short sentence: "I think it's B"."""
    if not 1 < len(written) < 80:
        return None
    plain = as_written(written)
    match = _LETTER_SAID.fullmatch(CONTRAST.sub("", plain)) or _REMARKED.fullmatch(plain)
    return match[1] if match and _index(match[1]) < count else None
