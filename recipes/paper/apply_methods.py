"""Applies a method: fits its threshold on each calibration split and applies it to the evaluation split.

A comparison has one part, or one for each seed where models were trained several times. Each part then has its own
questions and models, nothing is fitted across parts, and the figures are over all evaluation questions together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from corea.evaluate.thresholds import cheapest_threshold
from corea.metrics.arrays import Floats
from corea.policies.threshold import Threshold
from corea.types import Confidence, Decision, Question
from recipes.paper.answers import Answers, Fitting, Judged, Pair, need_fitting
from recipes.paper.methods import Method
from recipes.paper.scores import scores

PAPERS_RULE = None
"""Denotes the paper's rule among the drops: tau is the LLM's own pass@1 on the calibration split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedSplit:
    """A calibration split and its evaluation split."""

    fitting: Fitting
    judged: Judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The thresholds fitted for one drop, one for each part, and (N,) 1 where the small model's answer is kept."""

    taus: tuple[float, ...]
    keep: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodScores:
    """One method on the N judged questions of all parts: (N,) arrays.

    Args:
        pair: Its score as the confidence, and correctness and cost of both models.
        rules: By drop, and by `PAPERS_RULE`.
    """

    method: Method
    pair: Pair
    rules: Mapping[float | None, Rule]


def play(parts: Sequence[SeedSplit], method: Method, max_drops: Sequence[float]) -> MethodScores:
    """Fits and applies a method, part by part.

    Raises:
        NotRun: An answer or capability that the method needs is missing.
    """
    pairs: list[Pair] = []
    rules: dict[float | None, list[tuple[float, Floats]]] = {}
    for part in parts:
        found = scores(method, part.fitting, part.judged)
        fit = pair_of(method, part.fitting.answers, found.fit)
        pairs.append(pair_of(method, part.judged.answers, found.judged))
        policies = {drop: fit_threshold(part.fitting, fit, drop) for drop in max_drops}
        policies |= {PAPERS_RULE: Threshold(float(np.clip(fit.large_correct.mean(), 0, 1)))}
        for drop, policy in policies.items():
            rules.setdefault(drop, []).append((policy.tau, kept(policy, part.judged.questions, found.judged)))
    return MethodScores(
        method=method,
        pair=_joined(pairs),
        rules={
            drop: Rule(taus=tuple(tau for tau, _ in fitted), keep=np.concatenate([keep for _, keep in fitted]))
            for drop, fitted in rules.items()
        },
    )


def fit_threshold(part: Fitting, pair: Pair, max_drop: float) -> Threshold:
    """The cheapest threshold that loses at most `max_drop` on the calibration split.

    Raises:
        DataError: `part` is not the calibration split, or the pair is not of its size.
    """
    need_fitting("threshold", part)
    assert len(pair) == len(part)
    return cheapest_threshold(pair.table, max_drop)


def kept(policy: Threshold, questions: Sequence[Question], score: Floats) -> Floats:
    """(N,) 1 where the policy keeps the small model's answer; ties are drawn by the questions' ids."""
    values = [None if np.isnan(s) else float(s) for s in score]
    decided = [policy.decide(q, Confidence(value=v, signal="score")) for q, v in zip(questions, values, strict=True)]
    return np.array([float(d is Decision.KEEP) for d in decided])


def pair_of(method: Method, answers: Mapping[str, Answers], score: Floats) -> Pair:
    """The method's small model and the LLM; the score's own calls are part of the small model's cost."""
    small, large = answers[method.role], answers["llm"]
    extra = small.signal_cost_usd.get(method.score or "", np.zeros(len(score)))
    return Pair(
        confidence=score,
        small_correct=small.correct,
        large_correct=large.correct,
        small_cost=small.cost_usd + extra,
        large_cost=large.cost_usd,
    )


def _joined(pairs: Sequence[Pair]) -> Pair:
    names = ("confidence", "small_correct", "large_correct", "small_cost", "large_cost")
    return Pair(**{name: np.concatenate([getattr(p, name) for p in pairs]) for name in names})
