"""Asks one stage every question, through the whole machine, and grades what it said."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from corea.cascade import Cascade
from corea.graders import grade_each
from corea.metrics.arrays import Floats
from corea.policies.threshold import Threshold
from corea.stage import Stage
from corea.types import Decision, Question, Trace, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """One model over N questions, in their order; arrays are (N,).

    Args:
        correct: 1 right, 0 wrong; a failed question is wrong.
        confidence: NaN where the signal gave no value.
        cost_usd: Its completion, billed retries and the signal's calls; NaN where no price is known.
        estimated: Whether any token count behind the costs is an estimate.
    """

    traces: tuple[Trace, ...]
    verdicts: tuple[Verdict, ...]
    correct: Floats
    confidence: Floats
    cost_usd: Floats
    estimated: bool

    def take(self, at: Sequence[int] | Floats) -> "Outcomes":
        """The same for some of the questions."""
        chosen = [int(i) for i in at]
        return Outcomes(
            traces=tuple(self.traces[i] for i in chosen),
            verdicts=tuple(self.verdicts[i] for i in chosen),
            correct=self.correct[chosen],
            confidence=self.confidence[chosen],
            cost_usd=self.cost_usd[chosen],
            estimated=self.estimated,
        )


async def collect(
    stage: Stage,
    questions: Sequence[Question],
    *,
    concurrency: int = 32,
    on_trace: Callable[[Trace], None] | None = None,
) -> Outcomes:
    """Asks a stage all questions, keeps every answer, and grades it.

    Args:
        on_trace: Told of each trace as it comes, for a progress display.
    """
    cascade = alone(stage)
    traces: list[Trace] = []
    async for trace in cascade.ask_many(questions, concurrency=concurrency, ordered=True):
        traces.append(trace)
        if on_trace is not None:
            on_trace(trace)
    return outcomes(questions, traces)


def alone(stage: Stage) -> Cascade:
    """A cascade that asks one stage only, and measures its signal where it has one."""
    if stage.signal is None:
        return Cascade(stages=(stage,), name=stage.name)
    keep_all = replace(stage, policy=Threshold(0.0, unstated=Decision.KEEP), pre_policy=None, name=f"{stage.name}")
    never = replace(stage, name="never asked", signal=None, policy=None, pre_policy=None)
    return Cascade(stages=(keep_all, never), name=stage.name)


def outcomes(questions: Sequence[Question], traces: Sequence[Trace]) -> Outcomes:
    """Grades traces against their questions, which are in the same order."""
    verdicts = grade_traces(questions, traces)
    confidences = [step.confidence.value if (step := trace.steps[0]).confidence else None for trace in traces]
    return Outcomes(
        traces=tuple(traces),
        verdicts=tuple(verdicts),
        correct=np.array([float(v.correct) for v in verdicts]),
        confidence=np.array([np.nan if c is None else c for c in confidences], dtype=float),
        cost_usd=np.array([np.nan if t.cost_usd is None else float(t.cost_usd) for t in traces]),
        estimated=any(s.completion is not None and s.completion.usage.estimated for t in traces for s in t.steps),
    )


def grade_traces(questions: Sequence[Question], traces: Sequence[Trace], grader: str | None = None) -> list[Verdict]:
    """Verdicts in order, each by `grader`, else by its question's own; a trace without text is wrong."""
    return grade_each([(q, trace.text or "") for q, trace in zip(questions, traces, strict=True)], grader)
