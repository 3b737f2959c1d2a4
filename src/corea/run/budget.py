"""A budget that stops a run before it is exceeded: each question's worst case is set aside before it is asked."""

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast

import msgspec

from corea.cascade import Cascade
from corea.errors import ConfigError
from corea.prices import EXACT
from corea.stage import Stage
from corea.types import ZERO_USD, Question, Sampling

TEMPLATE_TOKENS = 64  # what a chat template may add to a conversation (a default system text, headers) ...
MESSAGE_TOKENS = 16  # ... and to each message
DRAFT_BYTES_PER_TOKEN = 4  # of a draft that is handed over: its tokens, as another tokenizer may count them


@dataclass(slots=True)
class Budget:
    """What is left of a limit, with what is set aside for questions in flight.

    Args:
        limit_usd: None sets no limit.
        spent_usd: What earlier starts of the same run have spent: the limit is for all of them together.
    """

    limit_usd: Decimal | None = None
    spent_usd: Decimal = ZERO_USD
    reserved_usd: Decimal = ZERO_USD
    _freed: asyncio.Event = field(default_factory=asyncio.Event)

    async def reserve(self, at_most_usd: Decimal) -> bool:
        """Sets a worst case aside; waits for questions in flight to turn out cheaper; False when it cannot fit."""
        while not self._fits(at_most_usd):
            if not self.reserved_usd:
                return False
            self._freed.clear()
            await self._freed.wait()
        self.reserved_usd = EXACT.add(self.reserved_usd, at_most_usd)
        return True

    def settle(self, at_most_usd: Decimal, cost_usd: Decimal | None) -> None:
        """Puts the real cost in the place of what was set aside; an unknown cost counts as its worst case."""
        self.reserved_usd = EXACT.subtract(self.reserved_usd, at_most_usd)
        self.spent_usd = EXACT.add(self.spent_usd, at_most_usd if cost_usd is None else cost_usd)
        self._freed.set()

    def _fits(self, at_most_usd: Decimal) -> bool:
        if self.limit_usd is None:
            return True
        return EXACT.add(EXACT.add(self.spent_usd, self.reserved_usd), at_most_usd) <= self.limit_usd


def check_bounded(cascade: Cascade) -> None:
    """Refuses a budget where no worst case can be known.

    Raises:
        ConfigError: A stage has no price, or it or its signal has no limit on what it may write.
    """
    for stage in cascade.stages:
        if stage.price is None:
            raise ConfigError(f"budget: stage {stage.name} has no price, expected one; add it to [prices]")
        samplings = {"sampling": stage.sampling}
        if signal_calls_at_most(stage):
            samplings["signal.sampling"] = _signal_sampling(stage)
        for key, sampling in samplings.items():
            if sampling.max_tokens is None:
                raise ConfigError(
                    f"budget: stage {stage.name} has no {key}.max_tokens, expected a limit, so that the worst case is "
                    f"known; add [stages.{stage.name}.{key}] with max_tokens = 1024"
                )


def worst_case_usd(cascade: Cascade, question: Question) -> Decimal:
    """What a question can cost at most when every stage is asked and writes all it may.

    A prompt has at most as many tokens as bytes (every tokenizer in use takes at least one byte a token),
    plus what a chat template adds. Attempts that fail may be billed too, so each stage counts as often as its
    backend tries.
    """
    total, draft_tokens = ZERO_USD, 0
    for stage in cascade.stages:
        prompt_tokens = _prompt_tokens(stage, question) + draft_tokens
        total = EXACT.add(total, _stage_worst_case(stage, prompt_tokens))
        draft_tokens = DRAFT_BYTES_PER_TOKEN * (stage.sampling.max_tokens or 0) if stage.hand_over_draft else 0
    return total


def _prompt_tokens(stage: Stage, question: Question) -> int:
    asked = stage.prompt.render(question) if stage.prompt else question
    tokens = TEMPLATE_TOKENS
    for message in asked.messages:
        body = msgspec.json.encode(message.raw) if message.raw is not None else message.content.encode()
        tokens += len(body) + MESSAGE_TOKENS
    return tokens


def _stage_worst_case(stage: Stage, prompt_tokens: int) -> Decimal:
    max_tokens = stage.sampling.max_tokens
    if stage.price is None or max_tokens is None:
        return ZERO_USD
    worst = EXACT.multiply(stage.price.at_most(prompt_tokens, max_tokens), attempts_at_most(stage.backend))
    if calls := signal_calls_at_most(stage):
        price, limit = stage.signal_price or stage.price, _signal_sampling(stage).max_tokens or 0
        asked_tokens = prompt_tokens + DRAFT_BYTES_PER_TOKEN * max_tokens + TEMPLATE_TOKENS  # it may see the answer
        times = calls * attempts_at_most(cast(Any, stage.signal).backend)
        worst = EXACT.add(worst, EXACT.multiply(price.at_most(asked_tokens, limit), times))
    return worst


def signal_calls_at_most(stage: Stage) -> int:
    """How many further calls a signal makes at most: its `k`, or one, where it has a backend and a sampling."""
    if getattr(stage.signal, "backend", None) is None or not hasattr(stage.signal, "sampling"):
        return 0
    return int(getattr(stage.signal, "k", 1))


def _signal_sampling(stage: Stage) -> Sampling:
    return getattr(stage.signal, "sampling", stage.sampling)


def attempts_at_most(backend: Any) -> int:
    """How often a backend may call the far end for one completion: 1 + its `max_retries`, where it has such."""
    settings = getattr(backend, "settings", backend)
    return 1 + int(getattr(settings, "max_retries", 0) or 0)
