"""Calibration and evaluation split with the models' answers; thresholds and classifiers are fitted on a `Fitting` only.

A `Fitting` refuses questions of the evaluation split, which it recognises by their hashes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from corea.errors import DataError
from corea.metrics.arrays import Floats
from corea.records.table import OutcomeTable
from corea.types import Question


def question_hash(question: Question) -> str:
    """Hash of the messages and the choices, without the id."""
    parts = [f"{m.role}\x1f{m.content}\x1f{'' if m.raw is None else repr(m.raw)}" for m in question.messages]
    return hashlib.sha256("\x1e".join([*parts, *question.choices]).encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """One model's stored answers to N questions, in their order; arrays are (N,).

    Args:
        cost_usd: Of the completions alone.
        confidence: By signal; NaN where it gave no value.
        signal_cost_usd: By signal, of its own calls.
        hidden: (N, D) hidden states where they were taken.
        reasons: By signal, why the first missing value is missing.
    """

    correct: Floats
    cost_usd: Floats
    confidence: Mapping[str, Floats]
    signal_cost_usd: Mapping[str, Floats]
    tokens: Floats
    texts: tuple[str, ...]
    extracted: tuple[str | None, ...]
    hidden: Floats | None = None
    reasons: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Questions, and the answers of each model by role."""

    questions: tuple[Question, ...]
    answers: Mapping[str, Answers]

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def hashes(self) -> frozenset[str]:
        """The hashes of its questions."""
        return frozenset(question_hash(q) for q in self.questions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged(Part):
    """The evaluation split: nothing may be fitted on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting(Part):
    """The calibration split, on which thresholds and classifiers are fitted.

    Args:
        held_out: Hashes of all questions of the evaluation split.

    Raises:
        DataError: A question is also in the evaluation split.
    """

    held_out: frozenset[str]

    def __post_init__(self) -> None:
        if shared := [q.id for q in self.questions if question_hash(q) in self.held_out]:
            raise DataError(
                f"compare: got the evaluation question {shared[0]!r} (and {len(shared) - 1} more) to fit on, expected "
                "questions that are not judged; give fit and judge splits that share none"
            )


def need_fitting(what: str, part: Part) -> Fitting:
    """The part itself, if it is the calibration split.

    Raises:
        DataError: It is not the calibration split.
    """
    if not isinstance(part, Fitting):
        raise DataError(
            f"compare: {what}: got the evaluation split to fit on, expected the calibration split; nothing is tuned on "
            "questions that are judged"
        )
    return part


def folds(questions: Sequence[Question], count: int = 5) -> list[Floats]:
    """Index arrays of `count` parts by the questions' hashes, so that a repeated text is in one part only."""
    number = np.array([int(question_hash(q)[:8], 16) % count for q in questions])
    return [np.flatnonzero(number == k).astype(float) for k in range(count)]


def joined(parts: Sequence[Part]) -> Part:
    """Several parts concatenated; a signal that a model has in only some of them is NaN in the others."""
    if len(parts) == 1:
        return parts[0]
    roles = [role for role in parts[0].answers if all(role in part.answers for part in parts)]
    return Part(
        questions=tuple(q for part in parts for q in part.questions),
        answers={role: _joined_answers([part.answers[role] for part in parts]) for role in roles},
    )


def _joined_answers(some: Sequence[Answers]) -> Answers:
    def values(field: str, name: str, missing: float) -> Floats:
        return np.concatenate([getattr(a, field).get(name, np.full(len(a.correct), missing)) for a in some])

    names = list(dict.fromkeys(name for a in some for name in a.confidence))
    return Answers(
        **{f: np.concatenate([getattr(a, f) for a in some]) for f in ("correct", "cost_usd", "tokens")},
        confidence={name: values("confidence", name, float("nan")) for name in names},
        signal_cost_usd={name: values("signal_cost_usd", name, 0.0) for name in names},
        texts=tuple(text for a in some for text in a.texts),
        extracted=tuple(answer for a in some for answer in a.extracted),
        reasons={name: reason for a in reversed(some) for name, reason in a.reasons.items()},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two models on the same N questions; arrays are (N,). Costs are USD a question.

    Args:
        confidence: The small model's; NaN where none was stated (such an answer is deferred).
    """

    confidence: Floats
    small_correct: Floats
    large_correct: Floats
    small_cost: Floats
    large_cost: Floats

    def __len__(self) -> int:
        return len(self.confidence)

    @property
    def table(self) -> OutcomeTable:
        """The pair as an outcome table."""
        return OutcomeTable.from_arrays(
            correct=np.stack([self.small_correct, self.large_correct], axis=1),
            cost_usd=np.stack([self.small_cost, self.large_cost], axis=1),
            confidence=self.confidence,
        )
