"""Yes or no, true or false: "Yes" and "True" are one answer, "No" and "False" the other."""

import re
from dataclasses import dataclass

from corea.graders.inference import NO, YES, bare_word
from corea.parsing import read_answer
from corea.types import Question, Verdict

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


def meaning(answer: str) -> bool | None:
    """Whether an answer means yes; None where it means neither ("yes and no", "sometimes true")."""
    word = bare_word(answer)
    if word in YES | NO:
        return word in YES
    if leading := _LEADING.match(word):
        return None if _turns(word[leading.end() :]) else leading[1] in YES
    if said := _SENTENCE.fullmatch(word):
        return (said[2] in YES) != (said[1] is not None)
    return None


def _turns(rest: str) -> bool:
    """Whether what follows a "yes" or "no" takes it back."""
    return re.match(r"\s*(?:(?:or|and|but)\b|(?:yes|no|true|false)\b)", rest) is not None
