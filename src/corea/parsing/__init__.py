"""Reads answers and confidences out of text that anyone may have written."""

from corea.parsing.answer import find_answer, is_refusal, read_answer
from corea.parsing.confidence import find_confidence, read_confidence
from corea.parsing.letters import choice_letter
from corea.parsing.tags import is_visibly_blank, is_well_formed, visible_text, without_thinking
from corea.parsing.text import Extracted

__all__ = [
    "Extracted",
    "choice_letter",
    "find_answer",
    "find_confidence",
    "is_refusal",
    "is_visibly_blank",
    "is_well_formed",
    "read_answer",
    "read_confidence",
    "visible_text",
    "without_thinking",
]
