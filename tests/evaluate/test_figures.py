"""Figures that can be counted by hand, with the intervals of one rule."""

import numpy as np
import pytest

from corea.evaluate.figures import baselines, cascade_rows, quality
from corea.metrics import paired_share_interval, ratio_interval, wilson_interval
from corea.records.table import OutcomeTable

SMALL = np.array([1.0, 1, 0, 0, 1, 0, 1, 1, 0, 1])
LARGE = np.array([1.0, 1, 1, 1, 0, 0, 1, 1, 1, 1])
TABLE = OutcomeTable.from_arrays(
    correct=np.stack([SMALL, LARGE], axis=1), cost_usd=[1.0, 10.0], confidence=np.linspace(0.1, 1, 10)
)
KEPT = np.array([1, 1, 0, 0, 1, 0, 1, 1, 0, 0])


def test_the_rows_are_what_can_be_counted() -> None:
    rows = {row.name: row for row in cascade_rows(TABLE, KEPT)}
    assert list(rows) == ["small alone", "large alone", "cascade", "random, same rate", "best single", "oracle"]
    cascade = rows["cascade"]
    assert (cascade.accuracy.value, cascade.llm_share.value, cascade.cost_usd.value) == (0.9, 0.5, 6.0)
    assert (cascade.drop.value, cascade.saving.value) == pytest.approx((-0.1, 0.4))
    assert rows["random, same rate"].accuracy.value == pytest.approx((0.6 + 0.8) / 2)
    assert rows["best single"].accuracy.value == 0.8
    assert (rows["oracle"].accuracy.value, rows["oracle"].llm_share.value) == (0.9, 0.3)


def test_every_interval_is_of_the_one_rule() -> None:
    row = cascade_rows(TABLE, KEPT)[2]
    right = np.where(KEPT > 0, SMALL, LARGE)
    spent = ratio_interval(1.0 + 10.0 * (1 - KEPT), np.full(10, 10.0))
    assert row.accuracy == wilson_interval(9, 10)
    assert row.llm_share == wilson_interval(5, 10)
    assert row.drop == paired_share_interval(LARGE, right)
    assert (row.saving.low, row.saving.high) == pytest.approx((1 - spent.high, 1 - spent.low))


def test_no_interval_leaves_its_range() -> None:
    for row in cascade_rows(TABLE, np.ones(10)):
        assert 0 <= row.accuracy.low <= row.accuracy.high <= 1
        assert -1 <= row.drop.low <= row.drop.high <= 1
        assert row.saving.high <= 1
        assert row.cost_usd.low >= 0


def test_the_better_single_model_may_be_chosen_on_other_questions() -> None:
    other = OutcomeTable.from_arrays(
        correct=np.stack([LARGE, SMALL], axis=1), cost_usd=[1.0, 10.0], confidence=np.linspace(0.1, 1, 10)
    )
    (_, single, _) = baselines(TABLE, 0.5, chosen_on=other)
    assert (single.correct.mean(), single.deferred.mean()) == (0.6, 0.0)


def test_the_quality_of_a_signal_leaves_unstated_answers_out() -> None:
    found = quality(np.array([0.9, np.nan, 0.2, 0.8]), np.array([1.0, 1, 0, 0]))
    assert (found.n, found.unstated, found.distinct, found.auroc) == (3, 1, 3, 1.0)
    alike = quality(np.array([0.9, 0.8]), np.array([1.0, 1.0]))
    assert np.isnan(alike.auroc)
    assert alike.auroc_words == "undefined (all right or all wrong)"
    assert quality(np.array([0.9, 0.8]), np.array([1.0, 0.0])).auroc_words == "1.000 (too few for an interval)"
