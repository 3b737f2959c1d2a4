"""Keeps an answer whose confidence, or calibrated score, is at or above tau."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from corea.errors import ConfigError
from corea.types import Confidence, Decision, Question


def uniform_of(question_id: str, salt: str = "") -> float:
    """A number in [0, 1) that looks random over ids and is always the same for one."""
    return int.from_bytes(blake2b(f"{salt}\0{question_id}".encode(), digest_size=7).digest(), "big") / (1 << 56)


def threshold_of(policy: Any, question: Question) -> float | None:
    """The number that a policy compares `Confidence.deciding` with, for this question; None where it has none."""
    found = getattr(policy, "threshold_for", None)
    return getattr(policy, "tau", None) if found is None else found(question)


@dataclass(frozen=True, slots=True)
class Threshold:
    """Keep where confidence > tau; at tau itself keep a share of the questions; below, defer.

    Stated confidences are few and round, so most questions sit exactly on a value: keeping a share of such a tie
    reaches the costs between two values. The draw is by the question's id: the same question is always treated
    alike, whatever the order, machine or restart.

    Args:
        tau: In [0, 1], or infinity to defer everything.
        tie_fraction: Share kept of the questions with confidence exactly tau; 1 is the published rule (>=).
        abstain_below: Below this confidence neither model answers: a person should. None: never.
        unstated: The decision if the signal gave no value.
        salt: Changes the draw for ties.

    Raises:
        ConfigError: A number is out of its range.
    """

    tau: float
    tie_fraction: float = 1.0
    abstain_below: float | None = None
    unstated: Decision = Decision.DEFER
    salt: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.tie_fraction <= 1:
            raise ConfigError(f"policy threshold, tie_fraction: got {self.tie_fraction}, expected a share in [0, 1]")
        if not (0 <= self.tau <= 1 or self.tau == float("inf")):
            raise ConfigError(
                f"policy threshold, tau: got {self.tau}, expected a number in [0, 1] (or inf: always defer)"
            )
        if self.abstain_below is not None and not 0 <= self.abstain_below <= min(self.tau, 1):
            raise ConfigError(
                f"policy threshold, abstain_below: got {self.abstain_below}, expected 0 to tau = {self.tau}"
            )

    def threshold_for(self, question: Question) -> float | None:
        """tau; None where everything is deferred."""
        return self.tau if self.tau <= 1 else None

    def decide(self, question: Question, confidence: Confidence) -> Decision:
        value = confidence.deciding
        if value is None or value != value:  # NaN cannot be compared
            return Decision(self.unstated)
        if value > self.tau:
            return Decision.KEEP
        if value == self.tau and (self.tie_fraction >= 1 or uniform_of(question.id, self.salt) < self.tie_fraction):
            return Decision.KEEP
        if self.abstain_below is not None and value < self.abstain_below:
            return Decision.ABSTAIN
        return Decision.DEFER
