"""OlympiadBench's grading: mathematics, with the question's tolerance, its unit, and its several answers in any order.

Source: He et al. 2024, arXiv:2402.14008, and their judge, https://github.com/OpenBMB/OlympiadBench,
`eval/auto_scoring_judge.py`: answers are separated by commas outside brackets and compared as a set, ± stands for two
of them, and numbers may differ by the question's `error`, an absolute tolerance, or one for each answer, separated by
commas, where an empty one means none. Unlike theirs, a percentage is not also right a hundred times too large, and an
answer in another unit is wrong.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from corea.graders.algebra.evaluation import Floating
from corea.graders.algebra.expression import parse_expression
from corea.graders.algebra.notation import tokenize
from corea.graders.maths import MathsGrader
from corea.graders.units import unit_name, without_unit
from corea.parsing import read_answer
from corea.types import Question, Verdict

_EDGE = 1.01  # of the tolerance, so that a difference of just the tolerance is within it; as their judge has it
_MOST = 40  # answers that are compared in every order


@dataclass(frozen=True, slots=True)
class GradingHints:
    """Fields of a question's `meta` that say how its answer is compared.

    Args:
        tolerances: Absolute; none, one for all answers, or one for each in the order of the reference.
        unit: As the question's author wrote it, "" where none is stated.
        several: The reference lists several answers, in any order.
    """

    tolerances: tuple[float, ...] = ()
    unit: str = ""
    several: bool = False

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> "GradingHints":
        """The hints of a question: `error` or `tolerance`, `unit`, `is_multiple_answer` or `multiple_answers`.

        Raises:
            ValueError: The tolerance is not a number.
        """
        several = meta.get("is_multiple_answer") or meta.get("multiple_answers")
        if isinstance(several, str):
            several = several.strip().casefold() in ("true", "1", "yes")
        unit = str(meta.get("unit") or "").strip()
        return cls(_tolerances(meta.get("error") or meta.get("tolerance")), unit, bool(several))

    def tolerance(self, answer: int) -> float:
        """The tolerance of the answer of this index; 0 where there is none."""
        if not self.tolerances:
            return 0.0
        return self.tolerances[answer if 1 < len(self.tolerances) > answer else 0]


def _tolerances(stated: Any) -> tuple[float, ...]:
    if stated is None or stated == "":
        return ()
    texts = stated.strip(" []()").split(",") if isinstance(stated, str) else stated
    several = cast(list[Any], texts) if isinstance(texts, list | tuple) else [texts]
    found = tuple(_tolerance(each) for each in several)
    return found if any(found) else ()


def _tolerance(stated: Any) -> float:
    text = str(stated).strip(" $\"'")
    if not text:
        return 0.0
    power = re.fullmatch(r"10\^\{?(-?\d+)\}?", text)
    try:
        value = float(f"1e{power[1]}" if power else text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ValueError(f"the tolerance {stated!r} is no number of at least 0, such as '1e-3'")
    return value


class _AnswerPart(NamedTuple):
    """One of the answers: its value without the unit, and the unit's name where one was written."""

    value: str
    unit: str | None


@dataclass(frozen=True, slots=True)
class _OlympiadRow:
    """A row's answers and the reference's; `verdict` where no comparison is needed."""

    extracted: str | None
    wanted: list[_AnswerPart]
    said: list[_AnswerPart]
    hints: GradingHints
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class OlympiadGrader:
    """Right when every answer of the reference is given, in any order, within the tolerance, in the stated unit.

    The question states them in its `meta` (`GradingHints`); without any of it this is the grader `maths`.
    """

    maths: MathsGrader = field(default_factory=MathsGrader)

    def grade(self, question: Question, text: str) -> Verdict:
        return self.grade_many([(question, text)])[0]

    def grade_many(self, rows: Sequence[tuple[Question, str]]) -> list[Verdict]:
        """Verdicts in order; all that needs algebra goes to the worker processes together."""
        compared = [_row(question, read_answer(text, choices=0)) for question, text in rows]
        pairs = {
            (wanted.value, said.value): None
            for row in compared
            if row.verdict is None
            for i, wanted in enumerate(row.wanted)
            for said in row.said
            if _settled(wanted, said, row.hints, i) is None
        }
        asked = [(Question(id="", messages=(), reference=a), f"<answer>{b}</answer>") for a, b in pairs]
        equal = {pair: v.correct for pair, v in zip(pairs, self.maths.grade_many(asked), strict=True)}
        return [_verdict(row, equal) for row in compared]

    def reference_error(self, question: Question) -> str | None:
        """The defect of a reference or of its hints; None where they can be used."""
        try:
            GradingHints.of(question.meta)
        except ValueError as error:
            return f"cannot be used: {error}"
        return self.maths.reference_error(question)


def _row(question: Question, answer: str | None) -> _OlympiadRow:
    hints, reference = GradingHints.of(question.meta), question.reference or ""
    if answer is None:
        return _OlympiadRow(None, [], [], hints, Verdict(False, None, "no answer found"))
    if _without_spaces(reference) == _without_spaces(answer) != "":
        return _OlympiadRow(answer, [], [], hints, Verdict(True, answer))
    wanted, said = [reference], [answer]
    if hints.several:
        wanted, said = answers_of(reference), answers_of(answer)
        if len(wanted) != len(said):
            said = answers_of(_THOUSANDS.sub("", answer))
        if len(wanted) != len(said) or len(wanted) > _MOST:
            why = f"expected {len(wanted)} answers, got {len(said)}"
            return _OlympiadRow(answer, [], [], hints, Verdict(False, answer, why))
    return _OlympiadRow(answer, [_part(each, hints) for each in wanted], [_part(each, hints) for each in said], hints)


def _without_spaces(text: str) -> str:
    return "".join(text.replace("$", "").split())


def _part(answer: str, hints: GradingHints) -> _AnswerPart:
    return _AnswerPart(*without_unit(answer)) if hints.unit else _AnswerPart(answer, None)


def _settled(wanted: _AnswerPart, said: _AnswerPart, hints: GradingHints, index: int) -> bool | None:
    """Equality of two answers, where unit or tolerance decide; None where it takes mathematics."""
    unit = unit_name(hints.unit) if hints.unit else None
    if said.unit is not None and said.unit != unit:
        return False
    allowed = hints.tolerance(index) * _EDGE
    is_share = unit == "percent" and said.unit is None
    if not allowed and not is_share:
        return None
    a, b = value_of(wanted.value), value_of(said.value)
    if a is None or b is None:
        return None
    if allowed and abs(a - b) <= allowed:
        return True
    # of a percentage the share itself: 0.042 is 4.2 %
    return True if is_share and abs(a - 100 * b) <= max(allowed, 1e-9 * abs(a)) else None


def _verdict(row: _OlympiadRow, equal: dict[tuple[str, str], bool]) -> Verdict:
    """Each answer of the reference takes one that is equal to it; right where none is left."""
    if row.verdict is not None:
        return row.verdict
    left = list(row.said)
    for i, wanted in enumerate(row.wanted):
        for said in left:
            settled = _settled(wanted, said, row.hints, i)
            if equal[wanted.value, said.value] if settled is None else settled:
                left.remove(said)
                break
        else:
            return Verdict(False, row.extracted, f"{wanted.value!r:.80} is not among the answers")
    return Verdict(True, row.extracted)


_LONGEST = 200  # characters of a formula whose value is computed
_AMBIGUOUS = re.compile(r"\d\s*\\[dt]?frac|\d\s+\d|°|\\circ|degree|^\[")  # 3\frac{1}{2} may be 3.5 or 1.5
_NAMED = re.compile(r"(?:[a-zA-Z]\s*)?(?:=|\\approx|≈|about\b|approximately\b)\s*")


def value_of(formula: str) -> float | None:
    """The value of a formula, such as 4.123 of "\\sqrt{17}"; None of one with variables, and of any other text."""
    formula = _NAMED.sub("", formula.strip(" $"), count=1)
    if len(formula) > _LONGEST or _AMBIGUOUS.search(formula):
        return None
    try:
        found = float(Floating(math, real=True).value(parse_expression(tokenize(formula)), {}))
    except (ArithmeticError, ValueError, LookupError):
        return None
    return found if math.isfinite(found) else None


_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_SEPARATORS = re.compile(
    r"\s*(?:\\text\s*\{\s*(?:,\s*)?(?:and|or)\s*\}|(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])|;|\\quad|\n)\s*"
)
_SET = re.compile(r"(?:[a-zA-Z]\s*(?:=|\\in|∈)\s*)?\\?\{(.*?)\\?\}", re.S)


def answers_of(text: str) -> list[str]:
    """The answers in a text, separated by commas, "and" or "or" outside brackets; "±3" is two of them."""
    inside = text.strip().strip("$").strip()
    if (braces := _SET.fullmatch(inside)) and not re.search(r"(?<!\\)[{}]", braces[1]):
        inside = braces[1]
    parts = _split(_SEPARATORS.sub(",", inside.replace("$", " ").replace("±", "\\pm ")))
    return [part.replace("\\pm", sign) for part in parts for sign in ("+-" if "\\pm" in part else "+")]


def _split(text: str) -> list[str]:
    depth, start, parts = 0, 0, list[str]()
    for i, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [part.strip() for part in (*parts, text[start:]) if part.strip()]
