"""A score for every answer: a stored signal, or a classifier fitted on the calibration split alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from corea.errors import ConfigError, DataError
from corea.metrics.arrays import Floats
from corea.registry import install_hint
from recipes.paper.answers import Answers, Fitting, Part, folds, need_fitting
from recipes.paper.methods import Method

FITTED = ("probe", "router", "blend")
BLENDED = ("verbalized", "expected", "mean_token_probability", "answer_token_probability")  # need no extra call
FEWEST = 20  # rows of each class below which no classifier is fitted


class NotRun(Exception):
    """Raised for a row that cannot be computed, with the reason, which the table shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """A method's confidence in each answer, (N,) on both splits; NaN where there is none.

    On the calibration split a fitted score is out of fold: each question is scored by a classifier that has not seen
    it, so that the threshold chosen there is not chosen on memorised answers.
    """

    fit: Floats
    judged: Floats


def scores(method: Method, fitting: Part, judged: Part) -> Scores:
    """The scores of a method.

    Raises:
        NotRun: The model's answers, a capability or two kinds of outcome are missing.
        DataError: `fitting` is not the calibration split.
    """
    part = need_fitting(method.name, fitting)
    assert method.score is not None
    if method.score not in FITTED:
        here = [_signal(method, p.answers[method.role]) for p in (part, judged)]
        return Scores(fit=here[0], judged=here[1])
    features = FEATURES[method.score]
    return _classifier(method, part, features(method, part), features(method, judged))


def _signal(method: Method, found: Answers) -> Floats:
    assert method.score is not None
    if method.score not in found.confidence:
        raise NotRun(f"the signal {method.score!r} is not among the model's signals in the configuration")
    values = found.confidence[method.score]
    if np.isnan(values).all():
        first = found.reasons.get(method.score) or "no reason"
        raise NotRun(f"the signal {method.score!r} gave no value for any answer; for the first: {first}")
    return values


def _hidden(method: Method, part: Part) -> Any:
    vectors = part.answers[method.role].hidden
    if vectors is None:
        raise NotRun("hidden states were not taken; they need the backend kind 'hf' and probe = true")
    return vectors


def _texts(method: Method, part: Part) -> Any:
    del method
    return [q.text + "\n" + "\n".join(q.choices) for q in part.questions]


def _blended(method: Method, part: Part) -> Any:
    """Each signal as a log-odds (0 where it has no value, with a flag), and the log of the answer's length."""
    found = part.answers[method.role]
    columns: list[Floats] = [np.log1p(found.tokens)]
    for name in BLENDED:
        if name in found.confidence:
            values = found.confidence[name]
            clipped = np.clip(np.nan_to_num(values, nan=0.5), 1e-3, 1 - 1e-3)
            columns += [np.log(clipped / (1 - clipped)), np.isnan(values).astype(float)]
    if len(columns) < 5:
        raise NotRun("a blend needs two signals at least, of those that make no call of their own")
    return np.stack(columns, axis=1)


FEATURES: dict[str, Callable[[Method, Part], Any]] = {"probe": _hidden, "router": _texts, "blend": _blended}


def _classifier(method: Method, part: Fitting, fit_x: Any, judged_x: Any) -> Scores:
    right = part.answers[method.role].correct > 0.5
    if min(int(right.sum()), int((~right).sum())) < FEWEST:
        raise NotRun(
            f"the calibration split has {int(right.sum())} right and {int((~right).sum())} wrong answers; a classifier "
            f"needs {FEWEST} of each"
        )
    out = np.full(len(right), np.nan)
    for fold in folds(part.questions):
        inside = fold.astype(int)
        rest = np.setdiff1d(np.arange(len(right)), inside)
        if not len(inside):
            continue
        if len(set(right[rest].tolist())) < 2:
            raise DataError("compare: a fold has answers of one kind only; give more calibration questions")
        out[inside] = _train(method, _take(fit_x, rest), right[rest])(_take(fit_x, inside))
    return Scores(fit=out, judged=_train(method, fit_x, right)(judged_x))


def _take(x: Any, at: Any) -> Any:
    return [x[i] for i in at] if isinstance(x, list) else x[at]


def _train(method: Method, x: Any, right: Any) -> Callable[[Any], Floats]:
    """A logistic regression; on words for the router (TF-IDF, one and two in a row), else on scaled numbers."""
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise ConfigError(f"compare: {method.name} needs scikit-learn; {install_hint('sklearn')}") from error
    if method.score == "router":
        words: Any = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=r"(?u)\w+|[^\w\s]")
        made: Any = make_pipeline(words, LogisticRegression(C=1.0, max_iter=2000))
    else:
        strength = 0.05 if method.score == "probe" else 1.0
        made = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
    made.fit(x, right)
    return lambda other: np.asarray(made.predict_proba(other)[:, 1], dtype=float)
