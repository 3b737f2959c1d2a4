"""Mathematical answers: equal in form and value.

Most rows are settled in this process, by exact fractions or by floating point where values differ; the rest goes to
worker processes, which compute with 50 digits, and ask math-verify where both sides have an integral, sum or limit.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from corea.graders.algebra.comparison import answers_equal
from corea.graders.algebra.forms import is_opaque
from corea.graders.algebra.phrasing import has_operator
from corea.graders.algebra.reader import read_structure
from corea.graders.pool import WorkerLimits, shared_pool
from corea.parsing import read_answer
from corea.registry import need_extra
from corea.types import Question, Verdict

_LONGEST = 1000  # characters of an expression that is worth a worker's time


@dataclass(frozen=True, slots=True)
class MathsGrader:
    """Right when the answer is mathematically equal to the reference; an undecided row is wrong, and says why.

    Needs the extra `math` for answers that are neither equal as written nor both numbers.

    Args:
        limits: Time and memory of one comparison, and how many worker processes there are.
    """

    limits: WorkerLimits = field(default_factory=WorkerLimits)

    def grade(self, question: Question, text: str) -> Verdict:
        return self.grade_many([(question, text)])[0]

    def grade_many(self, rows: Sequence[tuple[Question, str]]) -> list[Verdict]:
        """Verdicts in the order of the rows; a row that overruns holds up one worker for its time limit, no more."""
        answers = [read_answer(text, choices=0) for _, text in rows]
        verdicts: list[Verdict | None] = []
        hard: list[tuple[str, str]] = []
        for (question, _), answer in zip(rows, answers, strict=True):
            verdict = _at_once(question.reference or "", answer)
            verdicts.append(verdict)
            if verdict is None and answer is not None:
                hard.append((question.reference or "", answer))
        if hard:
            need_extra(f"grader maths: comparing {hard[0][0]!r} with {hard[0][1]!r}", "math_verify")
        outcomes = iter(shared_pool(self.limits).compare_many(hard) if hard else [])
        for i, verdict in enumerate(verdicts):
            if verdict is None:
                outcome = next(outcomes)
                verdicts[i] = Verdict(outcome.equal, answers[i], outcome.reason)
        return [verdict for verdict in verdicts if verdict is not None]

    def reference_error(self, question: Question) -> str | None:
        kinds = (unicodedata.category(char) for char in question.reference or "")
        return None if any(kind[0] in "LN" or kind == "Sm" for kind in kinds) else "has no number or symbol"


def _at_once(reference: str, answer: str | None) -> Verdict | None:
    """The verdict where it takes no algebra; None where it does."""
    if answer is None:
        return Verdict(False, None, "no answer found")
    if len(answer) > _LONGEST:
        return Verdict(False, answer, f"an answer of {len(answer)} characters is not compared")
    equal = equal_at_once(reference, answer)
    if equal is None or equal:
        return None if equal is None else Verdict(True, answer)
    unread = any(is_opaque(reading) for reading in read_structure(answer))
    return Verdict(False, answer, "the answer is not one readable expression" if unread else "")


def equal_at_once(reference: str, answer: str) -> bool | None:
    """True if two answers are equal, where exact or floating-point arithmetic decides; None where it does not."""
    if not reference.strip() or not answer.strip():
        return False
    if reference.strip() == answer.strip():
        return True
    equal = answers_equal(reference, answer)
    if equal is False and has_operator(reference) and has_operator(answer):
        return None
    return equal
