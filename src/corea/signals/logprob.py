"""The model's own probability of the tokens that it wrote: of all, or of those of its answer."""

import math
from dataclasses import dataclass
from typing import ClassVar

from corea.parsing import find_answer
from corea.signals.tokens import tokens_within
from corea.types import Completion, Confidence, Question

PARTLY_KEPT = "only some token probabilities were kept; keep all with sampling.logprobs = true"
NO_LOGPROBS = "the backend gave no token probabilities; ask for them with sampling.logprobs = true"


@dataclass(frozen=True, slots=True)
class MeanTokenProbability:
    """The arithmetic mean of the probabilities of all tokens written.

    Source: the "AvgProb" rows of arXiv:2603.03752.
    """

    @property
    def logprobs_wanted(self) -> bool:
        """Completions must come with log-probabilities."""
        return True

    async def measure(self, question: Question, completion: Completion) -> Confidence:
        name = "mean_token_probability"
        if not completion.logprobs:
            return Confidence(value=None, signal=name, reason=NO_LOGPROBS)
        if completion.logprobs_at:
            return Confidence(value=None, signal=name, reason=PARTLY_KEPT)
        total = sum(min(1.0, math.exp(token.logprob)) for token in completion.logprobs)
        return Confidence(value=total / len(completion.logprobs), signal=name)


@dataclass(frozen=True, slots=True)
class AnswerTokenProbability:
    """The probability of the answer's tokens together, given all before them: their product.

    Of a lettered choice ("B) bank") the letter alone counts. A token that holds more than the answer counts whole.
    """

    reads_answer: ClassVar[bool] = True

    @property
    def logprobs_wanted(self) -> bool:
        """Completions must come with log-probabilities."""
        return True

    async def measure(self, question: Question, completion: Completion) -> Confidence:
        name = "answer_token_probability"
        if not completion.logprobs:
            return Confidence(value=None, signal=name, reason=NO_LOGPROBS)
        answer = find_answer(completion.text, choices=len(question.choices) or None)
        if answer is None:
            return Confidence(value=None, signal=name, reason="no answer was found in the text", spans=())
        start, end = answer.start, answer.end
        if len(answer.value) == 1:
            start = max(start, completion.text.upper().find(answer.value.upper(), start, end))
            end = start + 1
        tokens = tokens_within(completion, start, end)
        if not tokens:
            return Confidence(value=None, signal=name, reason="the tokens do not join to the text")
        value = math.exp(min(0.0, sum(token.logprob for _, token in tokens)))
        return Confidence(value=value, signal=name, spans=((start, end),))
