"""The questions given to a cascade: one or a stream, as texts or as `Question`s."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping

from corea.errors import ConfigError
from corea.types import Question

Questions = Iterable[Question | str] | AsyncIterable[Question | str]


def as_question(question: Question | str, id: str = "question") -> Question:
    """The question; a text becomes one of a single turn.

    Raises:
        ConfigError: It is neither, or blank: a blank question would be paid for in vain.
    """
    if isinstance(question, str):
        if not question.strip():
            raise ConfigError(f"{id}: got a blank text, expected a question; leave it out")
        return Question.of(question, id=id)
    if not isinstance(question, Question):  # pyright: ignore[reportUnnecessaryIsInstance]  # from untyped programs
        raise ConfigError(f"{id}: got {_kind_of(question)}, expected a text or a Question; Question.of(text) makes one")
    return question


def question_stream(questions: Questions) -> AsyncIterator[Question | str]:
    """An asynchronous iterator over any iterable of questions.

    Raises:
        ConfigError: It is a single question or text, or no iterable at all.
    """
    if isinstance(questions, AsyncIterable):
        return aiter(questions)
    if isinstance(questions, str | bytes | Mapping) or not isinstance(questions, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(
            f"questions: got {_kind_of(questions)}, expected several questions, such as a list of texts; "
            "ask(...) takes one"
        )
    return _each(questions)


async def _each(questions: Iterable[Question | str]) -> AsyncIterator[Question | str]:
    for question in questions:
        yield question


def _kind_of(value: object) -> str:
    return "None" if value is None else f"an object of type {type(value).__name__}"
