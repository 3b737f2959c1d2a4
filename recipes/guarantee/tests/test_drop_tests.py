"""Looser tests of a drop: valid, and far behind the exact one."""

import math

import numpy as np
import pytest

from recipes.guarantee.drop_tests import (
    DROP_TESTS,
    betting_drop_pvalue,
    hoeffding_bentkus_drop_pvalue,
    hoeffding_drop_pvalue,
)


def test_the_exact_test_is_the_tightest() -> None:
    found = {name: test(100, 100, 2400, 0.02) for name, test in DROP_TESTS.items()}
    assert min(found, key=lambda name: found[name]) == "exact"
    assert found["exact"] < 0.002 < 0.02 < found["betting"] < found["hoeffding-bentkus"] <= found["hoeffding"]


@pytest.mark.parametrize("test", [betting_drop_pvalue, hoeffding_drop_pvalue, hoeffding_bentkus_drop_pvalue])
def test_the_looser_ones_are_valid_too(test: object) -> None:
    rng = np.random.default_rng(1)
    draws = rng.multinomial(300, [0.05, 0.03, 0.92], size=1500)
    assert np.mean([test(int(x), int(y), 300, 0.02) <= 0.1 for x, y, _ in draws]) <= 0.1  # type: ignore[operator]


def test_hoeffding_by_hand() -> None:
    assert hoeffding_drop_pvalue(0, 0, 1000, 0.1) == pytest.approx(math.exp(-5))
    assert hoeffding_drop_pvalue(200, 0, 1000, 0.1) == 1
