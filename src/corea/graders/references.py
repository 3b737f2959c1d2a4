"""Whether a grader can read a question's reference, so that a wrong file is an error and not a silent 0 %."""

import unicodedata
from collections.abc import Callable

from corea.graders.choice import option_letter
from corea.graders.hints import GradingHints
from corea.graders.inference import is_yes_or_no
from corea.graders.number import read_number
from corea.types import Question


def unreadable(grader: str, question: Question) -> str | None:
    """What a reference lacks ("is no number"); None where the grader can read it.

    A grader of one's own ("package.module:Name") can read whatever is not empty.
    """
    if not (question.reference or "").strip():
        return "is empty, expected an answer"
    check = _CHECKS.get(grader)
    return check(question) if check else None


def _number(question: Question) -> str | None:
    return None if read_number(question.reference or "") else "is no number"


def _choice(question: Question) -> str | None:
    options = question.choices
    if option_letter(question.reference or "", options) is not None:
        return None
    if not options:
        return "is no letter of an option"
    return f"names none of the options A to {chr(ord('A') + len(options) - 1)}, or several"


def _maths(question: Question) -> str | None:
    kinds = (unicodedata.category(c) for c in question.reference or "")
    return None if any(kind[0] in "LN" or kind == "Sm" for kind in kinds) else "has no number or symbol"


def _olympiad(question: Question) -> str | None:
    try:
        GradingHints.of(question.meta)
    except ValueError as error:
        return f"cannot be used: {error}"
    return _maths(question)


def _yes_or_no(question: Question) -> str | None:
    return None if is_yes_or_no(question.reference or "") else "is none of yes, no, true and false"


_CHECKS: dict[str, Callable[[Question], str | None]] = {
    "number": _number,
    "choice": _choice,
    "maths": _maths,
    "olympiad": _olympiad,
    "yes_no": _yes_or_no,
}
