"""The judge of `[calibrate.judge]` on live traffic: the audit of a gateway compares kept answers by it."""

import asyncio
import logging
import time
from dataclasses import dataclass
from decimal import Decimal

from corea.costs.bounds import BoundAssumptions, question_bound
from corea.errors import CoreaError
from corea.evaluate.judge import ORDERS, AnswerPair, Judge, both_orders
from corea.prices import EXACT
from corea.stage import attempt
from corea.types import ZERO_USD, Completion, Question

log: logging.Logger = logging.getLogger("corea.judge")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveJudge:
    """Compares one pair at a time, as `Judge` does many; a `PairJudge` of the gateway.

    Args:
        judge: Its stage has a price.
        seconds: Time limit of a call.
        assumed_tokens: The most that a reply has, where the sampling sets no limit.
    """

    judge: Judge
    seconds: float
    assumed_tokens: int

    @property
    def model(self) -> str:
        """The model's name."""
        return self.judge.stage.backend.model

    def most_usd(self, question: Question, draft: str, answer_tokens: int) -> Decimal:
        """The most that comparing a draft with an answer of at most so many tokens can cost."""
        longest = AnswerPair(question=question, draft=draft, answer="a" * answer_tokens)  # a bound counts bytes
        return EXACT.multiply(self._call_usd(self.judge.asked(longest, ORDERS[0])), len(ORDERS))

    def _call_usd(self, asked: Question) -> Decimal:
        """The most that one call can cost, with all attempts."""
        most = question_bound((self.judge.stage,), asked, BoundAssumptions(max_tokens=self.assumed_tokens))
        assert most is not None  # its stage has a price
        return most

    async def compare(self, question: Question, draft: str | None, answer: str) -> tuple[float | None, Decimal]:
        """1.0 for the answer, -1.0 for the draft, 0.0 for a tie, None where a call failed; and the cost in USD.

        Equal texts are a tie without a call, and there is nothing to ask where there is no draft: the answer is better.
        """
        pair = AnswerPair(question=question, draft=draft if draft and draft.strip() else None, answer=answer)
        if not pair.asked:
            return (1.0 if pair.draft is None else 0.0), ZERO_USD
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._reply(self.judge.asked(pair, order))) for order in ORDERS]
        (first, paid), (second, more) = (task.result() for task in tasks)
        preferred, why = both_orders(first, second)
        if why == "unread":
            log.warning("the judge %s gave a verdict that cannot be read; it counts as a tie", self.model)
        return (None if why == "failed" else preferred), EXACT.add(paid, more)

    async def _reply(self, asked: Question) -> tuple[Completion | None, Decimal]:
        """A reply and its cost; None where the call failed, at the most that it can cost where that is not known."""
        most = self._call_usd(asked)
        try:
            async with asyncio.timeout(self.seconds):
                step = await attempt(self.judge.stage, asked, None, None, last=True, clock=time.perf_counter)
        except (CoreaError, TimeoutError, OSError) as error:
            log.warning("the judge %s failed: %s", self.model, type(error).__name__)
            return None, most
        if step.error is not None:
            log.warning("the judge %s failed: %s", self.model, step.error_kind)
        return (None if step.error is not None else step.completion), most if step.cost_usd is None else step.cost_usd
