"""The extension points ("plugs") of COREA: protocols of one method each.

To add one: a file in the folder named after it, and a line in that folder's table (see `corea.registry`).
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, runtime_checkable

from corea.types import Completion, Confidence, Decision, Question, Sampling, StreamPart, Verdict


@runtime_checkable
class Backend(Protocol):
    """A model that answers questions. A fake one makes everything above it testable without network or key.

    A backend raises `BackendError` (or a child) for any failure of the model or server, counts tokens, and
    honours cancellation. `model` is the configured name. Optional further verbs are the protocols below;
    optional `async close() -> None` frees what it holds; optional `capabilities: frozenset[str]` says which of "tools",
    "images" and "structured" (a form the answer must have) it can be sent beside text, where that is not all; optional
    `writes_tags = True` says that its models write tags without a prompt, which a client is not shown.
    """

    model: str

    async def complete(self, question: Question, sampling: Sampling) -> Completion: ...


@runtime_checkable
class Streamer(Protocol):
    """A backend that can also stream: pieces as they come, then one final `Completion` holding it all.

    A piece is text, or a `StreamPart` where it has other fields (tool calls, reasoning).
    """

    def stream(self, question: Question, sampling: Sampling) -> AsyncIterator[str | StreamPart | Completion]: ...


@runtime_checkable
class Scorer(Protocol):
    """A backend that can also score given text: exact where a server only shows its top few tokens."""

    async def score(self, question: Question, prefix: str, continuations: Sequence[str]) -> list[float]:
        """Natural-log probability of each continuation after `prefix` of the model's own reply to `question`."""
        ...


class Signal(Protocol):
    """A confidence signal. It always returns a Confidence, whose value is None, with a reason, where there is none.

    A signal that asks a model has the fields `backend` and `sampling`, and `k` where it asks more than once: they bound
    its cost. It asks through `corea.costs.call_log.ask` and returns the calls. `reads_tags = True` says that it reads a
    stated confidence: a client is not shown the tags of a stage with it; `reads_answer = True`, that it reads a short
    answer. Neither is used in `mode = "chat"`. The fields that the stage is sent beside messages and sampling
    (`response_format`, `tools`) are in the question's `meta["request"]`.
    """

    async def measure(self, question: Question, completion: Completion) -> Confidence: ...


class Policy(Protocol):
    """Keeps or defers an answer, also one without a confidence value (by default DEFER).

    A policy that compares `confidence.deciding` with a number may give it by `threshold_for(question) -> float | None`,
    for traces.
    """

    def decide(self, question: Question, confidence: Confidence) -> Decision: ...


class PrePolicy(Protocol):
    """Decides on the question alone: KEEP asks the stage, DEFER skips it and saves its cost."""

    def decide(self, question: Question) -> Decision: ...


class Grader(Protocol):
    """Judges a text against the question's reference answer."""

    def grade(self, question: Question, text: str) -> Verdict: ...


class Dataset(Protocol):
    """Questions with reference answers."""

    def load(self, split: str) -> list[Question]: ...


class Reward(Protocol):
    """Rewards for one group of G rollouts of the same question.

    `correct_G` in {0, 1}, `stated_G` each in [0, 1] or None where no confidence was stated, `formed_G` whether the
    text has all its parts, once each. Returns G floats.
    """

    def __call__(
        self, correct_G: Sequence[float], stated_G: Sequence[float | None], formed_G: Sequence[bool]
    ) -> list[float]: ...
