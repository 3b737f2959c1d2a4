"""The grader of a question of unknown origin, by its options, its reference and its text."""

import re

from corea.graders.number import read_number
from corea.graders.yes_no import is_yes_or_no
from corea.types import Question

_LONGEST = 200  # characters of a formula that is recognised without LaTeX
_LATEX = re.compile(
    r"\\[a-zA-Z]{2,}|\\[(\[]|\$[^$\n]{0,200}?[\\^_][^$\n]{0,200}\$|\$[a-zA-Z]\$|√|π|∞|\w\^[\w{(]|^[a-zA-Z]_\{?\w\}?$"
)
_FUNCTION = re.compile(r"(?<![a-zA-Z])(?:sin|cos|tan|cot|sec|log|ln|exp|sqrt|pi)(?![a-zA-Z])")
_WORD = re.compile(r"[a-zA-Z]{2}|[a-zA-Z]\d|[^\W\d_a-zA-Z]{2}")  # two letters on end, or "B12": no product of symbols
_FORMS = (
    re.compile(r"[\w)}]\s*=\s*[-\w(\\{]"),
    re.compile(r"[\w)\]}]\s*[*^<>≤≥+]\s*(?:-\s*)?[\w(\[]"),
    re.compile(r"[\d)]\s*[-/]\s*[a-zA-Z(]|[a-z)]\s*[-/]\s*[\d(]"),
    re.compile(r"\d[abcefijknpqrtuvwxyz](?![\w'])"),  # "9i", "3x"; other letters are oftener a unit: 5m, 1990s
    re.compile(r"^-\s?[a-z]|(?<![a-zA-Z])[\da-z]!"),
    re.compile(r"^[(\[{]\s*-?[\w./∞]+(?:\s*,\s*-?[\w./∞]+)+\s*[)\]}]$"),
    re.compile(r"^-?\d+(?:\.\d+)?(?:\s*,\s*-?\d+(?:\.\d+)?)+$"),
)


def inferred(question: Question) -> str:
    """The grader that options, reference and text suggest.

    A reference that is a number goes to `number`, unless the question is written in LaTeX: then it is mathematics,
    and so may the answers be ("\\frac{18}{2}").
    """
    reference = (question.reference or "").strip()
    if question.choices:
        return "choice"
    if is_yes_or_no(reference):
        return "yes_no"
    if is_bare_number(reference):
        return "maths" if _LATEX.search(reference) or _LATEX.search(question.text) else "number"
    return "maths" if is_expression(reference) else "text"


def is_bare_number(reference: str) -> bool:
    """True if a reference is a number and nothing besides."""
    return read_number(reference, whole=True) is not None


def is_expression(reference: str) -> bool:
    """True if a reference is a formula: LaTeX, an equation, "6+9i", "2k", "(3, 4]" or "1, -2"; no name and no date."""
    if _LATEX.search(reference):
        return True
    if len(reference) > _LONGEST:
        return False
    symbols = _FUNCTION.sub("f", reference)
    if _WORD.search(symbols):
        return False
    return symbols != reference or any(form.search(symbols) for form in _FORMS)
