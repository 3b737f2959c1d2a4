"""Fits a router: a light model of the question's text alone, which says where the stage is worth asking."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from corea.errors import ConfigError
from corea.metrics.arrays import Floats
from corea.policies.router import QuestionModel, features
from corea.records.table import OutcomeTable
from corea.registry import import_extra

FOLDS = 5
RIDGE = 1.0  # of the weights, against one unit of log-likelihood
LEAST_LOSSES = 10  # fewer rows where only the last model is right teach nothing


def fit_router(table: OutcomeTable, *, seed: int = 0) -> tuple[QuestionModel, Floats]:
    """A model of the questions, and the (N,) scores of these rows by models that have not seen them.

    It predicts where the last model is right and the first is not; the score is the probability of the contrary.

    Raises:
        ConfigError: The rows have no text of their questions, or hardly any differ.
    """
    if table.texts is None:
        raise ConfigError("router: the rows have no text of the question, expected the field question; record it")
    loss = (table.last.correct > 0.5) & (table.first.correct < 0.5)
    if min(loss.sum(), (~loss).sum()) < LEAST_LOSSES:
        raise ConfigError(
            f"router: got {int(loss.sum())} questions that only {table.last.name} answered rightly among "
            f"{len(table)}, expected at least {LEAST_LOSSES} and as many others; label more, or drop --router"
        )
    columns = _columns(list(table.texts))
    model = _fit(columns, loss)
    scores = np.full(len(table), np.nan)
    fold = np.random.default_rng(seed).permutation(len(table)) % FOLDS
    for k in range(FOLDS):
        held = np.flatnonzero(fold == k)
        part = _fit(columns[fold != k], loss[fold != k])
        scores[held] = [part.score(str(table.texts[i])) for i in held]
    return model, scores


def _columns(texts: Sequence[str | None]) -> Any:
    sparse = import_extra("calibrate:", "scipy.sparse")
    made = [features("" if text is None else str(text)) for text in texts]
    buckets = [np.flatnonzero(seen) for seen, _ in made]
    values = np.concatenate([np.full(len(each), max(len(each), 1) ** -0.5) for each in buckets])
    starts = np.cumsum([0, *map(len, buckets)])
    x = sparse.csr_matrix((values, np.concatenate(buckets), starts), shape=(len(made), len(made[0][0])))
    length = np.array([[length] for _, length in made])
    return sparse.hstack([x, sparse.csr_matrix(length)]).tocsr()


def _fit(x: Any, loss: Any) -> QuestionModel:
    model = import_extra("calibrate:", "sklearn.linear_model").LogisticRegression(C=RIDGE, max_iter=300)
    model.fit(x, ~loss)
    weights = np.round(model.coef_[0], 4)
    bias = round(float(model.intercept_[0]), 4)
    return QuestionModel(weights=weights[:-1].tolist(), length=float(weights[-1]), bias=bias)
