"""Another signal, put through a calibration's maps: the score that decides, and the probability of a right answer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from corea.errors import ConfigError
from corea.metrics.score_map import SECOND_OPINION, ScoreMap, apply_map, inputs_of, opinion_scores, outside
from corea.parsing import read_answer
from corea.protocols import Signal
from corea.signals.measured import measured
from corea.signals.tokens import wants_logprobs
from corea.types import OUTSIDE, Completion, Confidence, Decision, Question

FROM_THE_ANSWER = ("category", "completion_tokens")


class CalibratedSignal:
    """A calibration's score and the probability it stands for, from the inner signal and what is known of the answer.

    The confidence's `score` is what the threshold is for; its `value` the mapped probability that the answer is right.

    Args:
        inner: Gives the column "confidence".
        stored: The artefact's map. It may also read the question's category and the completion's token count.
        probability: The artefact's map from the score to a probability; None: the score is one.
        needs_answer: An answer that cannot be read has no score.
        categories: A question of another category, or of none, has no score; None: the category plays no part.
        others: Further signals by the column they give. A `second_opinion` is asked last.
        decides: The policy: where both values of the second opinion lead to one decision, it is not asked.
        where: The artefact, for messages.

    Raises:
        ConfigError: The map reads a column that no signal here gives.
    """

    def __init__(
        self,
        inner: Signal,
        stored: ScoreMap,
        *,
        probability: ScoreMap | None = None,
        needs_answer: bool = False,
        categories: Sequence[str] | None = None,
        others: Mapping[str, Signal] | None = None,
        decides: Callable[[Question, Confidence], Decision] | None = None,
        where: str = "",
    ) -> None:
        self.inner: Signal = inner
        self.stored: ScoreMap = stored
        self.probability: ScoreMap | None = probability
        self.needs_answer: bool = needs_answer
        self.categories: tuple[str, ...] | None = None if categories is None else tuple(categories)
        self.others: dict[str, Signal] = dict(others or {})
        self.decides: Callable[[Question, Confidence], Decision] | None = decides
        lacking = [c for c in inputs_of(stored) if c not in ("confidence", *self.others, *FROM_THE_ANSWER)]
        if lacking:
            raise ConfigError(
                f"calibration {where}: its map reads {', '.join(lacking)}, which the stage's signal does not give; "
                "calibrate again with --signals confidence, or give the stage these signals (its second_opinion)"
            )
        signals = (inner, *(signal for name, signal in self.others.items() if name != SECOND_OPINION))
        self.logprobs_wanted: bool = any(getattr(signal, "logprobs_wanted", False) for signal in signals)
        self.top_logprobs_wanted: int = max(getattr(signal, "top_logprobs_wanted", 0) for signal in signals)

    async def measure(self, question: Question, completion: Completion) -> Confidence:
        if self.categories is not None and question.category not in self.categories:
            reason = f"{OUTSIDE}: category {question.category!r}; deferred"
            return Confidence(value=None, signal="mapped", reason=reason)
        stated = await measured(self.inner, question, completion)
        columns: dict[str, Any] = {
            "confidence": _cell(stated.value),
            "category": np.array([question.category], dtype=object),
            "completion_tokens": np.array([float(completion.usage.completion_tokens)]),
        }
        calls = stated.calls
        spans = stated.spans if wants_logprobs(self.inner) else ()
        for name, signal in self.others.items():
            if name == SECOND_OPINION:
                continue
            further = await measured(signal, question, completion)
            columns[name], calls = _cell(further.value), (*calls, *further.calls)
            spans = _joined(spans, further.spans, signal)
        name, raw = f"mapped {stated.signal}", "nothing" if stated.value is None else f"{stated.value:g}"
        choices = len(question.choices) or None
        if self.needs_answer and read_answer(completion.text, choices=choices) is None:
            return Confidence(
                value=None, signal=name, reason="no answer could be read", calls=calls, spans=spans,
                inputs=_numbers(columns),
            )  # fmt: skip
        if (second := self.others.get(SECOND_OPINION)) is not None:
            settled = self._settled(question, columns, name)
            further = settled or await measured(second, question, completion)
            columns[SECOND_OPINION], calls = _cell(further.value), (*calls, *further.calls)
            raw += f"; second opinion {further.reason or further.value}"
        score = float(apply_map(self.stored, columns)[0])
        if np.isnan(score):
            reason = self._outside(columns) or stated.reason or "the map has no score"
            return Confidence(
                value=None, signal=name, reason=reason, calls=calls, spans=spans, inputs=_numbers(columns)
            )
        value = (
            score if self.probability is None else float(apply_map(self.probability, {"confidence": _cell(score)})[0])
        )
        reason = f"{stated.signal} {raw}"
        return Confidence(
            value=value, signal=name, reason=reason, calls=calls, spans=spans, score=score, inputs=_numbers(columns)
        )

    def _settled(self, question: Question, columns: Mapping[str, Any], name: str) -> Confidence | None:
        """That the answers differ, where that they agree would lead to the same decision; else None."""
        if self.decides is None:
            return None
        scores = [float(each[0]) for each in opinion_scores(self.stored, columns)]
        decisions = {
            self.decides(question, Confidence(value=None if np.isnan(score) else score, signal=name))
            for score in scores
        }  # fmt: skip
        if len(decisions) > 1:
            return None
        return Confidence(value=0.0, signal=SECOND_OPINION, reason="not asked: it could not change the decision")

    def _outside(self, columns: Mapping[str, Any]) -> str:
        """The inputs that are unlike all that fitted the map, with their values, "confidence" only if it was stated."""
        found = [name for name, unlike in outside(self.stored, columns).items() if unlike[0]]
        if "confidence" in found and np.isnan(columns["confidence"][0]):
            return ""
        said = (f"{name} {_shown(columns[name][0])}" for name in found)
        return f"{OUTSIDE}: {', '.join(said)}; deferred" if found else ""


_Spans = tuple[tuple[int, int], ...] | None


def _joined(spans: _Spans, more: _Spans, signal: Signal) -> _Spans:
    """The characters that both read; a further signal that reads no log-probabilities adds none."""
    if not wants_logprobs(signal):
        return spans
    return None if spans is None or more is None else (*spans, *more)


def _shown(value: Any) -> str:
    if value is None or isinstance(value, str):
        return repr(value)
    return "missing" if np.isnan(value) else f"{value:g}"


def _numbers(columns: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of one row that were measured."""
    cells = {name: float(cell[0]) for name, cell in columns.items() if name != "category"}
    return {name: value for name, value in cells.items() if value == value}


def _cell(value: float | None) -> Any:
    return np.array([np.nan if value is None else value])
