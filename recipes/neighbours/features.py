"""Features of texts for the trained routers and scorers, and scores that no row's own label has fitted."""

from functools import lru_cache
from typing import Any

import numpy as np

from corea.metrics.arrays import Floats

DIMENSIONS, FOLDS = 64, 4


@lru_cache(maxsize=2)
def text_features(texts: tuple[str, ...]) -> Any:
    """Words and pairs of words, weighted and reduced to 64 dimensions: a pipeline of scikit-learn, fitted on texts."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2, max_features=20_000).fit(texts)
    size = min(DIMENSIONS, len(texts) // 4, len(words.vocabulary_) - 1)
    rest = make_pipeline(TruncatedSVD(size, random_state=0), Normalizer()).fit(words.transform(texts))
    return make_pipeline(words, rest)


def cross_fitted(model: Any, inputs: Any, labels: Any, seed: int) -> tuple[Any, Floats]:
    """The model fitted on all rows, and (N,) probabilities of label 1 by models that did not see the row."""
    from sklearn.base import clone
    from sklearn.model_selection import StratifiedKFold

    score = np.full(len(labels), float(np.mean(labels)))
    if len(np.unique(labels)) < 2 or np.bincount(labels).min() < FOLDS:
        raise ValueError("features: fewer than 4 rows of a class, nothing to fit")
    for fit, rest in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(score, labels):
        fresh: Any = clone(model)
        score[rest] = fresh.fit(inputs[fit], labels[fit]).predict_proba(inputs[rest])[:, 1]
    last: Any = clone(model)
    return last.fit(inputs, labels), score
