"""Evaluates a stored confidence map: plain numbers in a dict, as a calibration artefact holds it, numpy alone.

A map turns columns measured about an answer into one score in [0, 1]; NaN where nothing was measured. Kinds:
- `identity`: the column `input` itself.
- `isotonic`: piecewise linear through `x`, `y`.
- `platt`: sigmoid(a logit(c) + b); `beta`: sigmoid(a ln c - b ln(1-c) + c0).
- `blend`: features of several columns, then randomised trees for what deferring is expected to gain (or the chance that
  the SLM is wrong) and for the LLM's cost, or linear logits for few rows; the score falls with the gain over the cost.
The same code runs when a map is fitted on 100,000 rows and when one answer is judged.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from corea.errors import DataError
from corea.metrics.arrays import Floats

Columns = Mapping[str, Any]  # name -> (N,) numbers, NaN where not measured; "category" -> (N,) str or None
EDGE = 1e-6


def apply_map(stored: Mapping[str, Any], columns: Columns) -> Floats:
    """(N,) scores of a stored map.

    Raises:
        DataError: A column that the map reads is not there, or the map is of an unknown kind.
    """
    kind = stored.get("kind")
    if kind == "blend":
        return blend_score(stored, columns)
    values = column(columns, str(stored.get("input", "confidence")))
    if kind == "identity":
        return values
    c = np.clip(values, EDGE, 1 - EDGE)
    if kind == "isotonic":
        out = np.interp(values, stored["x"], stored["y"])
    elif kind == "platt":
        out = sigmoid(stored["a"] * logit(c) + stored["b"])
    elif kind == "beta":
        out = sigmoid(stored["a"] * np.log(c) - stored["b"] * np.log1p(-c) + stored["c0"])
    else:
        raise DataError(
            f"confidence map: got kind {kind!r}, expected identity, isotonic, platt, beta or blend; remake it"
        )
    return np.where(np.isnan(values), np.nan, out)


def inputs_of(stored: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns that a map reads."""
    if stored.get("kind") != "blend":
        return (str(stored.get("input", "confidence")),)
    names = [*stored["confidences"], *([stored["length"]] if stored["length"] else [])]
    return (*names, "category") if stored["categories"] else tuple(names)


def column(columns: Columns, name: str) -> Floats:
    """One numeric column."""
    if name not in columns:
        raise DataError(f"confidence map: no column {name!r}, expected it beside {', '.join(columns)}; calibrate again")
    return np.asarray(columns[name], dtype=np.float64)


def blend_score(stored: Mapping[str, Any], columns: Columns) -> Floats:
    """The score of a blend, in [0, 1]; NaN where no confidence at all was measured."""
    x = blend_features(stored, columns)
    unmeasured = np.asarray(np.isnan(x[:, : len(stored["confidences"])]).all(axis=1))
    score = sigmoid(-(blend_rank(stored, x) - stored["centre"]) / stored["scale"])
    # six digits: sums of trees in another order must not fall on another side of a threshold
    return np.where(unmeasured, np.nan, np.round(score, 6))


def blend_rank(stored: Mapping[str, Any], x: Floats) -> Floats:
    """(N,) from features: what deferring gains over what it costs, in no unit; the score falls with it."""
    if stored.get("trees"):
        target, cost = trees(stored["trees"], x).T
        return target / np.clip(cost, 0.05, 20.0)
    right = logits(stored["right"], x)
    return logits(stored["loss"], x) - right if stored["loss"] else -right


def blend_features(stored: Mapping[str, Any], columns: Columns) -> Floats:
    """(N, P): the confidences, their mean, least and range, log length, the same against its category, the category's
    rate of right answers, regret and log cost, and how many confidences are missing."""
    confidences = np.column_stack([column(columns, name) for name in stored["confidences"]])
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
    table: Mapping[str, Sequence[float]] = stored["categories"]
    rates = None
    if table:
        place = {name: i for i, name in enumerate(table)}
        at = np.fromiter((place.get(str(name), len(place)) for name in columns["category"]), int, len(confidences))
        rates = np.array([*table.values(), stored["category_default"]], dtype=np.float64)[at]
    if stored["length"]:
        length = np.log1p(np.maximum(column(columns, stored["length"]), 0))
        parts.append(length[:, None])
        if rates is not None:
            parts.append((length - rates[:, 1])[:, None])
    if rates is not None:
        parts.append(rates[:, [0, 2, 3]])
    parts.append(missing.sum(axis=1)[:, None].astype(np.float64))
    return np.column_stack(parts)


def logits(member: Mapping[str, Any], x: Floats) -> Floats:
    """Log-odds that are linear in filled, scaled features."""
    filled = np.where(np.isnan(x), np.asarray(member["mean"]), x)
    scaled = (filled - np.asarray(member["mean"])) / np.asarray(member["scale"])
    return scaled @ np.asarray(member["weights"]) + member["bias"]


def trees(member: Mapping[str, Any], x: Floats) -> Floats:
    """(N, 2): the sums of the leaves' targets and costs. Stored node by node, one array a field; a leaf points to
    itself."""
    feature, left, right, root_T = (
        np.asarray(member[name], dtype=np.intp) for name in ("feature", "left", "right", "root")
    )
    cut = np.asarray(member["cut"], dtype=np.float64)
    leaf_M2 = np.column_stack([member["target"], member["cost"]])
    # single precision, as the trees were grown: a value must fall on the same side of a cut again
    filled = np.where(np.isnan(x), member["fill"], x).astype(np.float32).astype(np.float64)
    out = np.empty((len(x), 2))
    for start in range(0, len(x), 2048):
        part = filled[start : start + 2048]
        row = (np.arange(len(part)) * part.shape[1])[:, None]
        node_NT = np.broadcast_to(root_T, (len(part), len(root_T)))
        for _ in range(int(member["depth"])):
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
