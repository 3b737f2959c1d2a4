"""Recorded answers: one model's answer to one question, read from a recording, a run, or a live model."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAnswer:
    """One answer. None stands for a value that the source does not state.

    Args:
        correct: 1.0 right, 0.0 wrong, None without a label; in a run, of the first stage's own answer.
        answer: The extracted answer as text.
        numbers: Every numeric column by name: "confidence", "cost_usd", "prompt_tokens", "completion_tokens", and
            further signals; in a run, of the first stage.
        confidence_kind: The kind of signal behind "confidence", such as "verbalized".
        cluster: The same for questions that are one question; None where the source does not hold its text.
        disputed: The source itself doubts the label.
        failed: No answer was obtained.
        estimated: Token counts behind the cost are estimates.
        grader: The grader that graded it here; "" where the source brought its own grade.
        counted_as_free: A line for each model that has no price and is counted as free.
        kept: In a run, the first stage's answer was returned; None in a recording of one model.
        later_correct, later_cost_usd: In a run, of the answer returned after deferring, and of all later stages.
    """

    id: str
    correct: float | None
    model: str = ""
    answer: str | None = None
    category: str | None = None
    numbers: Mapping[str, float] = field(default_factory=dict[str, float])
    confidence_kind: str = ""
    cluster: str | None = None
    disputed: bool = False
    failed: bool = False
    estimated: bool = False
    grader: str = ""
    counted_as_free: tuple[str, ...] = ()
    kept: bool | None = None
    later_correct: float | None = None
    later_cost_usd: float | None = None

    @property
    def confidence(self) -> float | None:
        """The main confidence, as recorded."""
        return self.numbers.get("confidence")

    @property
    def cost_usd(self) -> float | None:
        """USD, as recorded."""
        return self.numbers.get("cost_usd")


def cluster_of(*texts: str) -> str:
    """A short name that equal texts share, but for case, spaces and punctuation at their ends."""
    plain = (unicodedata.normalize("NFKC", text).casefold() for text in texts)
    said = "\0".join(re.sub(r"\s+", " ", text).strip(" .?!:;,") for text in plain)
    return blake2b(said.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSet:
    """One model's answers by question id, in the order of the source."""

    answers: Mapping[str, RecordedAnswer]
    model: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.answers)
