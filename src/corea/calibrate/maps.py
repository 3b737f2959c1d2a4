"""Fits confidence maps; what is fitted is stored as plain numbers (see `corea.metrics.score_map`).

Two kinds of map, for two uses. The *score* orders answers for the threshold: a blend of all that was measured. In its
regret form it falls with what deferring is expected to gain for each USD that the LLM is expected to cost: the chance
of a loss (only the LLM is right) less that of a gain (only the SLM is right), over the cost. In its risk form it falls
with the chance that the SLM is wrong. The *probability* turns a score into an honest chance of being right, for
reports: isotonic, Platt or beta.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from corea.calibrate._extra import need_sklearn
from corea.calibrate.tables import Pairs
from corea.metrics.arrays import Floats
from corea.metrics.score_map import EDGE, apply_map, blend_features, blend_rank, blend_score, logit

Stored = dict[str, Any]
LINEAR_ROWS, TREE_ROWS = 60, 100  # fewer rows than these are too few to fit that kind of blend
MOST_ROWS = 20_000  # more do not help the trees, and cost time
FOLDS = 4
# chosen on six pairs that no result is quoted from: experiments/log.d/calibrate.md
N_TREES, FEW_ROWS, LEAF_ROWS, FEW_LEAF_ROWS, MOST_LEAVES = 80, 200, 30, 15, 150
GAIN_WEIGHT = 0.25  # gains are rare: most of what seems to foretell one is noise
COST_WEIGHT = 0.5  # of the cost beside the two other targets, when a tree chooses its splits
MOST_COST = 5.0  # means; dearer questions would otherwise choose all splits
UNMEASURED = -1.0  # stands for NaN in the trees: below every confidence
SHRINK = 20.0  # rows of the whole that each category's rates are drawn towards


# --- the score ------------------------------------------------------------------------------------------------------


def fit_score(pairs: Pairs, *, kind: str = "auto", seed: int = 0, target: str = "regret") -> tuple[Stored, Floats]:
    """A map for ordering answers, and cross-fitted scores of the very rows it was fitted on.

    Args:
        kind: "auto": a blend where there is something to blend and rows enough, else the signal as it is; or
            "identity", "linear" or "trees".
        target: What a blend orders by, "regret" or "risk" (see the top of this file).

    Returns:
        The stored map, and (N,) scores in which each row's comes from a map that has not seen the row.
    """
    kind = _kind_for(pairs) if kind == "auto" else kind
    if kind == "identity":
        stored: Stored = {"kind": "identity", "input": next(iter(pairs.signals))}
        return stored, apply_map(stored, pairs.inputs())
    with need_sklearn().config_context(skip_parameter_validation=True):  # half of the time of small trees
        return _cross_fitted(pairs, kind, target, seed)


def _cross_fitted(pairs: Pairs, kind: str, target: str, seed: int) -> tuple[Stored, Floats]:
    order = np.random.default_rng(seed).permutation(len(pairs))
    stored = _fit_blend(pairs.take(np.sort(order[:MOST_ROWS])), kind, target, seed)
    score = np.full(len(pairs), np.nan)
    for k in range(FOLDS):
        held = order[k::FOLDS]
        others = np.setdiff1d(order, held)[:MOST_ROWS]
        part = _fit_blend(pairs.take(others), kind, target, seed, like=stored)
        score[held] = blend_score(part, pairs.take(held).inputs())
    return stored, score


def _kind_for(pairs: Pairs) -> str:
    several = len(pairs.signals) > 1 or pairs.completion_tokens is not None or pairs.category is not None
    rare = min(_loss(pairs).sum(), pairs.slm_correct.sum(), len(pairs) - pairs.slm_correct.sum())
    if not several or len(pairs) < LINEAR_ROWS or rare < 8:
        return "identity"
    return "trees" if len(pairs) >= TREE_ROWS else "linear"


def _loss(pairs: Pairs) -> Floats:
    return ((pairs.llm_correct > 0.5) & (pairs.slm_correct < 0.5)).astype(np.float64)


def _regret(pairs: Pairs) -> Floats:
    """(N,) what deferring gains, gains of the SLM weighted down towards their mean."""
    gain = ((pairs.slm_correct > 0.5) & (pairs.llm_correct < 0.5)).astype(np.float64)
    return _loss(pairs) - GAIN_WEIGHT * gain - (1 - GAIN_WEIGHT) * gain.mean()


def _relative_cost(pairs: Pairs) -> Floats:
    return np.minimum(pairs.llm_cost / max(float(pairs.llm_cost.mean()), 1e-300), MOST_COST)


def _fit_blend(pairs: Pairs, kind: str, target: str, seed: int, like: Stored | None = None) -> Stored:
    stored: Stored = {
        "kind": "blend",
        "confidences": list(pairs.signals),
        "length": "completion_tokens" if pairs.completion_tokens is not None else "",
        **_category_rates(pairs),
    }
    x = blend_features(stored, pairs.inputs())
    if kind == "trees":
        stored["trees"] = _fit_trees(x, pairs, target, seed)
    else:
        stored["right"] = _fit_linear(x, pairs.slm_correct, seed)
        stored["loss"] = _fit_linear(x, _loss(pairs), seed) if target == "regret" else None
    z = blend_rank(stored, x)
    stored["centre"] = float(np.median(z)) if like is None else like["centre"]
    stored["scale"] = max(float(z.std()), 1e-6) if like is None else like["scale"]
    return stored


def _category_rates(pairs: Pairs) -> Stored:
    """Means by category, drawn towards the whole: right answers, log length, regret, log cost of the LLM."""
    length = np.zeros(len(pairs))
    if pairs.completion_tokens is not None:
        length = np.log1p(np.maximum(np.nan_to_num(pairs.completion_tokens), 0))
    cost = np.log(np.maximum(_relative_cost(pairs), 1e-3))
    facts = np.column_stack([pairs.slm_correct, length, _regret(pairs), cost])
    whole = facts.mean(axis=0)
    found: Stored = {"categories": {}, "category_default": whole.tolist()}
    if pairs.category is None:
        return found
    names, at = np.unique(pairs.category.astype(str), return_inverse=True)
    if len(names) < 2:
        return found
    sums = np.column_stack([np.bincount(at, weights=column) for column in facts.T])
    rates = (sums + SHRINK * whole) / (np.bincount(at) + SHRINK)[:, None]
    found["categories"] = {str(name): rates[i].tolist() for i, name in enumerate(names)}
    return found


def _fit_trees(x: Floats, pairs: Pairs, target: str, seed: int) -> Stored:
    """Extremely randomised trees as arrays; a leaf holds the mean target and the mean cost, over the number of trees.

    Source: Geurts, Ernst and Wehenkel 2006, Machine Learning 63(1).
    """
    cost = _relative_cost(pairs)
    wanted = _regret(pairs) if target == "regret" else 1 - pairs.slm_correct
    grower = need_sklearn().tree.ExtraTreeRegressor
    leaf_rows = max(LEAF_ROWS if len(x) >= FEW_ROWS else FEW_LEAF_ROWS, math.ceil(len(x) / MOST_LEAVES))
    targets = np.column_stack([wanted, pairs.slm_correct, COST_WEIGHT * cost])
    filled = np.where(np.isnan(x), UNMEASURED, x).astype(np.float32)
    seeds = np.random.default_rng(seed).integers(2**31, size=N_TREES).tolist()
    grown = [
        grower(min_samples_leaf=leaf_rows, max_features=None, random_state=s).fit(filled, targets, check_input=False)
        for s in seeds
    ]
    stored: dict[str, list[Any]] = {name: [] for name in ("feature", "cut", "left", "right", "target", "cost", "root")}
    depth = start = 0
    for tree in (each.tree_ for each in grown):
        leaf, here = tree.children_left < 0, np.arange(tree.node_count)
        mean = tree.value[:, :, 0] / N_TREES
        stored["root"].append(start)
        stored["feature"] += np.where(leaf, 0, tree.feature).tolist()
        stored["cut"] += np.where(leaf, 0.0, tree.threshold).tolist()
        stored["left"] += (start + np.where(leaf, here, tree.children_left)).tolist()
        stored["right"] += (start + np.where(leaf, here, tree.children_right)).tolist()
        stored["target"] += np.where(leaf, np.round(mean[:, 0], 8), 0.0).tolist()
        cost_leaf = mean[:, 2] / COST_WEIGHT if target == "regret" else np.full(len(here), 1 / N_TREES)
        stored["cost"] += np.where(leaf, np.round(cost_leaf, 8), 0.0).tolist()
        depth, start = max(depth, int(tree.max_depth)), start + int(tree.node_count)
    return {**stored, "depth": depth, "fill": UNMEASURED}


def _fit_linear(x: Floats, y: Floats, seed: int) -> Stored:
    """Logistic regression on filled and scaled features, ridge penalty; few parameters for few rows."""
    mean = np.nan_to_num(np.nanmean(np.where(np.isnan(x).all(axis=0), 0.0, x), axis=0))
    filled = np.where(np.isnan(x), mean, x)
    scale = np.maximum(filled.std(axis=0), 1e-9)
    model = need_sklearn().linear_model.LogisticRegression(C=0.1, max_iter=500, random_state=seed)
    model.fit((filled - mean) / scale, y > 0.5)
    return {
        "mean": mean.tolist(), "scale": scale.tolist(), "weights": model.coef_[0].tolist(),
        "bias": float(model.intercept_[0]),
    }  # fmt: skip


# --- the probability ------------------------------------------------------------------------------------------------


def fit_probability(score: Floats, correct: Floats, *, kind: str = "auto", seed: int = 0) -> tuple[Stored, Floats]:
    """A map from a score in [0, 1] to the chance of being right, and cross-fitted chances of these rows.

    Args:
        score: NaN where nothing was measured; such rows are left out and stay NaN.
        kind: "isotonic", "platt", "beta", or "auto": the least cross-fitted Brier score of the three.
    """
    there = ~np.isnan(score)
    s, y = score[there], correct[there]
    fitters: Mapping[str, Callable[[Floats, Floats], Stored]] = {"isotonic": isotonic, "platt": platt, "beta": beta}
    names: Sequence[str] = list(fitters) if kind == "auto" else [kind]
    fold = np.random.default_rng(seed).permutation(len(s)) % 5
    best: tuple[float, str, Floats] | None = None
    for name in names:
        out = np.full(len(s), float(y.mean()))
        for k in range(5):
            train = fold != k
            if 0 < y[train].sum() < train.sum():
                out[~train] = apply_map(fitters[name](s[train], y[train]), {"confidence": s[~train]})
        brier = float(((out - y) ** 2).mean())
        if best is None or brier < best[0] - 1e-9:
            best = (brier, name, out)
    assert best is not None
    crossed = np.full(len(score), np.nan)
    crossed[there] = best[2]
    return fitters[best[1]](s, y), crossed


def isotonic(s: Floats, y: Floats) -> Stored:
    """Rising steps, joined by lines. Source: Zadrozny and Elkan 2002, KDD (pool adjacent violators)."""
    model = need_sklearn().isotonic.IsotonicRegression(out_of_bounds="clip", y_min=0.0, y_max=1.0).fit(s, y)
    xs, ys = model.X_thresholds_, model.y_thresholds_
    return {"kind": "isotonic", "input": "confidence", "x": xs.tolist(), "y": ys.tolist()}


def platt(s: Floats, y: Floats) -> Stored:
    """A sigmoid in the log-odds. Source: Platt 1999; on log-odds as Guo et al. 2017, arXiv:1706.04599, sec. 4."""
    model = need_sklearn().linear_model.LogisticRegression(C=100.0, max_iter=500)
    model.fit(logit(np.clip(s, EDGE, 1 - EDGE))[:, None], y > 0.5)
    return {"kind": "platt", "input": "confidence", "a": float(model.coef_[0, 0]), "b": float(model.intercept_[0])}


def beta(s: Floats, y: Floats) -> Stored:
    """The beta family. Source: Kull, Silva Filho and Flach 2017, AISTATS (PMLR 54)."""
    c = np.clip(s, EDGE, 1 - EDGE)
    model = need_sklearn().linear_model.LogisticRegression(C=100.0, max_iter=1000)
    model.fit(np.column_stack([np.log(c), -np.log1p(-c)]), y > 0.5)
    a, b = (max(0.0, float(w)) for w in model.coef_[0])  # below 0 the map would fall somewhere
    shift = float(model.intercept_[0])
    return {"kind": "beta", "input": "confidence", "a": a, "b": b, "c0": shift}
