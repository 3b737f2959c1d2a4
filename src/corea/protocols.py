"""The plugs: COREA is extended here and nowhere else. Each is a protocol of one method.

To add one: a file in the folder named after it, and a line in that folder's table (see `corea.registry`).
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, runtime_checkable

from corea.types import Completion, Confidence, Decision, Question, Sampling, Verdict


@runtime_checkable
class Backend(Protocol):
    """Something that answers a question. The one seam to the outside; a fake one makes all above it testable.

    A backend raises `BackendError` (or a child) for whatever goes wrong at the far end, counts tokens, and
    honours cancellation. `model` is the configured name. Optional further verbs are the protocols below;
    optional `async close() -> None` frees what it holds; optional `capabilities: frozenset[str]` says which of "tools",
    "images" and "structured" (a form the answer must have) it can be sent beside text, where that is not all.
    """

    model: str

    async def complete(self, question: Question, sampling: Sampling) -> Completion: ...


@runtime_checkable
class Streamer(Protocol):
    """A backend that can also stream: text pieces as they come, then one final `Completion` holding it all."""

    def stream(self, question: Question, sampling: Sampling) -> AsyncIterator[str | Completion]: ...


@runtime_checkable
class Scorer(Protocol):
    """A backend that can also score given text: exact where a server only shows its top few tokens."""

    async def score(self, question: Question, prefix: str, continuations: Sequence[str]) -> list[float]:
        """Natural-log probability of each continuation after `prefix` of the model's own reply to `question`."""
        ...


class Signal(Protocol):
    """How sure one may be of an answer. It always returns a Confidence; its value is None, with a reason, when
    it cannot be computed.

    A signal that asks a model again has the fields `backend` and `sampling`, and `k` where it asks more than once: they
    tell what it can cost. It asks through `corea.costs.call_log.ask` and returns the calls.
    """

    async def measure(self, question: Question, completion: Completion) -> Confidence: ...


class Policy(Protocol):
    """Keeps or defers an answer. A confidence whose value is None is the policy's to decide: by default DEFER."""

    def decide(self, question: Question, confidence: Confidence) -> Decision: ...


class PrePolicy(Protocol):
    """Looks at the question alone: KEEP lets the stage try, DEFER skips it, so that it is not paid for in vain."""

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
