"""Graders: verdicts on the answers that texts give to questions.

In the order in which a row meets them: `number`, `choice`, `text`, `yes_no`, `maths` and `olympiad` (the graders);
`literals` (numbers in digits and words); `units` (units and other words by a number); `algebra` (comparison of
mathematical answers); `pool` and `worker` (processes for hard comparisons).

`grader_name` alone selects a question's grader, for training, `compare`, `eval` and `calibrate`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from corea.errors import DataError, unknown_name
from corea.graders.number import read_number
from corea.graders.yes_no import is_yes_or_no
from corea.protocols import Grader
from corea.registry import resolve
from corea.types import Question, Verdict

GRADERS = {
    "number": "corea.graders.number:NumberGrader",
    "choice": "corea.graders.choice:ChoiceGrader",
    "text": "corea.graders.text:ExactTextGrader",
    "text_f1": "corea.graders.text:TextF1Grader",
    "maths": "corea.graders.maths:MathsGrader",
    "olympiad": "corea.graders.olympiad:OlympiadGrader",
    "yes_no": "corea.graders.yes_no:YesNoGrader",
}

ANSWER_TYPES = {
    **dict.fromkeys(("latex", "math", "mathematics", "expression", "equation", "numerical", "fraction"), "maths"),
    **dict.fromkeys(("tuple", "interval", "list", "matrix", "formula"), "maths"),
    **dict.fromkeys(("numeric", "integer", "float", "percentage"), "number"),
    **dict.fromkeys(("exact", "string"), "text"),
    **dict.fromkeys(("multiple choice", "multiple_choice", "multiple-choice"), "choice"),
    "boolean": "yes_no",
}
"""Kinds of answer as published files of questions name them, in lower case, in addition to the graders' names."""


def load_grader(name: str, **options: Any) -> Grader:
    """The grader of a name: a key of `GRADERS`, a kind of answer ("latex"), or "package.module:Name"."""
    grader: Grader = resolve("grader", _known_as(name), GRADERS)(**options)
    return grader


def grader_name(question: Question, named: str | None = None) -> str:
    """The grader of a question: the first of these that is stated.

    1. `named`: one grader for all questions, as `--grader` gives.
    2. `meta["grader"]`: the row's own, else its dataset's (`corea.datasets` puts it there).
    3. `meta["answer_type"]`: the kind of answer that the row states.
    4. Its options, reference and text (`_inferred`).

    A stated kind is corrected where the reference shows that it is another: a "number" such as "52_8" or "1,3,5" is
    mathematics, and "Yes" or "False" is not mathematics.

    Raises:
        ConfigError: No grader has the name `named`. DataError: None has the name that the question states.
    """
    reference = question.reference or ""
    if named is not None:
        return _corrected(_checked("grader", named), reference)
    for key in ("grader", "answer_type"):
        if stated := question.meta.get(key):
            return _corrected(_stated(question, key, stated), reference)
    return _inferred(question)


def _stated(question: Question, key: str, stated: object) -> str:
    try:
        return _checked(key, str(stated))
    except ValueError as error:
        raise DataError(f"question {question.id!r}: {error}") from error


def _checked(where: str, stated: str) -> str:
    name = _known_as(stated)
    if ":" not in name and name not in GRADERS:
        raise unknown_name(where, stated, sorted({*GRADERS, *ANSWER_TYPES}))
    return name


def _known_as(stated: str) -> str:
    plain = stated.strip().casefold()
    return plain if plain in GRADERS else ANSWER_TYPES.get(plain, stated)


def _corrected(name: str, reference: str) -> str:
    if name == "number" and any(c.isdigit() for c in reference) and not _is_bare_number(reference):
        return "maths"
    return "yes_no" if name in ("maths", "olympiad") and is_yes_or_no(reference) else name


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


def _inferred(question: Question) -> str:
    """The grader that options, reference and text suggest.

    A reference that is a number goes to `number`, unless the question is written in LaTeX: then it is mathematics,
    and so may the answers be ("\\frac{18}{2}").
    """
    reference = (question.reference or "").strip()
    if question.choices:
        return "choice"
    if is_yes_or_no(reference):
        return "yes_no"
    if _is_bare_number(reference):
        return "maths" if _LATEX.search(reference) or _LATEX.search(question.text) else "number"
    return "maths" if _is_expression(reference) else "text"


def _is_bare_number(reference: str) -> bool:
    """True if a reference is a number and nothing besides."""
    return read_number(reference, whole=True) is not None


def _is_expression(reference: str) -> bool:
    """True if a reference is a formula: LaTeX, an equation, "6+9i", "2k", "(3, 4]" or "1, -2"; no name and no date."""
    if _LATEX.search(reference):
        return True
    if len(reference) > _LONGEST:
        return False
    symbols = _FUNCTION.sub("f", reference)
    if _WORD.search(symbols):
        return False
    return symbols != reference or any(form.search(symbols) for form in _FORMS)


def grader_for(question: Question, named: str | None = None) -> Grader:
    """The grader of a question; see `grader_name`."""
    return _shared(grader_name(question, named))


@lru_cache(maxsize=64)
def _shared(name: str) -> Grader:
    return load_grader(name)


def check_reference(question: Question, named: str | None = None) -> str:
    """The name of a question's grader, after checking that it can read the reference.

    A grader that is `named` is not corrected to another.

    Raises:
        ConfigError, DataError: See `grader_name`. DataError: There is no reference, or its grader cannot read it; it
            names the question, and the caller adds the place.
    """
    name = grader_name(question, named)
    if question.reference is None:
        raise DataError(f"question {question.id!r} has no reference, expected one to grade by; add its answer")
    wanted = name if named is None or name == "yes_no" else _checked("grader", named)
    if why := _reference_error(wanted, question):
        raise DataError(
            f"question {question.id!r}: the reference {question.reference!r:.80} {why}, as grader {wanted} expects; "
            "correct it, or state another grader"
        )
    return name


def _reference_error(name: str, question: Question) -> str | None:
    """The defect of a reference, as its grader names it; a custom grader takes any text."""
    if not (question.reference or "").strip():
        return "is empty, expected an answer"
    check = getattr(_shared(name), "reference_error", None) if name in GRADERS else None
    return check(question) if check else None


def grade_all(grader: Grader, rows: Sequence[tuple[Question, str]]) -> list[Verdict]:
    """Verdicts for many (question, text) rows, in order; many at once where the grader can."""
    many = getattr(grader, "grade_many", None)
    return many(rows) if many else [grader.grade(question, text) for question, text in rows]


def grade_each(rows: Sequence[tuple[Question, str]], named: str | None = None) -> list[Verdict]:
    """Verdicts in order, each by its question's grader; all rows of one grader go to it together."""
    names = {id(question): question for question, _ in rows}  # a question may have many rows
    name_of = {key: grader_name(question, named) for key, question in names.items()}
    places: dict[str, list[int]] = {}
    for i, (question, _) in enumerate(rows):
        places.setdefault(name_of[id(question)], []).append(i)
    verdicts: dict[int, Verdict] = {}
    for name, at in places.items():
        verdicts |= zip(at, grade_all(_shared(name), [rows[i] for i in at]), strict=True)
    return [verdicts[i] for i in range(len(rows))]


class AutoGrader:
    """Grader that applies to each question its own grader (`grader_name`)."""

    def grade(self, question: Question, text: str) -> Verdict:
        return grade_each([(question, text)])[0]

    def grade_many(self, rows: Sequence[tuple[Question, str]]) -> list[Verdict]:
        """Verdicts in order; see `grade_each`."""
        return grade_each(rows)


def count_graders(names: Iterable[str]) -> dict[str, int]:
    """Numbers of questions by grader, in decreasing order."""
    return dict(Counter(names).most_common())


def graders_in_words(counts: dict[str, int]) -> str:
    """The counts as text: "maths 320, yes_no 13"."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


__all__ = [
    "ANSWER_TYPES",
    "GRADERS",
    "AutoGrader",
    "check_reference",
    "count_graders",
    "grade_all",
    "grade_each",
    "grader_for",
    "grader_name",
    "graders_in_words",
    "load_grader",
]
