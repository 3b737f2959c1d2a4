"""Yes or no, true or false: "Yes" and "True" are one answer, "No" and "False" the other."""

import re
from dataclasses import dataclass

from corea.parsing import read_answer
from corea.parsing.text import STYLED
from corea.types import Question, Verdict

_YES = frozenset({"yes", "true"})
_NO = frozenset({"no", "false"})
_WRAPPED = re.compile(STYLED + r"\{([^{}]*)\}")
_LEADING = re.compile(r"(yes|no|true|false)(?:\s*(?:[,.;:!(–—]|-\s|$)|\s+(?:because|since|as)\b)", re.I)
_SENTENCE = re.compile(
    r"(?:so,?\s+|thus,?\s+|therefore,?\s+|hence,?\s+)?"
    r"(?:it|that|this|the\s+(?:answer|statement|claim|assertion|proposition|conjecture))(?:\s+is|['’]s)\s+"
    r"(?:(not|never)\s+)?(?:always\s+|indeed\s+|in\s+fact\s+)?(yes|no|true|false)",
    re.I,
)


@dataclass(frozen=True, slots=True)
class YesNoGrader:
    """Right when answer and reference both mean yes, or both mean no; any other answer is wrong, and says why."""

    def grade(self, question: Question, text: str) -> Verdict:
        extracted = read_answer(text, choices=0)
        if extracted is None:
            return Verdict(False, None, "no answer found")
        wanted, said = meaning(question.reference or ""), meaning(extracted)
        if wanted is None:
            equal = bare_word(extracted) == bare_word(question.reference or "") != ""
            return Verdict(equal, extracted, f"the reference {question.reference!r} is neither yes nor no")
        if said is None:
            return Verdict(False, extracted, "the answer is neither yes nor no")
        return Verdict(said == wanted, extracted)

    def reference_error(self, question: Question) -> str | None:
        return None if is_yes_or_no(question.reference or "") else "is none of yes, no, true and false"


def is_yes_or_no(reference: str) -> bool:
    """True if a reference is yes, no, true or false."""
    return bare_word(reference) in _YES | _NO


def bare_word(text: str) -> str:
    """A short answer in lower case, without LaTeX around it ("\\text{Yes}", "$\\mathrm{True}$") and closing marks."""
    before = ""
    while before != text:
        before, text = text, _WRAPPED.sub(r"\1", text)
    return text.strip(" \t\n$*`\"'.,;!").casefold()


def meaning(answer: str) -> bool | None:
    """True if an answer means yes; None where it means neither ("yes and no", "sometimes true")."""
    word = bare_word(answer)
    if word in _YES | _NO:
        return word in _YES
    if leading := _LEADING.match(word):
        return None if _turns(word[leading.end() :]) else leading[1] in _YES
    if said := _SENTENCE.fullmatch(word):
        return (said[2] in _YES) != (said[1] is not None)
    return None


def _turns(rest: str) -> bool:
    """True if what follows a "yes" or "no" takes it back."""
    return re.match(r"\s*(?:(?:or|and|but)\b|(?:yes|no|true|false)\b)", rest) is not None
