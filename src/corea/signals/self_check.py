"""A second call that asks whether the answer is right: P(True)."""

import math
from dataclasses import dataclass

from corea.costs.call_log import ask
from corea.errors import BackendError
from corea.parsing import read_answer, visible_text
from corea.protocols import Backend
from corea.signals.self_verdict import SelfVerdict, find_verdict, token_verdict
from corea.signals.tokens import keep_spans, tokens_within
from corea.types import Completion, Confidence, Message, Question, Sampling, TokenLogprob, replace

NAME = "self_check"
ASK = "Is the answer above right? Reply with one word: Yes or No."
ONE_WORD = Sampling(max_tokens=8, temperature=0.0, logprobs=True, top_logprobs=20)


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """P(Yes) / (P(Yes) + P(No)) where the reply begins to say either; without probabilities, 1 or 0 by its words.

    Args:
        backend: The model that is asked: the one that answered, or another.
        ask: The text of the second question.
        sampling: `logprobs` and `top_logprobs` are asked for; a server that refuses them needs `top_logprobs = 0`. A
            model that reasons first needs more `max_tokens`.
        most_unseen: The largest share of probability at that token on neither before the value is None.

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
            reply = await ask(self.backend, replace(question, messages=messages), self.sampling)
        except BackendError as error:
            spent = (error.spent,) if isinstance(error.spent, Completion) else ()
            return Confidence(value=None, signal=NAME, reason=f"the second call failed: {error}", calls=spent)
        shown = visible_text(reply.text)
        verdict = find_verdict(shown)
        at = reply.text.rfind(shown) + verdict.at if verdict and shown in reply.text else None
        value, reason = self._judge(reply, verdict, at)
        used = keep_spans(reply, () if at is None else [(at, at + 1)])
        return Confidence(value=value, signal=NAME, reason=reason, calls=(used,))

    def _judge(self, reply: Completion, verdict: SelfVerdict | None, at: int | None) -> tuple[float | None, str]:
        """P(True) from the reply, and a note on it."""
        if verdict is None:
            return None, f"the reply says neither yes nor no: {reply.text[:40]!r}"
        tokens = [] if at is None else tokens_within(reply, at, at + 1)
        if not tokens or not tokens[0][1].top:
            return float(verdict.right), "from the words: the backend gave no token probabilities"
        yes, no = _masses(tokens[0][1], verdict.right)
        unseen = max(0.0, 1.0 - yes - no)
        if unseen > self.most_unseen:
            return None, f"{unseen:.1%} of the probability is on neither yes nor no"
        return yes / (yes + no), f"{unseen:.1%} of the probability is on neither" if unseen >= 0.0005 else ""


def _masses(token: TokenLogprob, right: bool) -> tuple[float, float]:
    """Probability of yes and of no at a token, in any spelling; the written token counts as its whole word."""
    says = {text: token_verdict(text) for text, _ in token.top} | {token.token: right}
    masses = dict(token.top) | {token.token: token.logprob}
    yes, no = (math.fsum(math.exp(masses[text]) for text in says if says[text] is wanted) for wanted in (True, False))
    return min(1.0, yes), min(1.0, no)
