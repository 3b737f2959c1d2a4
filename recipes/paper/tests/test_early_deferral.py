"""Early deferral on answers whose beginnings tell, or do not tell, that they will be deferred."""

import numpy as np
import pytest

from corea.errors import DataError
from recipes.paper.answers import Fitting, Judged
from recipes.paper.early_deferral import Prefixes, stops
from recipes.paper.tests.conftest import questions

pytest.importorskip("sklearn")
N = 200
DEFERRED = (np.arange(N) % 2).astype(float)
PART = Fitting(questions=questions(0, N), answers={}, held_out=frozenset())


def prefixes(telling: int, *, tokens: float = 40) -> Prefixes:
    """Beginnings of which one feature tells the outcome from the checkpoint `telling` on."""
    noise = np.random.default_rng(0).normal(size=(N, 3))
    told = noise + np.array([[10.0, 0.0, 0.0]]) * DEFERRED[:, None]
    features = {checkpoint: told if checkpoint >= telling else noise for checkpoint in (8, 16, 24)}
    return Prefixes(tokens=np.full(N, tokens), features=features)


def test_an_answer_is_stopped_at_the_first_checkpoint_that_tells() -> None:
    found = stops(PART, prefixes(16), DEFERRED, prefixes(16))
    assert set(found[DEFERRED > 0]) == {16}
    assert np.isinf(found[DEFERRED == 0]).all()


def test_nothing_is_stopped_where_the_beginning_tells_nothing() -> None:
    found = stops(PART, prefixes(99), DEFERRED, prefixes(99), at_most=0.02)
    assert np.isinf(found).mean() > 0.9


def test_an_answer_that_is_over_before_the_checkpoint_is_not_stopped() -> None:
    assert np.isinf(stops(PART, prefixes(16), DEFERRED, prefixes(16, tokens=16))).all()


def test_where_nearly_all_is_deferred_nothing_is_fitted() -> None:
    assert np.isinf(stops(PART, prefixes(8), np.ones(N), prefixes(8))).all()


def test_it_is_not_fitted_on_the_evaluation_split() -> None:
    judged = Judged(questions=questions(0, N), answers={})
    with pytest.raises(DataError, match="early deferral: got the evaluation split"):
        stops(judged, prefixes(8), DEFERRED, prefixes(8))
