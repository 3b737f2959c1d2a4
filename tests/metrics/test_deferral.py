"""Frontiers against hand-worked cascades."""

import numpy as np

from corea.metrics import (
    best_single,
    cascade_frontier,
    cost_at_drop,
    oracle_frontier,
    oracle_point,
    random_frontier,
)

CONFIDENCE = [0.9, 0.9, 0.5, 0.1]
SLM, LLM = [1, 0, 0, 0], [1, 1, 0, 1]
SLM_COST, LLM_COST = [1.0] * 4, [10.0, 10.0, 20.0, 40.0]


def test_a_frontier_by_hand() -> None:
    frontier = cascade_frontier(CONFIDENCE, SLM, LLM, SLM_COST, LLM_COST)
    assert frontier.tau.tolist() == [np.inf, 0.9, 0.5, 0.1]
    assert frontier.coverage.tolist() == [0, 0.5, 0.75, 1]
    assert frontier.accuracy.tolist() == [0.75, 0.5, 0.5, 0.25]
    assert frontier.cost_usd.tolist() == [21, 16, 11, 1]


def test_the_random_frontier_joins_the_two_models() -> None:
    frontier = random_frontier(SLM, LLM, SLM_COST, LLM_COST, points=3)
    assert frontier.accuracy.tolist() == [0.75, 0.5, 0.25]
    assert frontier.cost_usd.tolist() == [21, 11, 1]


def test_the_oracle_keeps_what_is_right_or_what_both_miss() -> None:
    point = oracle_point(SLM, LLM, SLM_COST, LLM_COST)
    assert (point.coverage, point.accuracy, point.cost_usd) == (0.5, 0.75, 13.5)


def test_no_threshold_beats_the_oracle_frontier() -> None:
    rng = np.random.default_rng(3)
    slm, llm, cost = rng.random(200) < 0.5, rng.random(200) < 0.8, np.ones(200)
    ours = cascade_frontier(rng.random(200), slm, llm, cost, cost * 9)
    best = oracle_frontier(slm, llm, cost, cost * 9)
    assert (np.interp(ours.coverage, best.coverage, best.accuracy) >= ours.accuracy - 1e-12).all()
    assert np.trapezoid(best.accuracy, best.coverage) > np.trapezoid(ours.accuracy, ours.coverage)


def test_best_single_is_the_cheaper_of_equals() -> None:
    assert best_single([1, 0], [0, 1], [1, 1], [5, 5]).coverage == 1
    assert best_single([0, 0], [0, 1], [1, 1], [5, 5]).coverage == 0


def test_cost_at_drop_picks_the_cheapest_allowed_point() -> None:
    frontier = cascade_frontier(CONFIDENCE, SLM, LLM, SLM_COST, LLM_COST)
    assert cost_at_drop(frontier, 0.75, max_drop=0.0).tau == np.inf  # type: ignore[union-attr]
    assert cost_at_drop(frontier, 0.75, max_drop=0.25).tau == 0.5  # type: ignore[union-attr]
    assert cost_at_drop(frontier, 2.0, max_drop=0.5) is None
