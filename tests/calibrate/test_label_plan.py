"""Saving against the number of labels: of an assumed pair, whose accuracies and AUROC are as asked, and of rows."""

import numpy as np
import pytest

from corea.calibrate import OutcomeTable, Targets
from corea.calibrate.label_plan import assumed_pair, plan_labels
from corea.errors import ConfigError, DataError
from corea.metrics import auroc

TARGETS = Targets(max_drop=0.02)


def test_an_assumed_pair_has_the_accuracies_auroc_and_costs_that_were_assumed() -> None:
    for agreement in (0.0, 0.5, 1.0):
        pair = assumed_pair(slm_accuracy=0.6, llm_accuracy=0.8, auroc=0.75, agreement=agreement, cost_ratio=10)
        small, large = pair.first, pair.last
        assert small.correct.mean() == pytest.approx(0.6, abs=0.01)
        assert large.correct.mean() == pytest.approx(0.8, abs=0.01)
        assert auroc(small.confidence, small.correct) == pytest.approx(0.75, abs=0.01)
        assert (1 - large.correct[small.correct == 1]).mean() == pytest.approx(0.2 * agreement, abs=0.01)
        assert set(large.cost_usd / small.cost_usd) == {10.0}


def test_few_hundred_labels_certify_and_more_save_more() -> None:
    pair = assumed_pair(slm_accuracy=0.6, llm_accuracy=0.8, auroc=0.75)
    few, some, many = plan_labels(pair, TARGETS, sizes=(100, 300, 1000), draws=60)
    assert (few.labels, some.labels, many.labels) == (100, 300, 1000)
    assert few.certified < 0.5
    assert 0.7 < some.certified < 1  # 84 of 100 sets, where an estimate from one threshold asked for 3,855 labels
    assert many.certified > 0.95
    assert few.saving < some.saving < many.saving
    assert many.saving_low <= many.saving <= many.saving_high < 0.4
    weak = assumed_pair(slm_accuracy=0.6, llm_accuracy=0.8, auroc=0.55)
    assert next(plan_labels(weak, TARGETS, sizes=(1000,), draws=20)).saving < many.saving - 0.1


def test_sets_are_no_larger_than_the_rows_and_repeat_none() -> None:
    pair = assumed_pair(slm_accuracy=0.6, llm_accuracy=0.9, auroc=0.8, n=250)
    assert [each.labels for each in plan_labels(pair, TARGETS, draws=2)] == [100, 200, 250]


def test_what_cannot_be_planned_for_is_one_line() -> None:
    pair = assumed_pair(slm_accuracy=0.6, llm_accuracy=0.9, auroc=0.8, n=250)
    with pytest.raises(ConfigError, match="got 0 sets"):
        next(plan_labels(pair, TARGETS, draws=0))
    with pytest.raises(ConfigError, match=r"got 5 sets of \[10\] labels, expected at least one of 20"):
        next(plan_labels(pair, TARGETS, sizes=(10,), draws=5))
    small = OutcomeTable.from_arrays(correct=np.ones((10, 2)), cost_usd=[1, 2], confidence=np.ones(10))
    with pytest.raises(DataError, match="got 10 questions that all models answered"):
        next(plan_labels(small, TARGETS))
