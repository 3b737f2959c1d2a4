"""Intervals and tests against closed forms and exact sums."""

from math import comb

import numpy as np
import pytest

from corea.errors import DataError
from corea.metrics import (
    cost_interval,
    mcnemar_test,
    mean_difference_interval,
    paired_share_interval,
    permutation_test,
    ratio_interval,
    share_interval,
    wilson_interval,
)
from corea.metrics.intervals import binomial_cdf


def test_binomial_cdf_is_the_exact_sum() -> None:
    exact = sum(comb(30, k) * 0.1**k * 0.9 ** (30 - k) for k in range(4))
    assert binomial_cdf(3, 30, 0.1) == pytest.approx(exact, rel=1e-12)
    assert (binomial_cdf(-1, 5, 0.5), binomial_cdf(5, 5, 0.5), binomial_cdf(1, 5, 0.0)) == (0, 1, 1)


def test_mcnemar_by_hand() -> None:
    first, second = [1] * 9 + [0] + [1] * 20, [0] * 9 + [1] + [1] * 20  # nine against one
    assert mcnemar_test(first, second) == pytest.approx(2 * 11 / 1024)
    assert mcnemar_test([1, 0], [1, 0]) == 1


def test_wilson_at_zero_successes_is_not_empty() -> None:
    interval = wilson_interval(0, 10)
    assert interval.low == pytest.approx(0, abs=1e-12)
    assert interval.high == pytest.approx(0.2775, abs=1e-4)


def test_ratio_interval_of_a_constant_ratio_is_a_point() -> None:
    b = np.arange(1.0, 30.0)
    interval = ratio_interval(b / 4, b)
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.25, 0.25, 0.25))


def test_a_saving_and_a_cost_never_leave_their_range() -> None:
    skewed, large = np.array([0.0] * 19 + [1.0]), np.ones(20)
    interval = ratio_interval(skewed, large)
    assert (interval.value, interval.low > 0) == (pytest.approx(0.05), True)
    assert cost_interval(skewed).low > 0
    assert ratio_interval(0 * large, large).high == 0


def test_ratio_interval_covers_nineteen_in_twenty() -> None:
    rng, hits = np.random.default_rng(1), 0
    for _ in range(400):
        b = rng.lognormal(size=200)
        a = b * (rng.random(200) < 0.3)  # the expected ratio is 0.3
        found = ratio_interval(a, b)
        hits += found.low <= 0.3 <= found.high
    assert 0.92 <= hits / 400 <= 0.98


def test_few_rows_that_make_up_the_cost_widen_its_interval() -> None:
    even, uneven = np.tile([0.0, 2.0], 50), np.array([100.0, *[0.0] * 99])
    assert even.mean() == uneven.mean() == 1
    assert cost_interval(even).high == pytest.approx(np.exp(1.984 / np.sqrt(99)), rel=1e-3)  # t with 99 degrees
    assert cost_interval(uneven).high == pytest.approx(np.exp(4.166 * np.sqrt(100 / 100)), rel=0.15)  # t with 2
    rng, hits = np.random.default_rng(3), 0
    for _ in range(400):
        found = cost_interval(rng.lognormal(size=50))
        hits += found.low <= np.exp(0.5) <= found.high
    assert hits / 400 >= 0.92  # with the normal quantile: 0.91 and less


def test_mean_difference_interval_is_students() -> None:
    found = mean_difference_interval([3.0, 5, 4, 6], [1.0, 2, 4, 1])
    gap = np.array([2.0, 3, 0, 5])
    assert found.value == gap.mean()
    assert (found.high - found.value) / (gap.std(ddof=1) / 2) == pytest.approx(3.182, rel=0.01)  # 3 degrees of freedom
    assert mean_difference_interval([1.0, 2], [1.0, 2]).high == 0


def test_share_interval_is_wilsons() -> None:
    assert share_interval([1.0] * 3 + [0.0] * 7) == wilson_interval(3, 10)


def test_paired_share_interval_is_the_published_one_and_never_a_point() -> None:
    first, second = np.array([1.0] * 59 + [0.0] * 6 + [1.0] * 16 + [0.0] * 80), np.zeros(161)
    second[:65] = 1.0  # 59 both, 6 the second alone, 16 the first alone, 80 neither
    found = paired_share_interval(first, second)
    assert found.value == pytest.approx(10 / 161)
    middle, total = 10 / 163, 24 / 163
    half = 1.959964 * ((total - middle**2) / 163) ** 0.5
    assert (found.low, found.high) == pytest.approx((middle - half, middle + half))
    same = paired_share_interval(np.ones(50), np.ones(50))
    assert (same.value, same.low, same.high) == pytest.approx((0.0, -0.0533, 0.0533), abs=1e-3)


def test_paired_shares_and_permutation_see_a_clear_gap() -> None:
    a, b = np.array([1.0] * 30 + [0.0] * 10), np.array([0.0] * 20 + [1.0] * 10 + [0.0] * 10)
    assert paired_share_interval(a, b).low > 0.2
    assert permutation_test(a, b, resamples=999) == pytest.approx(0.001)
    assert permutation_test(a, a, resamples=99) == 1


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match="share_interval: got shapes"):
        share_interval([])
    with pytest.raises(DataError, match="expected 0"):
        wilson_interval(3, 2)
