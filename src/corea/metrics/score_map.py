"""Confidence maps: plain numbers, as a calibration artefact holds them, evaluated with numpy alone.

A map turns columns measured about an answer into one score in [0, 1]; NaN where nothing was measured. The same code
runs when a map is fitted on 100,000 rows and when one answer is judged.
"""

from collections.abc import Container, Mapping
from typing import Any

import msgspec
import numpy as np

from corea.errors import DataError
from corea.metrics.arrays import Floats

Columns = Mapping[str, Any]  # name -> (N,) numbers, NaN where not measured; "category" -> (N,) str or None
EDGE = 1e-6
SECOND_OPINION = "second_opinion"  # the column: 1 where another model's answer agrees, 0 where it differs


class IdentityMap(msgspec.Struct, frozen=True, kw_only=True, tag="identity", tag_field="kind"):
    """The column `input` itself."""

    input: str = "confidence"


class IsotonicMap(msgspec.Struct, frozen=True, kw_only=True, tag="isotonic", tag_field="kind"):
    """Piecewise linear through the points `x`, `y`."""

    x: list[float]
    y: list[float]
    input: str = "confidence"


class PlattMap(msgspec.Struct, frozen=True, kw_only=True, tag="platt", tag_field="kind"):
    """sigmoid(a logit(c) + b)."""

    a: float
    b: float
    input: str = "confidence"


class BetaMap(msgspec.Struct, frozen=True, kw_only=True, tag="beta", tag_field="kind"):
    """sigmoid(a ln c - b ln(1 - c) + c0)."""

    a: float
    b: float
    c0: float
    input: str = "confidence"


class LinearModel(msgspec.Struct, frozen=True, kw_only=True):
    """Log-odds that are linear in P filled, scaled features."""

    mean: list[float]
    scale: list[float]
    weights: list[float]
    bias: float


class TreeEnsemble(msgspec.Struct, frozen=True, kw_only=True):
    """Trees stored node by node, one array a field; a leaf points to itself.

    Args:
        feature, cut, left, right: Of each node: the feature's index, its threshold, and the nodes below.
        target, cost: Of each leaf, over the number of trees: the expected gain of deferring (or chance of an error),
            and the expected relative cost of the large model.
        root: The first node of each tree. `depth`: the most steps to a leaf.
        fill: Stands for a feature that was not measured.
    """

    feature: list[int]
    cut: list[float]
    left: list[int]
    right: list[int]
    target: list[float]
    cost: list[float]
    root: list[int]
    depth: int
    fill: float


class BlendMap(msgspec.Struct, frozen=True, kw_only=True, tag="blend", tag_field="kind"):
    """Features of several columns, then randomised trees, or linear logits for few rows.

    They estimate the gain of deferring (or the chance that the small model is wrong) and the large model's cost; the
    score falls with the gain over the cost.

    Args:
        confidences: The columns of the signals. `length`: the column of token counts, "" for none.
        categories: By category four rates, drawn towards the whole: right answers, log length, regret, log cost.
        category_default: The same four of all rows, for rows without a category.
        complete: The columns that every row which fitted has. `lengths`: the least and the greatest token count
            that has a score: half and twice those that fitted; None without a length. `ranges`: the same of each
            confidence, from half the least odds to twice the greatest.
        right, loss: Logits of a right answer of the small model, and of a loss; `loss` is None for a risk target.
        centre, scale: The rank's median and spread, which the score is relative to.
    """

    confidences: list[str]
    length: str
    categories: dict[str, list[float]]
    category_default: list[float]
    complete: list[str] = []
    lengths: tuple[float, float] | None = None
    ranges: dict[str, tuple[float, float]] = {}
    trees: TreeEnsemble | None = None
    right: LinearModel | None = None
    loss: LinearModel | None = None
    centre: float = 0.0
    scale: float = 1.0


ScoreMap = IdentityMap | IsotonicMap | PlattMap | BetaMap | BlendMap


def map_kind(stored: ScoreMap) -> str:
    """The name of a map's kind, as the artefact has it."""
    return str(stored.__struct_config__.tag)


def apply_map(stored: ScoreMap, columns: Columns) -> Floats:
    """(N,) scores of a stored map.

    Raises:
        DataError: A column that the map reads is missing.
    """
    if isinstance(stored, BlendMap):
        return blend_score(stored, columns)
    values = column(columns, stored.input)
    if isinstance(stored, IdentityMap):
        return values
    c = np.clip(values, EDGE, 1 - EDGE)
    if isinstance(stored, IsotonicMap):
        out = np.interp(values, stored.x, stored.y)
    elif isinstance(stored, PlattMap):
        out = sigmoid(stored.a * logit(c) + stored.b)
    else:
        out = sigmoid(stored.a * np.log(c) - stored.b * np.log1p(-c) + stored.c0)
    return np.where(np.isnan(values), np.nan, out)


def inputs_of(stored: ScoreMap) -> tuple[str, ...]:
    """The columns that a map reads."""
    if not isinstance(stored, BlendMap):
        return (stored.input,)
    names = [*stored.confidences, *([stored.length] if stored.length else [])]
    return (*names, "category") if stored.categories else tuple(names)


def opinion_scores(stored: ScoreMap, columns: Columns) -> tuple[Floats, Floats]:
    """(N,) scores of a map that reads a second opinion: if it differs, and if it agrees, whatever was measured."""
    n = len(next(iter(columns.values())))
    differs, agrees = (apply_map(stored, {**columns, SECOND_OPINION: np.full(n, value)}) for value in (0.0, 1.0))
    return differs, agrees


def column(columns: Columns, name: str) -> Floats:
    """One numeric column."""
    if name not in columns:
        raise DataError(f"confidence map: no column {name!r}, expected it beside {', '.join(columns)}; calibrate again")
    return np.asarray(columns[name], dtype=np.float64)


def blend_score(stored: BlendMap, columns: Columns) -> Floats:
    """The score of a blend, in [0, 1]; NaN where no confidence was measured, or an input is unlike all that fitted."""
    x = blend_features(stored, columns)
    unmeasured = np.asarray(np.isnan(x[:, : len(stored.confidences)]).all(axis=1))
    for unlike in outside(stored, columns).values():
        unmeasured = unmeasured | unlike
    score = sigmoid(-(blend_rank(stored, x) - stored.centre) / stored.scale)
    # six digits: sums of trees in another order must not fall on another side of a threshold
    return np.where(unmeasured, np.nan, np.round(score, 6))


def outside(stored: ScoreMap, columns: Columns) -> dict[str, Any]:
    """By input of a map, (N,) True where its value is outside what fitted, or missing though it never was there."""
    if not isinstance(stored, BlendMap):
        return {}
    limits = dict(stored.ranges) | ({} if stored.lengths is None else {stored.length: stored.lengths})
    found = {name: np.isnan(column(columns, name)) for name in stored.complete}
    for name, (least, most) in limits.items():
        values = column(columns, name)
        found[name] = found.get(name, False) | (values < least) | (values > most)
    if stored.categories:
        n = len(column(columns, stored.confidences[0]))
        found["category"] = ~among(columns.get("category"), stored.categories, n)
    return found


def among(values: Any, known: Container[str], n: int) -> Any:
    """(N,) True where a row's category is one of these; nowhere without categories."""
    if values is None:
        return np.zeros(n, dtype=bool)
    return np.fromiter((value is not None and str(value) in known for value in values), bool, n)


def blend_rank(stored: BlendMap, x: Floats) -> Floats:
    """(N,) from features: the expected gain of deferring over its cost, without a unit; the score falls with it."""
    if stored.trees is not None:
        target, cost = trees(stored.trees, x).T
        return target / np.clip(cost, 0.05, 20.0)
    if stored.right is None:
        raise DataError("confidence map: a blend with neither trees nor logits, expected one; calibrate again")
    right = logits(stored.right, x)
    return logits(stored.loss, x) - right if stored.loss else -right


def blend_features(stored: BlendMap, columns: Columns) -> Floats:
    """(N, P): the confidences, their mean, least and range, log length, the same against its category, the category's
    rate of right answers, regret and log cost, and how many confidences are missing."""
    confidences = np.column_stack([column(columns, name) for name in stored.confidences])
    missing = np.isnan(confidences)
    count = np.maximum((~missing).sum(axis=1), 1)
    total = np.where(missing, 0.0, confidences).sum(axis=1)
    least = np.where(missing, np.inf, confidences).min(axis=1)
    most = np.where(missing, -np.inf, confidences).max(axis=1)
    none = np.asarray(missing.all(axis=1))
    parts = [confidences]
    if confidences.shape[1] > 1:
        summary = np.column_stack([total / count, least, most - least])
        parts.append(np.where(none[:, None], np.nan, summary))
    table = stored.categories
    rates = None
    if table:
        place = {name: i for i, name in enumerate(table)}
        names = columns.get("category", [None] * len(confidences))
        at = np.fromiter((place.get(str(name), len(place)) for name in names), int, len(confidences))
        rates = np.array([*table.values(), stored.category_default], dtype=np.float64)[at]
    if stored.length:
        length = np.log1p(np.maximum(column(columns, stored.length), 0))
        parts.append(length[:, None])
        if rates is not None:
            parts.append((length - rates[:, 1])[:, None])
    if rates is not None:
        parts.append(rates[:, [0, 2, 3]])
    parts.append(missing.sum(axis=1)[:, None].astype(np.float64))
    return np.column_stack(parts)


def logits(member: LinearModel, x: Floats) -> Floats:
    """Log-odds that are linear in filled, scaled features."""
    filled = np.where(np.isnan(x), np.asarray(member.mean), x)
    scaled = (filled - np.asarray(member.mean)) / np.asarray(member.scale)
    return scaled @ np.asarray(member.weights) + member.bias


def trees(member: TreeEnsemble, x: Floats) -> Floats:
    """(N, 2): the sums of the leaves' targets and costs. Stored node by node, one array a field; a leaf points to
    itself."""
    feature, left, right, root_T = (
        np.asarray(getattr(member, name), dtype=np.intp) for name in ("feature", "left", "right", "root")
    )
    cut = np.asarray(member.cut, dtype=np.float64)
    leaf_M2 = np.column_stack([member.target, member.cost])
    # single precision, as the trees were grown: a value must fall on the same side of a cut again
    filled = np.where(np.isnan(x), member.fill, x).astype(np.float32).astype(np.float64)
    out = np.empty((len(x), 2))
    for start in range(0, len(x), 2048):
        part = filled[start : start + 2048]
        row = (np.arange(len(part)) * part.shape[1])[:, None]
        node_NT = np.broadcast_to(root_T, (len(part), len(root_T)))
        for _ in range(int(member.depth)):
            at = part.ravel().take(row + feature.take(node_NT))
            node_NT = np.where(at <= cut.take(node_NT), left.take(node_NT), right.take(node_NT))
        out[start : start + 2048] = leaf_M2.take(node_NT, axis=0).sum(axis=1)
    return out


def sigmoid(z: Any) -> Floats:
    """1 / (1 + exp(-z)), without overflow."""
    z = np.clip(np.asarray(z, dtype=np.float64), -500, 500)
    return 1 / (1 + np.exp(-z))


def logit(p: Any) -> Floats:
    """ln(p / (1 - p)) of numbers strictly between 0 and 1."""
    p = np.asarray(p, dtype=np.float64)
    return np.log(p) - np.log1p(-p)
