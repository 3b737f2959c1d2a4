"""Signals and thresholds compared on questions whose answers are known."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from corea.errors import ConfigError, DataError
from corea.evaluate.compare import CompareSettings, ComparisonRow, SignalComparison, compare
from corea.records.table import OutcomeTable

N = 2000
RIGHT = np.arange(N) % 4 != 0  # the small model is right on three questions in four, and sure of exactly those
SURE = np.where(RIGHT, 0.9, 0.3)
USELESS = np.random.default_rng(0).random(N)


def table(**signals: Any) -> OutcomeTable:
    made = OutcomeTable.from_arrays(
        correct=np.stack([RIGHT, np.ones(N)], axis=1), cost_usd=[1e-4, 1e-3], confidence=SURE, names=["small", "large"]
    )
    return made.change(0, signals=signals or {"sure": SURE, "useless": USELESS})


@pytest.fixture(scope="module")
def found() -> SignalComparison:
    return compare(table(), CompareSettings(max_drop=0.01))


def row(found: SignalComparison, signal: str, chooser: str) -> ComparisonRow:
    return next(each for each in found.rows if (each.signal, each.chooser) == (signal, chooser))


def test_every_signal_has_every_threshold_on_questions_that_did_not_choose_it(found: SignalComparison) -> None:
    assert found.n_fit + found.n_test == N
    assert 900 < found.n_fit < 1100
    choosers = ["cheapest", "published rule", "certified"]
    signals = ["sure", "useless", "blend"]
    assert [(r.signal, r.chooser) for r in found.rows] == [(s, c) for s in signals for c in choosers]


def test_a_perfect_signal_saves_what_can_be_counted(found: SignalComparison) -> None:
    figures = row(found, "sure", "cheapest").figures
    assert figures is not None
    share = figures.llm_share.value
    assert share == pytest.approx(0.25, abs=0.03)
    assert figures.saving.value == pytest.approx(1 - (0.1 + share))
    assert figures.drop.value <= 0.01
    certified = row(found, "sure", "certified").figures
    assert certified is not None
    assert certified.drop.value <= 0.01
    assert certified.saving.value > 0.5


def test_nothing_is_certified_for_a_useless_signal_and_every_question_is_deferred(found: SignalComparison) -> None:
    certified = row(found, "useless", "certified")
    assert certified.reason.startswith("INFEASIBLE")
    assert certified.tau is None
    assert certified.figures is not None
    assert (certified.figures.llm_share.value, certified.figures.saving.value) == (1.0, 0.0)


def test_each_row_is_tested_against_the_first(found: SignalComparison) -> None:
    first = row(found, "sure", "cheapest")
    assert (first.p_accuracy, first.p_cost) == (None, None)
    assert row(found, "useless", "certified").p_cost == pytest.approx(1 / 2001)


def test_the_quality_of_each_signal_is_of_the_questions_that_judge(found: SignalComparison) -> None:
    assert found.signals["sure"].quality.auroc == 1.0
    assert found.signals["useless"].quality.auroc == pytest.approx(0.5, abs=0.06)
    assert found.signals["sure"].quality.n == found.n_test


def test_the_baselines_are_both_models_random_single_and_oracle(found: SignalComparison) -> None:
    names = ["small alone", "large alone", "random, same rate", "best single", "oracle"]
    assert [each.name for each in found.baselines] == names
    first = row(found, "sure", "cheapest").figures
    assert first is not None
    assert found.baselines[2].llm_share.value == pytest.approx(first.llm_share.value)
    assert found.baselines[3].accuracy.value == 1.0


def test_one_signal_alone_has_no_blend() -> None:
    assert list(compare(table(sure=SURE)).signals) == ["sure"]


def test_plain_values_for_machines(found: SignalComparison) -> None:
    made = found.as_dict()
    assert (made["models"], made["rows"][0]["name"]) == (["small", "large"], "sure, cheapest")
    assert made["rows"][0]["drop"] <= 0.01


def test_too_few_questions_and_an_impossible_share_are_refused() -> None:
    with pytest.raises(DataError, match="got 30 questions, expected at least 40"):
        compare(table().take(np.arange(30)))
    with pytest.raises(ConfigError, match=r"fit-share: got 1\.0"):
        replace(CompareSettings(), fit_share=1.0)
