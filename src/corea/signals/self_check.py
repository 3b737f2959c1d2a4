"""A second call that asks whether the answer is right: P(True)."""

import math
import re
from dataclasses import dataclass

from corea.errors import BackendError
from corea.protocols import Backend
from corea.reading import read_answer, visible_text
from corea.types import Completion, Confidence, Message, Question, Sampling, TokenLogprob, replace

NAME = "self_check"
YES = frozenset({"yes", "true", "correct", "right"})
NO = frozenset({"no", "false", "incorrect", "wrong"})
ASK = "Is the answer above right? Reply with one word: Yes or No."
ONE_WORD = Sampling(max_tokens=8, temperature=0.0, logprobs=True, top_logprobs=20)
_WORD = re.compile(r"[a-z]+")
_NOT = re.compile(r"\b(?:not|isn't|is not)\s+(?:correct|right|true)\b")


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """P(Yes) / (P(Yes) + P(No)) at the first token that says either; without probabilities, 1 or 0 by the word.

    Args:
        backend: Who is asked: the model that answered, or another one.
        ask: The words of the second question.
        sampling: `logprobs` and `top_logprobs` are asked for; a server that refuses them needs `top_logprobs = 0`. A
            model that reasons first needs more `max_tokens`.
        most_unseen: The largest share of probability at that token on neither word before the value is None.

    Source: Kadavath et al. 2022, arXiv:2207.05221, sec. 3 ("P(True)").
    """

    backend: Backend
    ask: str = ASK
    sampling: Sampling = ONE_WORD
    most_unseen: float = 0.5

    async def measure(self, question: Question, completion: Completion) -> Confidence:
        shown = visible_text(completion.text) or read_answer(completion.text)
        if not shown:
            return Confidence(value=None, signal=NAME, reason="there is no answer to check")
        messages = (*question.messages, Message("assistant", shown), Message("user", self.ask))
        try:
            reply = await self.backend.complete(replace(question, messages=messages), self.sampling)
        except BackendError as error:
            spent = (error.spent,) if isinstance(error.spent, Completion) else ()
            return Confidence(value=None, signal=NAME, reason=f"the second call failed: {error}", calls=spent)
        value, reason = self._judge(reply)
        return Confidence(value=value, signal=NAME, reason=reason, calls=(reply,))

    def _judge(self, reply: Completion) -> tuple[float | None, str]:
        """P(True) from the reply, and what to know about it."""
        for token in reply.logprobs or ():
            if _says(token.token) is None:
                continue
            if not token.top:
                break
            yes, no = _mass(token, True), _mass(token, False)
            unseen = max(0.0, 1.0 - yes - no)
            if unseen > self.most_unseen:
                return None, f"{unseen:.1%} of the probability is on neither yes nor no"
            return yes / (yes + no), f"{unseen:.1%} of the probability is on neither" if unseen >= 0.0005 else ""
        said = _said(reply.text)
        if said is None:
            return None, f"the reply says neither yes nor no: {reply.text[:40]!r}"
        return float(said), "from the words: the backend gave no token probabilities"


def _says(token: str) -> bool | None:
    """Whether a token is a word for yes (True) or no (False)."""
    word = token.strip(" \n\t*\"'.,:!▁Ġ").lower()
    return True if word in YES else False if word in NO else None


def _mass(token: TokenLogprob, wanted: bool) -> float:
    """Probability of all the words for yes (True) or no (False) at a token, in any spelling."""
    alternatives = dict(token.top) | {token.token: token.logprob}
    return min(1.0, math.fsum(math.exp(lp) for text, lp in alternatives.items() if _says(text) is wanted))


def _said(text: str) -> bool | None:
    """Yes or no by the first word that says either; "not correct" is no."""
    low = visible_text(text).lower()
    for word in _WORD.finditer(low):
        if word[0] in NO:
            return False
        if word[0] in YES:
            denied = _NOT.search(low)
            return not (denied and denied.start() < word.start() < denied.end())
    return None
