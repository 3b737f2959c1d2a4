"""Maps against the models that made the data, against scikit-learn, and against what they are for."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.tree import ExtraTreeRegressor

from corea.calibrate import maps
from corea.calibrate.maps import beta, fit_probability, fit_score, isotonic, platt
from corea.metrics import auroc, expected_calibration_error
from corea.metrics.score_map import BlendMap, apply_map, blend_features, logit, map_kind, sigmoid, trees

from .simulated import simulated_pairs


def labels(chance: np.ndarray) -> np.ndarray:
    return (np.random.default_rng(1).random(len(chance)) < chance).astype(float)


SCORE = np.random.default_rng(0).uniform(0.02, 0.98, 40_000)


def test_platt_finds_the_sigmoid_that_made_the_labels() -> None:
    found = platt(SCORE, labels(sigmoid(0.6 * logit(SCORE) - 0.8)))
    assert (found.a, found.b) == (pytest.approx(0.6, abs=0.05), pytest.approx(-0.8, abs=0.05))


def test_beta_finds_its_family_and_never_falls() -> None:
    found = beta(SCORE, labels(sigmoid(1.5 * np.log(SCORE) - 0.5 * np.log1p(-SCORE) + 0.2)))
    assert (found.a, found.b, found.c0) == pytest.approx((1.5, 0.5, 0.2), abs=0.1)
    inverted = beta(SCORE, labels(1 - SCORE))
    assert (inverted.a, inverted.b) == (0, 0)


def test_isotonic_is_the_pooled_steps_by_hand() -> None:
    found = isotonic(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.0, 1.0, 0.0, 1.0]))
    at = apply_map(found, {"confidence": np.array([0.1, 0.2, 0.25, 0.3, 0.4, 0.9, np.nan])})
    assert at == pytest.approx([1 / 3, 0.5, 0.5, 0.5, 2 / 3, 2 / 3, np.nan], nan_ok=True)


def test_few_rows_give_no_certainty_and_a_map_that_rises() -> None:
    score = np.array([0.9, 0.2, 0.8, 0.4, 0.6, 0.9, 0.3, 0.95])
    found = isotonic(score, np.array([1.0, 0, 1, 1, 1, 1, 0, 1]))  # right from 0.4 on: six right of six, two wrong
    assert apply_map(found, {"confidence": np.array([0.0, 0.3, 0.4, 1.0])}) == pytest.approx([1 / 4] * 2 + [7 / 8] * 2)
    rng = np.random.default_rng(2)
    for n in (5, 30, 300):
        score = rng.random(n).round(2)
        at = apply_map(isotonic(score, (rng.random(n) < score).astype(float)), {"confidence": np.linspace(0, 1, 101)})
        assert (np.diff(at) >= 0).all()
        assert at.min() > 0
        assert at.max() < 1


@pytest.mark.parametrize("kind", ["isotonic", "platt", "beta", "auto"])
def test_a_map_corrects_an_overconfident_signal_on_rows_it_has_not_seen(kind: str) -> None:
    correct = labels(0.6 * SCORE)
    stored, crossed = fit_probability(SCORE[:4000], correct[:4000], kind=kind)
    after = apply_map(stored, {"confidence": SCORE[4000:]})
    assert expected_calibration_error(SCORE[4000:], correct[4000:]) > 0.15
    assert expected_calibration_error(after, correct[4000:]) < 0.05
    assert expected_calibration_error(crossed, correct[:4000]) < 0.05


def test_the_stored_trees_give_what_scikit_learns_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "N_TREES", 3)
    pairs = simulated_pairs(600, columns=True)
    stored, _ = fit_score(pairs, kind="trees", seed=7)
    assert isinstance(stored, BlendMap)
    assert stored.trees is not None
    x = blend_features(stored, pairs.columns(0))
    filled = np.where(np.isnan(x), maps.UNMEASURED, x).astype(np.float32)
    regret = (pairs.last.correct > pairs.first.correct) - maps.GAIN_WEIGHT * (pairs.first.correct > pairs.last.correct)
    regret = regret - (1 - maps.GAIN_WEIGHT) * (pairs.first.correct > pairs.last.correct).mean()
    cost = np.minimum(pairs.last.cost_usd / pairs.last.cost_usd.mean(), maps.MOST_COST)
    targets = np.column_stack([regret, pairs.first.correct, maps.COST_WEIGHT * cost])
    order = np.sort(np.random.default_rng(7).permutation(600))
    seeds = np.random.default_rng(7).integers(2**31, size=3)
    grown = [
        ExtraTreeRegressor(min_samples_leaf=maps.LEAF_ROWS, max_features=None, random_state=int(s))  # pyright: ignore[reportArgumentType]: as its docs say
        .fit(filled[order], targets[order])
        .predict(filled)
        for s in seeds
    ]
    mean = np.mean(grown, axis=0)
    found = trees(stored.trees, x)
    assert found[:, 0] == pytest.approx(mean[:, 0], abs=1e-6)
    assert found[:, 1] == pytest.approx(mean[:, 2] / maps.COST_WEIGHT, abs=1e-6)


def test_at_equal_regret_the_question_that_is_dear_to_defer_is_kept_first() -> None:
    pairs = simulated_pairs(2000, columns=True, skew=0.0)
    dear = np.random.default_rng(0).random(2000) < 0.5
    pairs = replace(pairs, categories=np.where(dear, "dear", "cheap").astype(object))
    pairs = pairs.change(1, cost_usd=np.where(dear, 3e-3, 1e-3))
    _, score = fit_score(pairs, kind="trees")
    assert np.nanmean(score[dear]) > np.nanmean(score[~dear]) + 0.1


def test_risk_orders_by_being_right_and_regret_by_what_deferring_gains() -> None:
    pairs = simulated_pairs(3000, columns=True, skew=0.0)
    lost_anyway = pairs.categories == "hard"  # where the large model is never right, deferring gains nothing
    pairs = pairs.change(1, correct=np.where(lost_anyway, 0.0, pairs.last.correct))
    _, regret = fit_score(pairs, kind="trees")
    _, risk = fit_score(pairs, kind="trees", target="risk")
    assert np.nanmean(regret[lost_anyway]) > np.nanmean(regret[~lost_anyway])
    assert np.nanmean(risk[lost_anyway]) < np.nanmean(risk[~lost_anyway])
    there = ~np.isnan(risk)
    assert auroc(risk[there], pairs.first.correct[there]) > auroc(regret[there], pairs.first.correct[there])


@pytest.mark.parametrize(("rows", "kind"), [(50, "identity"), (80, "linear"), (300, "trees")])
def test_the_blend_grows_with_the_rows(rows: int, kind: str) -> None:
    stored, score = fit_score(simulated_pairs(rows, columns=True))
    made = map_kind(stored) if not isinstance(stored, BlendMap) else "trees" if stored.trees else "linear"
    assert made == kind
    assert np.nanmin(score) >= 0 <= np.nanmax(score) <= 1
