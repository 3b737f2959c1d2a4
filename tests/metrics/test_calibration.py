"""Calibration metrics against hand-worked values and slow references."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corea.errors import DataError
from corea.metrics import (
    aurc,
    auroc,
    auroc_interval,
    brier_score,
    expected_calibration_error,
    reliability_bins,
)

TIED = st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]), st.booleans()), min_size=2, max_size=40)


def test_ece_by_hand() -> None:
    # bin [.1,.2): conf .1, acc 1 -> .9 x 1; bin [.9,1]: conf .95, acc .5 -> .45 x 2
    assert expected_calibration_error([0.1, 0.9, 1.0], [1, 1, 0]) == pytest.approx((0.9 + 2 * 0.45) / 3)


def test_a_calibrated_confidence_has_no_calibration_error() -> None:
    confidence, correct = [0.5, 0.5, 1.0, 0.0], [1, 0, 1, 0]
    assert expected_calibration_error(confidence, correct) == 0


@pytest.mark.parametrize("edge", [k / 10 for k in range(10)])
def test_a_confidence_on_an_edge_is_in_the_bin_that_begins_there(edge: float) -> None:
    (found,) = reliability_bins([edge, float(f"{edge:.1f}")], [1, 0])
    assert (found.low, found.count, found.high) == (edge, 2, pytest.approx(edge + 0.1))


def test_brier_by_hand() -> None:
    assert brier_score([0.8, 0.5], [1, 0]) == pytest.approx((0.04 + 0.25) / 2)


@given(TIED)
def test_auroc_is_the_share_of_pairs_in_order(rows: list[tuple[float, bool]]) -> None:
    right = [c for c, y in rows if y]
    wrong = [c for c, y in rows if not y]
    if not right or not wrong:
        assert np.isnan(auroc(*zip(*rows, strict=True)))
        return
    pairs = [(a > b) + 0.5 * (a == b) for a in right for b in wrong]
    assert auroc(*zip(*rows, strict=True)) == pytest.approx(np.mean(pairs))


def test_auroc_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(300):
        correct = rng.random(200) < 0.6
        score = rng.normal(size=200) + correct  # true AUROC is Phi(1/sqrt 2)
        low, high = auroc_interval(score, correct)
        hits += low <= 0.7602499 <= high
    assert 0.91 <= hits / 300 <= 0.99


def test_auroc_interval_of_a_perfect_order_is_not_a_point_and_shrinks_with_the_rows() -> None:
    few, many = (auroc_interval([0.9] * n + [0.1] * n, [1] * n + [0] * n) for n in (10, 100))
    assert few[1] == many[1] == 1
    assert few[0] < 0.85 < many[0] < 1
    assert np.isnan(auroc_interval([0.9, 0.8, 0.1], [1, 1, 0])).all()


@pytest.mark.parametrize(("accuracy", "distance", "truth"), [(0.8, 3.0, 0.98305), (0.95, 2.0, 0.92135)])
def test_auroc_interval_covers_near_1_and_few_wrong_answers(accuracy: float, distance: float, truth: float) -> None:
    rng, hits = np.random.default_rng(2), 0
    for _ in range(300):
        correct = np.arange(100) < 100 * accuracy
        low, high = auroc_interval(rng.normal(size=100) + distance * correct, correct)
        hits += low <= truth <= high
    assert hits / 300 >= 0.94  # DeLong's on its own scale: 0.76 and 0.71


def test_aurc_of_a_perfect_order_by_hand() -> None:
    assert aurc([0.9, 0.8, 0.1], [1, 1, 0]) == pytest.approx((0 + 0 + 1 / 3) / 3)


def test_aurc_of_one_tie_is_the_error_rate() -> None:
    assert aurc([0.9] * 4, [1, 1, 1, 0]) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("confidence", "correct", "words"),
    [([], [], "non-empty"), ([0.5], [1, 0], "one equal"), ([1.2], [1], "outside|0, 1"), ([np.nan], [1], "finite")],
)
def test_bad_input_is_refused(confidence: list[float], correct: list[int], words: str) -> None:
    with pytest.raises(DataError, match=words):
        expected_calibration_error(confidence, correct)
