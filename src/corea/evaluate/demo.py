"""The figures of `corea demo`: two models on the same questions, the cascade between them, and its baselines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from corea.cascade import Cascade
from corea.evaluate.figures import FiguresRow, SignalQuality, cascade_rows, quality
from corea.evaluate.measure import outcomes_of
from corea.evaluate.stage_alone import ask_alone
from corea.evaluate.thresholds import cheapest_threshold
from corea.ledger import Ledger
from corea.policies.threshold import uniform_of
from corea.records.answer import answers_of_traces
from corea.records.table import OutcomeTable
from corea.types import Question, Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """The result of a demo.

    Args:
        outcomes: Both models' answers to the questions.
        taus: The threshold, or one for each half of the questions; `chosen_on` says on which questions it was chosen,
            never on those on which it is judged.
        rows: Figures of the models alone, of the cascade at these thresholds, and of its baselines.
        traces: The cascade's own traces; `ledger` adds them up.
        estimated: Token counts, and so costs, are estimates.
    """

    outcomes: OutcomeTable
    taus: tuple[float, ...]
    chosen_on: str
    rows: list[FiguresRow]
    signal: SignalQuality
    traces: list[Trace]
    ledger: Ledger
    estimated: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "questions": len(self.outcomes),
            "taus": self.taus,
            "tau_chosen_on": self.chosen_on,
            "costs_estimated": self.estimated,
            "table": [row.as_dict() for row in self.rows],
            "signal": self.signal.as_dict(),
            "ledger": self.ledger.as_dict(),
        }


async def run_demo(
    cascade: Cascade,
    questions: Sequence[Question],
    *,
    max_drop: float | None = None,
    on_trace: Callable[[str, Trace], None] = lambda phase, trace: None,
) -> DemoResult:
    """Asks both models all questions, and then the cascade.

    Args:
        max_drop: Choose a threshold on each half of the questions (by a hash of the id), as the cheapest that loses at
            most this share there, and judge it on the other half. None: use the cascade's own.
        on_trace: Called with the phase ("small", "large", "cascade") and each trace, for a progress display.
    """
    first, last = cascade.stages[0], replace(cascade.stages[-1], signal=None)
    small = await ask_alone(first, questions, on_trace=lambda trace: on_trace("small", trace))
    large = await ask_alone(last, questions, on_trace=lambda trace: on_trace("large", trace))
    by_id = {question.id: question for question in questions}
    outcomes = OutcomeTable(
        ids=np.array([question.id for question in questions], dtype=object),
        models=tuple(
            outcomes_of(stage.backend.model, list(answers_of_traces(by_id, traces).values()))
            for stage, traces in ((first, small), (last, large))
        ),
    )
    policies, chosen_on = [first.policy], "by the configuration"
    halves = [list(range(len(questions)))]
    if max_drop is not None:
        halves = [
            [i for i in halves[0] if (uniform_of(questions[i].id, "half") < 0.5) is side] for side in (True, False)
        ]
        policies = [cheapest_threshold(outcomes.take(other), max_drop) for other in reversed(halves)]
        chosen_on = f"for each half on the other half: the cheapest that loses at most {100 * max_drop:g} points there"
    ledger, answered = Ledger(), dict[str, Trace]()
    for half, policy in zip(halves, policies, strict=True):
        stages = (replace(first, policy=policy), *cascade.stages[1:])
        async for trace in replace(cascade, stages=stages).ask_many([questions[i] for i in half]):
            ledger.add(trace)
            answered[trace.question_id] = trace
            on_trace("cascade", trace)
    traces = [answered[question.id] for question in questions]
    return DemoResult(
        outcomes=outcomes,
        taus=tuple(float(getattr(policy, "tau", 0.0)) for policy in policies),
        chosen_on=chosen_on,
        rows=cascade_rows(outcomes, [trace.stage == first.name for trace in traces]),
        signal=quality(outcomes.first.confidence, outcomes.first.correct),
        traces=traces,
        ledger=ledger,
        estimated=any(
            step.completion and step.completion.usage.estimated for t in (*small, *large) for step in t.steps
        ),
    )
