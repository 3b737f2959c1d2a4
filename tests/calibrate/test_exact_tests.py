"""p-values against exact sums, known inequalities and simulation."""

import itertools
import math

import numpy as np
import pytest

from corea.calibrate import exact_tests
from corea.calibrate.exact_tests import exact_drop_pvalue, mean_pvalue, share_pvalue, share_upper
from corea.errors import ConfigError, DataError


def trinomial(x: int, y: int, n: int, p: float, q: float) -> float:
    ways = math.comb(n, x) * math.comb(n - x, y)
    return ways * p**x * q**y * (1 - p - q) ** (n - x - y)


@pytest.mark.parametrize(("n", "drop", "delta"), [(40, 0.1, 0.05), (60, 0.05, 0.1), (25, 0.0, 0.1)])
def test_the_exact_test_errs_at_most_delta_on_every_missed_target(n: int, drop: float, delta: float) -> None:
    outcomes = [(x, y) for x, y in itertools.product(range(n + 1), repeat=2) if x + y <= n]
    rejected = [(x, y) for x, y in outcomes if exact_drop_pvalue(x, y, n, drop) <= delta]
    assert rejected, "the test must be able to certify something"
    for q in np.linspace(0, (1 - drop) / 2, 25):
        size = sum(trinomial(x, y, n, drop + q, q) for x, y in rejected)
        assert size <= delta + 1e-9, (q, size)


def test_the_exact_test_uses_most_of_delta() -> None:
    n, drop = 400, 0.05
    sizes = []
    for q in (0.03, 0.06):
        rng = np.random.default_rng(0)
        draws = rng.multinomial(n, [drop + q, q, 1 - drop - 2 * q], size=4000)
        sizes.append(np.mean([exact_drop_pvalue(int(x), int(y), n, drop) <= 0.05 for x, y, _ in draws]))
    assert 0.03 <= min(sizes) <= max(sizes) <= 0.06


def test_without_a_loss_the_p_value_is_that_of_never_having_seen_one() -> None:
    assert exact_drop_pvalue(0, 0, 150, 0.02) == pytest.approx(0.98**150 + exact_tests.NUISANCE_RISK, rel=0.01)
    assert exact_drop_pvalue(0, 0, 149, 0.02) > 0.05 > exact_drop_pvalue(0, 0, 150, 0.02)


def test_the_grid_of_the_nuisance_is_fine_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [(5, 15, 400, 0.02), (20, 25, 500, 0.02), (100, 95, 2400, 0.02), (2, 0, 300, 0.03)]
    coarse = [exact_drop_pvalue(*case) for case in cases]
    monkeypatch.setattr(exact_tests, "STEPS_PER_SD", 40.0)
    fine = [exact_drop_pvalue.__wrapped__(*case) for case in cases]
    assert coarse == pytest.approx(fine, rel=0.02)


def test_share_bounds_are_clopper_pearson() -> None:
    assert share_pvalue(0, 20, 0.1) == pytest.approx(0.9**20)
    assert share_upper(0, 59, 0.05) == pytest.approx(1 - 0.05 ** (1 / 59))
    assert share_upper(5, 5, 0.05) == 1


def test_betting_on_a_skewed_mean_errs_at_most_delta() -> None:
    rng = np.random.default_rng(2)
    x = np.minimum(rng.lognormal(0, 1.5, size=(400, 300)), 60)
    truth = float(np.minimum(np.random.default_rng(3).lognormal(0, 1.5, 2_000_000), 60).mean())
    errs = np.mean([mean_pvalue(row, truth, low=0, high=60) <= 0.1 for row in x])
    assert errs <= 0.1
    assert mean_pvalue(x[0], 3 * truth, low=0, high=60) < 0.01


def test_betting_on_a_mean_pays_about_what_a_normal_test_pays() -> None:
    x = np.random.default_rng(4).gamma(1.0, 1.0, size=(200, 500)).clip(max=6)
    truth, error = float(x.mean()), float(x.std()) / math.sqrt(500)
    two = np.mean([mean_pvalue(row, truth + 2.2 * error, low=0, high=6, delta=0.05) <= 0.05 for row in x])
    assert two >= 0.5  # a normal test: .71; a mixture of fixed stakes, as before: .2
    assert np.mean([mean_pvalue(row, truth, low=0, high=6, delta=0.05) <= 0.05 for row in x]) <= 0.085


@pytest.mark.parametrize("delta", [0.01, 0.5])
def test_betting_is_valid_at_levels_that_it_does_not_aim_at(delta: float) -> None:
    x = np.random.default_rng(5).binomial(1, 0.2, size=(1000, 80))
    p = np.array([mean_pvalue(row, 0.2, low=0, high=1, delta=delta) for row in x])
    for level in (0.01, 0.05, 0.2, 0.5):
        assert (p <= level).mean() <= level + 2.6 * math.sqrt(level * (1 - level) / 1000)


def test_bad_counts_are_refused() -> None:
    with pytest.raises(DataError, match="counts that fit"):
        exact_drop_pvalue(5, 6, 10, 0.02)
    with pytest.raises(ConfigError, match="max-drop"):
        exact_drop_pvalue(0, 0, 10, 2.0)


KNOWN_BETS = {3: 0.5110243015825465, 64: 0.47054336062597807, 500: 0.03213893957220122, 5000: 1.6432736847110148e-13}


@pytest.mark.parametrize("n", KNOWN_BETS)
def test_a_bet_is_the_same_on_lists_and_on_arrays(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(n).random(n)
    found: list[float] = []
    for few in (0, 10**6):
        monkeypatch.setattr(exact_tests, "FEW_VALUES", few)
        found.append(mean_pvalue(x, 0.55, low=0, high=1.5))
    assert found[0] == pytest.approx(found[1], rel=1e-9)
    assert found[0] == pytest.approx(KNOWN_BETS[n], rel=1e-6)
