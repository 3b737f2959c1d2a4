"""Reads answers and confidences out of text that anyone may have written."""

from corea.reading.answer import declines, find_answer, read_answer
from corea.reading.confidence import find_confidence, read_confidence
from corea.reading.letters import choice_letter
from corea.reading.tags import is_well_formed, shows_nothing, visible_text, without_thinking
from corea.reading.text import Stated

__all__ = [
    "Stated",
    "choice_letter",
    "declines",
    "find_answer",
    "find_confidence",
    "is_well_formed",
    "read_answer",
    "read_confidence",
    "shows_nothing",
    "visible_text",
    "without_thinking",
]
