"""Completions and backends written by hand."""

import math

from corea.types import Completion, Question, Sampling, TokenLogprob

QUESTION = Question.of("What is 2 + 2?")


def wrote(text: str, **fields: object) -> Completion:
    return Completion(text=text, model="stub", **fields)  # type: ignore[arg-type]


def tokens(*written: str | tuple[str, dict[str, float]]) -> Completion:
    """A completion from its tokens: a plain one is certain, others come with their alternatives' probabilities."""
    made: list[TokenLogprob] = []
    for token in written:
        text, tops = (token, {token: 1.0}) if isinstance(token, str) else token
        best_first = sorted(tops.items(), key=lambda item: -item[1])
        made.append(TokenLogprob(text, math.log(tops[text]), tuple((t, math.log(p)) for t, p in best_first)))
    return wrote("".join(token.token for token in made), logprobs=tuple(made))


class Stub:
    """Replies in order; an exception is raised. It also scores where `scores` is given."""

    model = "stub"

    def __init__(self, *replies: Completion | Exception) -> None:
        self.replies = list(replies)
        self.asked: list[tuple[Question, Sampling]] = []

    async def complete(self, question: Question, sampling: Sampling) -> Completion:
        self.asked.append((question, sampling))
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply


class ScoringStub(Stub):
    def __init__(self, scores: dict[str, float]) -> None:
        super().__init__()
        self.scores = scores
        self.prefixes: list[str] = []

    async def score(self, question: Question, prefix: str, continuations: list[str]) -> list[float]:
        self.prefixes.append(prefix)
        return [math.log(self.scores.get(text, 1e-12)) for text in continuations]
