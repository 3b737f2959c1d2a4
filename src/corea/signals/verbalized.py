"""The confidence that a model states about its own answer."""

from dataclasses import dataclass
from typing import ClassVar

from corea.parsing import read_confidence
from corea.types import Completion, Confidence, Question


@dataclass(frozen=True, slots=True)
class Verbalized:
    """The number stated in the text; if there is none, the one recorded with a replayed answer."""

    reads_tags: ClassVar[bool] = True

    async def measure(self, question: Question, completion: Completion) -> Confidence:
        value = read_confidence(completion.text)
        if value is not None:
            return Confidence(value=value, signal="verbalized")
        if completion.confidence is not None:
            return Confidence(value=completion.confidence, signal="verbalized", reason="recorded with the answer")
        return Confidence(value=None, signal="verbalized", reason="the text states no confidence")
