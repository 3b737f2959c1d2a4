"""Reading of answers and confidences from the text of any model.

In the order in which a text meets them: `thinking` separates reasoning from the visible text; `text` and `languages`
are the string functions and the words that all patterns share.

Answers: `answer` tries the announcing patterns (`answer_patterns`, `json_answer`), then the end of the text
(`final_sentence`, whose values `sentence_result` reads with `numbers`); `discourse` rules out sentences that are not
the writer's answer, and `cleaning` removes markup.

Confidences: `confidence` tries labels (`confidence_labels`, `confidence_values`), then sentences
(`confidence_sentences`), and selects by their roles (`confidence_roles`).
"""

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
