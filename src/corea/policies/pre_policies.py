"""Pre-policies: skip a stage, from the question alone."""

from dataclasses import dataclass

from corea.errors import ConfigError
from corea.types import Decision, Question


@dataclass(frozen=True, slots=True)
class SkipCategories:
    """Skips the stage for questions of these categories, whose answers would be deferred anyway.

    Args:
        categories: Values of `Question.category`.
    """

    categories: tuple[str, ...]

    def __post_init__(self) -> None:
        if isinstance(self.categories, str):
            raise ConfigError(f"pre-policy skip-categories: got {self.categories!r}, expected a list of categories")
        object.__setattr__(self, "categories", tuple(self.categories))

    def decide(self, question: Question) -> Decision:
        return Decision.DEFER if question.category in self.categories else Decision.KEEP


@dataclass(frozen=True, slots=True)
class SkipAll:
    """Skips the stage for every question."""

    def decide(self, question: Question) -> Decision:
        return Decision.DEFER


@dataclass(frozen=True, slots=True)
class SkipLong:
    """Skips the stage for long questions.

    Args:
        max_chars: Largest number of characters of all messages together that is not skipped.
    """

    max_chars: int

    def __post_init__(self) -> None:
        if self.max_chars < 1:
            raise ConfigError(f"pre-policy skip-long, max_chars: got {self.max_chars}, expected at least 1")

    def decide(self, question: Question) -> Decision:
        length = sum(len(message.content) for message in question.messages)
        return Decision.DEFER if length > self.max_chars else Decision.KEEP
