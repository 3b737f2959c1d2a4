"""A learned router: from a question's text alone, whether the stage is worth asking."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import numpy as np

from corea.metrics.arrays import Floats
from corea.protocols import PrePolicy
from corea.types import Decision, Question

BITS = 13
SIZES = (3, 4, 5)  # bytes of an n-gram
MOST_BYTES = 8_000  # of a text, its last ones
_PRIME, _START = np.uint32(0x01000193), np.uint32(0x811C9DC5)


class QuestionModel(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Logistic regression on the n-grams of bytes of a text: which occur, not how often.

    Args:
        weights: One for each of the 2**BITS buckets that n-grams are hashed to. `bias`: the log-odds without any.
        length: Added for each unit of the logarithm of the text's length.

    Source: Weinberger et al. 2009, arXiv:0902.2206 (hashed features).
    """

    weights: list[float]
    bias: float
    length: float

    @cached_property
    def _weights(self) -> Floats:
        return np.array(self.weights)

    def score(self, text: str) -> float:
        """Probability that the large model gains nothing over the small one on this question."""
        seen, length = features(text)
        count = int(seen.sum())
        found = float(self._weights[seen].sum()) / max(count, 1) ** 0.5
        return float(1 / (1 + np.exp(-(self.bias + found + self.length * length))))


def features(text: str) -> tuple[Any, float]:
    """Which buckets a text's n-grams fall in, (2**BITS,) bool, and the logarithm of its length."""
    data = np.frombuffer(text.casefold().encode("utf-8", "replace")[-MOST_BYTES:], np.uint8).astype(np.uint32)
    seen = np.zeros(1 << BITS, dtype=bool)
    hashed = np.full(len(data), _START, dtype=np.uint32)
    for size in range(1, SIZES[-1] + 1):
        hashed = (hashed[: len(data) - size + 1] ^ data[size - 1 :]) * _PRIME
        if size in SIZES:
            seen[(hashed >> np.uint32(32 - BITS))] = True
    return seen, float(np.log1p(len(data)))


def router_scores(model: QuestionModel, texts: Sequence[str | None]) -> Floats:
    """(N,) scores of questions; one without a text is scored as an empty one."""
    plain = ["" if text is None else str(text) for text in texts]
    scores = {text: model.score(text) for text in set(plain)}
    return np.array([scores[text] for text in plain])


@dataclass(frozen=True, slots=True)
class Router:
    """Skips the stage where the model's score of the question is below the threshold.

    Args:
        otherwise: Decides on the questions that are not skipped.
    """

    model: QuestionModel
    ask_above: float
    otherwise: PrePolicy | None = None

    def decide(self, question: Question) -> Decision:
        if self.model.score(question.text) < self.ask_above:
            return Decision.DEFER
        return Decision.KEEP if self.otherwise is None else self.otherwise.decide(question)
