"""Cost and accuracy of a cascade at each threshold, and of its three baselines.

Two models, N questions. `confidence` is the small model's (SLM), `slm_correct` and `llm_correct` are 0 or 1, costs are
USD a question. The SLM is always paid, the LLM only where deferred.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from corea.metrics.arrays import Floats, as_floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """Operating points from "keep nothing" to "keep everything"; equally long arrays (K,).

    Args:
        tau: Keep where confidence >= tau. The first is +infinity. NaN for a point without a threshold.
        coverage: Share kept; 1 - coverage is the share sent to the LLM.
        accuracy: Of the cascade.
        cost_usd: Mean per question.
    """

    tau: Floats
    coverage: Floats
    accuracy: Floats
    cost_usd: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One operating point."""

    tau: float
    coverage: float
    accuracy: float
    cost_usd: float


def cascade_frontier(confidence: Any, slm_correct: Any, llm_correct: Any, slm_cost: Any, llm_cost: Any) -> Frontier:
    """The cascade at every distinct confidence, from the most cautious threshold down.

    Returns:
        K = 1 + number of distinct confidences points.

    Raises:
        DataError: The arrays differ in length, are empty, or are not finite.

    Source: Chow 1970, IEEE Trans. Information Theory 16(1) (the reject option).
    """
    c, slm, llm, paid, saved = as_floats(
        "cascade_frontier",
        confidence=confidence,
        slm_correct=slm_correct,
        llm_correct=llm_correct,
        slm_cost=slm_cost,
        llm_cost=llm_cost,
    )
    values, at = np.unique(-c, return_inverse=True)

    def kept(x: Floats) -> Floats:
        return np.concatenate([[0.0], np.cumsum(np.bincount(at, weights=x, minlength=len(values)))]) / len(c)

    return Frontier(
        tau=np.concatenate([[np.inf], -values]),
        coverage=kept(np.ones_like(c)),
        accuracy=llm.mean() + kept(slm - llm),
        cost_usd=paid.mean() + saved.mean() - kept(saved),
    )


def random_frontier(slm_correct: Any, llm_correct: Any, slm_cost: Any, llm_cost: Any, *, points: int = 101) -> Frontier:
    """Keeping at random, in expectation: a straight line from the LLM (plus the SLM's cost) to the SLM."""
    slm, llm, paid, other = as_floats(
        "random_frontier", slm_correct=slm_correct, llm_correct=llm_correct, slm_cost=slm_cost, llm_cost=llm_cost
    )
    keep = np.linspace(0, 1, points)
    return Frontier(
        tau=np.full(points, np.nan),
        coverage=keep,
        accuracy=llm.mean() + keep * float((slm - llm).mean()),
        cost_usd=paid.mean() + (1 - keep) * other.mean(),
    )


def oracle_point(slm_correct: Any, llm_correct: Any, slm_cost: Any, llm_cost: Any) -> Point:
    """Keeps exactly the answers that are right or that the LLM would also miss: highest accuracy at least cost."""
    slm, llm, paid, other = as_floats(
        "oracle_point", slm_correct=slm_correct, llm_correct=llm_correct, slm_cost=slm_cost, llm_cost=llm_cost
    )
    keep = slm >= llm
    return Point(
        tau=float("nan"),
        coverage=float(keep.mean()),
        accuracy=float(np.where(keep, slm, llm).mean()),
        cost_usd=float(paid.mean() + (other * ~keep).mean()),
    )


def oracle_frontier(slm_correct: Any, llm_correct: Any, slm_cost: Any, llm_cost: Any) -> Frontier:
    """The best possible rule at each cost, which knows all answers: gains first, then losses, expensive calls first.

    It begins with the questions where the SLM alone is right, goes on with those where both are equal (in order of
    the LLM's cost) and ends with those where only the LLM is right.
    """
    slm, llm, paid, other = as_floats(
        "oracle_frontier", slm_correct=slm_correct, llm_correct=llm_correct, slm_cost=slm_cost, llm_cost=llm_cost
    )
    order = np.lexsort((-other, -(slm - llm)))
    n = len(slm)

    def kept(x: Floats) -> Floats:
        return np.concatenate([[0.0], np.cumsum(x[order])]) / n

    return Frontier(
        tau=np.full(n + 1, np.nan),
        coverage=kept(np.ones(n)),
        accuracy=llm.mean() + kept(slm - llm),
        cost_usd=paid.mean() + other.mean() - kept(other),
    )


def best_single(slm_correct: Any, llm_correct: Any, slm_cost: Any, llm_cost: Any) -> Point:
    """The better of the two models alone (equal: the cheaper); coverage 1 means the SLM, 0 the LLM."""
    slm, llm, paid, other = as_floats(
        "best_single", slm_correct=slm_correct, llm_correct=llm_correct, slm_cost=slm_cost, llm_cost=llm_cost
    )
    alone = [
        Point(tau=float("-inf"), coverage=1.0, accuracy=float(slm.mean()), cost_usd=float(paid.mean())),
        Point(tau=float("inf"), coverage=0.0, accuracy=float(llm.mean()), cost_usd=float(other.mean())),
    ]
    return max(alone, key=lambda point: (point.accuracy, -point.cost_usd))


def cost_at_drop(frontier: Frontier, llm_accuracy: float, *, max_drop: float) -> Point | None:
    """The cheapest point whose accuracy is at least `llm_accuracy - max_drop`; None where there is none.

    The choice looks at the answers: on other questions the bound fails about half the time. See `corea.calibrate` for
    a threshold with a guarantee.
    """
    allowed = np.flatnonzero(frontier.accuracy >= llm_accuracy - max_drop - 1e-12)
    if not len(allowed):
        return None
    k = int(allowed[np.argmin(frontier.cost_usd[allowed])])
    return Point(
        tau=float(frontier.tau[k]),
        coverage=float(frontier.coverage[k]),
        accuracy=float(frontier.accuracy[k]),
        cost_usd=float(frontier.cost_usd[k]),
    )
