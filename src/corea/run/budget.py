"""A budget that stops a run before it is exceeded: each question's worst case is set aside before it is asked."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from corea.cascade import Cascade
from corea.costs.bounds import question_bound, stage_bounds, unbounded
from corea.datasets.question_source import QuestionSource
from corea.errors import ConfigError, DataError
from corea.hedge import LOST
from corea.money import read_usd
from corea.prices import EXACT
from corea.run.journal_lines import LostInFlight
from corea.stage import CUT_OFF, total
from corea.types import ZERO_USD, Decision, Question, Step


@dataclass(slots=True)
class Budget:
    """A spending limit, with the amounts set aside for questions in flight.

    Args:
        limit_usd: None sets no limit.
        spent_usd: Spent so far, earlier starts of the same run included: the limit holds for all of them together.
    """

    limit_usd: Decimal | None = None
    spent_usd: Decimal = ZERO_USD
    reserved_usd: Decimal = ZERO_USD
    _freed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        if self.limit_usd is not None:
            read_usd("budget-usd", self.limit_usd)

    async def reserve(self, at_most_usd: Decimal) -> bool:
        """Sets a worst case aside, waiting for questions in flight to settle; False where it cannot fit."""
        while not self._fits(at_most_usd) and not await self.grow(at_most_usd):
            if not self.reserved_usd:
                return False
            self._freed.clear()
            await self._freed.wait()
        self.reserved_usd = EXACT.add(self.reserved_usd, at_most_usd)
        return True

    async def grow(self, at_most_usd: Decimal) -> bool:
        """Raises the limit so that this much fits, where a budget of several workers has it; see `corea.run.grants`."""
        return False

    def settle(self, at_most_usd: Decimal, cost_usd: Decimal | None) -> None:
        """Replaces the amount set aside by the actual cost; an unknown cost counts as its worst case."""
        self.reserved_usd = EXACT.subtract(self.reserved_usd, at_most_usd)
        self.spent_usd = EXACT.add(self.spent_usd, at_most_usd if cost_usd is None else cost_usd)
        self._freed.set()

    def lower(self, at_most_usd: Decimal, now_at_most_usd: Decimal) -> None:
        """Lowers the amount set aside for a question in flight."""
        self.reserved_usd = EXACT.add(EXACT.subtract(self.reserved_usd, at_most_usd), now_at_most_usd)
        self._freed.set()

    def _fits(self, at_most_usd: Decimal) -> bool:
        if self.limit_usd is None:
            return True
        return EXACT.add(EXACT.add(self.spent_usd, self.reserved_usd), at_most_usd) <= self.limit_usd


def check_bounded(cascade: Cascade) -> None:
    """Refuses a budget where the worst case has no bound.

    Raises:
        ConfigError: A stage or its signal has no price, or no limit on what it may write.
    """
    lacking = unbounded(cascade.stages)
    if lacking is None:
        return
    stage, what = lacking
    if what == "price":
        raise ConfigError(f"budget: stage {stage.name} has no price, expected one; add it to [prices]")
    if what == "signal price":
        raise ConfigError(
            f"budget: the signal of stage {stage.name} asks a model that has no price, expected one; add it to [prices]"
        )
    raise ConfigError(
        f"budget: stage {stage.name} has no {what}, expected a limit, so that the worst case is known; "
        f"add [stages.{stage.name}.{what.removesuffix('.max_tokens')}] with max_tokens = 1024"
    )


class WorstCase:
    """The worst-case cost of a question in flight: in total, and up to the end of the current stage.

    Args:
        cascade: One that `check_bounded` has passed.
    """

    __slots__ = ("_draft", "_question", "_spent_usd", "_stages", "at_most_usd", "now_at_most_usd")

    def __init__(self, cascade: Cascade, question: Question) -> None:
        self._stages = cascade.stages
        self._question = question
        self._draft: str | None = None
        self._spent_usd = ZERO_USD
        self._bound()
        if not cascade.in_order:
            self.now_at_most_usd: Decimal = self.at_most_usd

    def goes_on(self, step: Step) -> bool:
        """True where another stage may be asked after this step."""
        if step.stage == self._stages[-1].name or step.error_kind in (CUT_OFF, LOST):
            return False
        return step.skipped is not None or step.error is not None or step.decision is Decision.DEFER

    def after(self, steps: Iterable[Step]) -> "WorstCase":
        """The same after these steps."""
        for step in steps:
            if self.goes_on(step):
                self.advance(step)
        return self

    @property
    def rest_usd(self) -> Decimal:
        """The part that is not spent yet."""
        return EXACT.subtract(self.at_most_usd, self._spent_usd)

    def advance(self, step: Step) -> None:
        """Adds the cost of a finished stage, before the next one is asked."""
        index = next(i for i, stage in enumerate(self._stages) if stage.name == step.stage)
        stage, self._stages = self._stages[index], self._stages[index + 1 :]
        cost = step.cost_usd
        self._spent_usd = self.now_at_most_usd if cost is None else EXACT.add(self._spent_usd, cost)
        if stage.pass_draft and step.completion is not None and step.error is None:
            self._draft = step.completion.text
        self._bound()

    def _bound(self) -> None:
        bounds = stage_bounds(self._stages, self._question, draft=self._draft)
        rest = total(bounds)
        assert rest is not None and bounds[0] is not None  # noqa: PT018  # the cascade is bounded
        self.at_most_usd: Decimal = EXACT.add(self._spent_usd, rest)
        self.now_at_most_usd: Decimal = EXACT.add(self._spent_usd, bounds[0])


def worst_case_usd(cascade: Cascade, question: Question) -> Decimal:
    """The most that a question can cost (see `corea.costs.bounds`), of a cascade that `check_bounded` has passed."""
    bound = question_bound(cascade.stages, question)
    assert bound is not None
    return bound


def bound_lost(cascade: Cascade, source: QuestionSource, lost: LostInFlight) -> None:
    """Bounds the cost of questions that were in flight at kills of a run without a budget."""
    if not lost.unbounded or source.is_pipe:
        return
    for row in source.rows():
        if not isinstance(row, DataError) and (times := lost.unbounded.pop(row.number, 0)):
            worst = worst_case_usd(cascade, row.question)
            lost.at_most_usd = EXACT.add(lost.at_most_usd, EXACT.multiply(worst, times))
