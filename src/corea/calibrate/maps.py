"""Fits confidence maps; what is fitted is stored as plain numbers (see `corea.metrics.score_map`).

Two kinds of map, for two uses. The *score* orders answers for the threshold: a blend of all measured columns. In its
regret form it falls with the expected gain of deferring for each USD that the last model is expected to cost: the
probability of a loss (only the last model is right) less that of a gain (only the stage's is), over the cost. In its
risk form it falls with the probability that the stage's answer is wrong. The *probability* turns a score into a
calibrated probability of being right, for reports: isotonic, Platt or beta.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec.structs import replace

from corea.metrics.arrays import Floats
from corea.metrics.score_map import (
    EDGE,
    BetaMap,
    BlendMap,
    IdentityMap,
    IsotonicMap,
    LinearModel,
    PlattMap,
    ScoreMap,
    TreeEnsemble,
    apply_map,
    blend_features,
    blend_rank,
    blend_score,
    logit,
)
from corea.records.table import OutcomeTable
from corea.registry import import_extra

LINEAR_ROWS, TREE_ROWS = 60, 100  # fewer rows than these are too few to fit that kind of blend
MOST_ROWS = 20_000  # more do not help the trees, and cost time
FOLDS = 4
# chosen on six pairs that no result is quoted from: experiments/log.d/calibrate.md
N_TREES, FEW_ROWS, LEAF_ROWS, FEW_LEAF_ROWS, MOST_LEAVES = 80, 200, 30, 15, 150
GAIN_WEIGHT = 0.25  # gains are rare: most of their apparent predictors are noise
COST_WEIGHT = 0.5  # of the cost next to the two other targets, when a tree chooses its splits
MOST_COST = 5.0  # means; the most expensive questions would otherwise choose all splits
UNMEASURED = -1.0  # stands for NaN in the trees: below every confidence
SHRINK = 20.0  # rows of the whole that each category's rates are drawn towards


# --- the score ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _FitRows:
    """The rows that fit one stage's map: its model, the last one, and the columns that a map may read; (N,) each."""

    columns: Mapping[str, Any]
    confidences: list[str]
    correct: Floats
    last_correct: Floats
    last_cost: Floats
    tokens: Floats | None
    categories: Any

    @classmethod
    def of(cls, table: OutcomeTable, stage: int) -> "_FitRows":
        model, last = table.models[stage], table.last
        return cls(
            table.columns(stage), list(model.signals), model.correct, last.correct, last.cost_usd,
            model.completion_tokens, table.categories,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.correct)

    @property
    def loss(self) -> Floats:
        """(N,) 1 where only the last model is right."""
        return ((self.last_correct > 0.5) & (self.correct < 0.5)).astype(np.float64)

    @property
    def regret(self) -> Floats:
        """(N,) the gain of deferring; gains of the stage's model are weighted down towards their mean."""
        gain = ((self.correct > 0.5) & (self.last_correct < 0.5)).astype(np.float64)
        return self.loss - GAIN_WEIGHT * gain - (1 - GAIN_WEIGHT) * gain.mean()

    @property
    def complete(self) -> list[str]:
        """The numeric columns without a missing value."""
        named = [*self.confidences, *([] if self.tokens is None else ["completion_tokens"])]
        return [name for name in named if not np.isnan(self.columns[name]).any()]

    @property
    def lengths(self) -> tuple[float, float] | None:
        """The token counts that a map of these rows may judge."""
        if self.tokens is None or np.isnan(self.tokens).all():
            return None
        return float(np.nanmin(self.tokens)) / 2, 2 * float(np.nanmax(self.tokens))

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The confidences that a map of these rows may judge, by column: from half the least odds to twice the most."""
        measured = {name: self.columns[name] for name in self.confidences if not np.isnan(self.columns[name]).all()}
        ends = {name: (float(np.nanmin(values)), float(np.nanmax(values))) for name, values in measured.items()}
        return {
            name: (min(low, low / (2 - low)), max(high, 2 * high / (1 + high))) for name, (low, high) in ends.items()
        }

    @property
    def relative_cost(self) -> Floats:
        """(N,) the last model's cost over its mean, at most `MOST_COST`."""
        return np.minimum(self.last_cost / max(float(self.last_cost.mean()), 1e-300), MOST_COST)


def fit_score(
    table: OutcomeTable, stage: int = 0, *, kind: str = "auto", seed: int = 0, target: str = "regret"
) -> tuple[ScoreMap, Floats]:
    """A map for ordering a stage's answers, and cross-fitted scores of the very rows it was fitted on.

    Args:
        kind: "auto": a blend where there are several columns and rows enough, else the signal as it is; or
            "identity", "linear" or "trees".
        target: The order that a blend learns, "regret" or "risk" (see the top of this file).

    Returns:
        The map, and (N,) scores in which each row's comes from a map that has not seen the row.
    """
    kind = _kind_for(table, stage) if kind == "auto" else kind
    if kind == "identity":
        stored = IdentityMap(input=next(iter(table.models[stage].signals)))
        return stored, apply_map(stored, table.columns(stage))
    with _import("sklearn").config_context(skip_parameter_validation=True):  # half of the time of small trees
        return _cross_fitted(table, stage, kind, target, seed)


def _cross_fitted(table: OutcomeTable, stage: int, kind: str, target: str, seed: int) -> tuple[ScoreMap, Floats]:
    order = np.random.default_rng(seed).permutation(len(table))
    stored = _fit_blend(_FitRows.of(table.take(np.sort(order[:MOST_ROWS])), stage), kind, target, seed)
    score = np.full(len(table), np.nan)
    for k in range(FOLDS):
        held = order[k::FOLDS]
        others = np.setdiff1d(order, held)[:MOST_ROWS]
        part = _fit_blend(_FitRows.of(table.take(others), stage), kind, target, seed, like=stored)
        score[held] = blend_score(part, table.take(held).columns(stage))
    return stored, score


def several_columns(table: OutcomeTable, stage: int) -> bool:
    """True where a blend of a stage has more to read than one signal."""
    model = table.models[stage]
    return len(model.signals) > 1 or model.completion_tokens is not None or table.categories is not None


def _kind_for(table: OutcomeTable, stage: int) -> str:
    rows = _FitRows.of(table, stage)
    rare = min(rows.loss.sum(), rows.correct.sum(), len(rows) - rows.correct.sum())
    if not several_columns(table, stage) or len(rows) < LINEAR_ROWS or rare < 8:
        return "identity"
    return "trees" if len(rows) >= TREE_ROWS else "linear"


def _fit_blend(rows: _FitRows, kind: str, target: str, seed: int, like: BlendMap | None = None) -> BlendMap:
    categories, default = _category_rates(rows)
    stored = BlendMap(
        confidences=rows.confidences, length="" if rows.tokens is None else "completion_tokens",
        categories=categories, category_default=default, complete=rows.complete, lengths=rows.lengths,
        ranges=rows.ranges,
    )  # fmt: skip
    x = blend_features(stored, rows.columns)
    if kind == "trees":
        stored = replace(stored, trees=_fit_trees(x, rows, target, seed))
    else:
        loss = _fit_linear(x, rows.loss, seed) if target == "regret" else None
        stored = replace(stored, right=_fit_linear(x, rows.correct, seed), loss=loss)
    if like is not None:
        return replace(stored, centre=like.centre, scale=like.scale, ranges=like.ranges)
    z = blend_rank(stored, x)
    return replace(stored, centre=float(np.median(z)), scale=max(float(z.std()), 1e-6))


def _category_rates(rows: _FitRows) -> tuple[dict[str, list[float]], list[float]]:
    """Means by category, drawn towards the whole: right answers, log length, regret, log cost of the last model."""
    length = np.zeros(len(rows))
    if rows.tokens is not None:
        length = np.log1p(np.maximum(np.nan_to_num(rows.tokens), 0))
    cost = np.log(np.maximum(rows.relative_cost, 1e-3))
    facts = np.column_stack([rows.correct, length, rows.regret, cost])
    whole = facts.mean(axis=0)
    if rows.categories is None:
        return {}, whole.tolist()
    stated = np.array([each is not None for each in rows.categories])
    names, at = np.unique(rows.categories[stated].astype(str), return_inverse=True)
    if len(names) < 2:
        return {}, whole.tolist()
    facts = facts[stated]
    sums = np.column_stack([np.bincount(at, weights=column) for column in facts.T])
    rates = (sums + SHRINK * whole) / (np.bincount(at) + SHRINK)[:, None]
    return {str(name): rates[i].tolist() for i, name in enumerate(names)}, whole.tolist()


def _fit_trees(x: Floats, rows: _FitRows, target: str, seed: int) -> TreeEnsemble:
    """Extremely randomised trees as arrays; a leaf holds the mean target and the mean cost, over the number of trees.

    Source: Geurts, Ernst and Wehenkel 2006, Machine Learning 63(1).
    """
    wanted = rows.regret if target == "regret" else 1 - rows.correct
    grower = _import("sklearn.tree").ExtraTreeRegressor
    leaf_rows = max(LEAF_ROWS if len(x) >= FEW_ROWS else FEW_LEAF_ROWS, math.ceil(len(x) / MOST_LEAVES))
    targets = np.column_stack([wanted, rows.correct, COST_WEIGHT * rows.relative_cost])
    filled = np.where(np.isnan(x), UNMEASURED, x).astype(np.float32)
    seeds = np.random.default_rng(seed).integers(2**31, size=N_TREES).tolist()
    dice, grown = (
        np.random.RandomState(0),
        list[Any](),
    )  # one generator, seeded again: making one takes as long as a tree
    for each in seeds:
        dice.seed(each)
        tree = grower(min_samples_leaf=leaf_rows, max_features=None, random_state=dice)
        grown.append(tree.fit(filled, targets, check_input=False).tree_)
    return _stored_trees(grown, with_cost=target == "regret")


def _stored_trees(trees: Sequence[Any], *, with_cost: bool) -> TreeEnsemble:
    stored: dict[str, list[Any]] = {name: [] for name in ("feature", "cut", "left", "right", "target", "cost", "root")}
    depth = start = 0
    for tree in trees:
        leaf, here = tree.children_left < 0, np.arange(tree.node_count)
        mean = tree.value[:, :, 0] / N_TREES
        stored["root"].append(start)
        stored["feature"] += np.where(leaf, 0, tree.feature).tolist()
        stored["cut"] += np.where(leaf, 0.0, tree.threshold).tolist()
        stored["left"] += (start + np.where(leaf, here, tree.children_left)).tolist()
        stored["right"] += (start + np.where(leaf, here, tree.children_right)).tolist()
        stored["target"] += np.where(leaf, np.round(mean[:, 0], 8), 0.0).tolist()
        cost_leaf = mean[:, 2] / COST_WEIGHT if with_cost else np.full(len(here), 1 / N_TREES)
        stored["cost"] += np.where(leaf, np.round(cost_leaf, 8), 0.0).tolist()
        depth, start = max(depth, int(tree.max_depth)), start + int(tree.node_count)
    return TreeEnsemble(**stored, depth=depth, fill=UNMEASURED)


def _fit_linear(x: Floats, y: Floats, seed: int) -> LinearModel:
    """Logistic regression on filled and scaled features, ridge penalty; few parameters for few rows."""
    mean = np.nan_to_num(np.nanmean(np.where(np.isnan(x).all(axis=0), 0.0, x), axis=0))
    filled = np.where(np.isnan(x), mean, x)
    scale = np.maximum(filled.std(axis=0), 1e-9)
    model = _import("sklearn.linear_model").LogisticRegression(C=0.1, max_iter=500, random_state=seed)
    model.fit((filled - mean) / scale, y > 0.5)
    return LinearModel(
        mean=mean.tolist(), scale=scale.tolist(), weights=model.coef_[0].tolist(), bias=float(model.intercept_[0])
    )


# --- the probability ------------------------------------------------------------------------------------------------


def fit_probability(score: Floats, correct: Floats, *, kind: str = "auto", seed: int = 0) -> tuple[ScoreMap, Floats]:
    """A map from a score in [0, 1] to the probability of being right, and cross-fitted probabilities of these rows.

    Args:
        score: NaN where nothing was measured; such rows are left out and stay NaN.
        kind: "isotonic", "platt", "beta", or "auto": the least cross-fitted Brier score of the three.
    """
    there = ~np.isnan(score)
    s, y = score[there], correct[there]
    fitters: Mapping[str, Callable[[Floats, Floats], ScoreMap]] = {"isotonic": isotonic, "platt": platt, "beta": beta}
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


def isotonic(s: Floats, y: Floats) -> IsotonicMap:
    """Rising steps, joined by lines; k right answers of the n on a step give (k + 1) / (n + 2), so never 0 or 1.

    That is the Venn-Abers probability where the new row joins a step and pools no others; steps that the correction
    puts out of order are pooled again.

    Source: Zadrozny and Elkan 2002, KDD (pool adjacent violators); Vovk and Petej 2014, arXiv:1211.0025.
    """
    pooled = _import("sklearn.isotonic").IsotonicRegression
    order = np.argsort(s, kind="stable")
    _, step, n = np.unique(pooled().fit_transform(s, y)[order], return_inverse=True, return_counts=True)
    rates = (np.bincount(step, weights=y[order]) + 1) / (n + 2)
    rates = pooled().fit_transform(np.arange(len(n)), rates, sample_weight=n + 2)
    last = np.cumsum(n) - 1
    ends = np.unique(np.stack([last - n + 1, last]))  # of each step
    return IsotonicMap(x=s[order][ends].tolist(), y=np.asarray(rates)[step][ends].tolist())


def platt(s: Floats, y: Floats) -> PlattMap:
    """A sigmoid in the log-odds. Source: Platt 1999; on log-odds as Guo et al. 2017, arXiv:1706.04599, sec. 4."""
    model = _import("sklearn.linear_model").LogisticRegression(C=100.0, max_iter=500)
    model.fit(logit(np.clip(s, EDGE, 1 - EDGE))[:, None], y > 0.5)
    return PlattMap(a=float(model.coef_[0, 0]), b=float(model.intercept_[0]))


def beta(s: Floats, y: Floats) -> BetaMap:
    """The beta family. Source: Kull, Silva Filho and Flach 2017, AISTATS (PMLR 54)."""
    c = np.clip(s, EDGE, 1 - EDGE)
    model = _import("sklearn.linear_model").LogisticRegression(C=100.0, max_iter=1000)
    model.fit(np.column_stack([np.log(c), -np.log1p(-c)]), y > 0.5)
    a, b = (max(0.0, float(w)) for w in model.coef_[0])  # below 0 the map would fall somewhere
    shift = float(model.intercept_[0])
    return BetaMap(a=a, b=b, c0=shift)


def _import(module: str) -> Any:
    return import_extra("calibrate:", module)
