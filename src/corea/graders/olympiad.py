"""OlympiadBench's grading: mathematics, with the question's tolerance, its unit, and its several answers in any order.

Source: He et al. 2024, arXiv:2402.14008, and their judge, https://github.com/OpenBMB/OlympiadBench,
`eval/auto_scoring_judge.py`: answers are separated by commas outside brackets and compared as a set, ± stands for two
of them, and numbers may differ by the question's `error`. Unlike theirs, a percentage is not also right a hundred times
too large, and an answer in another unit is wrong.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from corea.graders.hints import GradingHints
from corea.graders.maths import MathsGrader
from corea.graders.stated_unit import unit_name, without_unit
from corea.graders.value import value_of
from corea.parsing import read_answer
from corea.types import Question, Verdict

_EDGE = 1.01  # of the tolerance, so that a difference of just the tolerance is within it; as their judge has it
_MOST = 40  # answers that are compared in every order


class _AnswerPart(NamedTuple):
    """One of the answers: its value without the unit, and the unit's name where one was written."""

    value: str
    unit: str | None


@dataclass(frozen=True, slots=True)
class _OlympiadRow:
    """A row's answers against the reference's; `verdict` where no comparison is needed."""

    extracted: str | None
    wanted: list[_AnswerPart]
    said: list[_AnswerPart]
    hints: GradingHints
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class OlympiadGrader:
    """Right when every answer of the reference is given, in any order, within the tolerance, in the stated unit.

    What the question states is in its `meta` (`corea.graders.hints`); without any of it this is the grader `maths`.
    """

    maths: MathsGrader = field(default_factory=MathsGrader)

    def grade(self, question: Question, text: str) -> Verdict:
        return self.grade_many([(question, text)])[0]

    def grade_many(self, rows: Sequence[tuple[Question, str]]) -> list[Verdict]:
        """Verdicts in order; all that needs algebra goes to the worker processes together."""
        compared = [_compared(question, read_answer(text, choices=0)) for question, text in rows]
        pairs = {
            (wanted.value, said.value): None
            for row in compared
            if row.verdict is None
            for i, wanted in enumerate(row.wanted)
            for said in row.said
            if _settled(wanted, said, row.hints, i) is None
        }
        asked = [(_question(wanted), f"<answer>{said}</answer>") for wanted, said in pairs]
        equal = {pair: v.correct for pair, v in zip(pairs, self.maths.grade_many(asked), strict=True)}
        return [_verdict(row, equal) for row in compared]


def _question(reference: str) -> Question:
    return Question(id="", messages=(), reference=reference)


def _compared(question: Question, answer: str | None) -> _OlympiadRow:
    hints, reference = GradingHints.of(question.meta), question.reference or ""
    if answer is None:
        return _OlympiadRow(None, [], [], hints, Verdict(False, None, "no answer found"))
    if _plain(reference) == _plain(answer) != "":
        return _OlympiadRow(answer, [], [], hints, Verdict(True, answer))
    if not hints.several:
        return _OlympiadRow(answer, [_item(reference, hints)], [_item(answer, hints)], hints)
    wanted, said = answers_of(reference), answers_of(answer)
    if len(wanted) != len(said):
        said = answers_of(_THOUSANDS.sub("", answer))
    if len(wanted) != len(said) or len(wanted) > _MOST:
        why = f"expected {len(wanted)} answers, got {len(said)}"
        return _OlympiadRow(answer, [], [], hints, Verdict(False, answer, why))
    return _OlympiadRow(answer, [_item(each, hints) for each in wanted], [_item(each, hints) for each in said], hints)


def _plain(text: str) -> str:
    return "".join(text.replace("$", "").split())


def _item(answer: str, hints: GradingHints) -> _AnswerPart:
    return _AnswerPart(*without_unit(answer)) if hints.unit else _AnswerPart(answer, None)


def _settled(wanted: _AnswerPart, said: _AnswerPart, hints: GradingHints, index: int) -> bool | None:
    """Whether two answers are equal, where unit or tolerance decide; None where it takes mathematics."""
    unit = unit_name(hints.unit) if hints.unit else None
    if said.unit is not None and said.unit != unit:
        return False
    a, b = value_of(wanted.value), value_of(said.value)
    if a is None or b is None:
        return None
    allowed = hints.tolerance(index) * _EDGE
    if allowed and abs(a - b) <= allowed:
        return True
    if unit == "percent" and said.unit is None and abs(a - 100 * b) <= max(allowed, 1e-9 * abs(a)):
        return True  # the share itself: 0.042 is 4.2 %
    return None


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


_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_SEPARATORS = re.compile(
    r"\s*(?:\\text\s*\{\s*(?:,\s*)?(?:and|or)\s*\}|(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])|;|\\quad|\n)\s*"
)
_SET = re.compile(r"(?:[a-zA-Z]\s*(?:=|\\in|∈)\s*)?\\?\{(.*?)\\?\}", re.S)


def answers_of(text: str) -> list[str]:
    """The answers in a text: what stands between commas, "and" or "or" outside brackets; "±3" is two of them."""
    inside = text.strip().strip("$").strip()
    if (braces := _SET.fullmatch(inside)) and not re.search(r"(?<!\\)[{}]", braces[1]):
        inside = braces[1]
    parts = _split(_SEPARATORS.sub(",", inside.replace("$", " ").replace("±", "\\pm ")))
    return [signed for part in parts for signed in _signs(part)]


def _split(text: str) -> list[str]:
    depth, start, parts = 0, 0, list[str]()
    for i, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [part.strip() for part in (*parts, text[start:]) if part.strip()]


def _signs(part: str) -> list[str]:
    return [part.replace("\\pm", sign) for sign in "+-"] if "\\pm" in part else [part]
