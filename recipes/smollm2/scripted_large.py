"""A large stage whose answers are known: the reference, but for a stated share of questions. No model is asked."""

import hashlib
from typing import Any

from corea.backends.fake import FakeBackend
from corea.types import Question
from recipes.smollm2.questions import EasyMaths

SOURCES = (("validation", 2031, 900), ("test", 2028, 400))  # splits, seeds and numbers of the questions it knows


class ScriptedLarge(FakeBackend):
    """Answers questions of the recipe's validation and test splits rightly, but for one in `one_wrong_in` of them.

    Which ones are wrong depends on the question's text alone.
    """

    def __init__(self, model: str = "scripted-large", one_wrong_in: int = 20) -> None:
        super().__init__(model, self._answer)
        self.one_wrong_in: int = one_wrong_in
        self.known: dict[str, Any] = {
            question.text: question.reference
            for split, seed, n in SOURCES
            for question in EasyMaths(n=n, seed=seed).load(split)
        }

    def _answer(self, question: Question) -> str:
        answer = int(self.known[question.text])
        wrong = int(hashlib.sha256(f"large {question.text}".encode()).hexdigest(), 16) % self.one_wrong_in == 0
        return f"<answer>{answer + 1 if wrong else answer}</answer>"
