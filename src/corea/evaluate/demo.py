"""What `corea demo` shows: two models on the same questions, the cascade between them, and what to hold it against."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from corea.cascade import Cascade
from corea.evaluate.outcomes import Outcomes, collect
from corea.evaluate.table import Pair, Row, SignalQuality, as_dicts, quality, rows
from corea.ledger import Ledger
from corea.metrics import cascade_frontier
from corea.policies.threshold import Threshold, uniform_of
from corea.types import Question, Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a demo found.

    Args:
        taus: The threshold, or one for each half of the questions; `chosen_on` says where it was chosen, which is
            never where it is judged.
        traces: The cascade itself at that threshold, asked through the whole machine; `ledger` adds them up.
        estimated: Whether token counts, and so every cost, are estimates.
    """

    pair: Pair
    taus: tuple[float, ...]
    chosen_on: str
    table: list[Row]
    signal: SignalQuality
    traces: list[Trace]
    ledger: Ledger
    estimated: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "questions": len(self.pair),
            "taus": self.taus,
            "tau_chosen_on": self.chosen_on,
            "costs_estimated": self.estimated,
            "table": as_dicts(self.table),
            "signal": asdict(self.signal),
            "ledger": self.ledger.as_dict(),
        }


def pair_of(small: Outcomes, large: Outcomes) -> Pair:
    """Two models' outcomes on the same questions, side by side."""
    return Pair(
        confidence=small.confidence,
        small_correct=small.correct,
        large_correct=large.correct,
        small_cost=small.cost_usd,
        large_cost=large.cost_usd,
    )


async def show(
    cascade: Cascade,
    questions: Sequence[Question],
    *,
    max_drop: float | None = None,
    on_trace: Callable[[str, Trace], None] = lambda what, trace: None,
) -> Shown:
    """Asks both models all questions, and then the cascade.

    Args:
        max_drop: Choose a threshold on each half of the questions (by a hash of the id), as the cheapest that loses at
            most so much there, and judge it on the other half. None: take the cascade's own.
        on_trace: Told what is being asked ("small", "large", "cascade") and each trace, for a progress display.
    """
    first, last = cascade.stages[0], cascade.stages[-1]
    small = await collect(first, questions, on_trace=lambda trace: on_trace("small", trace))
    large = await collect(replace(last, signal=None), questions, on_trace=lambda trace: on_trace("large", trace))
    policies, chosen_on = [first.policy], "by the configuration"
    halves = [list(range(len(questions)))]
    if max_drop is not None:
        halves = [
            [i for i in halves[0] if (uniform_of(questions[i].id, "half") < 0.5) is side] for side in (True, False)
        ]
        policies = [choose_threshold(pair_of(small.take(o), large.take(o)), max_drop) for o in reversed(halves)]
        chosen_on = f"for each half on the other half: the cheapest that loses at most {100 * max_drop:g} points there"
    ledger, by_id = Ledger(), dict[str, Trace]()
    for half, policy in zip(halves, policies, strict=True):
        stages = (replace(first, policy=policy), *cascade.stages[1:])
        asked = replace(cascade, stages=stages).ask_many([questions[i] for i in half])
        async for trace in asked:
            ledger.add(trace)
            by_id[trace.question_id] = trace
            on_trace("cascade", trace)
    traces = [by_id[question.id] for question in questions]
    pair = pair_of(small, large)
    keep = np.array([float(trace.stage == first.name) for trace in traces])
    return Shown(
        pair=pair,
        taus=tuple(float(getattr(policy, "tau", 0.0)) for policy in policies),
        chosen_on=chosen_on,
        table=rows(pair, keep),
        signal=quality(pair.confidence, pair.small_correct),
        traces=traces,
        ledger=ledger,
        estimated=small.estimated or large.estimated,
    )


def choose_threshold(pair: Pair, max_drop: float) -> Threshold:
    """The cheapest threshold that loses at most `max_drop` on these questions; no guarantee for others.

    Where one value more would lose too much, a share of the answers with that value is kept: stated numbers are few,
    and the points between them are worth having.
    """
    models = (pair.small_correct, pair.large_correct, pair.small_cost, pair.large_cost)
    frontier = cascade_frontier(pair.filled, *models)
    limit = float(pair.large_correct.mean()) - max_drop
    best, least = Threshold(float("inf")), float(frontier.cost_usd[0])
    for k in range(1, len(frontier.tau)):
        before, after, tau = frontier.accuracy[k - 1], frontier.accuracy[k], float(frontier.tau[k])
        if tau < 0 or (before < limit and after < limit):
            continue
        share = 1.0 if after >= limit else float((before - limit) / (before - after))
        cost = float(frontier.cost_usd[k - 1] + share * (frontier.cost_usd[k] - frontier.cost_usd[k - 1]))
        if cost < least:
            best, least = Threshold(tau, tie_fraction=share), cost
    return best
