"""The calls of the audit about a kept question: the last stage is asked, and a judge compares the two answers."""

import asyncio
import logging
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from corea.costs.bounds import RETOKENIZED, answer_limit
from corea.gateway.audit.traffic import Traffic, text_of
from corea.gateway.chat.routing import bound_assumptions, worst_costs
from corea.gateway.ops.settings import GatewaySettings
from corea.stage import attempt
from corea.types import Question, Step

log: logging.Logger = logging.getLogger("corea.gateway")


class PairJudge(Protocol):
    """A model that says which of two answers to a question is better."""

    @property
    def model(self) -> str:
        """Its name."""
        ...

    def most_usd(self, question: Question, draft: str, answer_tokens: int) -> Decimal:
        """The most that comparing a draft with an answer of at most so many tokens can cost."""
        ...

    async def compare(self, question: Question, draft: str | None, answer: str) -> tuple[float | None, Decimal]:
        """1.0 for the answer, -1.0 for the draft, 0.0 for a tie, None where its calls failed; and their cost in USD."""
        ...


@dataclass(slots=True)
class AuditCalls:
    """Makes the calls.

    Args:
        judge: Compares the answers of judged cascades; None: there is none.
    """

    settings: GatewaySettings
    judge: PairJudge | None = None

    def reserve(self, traffic: Traffic) -> Decimal:
        """The most that the calls about a kept question can cost, in USD."""
        last, question = traffic.plan.cascade.stages[-1], traffic.plan.question
        most = worst_costs((last,), question, self.settings)[0]
        if not traffic.judge or self.judge is None:
            return most
        written = answer_limit(last.sampling, bound_assumptions(self.settings)) or 0
        return most + self.judge.most_usd(question, text_of(traffic.draft) or "", RETOKENIZED * written)

    async def ask(self, traffic: Traffic, reserve: Decimal) -> Decimal:
        """Sets the reference and the verdict of a kept question, as far as there are any; gives the cost in USD.

        Args:
            reserve: The cost where that of a call is not known.
        """
        traffic.reference = step = await self._last_stage(traffic)
        if step is None:
            return reserve
        answer, paid = text_of(step), step.cost_usd
        if not traffic.judge or self.judge is None or step.error is not None or answer is None:
            return reserve if paid is None else paid
        question, draft = traffic.plan.question, text_of(traffic.draft)
        try:
            traffic.preferred, cost = await self.judge.compare(question, draft, answer)
        except Exception as error:  # likewise
            log.warning("audit of %s: the judge failed (%s)", traffic.trace.trace_id, type(error).__name__)
            return reserve
        return reserve if paid is None else paid + cost

    async def _last_stage(self, traffic: Traffic) -> Step | None:
        """The last stage's step; None where it failed in another way than by its server."""
        last, question = traffic.plan.cascade.stages[-1], traffic.plan.question
        try:
            async with asyncio.timeout(self.settings.timeouts.request_seconds):
                return await attempt(last, question, None, None, last=True, clock=time.perf_counter)
        except Exception as error:  # also a bug in a plug-in: the audit goes on
            log.warning("audit of %s: the last stage failed (%s)", traffic.trace.trace_id, type(error).__name__)
            return None
