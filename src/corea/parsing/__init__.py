"""Reads answers and confidences out of text that anyone may have written."""

from corea.parsing.answer import find_answer, is_refusal, is_well_formed, read_answer, visible_text
from corea.parsing.cleaning import choice_letter
from corea.parsing.confidence import find_confidence, read_confidence
from corea.parsing.text import Extracted
from corea.parsing.thinking import is_visibly_blank, without_thinking

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
