"""What a call to the last stage would have cost, learnt from the calls that were made."""

from dataclasses import dataclass, field
from decimal import Decimal
from threading import Lock

from corea.prices import Price
from corea.types import Completion, Question, Usage, replace


@dataclass(slots=True)
class BaselineEstimator:
    """Learns from calls made to the last stage what one that was not made would have cost. O(1) memory, any thread.

    The rule: prompt tokens follow the question's characters along the least-squares line of the calls seen
    (slope held between 0 and 1 token a character; one length seen: in proportion), completion tokens are
    their mean. Questions that were deferred are harder and often answered at more length, so the estimate may
    be high: it is always flagged.
    """

    calls: int = 0
    characters: int = 0
    characters_squared: int = 0
    characters_times_prompt: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def observe(self, question: Question, completion: Completion) -> None:
        """Takes in one call that was made."""
        length = _characters(question)
        with self._lock:
            self.calls += 1
            self.characters += length
            self.characters_squared += length * length
            self.characters_times_prompt += length * completion.usage.prompt_tokens
            self.prompt_tokens += completion.usage.prompt_tokens
            self.completion_tokens += completion.usage.completion_tokens

    def usage(self, question: Question) -> Usage | None:
        """The tokens expected of a call for this question; None before any call was seen."""
        if not self.calls:
            return None
        spread = self.calls * self.characters_squared - self.characters * self.characters
        mean_prompt, length = self.prompt_tokens / self.calls, _characters(question)
        if spread > 0:
            slope = (self.calls * self.characters_times_prompt - self.characters * self.prompt_tokens) / spread
            prompt = mean_prompt + min(max(slope, 0.0), 1.0) * (length - self.characters / self.calls)
        else:
            prompt = mean_prompt * length / (self.characters / self.calls) if self.characters else mean_prompt
        return Usage(
            prompt_tokens=max(round(prompt), 0),
            completion_tokens=round(self.completion_tokens / self.calls),
            estimated=True,
        )

    def estimate(self, question: Question, price: Price | None) -> Decimal | None:
        """What asking the last stage would have cost in USD; None where nothing is known to go by."""
        usage = self.usage(question)
        return None if price is None or usage is None else price.cost(usage)


def without_draft(usage: Usage, alone: Question, shown: Question) -> Usage:
    """What a call would have used that was not shown an earlier stage's draft: its prompt shrinks with its length.

    Args:
        alone: The question as the model would have been sent it; `shown` as it was.
    """
    share = _characters(alone) / max(_characters(shown), 1)
    return replace(
        usage,
        prompt_tokens=round(usage.prompt_tokens * share),
        cached_tokens=round(usage.cached_tokens * share),
        cache_write_tokens=round(usage.cache_write_tokens * share),
        cache_write_1h_tokens=round(usage.cache_write_1h_tokens * share),
        estimated=True,
    )


def _characters(question: Question) -> int:
    return sum(len(message.content) for message in question.messages)
