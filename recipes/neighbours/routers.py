"""Routers that decide before any answer exists, and the bounds that every way is between."""

from collections.abc import Callable
from typing import Any

import numpy as np

from corea.metrics.arrays import Floats
from recipes.neighbours.features import cross_fitted, text_features
from recipes.neighbours.problem import MAX_DROP, Choice, Decide, Fit, Rows, cheapest_threshold


def trained(make: Callable[[], Any]) -> Fit:
    """A classifier of the question, "only the large model is right", with a threshold by cross-fitted scores."""

    def fit(rows: Rows, seed: int) -> Decide | None:
        features, needs = text_features(tuple(rows.texts)), (rows.lost > 0.5).astype(int)
        try:
            model, score = cross_fitted(make(), features.transform(rows.texts), needs, seed)
        except ValueError:  # too few questions that only the large model answers
            return None
        tau = cheapest_threshold(-score, rows, before=True)
        if tau is None:
            return None
        return lambda new: Choice.route(-model.predict_proba(features.transform(new.texts))[:, 1] >= tau)

    return fit


def knn() -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(n_neighbors=20)


def svm() -> Any:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import SVC

    return CalibratedClassifierCV(SVC(class_weight="balanced"), ensemble=False, cv=3)  # pyright: ignore[reportArgumentType]


def mlp() -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((64,), max_iter=60, early_stopping=True, random_state=0)


def factorised() -> Any:
    """Matrix factorisation: for two models the difference of their scores is linear in the question's features.

    Source: Ong et al. 2024, arXiv:2406.18665, sec. 4.2.
    """
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=10, max_iter=500)


def similarity_weighted(rows: Rows, seed: int) -> Decide | None:
    """RouteLLM's similarity-weighted ranking: the large model's share of wins, weighted by likeness to the question.

    For two models the weighted Bradley-Terry fit is this share. The likeness is that of word features, not of an
    embedding model. Source: Ong et al. 2024, arXiv:2406.18665, sec. 4.2, with gamma = 10.
    """
    features = text_features(tuple(rows.texts))
    known, wins = features.transform(rows.texts), (rows.lost > 0.5).astype(float)

    def needs(texts: list[str], *, own: bool = False) -> Floats:
        likeness = features.transform(texts) @ known.T
        if own:
            np.fill_diagonal(likeness, -np.inf)
        weights = 10 ** (likeness / np.maximum(likeness.max(axis=1, keepdims=True), 1e-9))
        return (weights @ wins) / weights.sum(axis=1)

    tau = cheapest_threshold(-needs(rows.texts, own=True), rows, before=True)
    return None if tau is None else lambda new: Choice.route(-needs(new.texts) >= tau)


def at_random(rows: Rows, seed: int) -> Decide | None:
    """A share of the questions, as large as the target allows on the labelled rows, goes to the small model."""
    gap = float(rows.lost.mean())
    share = 1.0 if gap <= MAX_DROP else MAX_DROP / gap
    return lambda new: Choice.route(np.random.default_rng(seed).random(len(new)) < share)


def best_single(rows: Rows, seed: int) -> Decide | None:
    """The small model for everything where it meets the target on the labelled rows, else the large one."""
    return (lambda new: Choice.route(np.ones(len(new)))) if rows.lost.mean() <= MAX_DROP else None


def oracle(rows: Rows, seed: int) -> Decide | None:
    """Knows both grades before it asks: the large model only where it alone is right."""
    return lambda new: Choice.route(new.lost < 0.5)
