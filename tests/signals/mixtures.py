"""A model made by hand: whole texts with their probabilities, cut into tokens in one of several ways."""

import math
import re
from collections.abc import Callable, Sequence

from corea.parsing import read_confidence
from corea.types import Completion, Question, Sampling, TokenLogprob

Cut = Callable[[str], list[str]]


def _by(pattern: str) -> Cut:
    return lambda text: re.findall(pattern, text)


CUTS: dict[str, Cut] = {
    "characters": list,
    "digits": _by(r"\d|[A-Za-z]+|</| ?[^\w\s]|\s+"),  # Qwen, Gemma, Mistral: " ." may be one token
    "three digits": _by(r"\d{1,3}|[A-Za-z]+|</|[^\w\s]|\s+"),  # GPT-4, Llama 3
    "a space and digits": _by(r" ?\d+| ?[A-Za-z]+|</| ?[^\w\s]|\s+"),  # GPT-2
    "a point too": _by(r"0\.|1\.|\d{1,2}|[A-Za-z]+|</|[^\w\s]|\s+"),
    "whole numbers": _by(r"\d?\.?\d+%?|[A-Za-z]+|</|[^\w\s]|\s+"),
    "whole percentages": _by(r"\d+%|\d|[A-Za-z]+|</|[^\w\s]|\s+"),
}
PLACES = (
    "<answer>4</answer><confidence>{}</confidence>",
    "CONF: {}\n",
    "**Confidence:** {}\nDone.",
    '{{"answer": "4", "confidence": {}}}',
)


class Mixture:
    """A backend that shows its likeliest tokens, as a server does."""

    model = "mixture"

    def __init__(self, numbers: dict[str, float], place: str, cut: str) -> None:
        self.texts = {place.format(number): p for number, p in numbers.items()}
        self.cut = CUTS[cut]
        self.paths = [(self.cut(text), p) for text, p in self.texts.items()]

    @property
    def truth(self) -> float:
        """The mean of the values that its texts state."""
        values = {text: read_confidence(text) for text in self.texts}
        assert None not in values.values(), values
        return math.fsum(p * (values[text] or 0.0) for text, p in self.texts.items())

    async def complete(self, question: Question, sampling: Sampling) -> Completion:
        raise NotImplementedError

    def mass(self, path: Sequence[str]) -> float:
        return math.fsum(p for tokens, p in self.paths if tokens[: len(path)] == path)

    def wrote(self, text: str, top: int = 20) -> Completion:
        """One of its texts, with the probabilities of the tokens and of the likeliest others at each place."""
        written = self.cut(text)
        found: list[TokenLogprob] = []
        for i, token in enumerate(written):
            here = [(tokens[i], p) for tokens, p in self.paths if tokens[:i] == written[:i] and len(tokens) > i]
            total = math.fsum(p for _, p in here)
            shares = {t: math.log(math.fsum(p for u, p in here if u == t) / total) for t, _ in here}
            best = sorted(shares.items(), key=lambda item: -item[1])[:top]
            found.append(TokenLogprob(token, shares[token], tuple(best)))
        return Completion(text=text, model=self.model, logprobs=tuple(found))


class ScoringMixture(Mixture):
    """The same, which can also score: by the tokens of a text, as local engines do."""

    calls = 0

    async def score(self, question: Question, prefix: str, continuations: Sequence[str]) -> list[float]:
        self.calls += 1
        base = self.cut(prefix)
        return [self._score(base, self.cut(prefix + each), each) for each in continuations]

    def _score(self, base: list[str], joint: list[str], continuation: str) -> float:
        path = joint if joint[: len(base)] == base else base + self.cut(continuation)
        share = self.mass(path) / self.mass(base) if self.mass(base) else 0.0
        return math.log(share) if share > 0 else -60.0
