"""The comparison on small made-up rows; no neighbour's package is needed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corea.calibrate import OutcomeTable
from corea.errors import ConfigError
from recipes.neighbours import cascades, routers
from recipes.neighbours.installed import available, run
from recipes.neighbours.measure import WAYS, halves, measure
from recipes.neighbours.problem import Choice, Rows, cheapest_threshold, outcome


def four(confidence: Any = (0.9, 0.8, 0.7, 0.1)) -> Rows:
    """Four questions; the small model costs 1 and is right on the first two, the large one costs 4 and is right."""
    return Rows(
        table=OutcomeTable.from_arrays(
            correct=[[1, 1], [1, 1], [0, 1], [0, 1]], cost_usd=[1, 4], confidence=np.array(confidence)
        )
    )


def made(n: int = 160) -> Rows:
    rng = np.random.default_rng(5)
    hard = rng.random(n) < 0.4
    texts = [f"{'prove the long lemma' if h else 'add two numbers'} {i % 7} and {i % 5}" for i, h in enumerate(hard)]
    small = (rng.random(n) < np.where(hard, 0.4, 0.95)).astype(float)
    large = (rng.random(n) < 0.95).astype(float)
    stated = np.clip(0.6 * small + 0.4 * rng.random(n), 0, 1)
    table = OutcomeTable.from_arrays(
        correct=np.stack([small, large], axis=1), cost_usd=[1e-6, 2e-5], confidence=stated, texts=texts
    )
    return Rows(table=table, drafts=np.array(["therefore 4" if s else "perhaps 5" for s in small], dtype=object))


def test_a_cascade_pays_for_the_drafts_that_it_discards_and_a_router_does_not():
    keep = [True, True, False, False]
    assert outcome(four(), Choice.cascade(keep)).saving == pytest.approx(1 - (4 + 8) / 16)
    assert outcome(four(), Choice.route(keep)).saving == pytest.approx(1 - (2 + 8) / 16)
    assert outcome(four(), Choice.cascade([True] * 4)).drop == 0.5
    assert outcome(four(), None).saving == 0


def test_a_second_opinion_is_paid_for():
    choice = Choice(asked=np.ones(4), kept=np.array([True, True, False, False]), extra_usd=np.array([2.0, 0, 0, 0]))
    assert outcome(four(), choice).saving == pytest.approx(1 - (4 + 8 + 2) / 16)


def test_the_cheapest_threshold_within_the_target():
    assert cheapest_threshold(four().table.first.confidence, four()) == 0.8
    assert cheapest_threshold(four().table.first.confidence, four(), max_drop=0.25) == 0.7
    ties = four(confidence=(0.9, 0.9, 0.9, np.nan))  # equal scores are kept together, one without a score never
    assert cheapest_threshold(ties.table.first.confidence, ties) is None
    assert cheapest_threshold(ties.table.first.confidence, ties, max_drop=0.25) == 0.9


def test_bounds_and_the_published_rule():
    assert outcome(four(), _decided(routers.oracle, four())).saving == pytest.approx(1 - (2 + 8) / 16)
    assert routers.best_single(four(), 0) is None
    assert outcome(four(), _decided(cascades.published_corea, four(confidence=(1, 0.9, 0.5, 0)))).saving == (
        pytest.approx(1 - (4 + 12) / 16)
    )


def _decided(fit: Any, rows: Rows) -> Choice:
    decide = fit(rows, 0)
    assert decide is not None
    return decide(rows)


def test_every_way_runs_on_the_same_halves():
    said: list[str] = []
    found = {each["way"]: each for each in measure(made(), splits=1, say=said.append)}
    assert set(found) == {way.name for way in WAYS} - {"COREA, second opinion"}
    assert all(each["splits"] == 1 for each in found.values())
    assert found["oracle"]["drop_mean"] <= 0
    assert found["oracle"]["saving_median"] > found["random"]["saving_median"] > 0
    assert found["COREA, router"]["drop_high"] < 0.2
    assert 0 <= found["kNN"]["saving_median"] <= found["oracle"]["saving_high"]
    assert len(said) == len(found)


def test_a_classifier_sends_the_questions_it_knows_to_the_small_model():
    rows = made(400)
    right = np.array([float("add" in text) for text in rows.texts])  # the words tell
    rows = Rows(table=rows.table.change(0, correct=right).change(-1, correct=np.ones(len(rows))))
    for make in (routers.knn, routers.factorised):
        choice = _decided(routers.trained(make), rows)
        assert choice.asked.tolist() == [text.startswith("add") for text in rows.texts]
    assert outcome(rows, _decided(routers.similarity_weighted, rows)).drop <= 0.02


def test_ucci_chooses_on_rows_that_did_not_fit_its_map():
    rows = made(400)
    found = outcome(rows, _decided(cascades.ucci, rows))
    assert found.saving > 0.2
    assert found.drop < 0.05


def test_routers_alone_where_no_confidence_was_recorded():
    rows = made()
    rows = Rows(table=rows.table.change(0, signals={"confidence": np.full(len(rows), np.nan)}))
    found = {each["way"] for each in measure(rows, splits=1, say=lambda said: None)}
    assert "kNN" in found
    assert not {way.name for way in WAYS if way.kind == "cascade"} & found


def test_halves_share_no_question():
    for seen, unseen in halves(101, 3):
        assert sorted([*seen, *unseen]) == list(range(101))


def test_a_neighbour_without_an_environment_is_not_run(tmp_path: Path):
    assert available(tmp_path) == []
    with pytest.raises(ConfigError, match="run `make neighbours`"):
        run(tmp_path, "mapie", {"splits": []})
