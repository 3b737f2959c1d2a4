"""Reads answers and confidences out of text that anyone may have written."""

from corea.parsing.answer import declines, find_answer, read_answer
from corea.parsing.confidence import find_confidence, read_confidence
from corea.parsing.letters import choice_letter
from corea.parsing.tags import is_well_formed, shows_nothing, visible_text, without_thinking
from corea.parsing.text import Stated

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
