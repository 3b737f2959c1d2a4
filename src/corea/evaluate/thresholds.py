"""Ways to choose a threshold on labelled questions; only `corea.calibrate` gives one with a guarantee."""

import numpy as np

from corea.metrics import cascade_frontier
from corea.metrics.arrays import Floats
from corea.policies.threshold import Threshold, uniform_of
from corea.records.table import OutcomeTable


def cheapest_threshold(table: OutcomeTable, max_drop: float) -> Threshold:
    """The cheapest threshold that loses at most `max_drop` on these questions; on others it may lose more.

    Where one value more would lose too much, a fraction of the answers with that value is kept: stated confidences
    take few values, and the points between them are worth having.
    """
    first, last = table.first, table.last
    frontier = cascade_frontier(
        filled(first.confidence), first.correct, last.correct, first.cost_usd, last.cost_usd
    )  # fmt: skip
    limit = float(last.correct.mean()) - max_drop
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


def published_threshold(table: OutcomeTable) -> Threshold:
    """The paper's rule of thumb: the last model's own accuracy. Source: arXiv:2603.03752, sec. 4."""
    return Threshold(float(np.clip(table.last.correct.mean(), 0, 1)))


def kept_by(threshold: Threshold, table: OutcomeTable) -> Floats:
    """(N,) 1 where the first model's answer is kept; ties are drawn by the questions' ids, as the policy does."""
    score = filled(table.first.confidence)
    drawn = np.array([uniform_of(str(key), threshold.salt) < threshold.tie_fraction for key in table.ids])
    return ((score > threshold.tau) | ((score == threshold.tau) & drawn)).astype(np.float64)


def filled(confidence: Floats) -> Floats:
    """The confidence, with -1 where none was stated, so that such an answer is deferred first."""
    return np.nan_to_num(confidence, nan=-1.0)
