"""The expectation of the stated confidence over the probabilities of its digits: a continuous number.

A model that writes 0.85 gave some probability to 0.80 and 0.95 too. Two ways to weigh them:

- **exact**, where the backend can score given text (`Scorer`; see `scored`): every way to write a number there, 0.85,
  0.9, 1, 85 % or .85, is weighed by its probability behind the text before it;
- **from top_logprobs**, where a server gives the likeliest tokens at each place (see `alternatives`): every alternative
  at every token of the number is followed. A token may hold one digit or several ("0", ".", "85"; "0.8"; ".8"). The
  continuation of a token that was not written is unknown: it is bounded by the numbers that begin so ("0.9": 0.90 to
  0.99), and where these bounds leave the expectation open by more than `most_width`, the value is None.

Probability that was not seen (alternatives beyond the top few, or that state no number) is left out of the expectation
and named in the reason; beyond `most_unseen` the value is None.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from corea.errors import ConfigError
from corea.parsing import Extracted, find_confidence
from corea.protocols import Scorer
from corea.signals import alternatives, scored
from corea.signals.alternatives import WeightedValue
from corea.signals.number_forms import place_of
from corea.signals.tokens import tokens_within
from corea.types import Completion, Confidence, Question, TokenLogprob

NAME = "expected"
Spans = tuple[tuple[int, int], ...]
MENTIONED = 0.0005  # a share of probability below this is not named in the reason


@dataclass(frozen=True, slots=True)
class Expected:
    """The expected stated confidence.

    Args:
        backend: The stage's own, for exact scoring where it can score; None, or one that cannot: top_logprobs.
        most_unseen: The largest share of probability that may be missing before the value is None.
        most_width: The largest distance between the bounds of the expectation before the value is None.
    """

    backend: Any = None  # a Scorer, or any other Backend
    most_unseen: float = 0.2
    most_width: float = 0.1
    reads_tags: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.most_unseen < 1:
            raise ConfigError(f"signal expected: got most_unseen = {self.most_unseen}, expected one from 0 to below 1")
        if not 0 <= self.most_width <= 1:
            raise ConfigError(f"signal expected: got most_width = {self.most_width}, expected one from 0 to 1")

    @property
    def top_logprobs_wanted(self) -> int:
        """The number of alternatives a token must come with; 0 if the backend scores exactly."""
        return 0 if isinstance(self.backend, Scorer) else 20

    async def measure(self, question: Question, completion: Completion) -> Confidence:
        stated = find_confidence(completion.text)
        place = place_of(completion.text, stated) if stated else None
        if stated is None or place is None:
            return _none("the text states no confidence" if stated is None else "the number cannot be read by itself")
        if isinstance(self.backend, Scorer):
            prefix = completion.text[: stated.start]
            return self._weighed(await scored.branches(self.backend, question, prefix, place), ())
        tokens = _tokens(completion, stated)
        if not tokens:
            return _none("no token probabilities at the stated number; ask for them with sampling.top_logprobs = 20")
        if not any(token.top for _, token in tokens):
            return _none("no alternatives at the stated number; ask for them with sampling.top_logprobs = 20")
        spans = ((tokens[0][0], tokens[-1][0] + len(tokens[-1][1].token)),)
        return self._weighed(alternatives.branches(place, stated.start, tokens), spans)

    def _weighed(self, found: Sequence[WeightedValue], spans: Spans) -> Confidence:
        """The mean of the values, if enough of the probability was seen, and its bounds are close enough."""
        seen = math.fsum(each.mass for each in found)
        unseen = max(0.0, 1.0 - seen)
        if unseen > self.most_unseen or seen <= 0:
            return _none(
                f"{unseen:.1%} of the probability was not seen, more than the {self.most_unseen:.1%} allowed", spans
            )
        low = _mean([(each.mass, each.low) for each in found])
        high = _mean([(each.mass, each.high) for each in found])
        open_ = math.fsum(each.mass for each in found if each.low < each.high) / seen
        notes = [f"{unseen:.1%} of the probability was not seen"] if unseen >= MENTIONED else []
        notes += (
            [f"the last digits of {open_:.1%} were not seen: from {low:.3f} to {high:.3f}"]
            if open_ >= MENTIONED
            else []
        )
        if high - low > self.most_width:
            return _none("; ".join([*notes, f"expected at most {self.most_width:g} apart"]), spans)
        known = _mean([(each.mass, each.low) for each in found if each.low == each.high] or [(1.0, (low + high) / 2)])
        value = _mean([(each.mass, each.estimate(known)) for each in found])
        return Confidence(value=min(1.0, max(0.0, value)), signal=NAME, reason="; ".join(notes), spans=spans)


def _mean(weighted: Sequence[tuple[float, float]]) -> float:
    total = math.fsum(mass for mass, _ in weighted)
    return math.fsum(mass * value for mass, value in weighted) / total


def _none(reason: str, spans: Spans = ()) -> Confidence:
    return Confidence(value=None, signal=NAME, reason=reason, spans=spans)


def _tokens(completion: Completion, stated: Extracted[float]) -> list[tuple[int, TokenLogprob]]:
    """The tokens of the number, of the spaces before it, and the one behind it, where the number could have gone on."""
    tokens = tokens_within(completion, stated.start, stated.end)
    if tokens and tokens[0][0] == stated.start:
        before = tokens_within(completion, stated.start - 1, stated.start)
        tokens = [each for each in before if not each[1].token.strip(" ")] + tokens
    if tokens and tokens[-1][0] + len(tokens[-1][1].token) == stated.end:
        tokens = tokens + tokens_within(completion, stated.end, stated.end + 1)
    return tokens
