"""What is watched in training, and what the best checkpoint is chosen by."""

from math import isnan, nan

import numpy as np
import pytest

from corea.train.rollout_metrics import GAINS, calibration, criterion, expectation, gains

SURE_AND_RIGHT, SURE_AND_WRONG, SILENT = [1, 1, 1.0, 0], [0, 1, 1.0, 0], [1, 0, nan, 0]


def test_figures_of_four_rollouts_by_hand() -> None:
    figures = calibration([[1, 1, 0.9, 0], [1, 1, 0.9, 0], [0, 1, 0.2, 1], [0, 0, 0.9, 1]])
    assert figures["accuracy"] == 0.5
    assert figures["formed"] == 0.75
    assert figures["ece"] == pytest.approx(0.75 * (0.9 - 2 / 3) + 0.25 * 0.2)
    assert figures["brier"] == pytest.approx((0.01 + 0.01 + 0.04 + 0.81) / 4)
    assert figures["auroc"] == pytest.approx(0.75)  # two pairs won, two tied
    assert figures["stated_values"] == 2
    assert figures["stated/0.9"] == 0.75


def test_a_missing_confidence_improves_no_figure() -> None:
    assert calibration([SURE_AND_RIGHT, SILENT])["brier"] == 0.5
    assert calibration([SURE_AND_RIGHT, SILENT])["unstated"] == 0.5


def test_figures_that_cannot_be_computed_are_nan() -> None:
    none = calibration([SILENT, SILENT])
    assert isnan(none["ece"])
    assert isnan(none["auroc"])
    assert none["brier"] == 1
    assert isnan(calibration([SURE_AND_RIGHT, SURE_AND_RIGHT])["auroc"])


def test_hedging_cannot_win() -> None:
    honest = {"accuracy": 0.70, "brier": 0.20}
    hedging = {"accuracy": 0.60, "brier": 0.05}  # better calibrated about worse answers
    assert criterion(honest, accuracy_floor=0.68) == 0.20
    assert criterion(hedging, accuracy_floor=0.68) == pytest.approx(1.08)


def test_a_run_without_a_reward_for_confidence_is_chosen_by_accuracy() -> None:
    assert criterion({"accuracy": 0.7, "brier": 0.9}, accuracy_floor=0.8, calibrates=False) == pytest.approx(0.3)


def test_gains_are_paired_by_question_with_an_interval() -> None:
    start = [[float(q % 2), 1.0, 0.5, float(q)] for q in range(100)]
    end = [[float(q % 2), 1.0, 0.9 if q % 2 else 0.1, float(q)] for q in reversed(range(100))]
    found = gains((start, [0.5] * 100), (end, [nan] * 100), resamples=200)
    assert set(found) == set(GAINS) - {"expected_brier", "expected_ece", "expected_auroc"}  # the end has none
    assert (found["accuracy"].value, found["accuracy"].low, found["accuracy"].high) == (0, 0, 0)
    assert found["brier"].value == pytest.approx(0.01 - 0.25)
    assert found["brier"].low == pytest.approx(-0.24)  # each question gains as much
    assert found["auroc"].value == pytest.approx(0.5)


def test_a_gain_of_noise_alone_has_an_interval_around_0() -> None:
    rng = np.random.default_rng(0)
    sides = [[[float(rng.random() < 0.5), 1.0, float(rng.random()), float(q)] for q in range(200)] for _ in range(2)]
    found = gains((sides[0], [nan] * 200), (sides[1], [nan] * 200), resamples=200)
    for change in found.values():
        assert change.low < 0 < change.high


def test_the_expected_confidence_is_judged_where_there_is_one() -> None:
    facts = [[1.0, 1.0, 0.5, 0.0], [0.0, 1.0, 0.5, 1.0], [1.0, 1.0, 0.5, 2.0], [0.0, 0.0, nan, 3.0]]
    figures = expectation(facts, [0.9, 0.35, 0.15, nan])
    assert figures["expected_auroc"] == 0.5
    assert figures["expected_brier"] == pytest.approx((0.1**2 + 0.35**2 + 0.85**2) / 3)
    assert figures["expected_ece"] == pytest.approx((0.1 + 0.35 + 0.85) / 3)
    assert expectation(facts, [nan] * 4) == {}
