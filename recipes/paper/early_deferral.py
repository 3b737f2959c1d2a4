"""Early deferral: the small model is stopped as soon as its text so far makes deferral almost certain.

Simulated on stored answers. Greedy decoding writes the same prefix whether or not it is stopped, so the tokens that a
stop would have saved are known exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from corea.errors import ConfigError
from corea.metrics.arrays import Floats
from corea.registry import install_hint
from recipes.paper.answers import Part, folds, need_fitting

FEWEST = 20  # answers of each kind below which nothing is fitted at a checkpoint
NEVER = np.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefixes:
    """Features of N answers while they are written.

    Args:
        tokens: (N,) completion tokens of the whole answer.
        features: By checkpoint, in tokens, (N, F) features of the answer so far; rows of shorter answers are not used.
    """

    tokens: Floats
    features: Mapping[int, Floats]


def stops(part: Part, seen: Prefixes, deferred: Floats, others: Prefixes, *, at_most: float = 0.05) -> Floats:
    """Number of tokens after which each of the other answers is stopped, (M,); infinity where it is not stopped.

    At each checkpoint a logistic regression on the calibration split says how likely an answer is to be deferred once
    it is whole. It is stopped from the lowest probability on above which, out of fold, at most `at_most` of the answers
    would have been kept.

    Args:
        part: The calibration split whose answers `seen` describes.
        deferred: (N,) 1 where the whole answer is deferred.

    Raises:
        DataError: `part` is not the calibration split.
    """
    need_fitting("early deferral", part)
    assert len(deferred) == len(seen.tokens) == len(part)
    stopped_fit, stopped = np.full(len(seen.tokens), NEVER), np.full(len(others.tokens), NEVER)
    for checkpoint in sorted(seen.features):
        rows = np.flatnonzero((seen.tokens > checkpoint) & np.isinf(stopped_fit))
        open_rows = np.flatnonzero((others.tokens > checkpoint) & np.isinf(stopped))
        late = (deferred[rows] > 0.5).astype(np.float64)
        if not len(open_rows) or min(late.sum(), (1 - late).sum()) < FEWEST:
            continue
        x, other_x = seen.features[checkpoint][rows], others.features[checkpoint][open_rows]
        inside = _out_of_fold(x, late, [part.questions[i] for i in rows])
        limit = _limit(inside, late, at_most)
        stopped_fit[rows[inside >= limit]] = checkpoint
        stopped[open_rows[_fitted(x, late, other_x) >= limit]] = checkpoint
    return stopped


def _out_of_fold(x: Floats, late: Floats, questions: Sequence[object]) -> Floats:
    out = np.full(len(x), np.nan)
    for fold in folds(questions):  # pyright: ignore[reportArgumentType]  # they are questions
        inside = fold.astype(int)
        rest = np.setdiff1d(np.arange(len(x)), inside)
        if len(inside):
            out[inside] = _fitted(x[rest], late[rest], x[inside])
    return out


def _limit(probability: Floats, late: Floats, at_most: float, fewest: int = 10) -> float:
    """The lowest probability from which on at most that share was not late; infinity where there is none."""
    order = np.argsort(-probability, kind="stable")
    wrong = np.cumsum(1 - late[order]) / np.arange(1, len(order) + 1)
    last = np.flatnonzero(np.diff(probability[order], append=-1.0) != 0)
    good = [i for i in last if wrong[i] <= at_most and i + 1 >= fewest]
    return float(probability[order][good[-1]]) if good else NEVER


def _fitted(x: Floats, late: Floats, other: Floats) -> Floats:
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise ConfigError(f"early deferral needs scikit-learn; {install_hint('sklearn')}") from error
    made = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    made.fit(x, late)
    return np.asarray(made.predict_proba(other)[:, 1], dtype=float)
