"""A router before the small model and a threshold after it, certified as one cascade; and maps of older rows."""

import asyncio
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from corea import Cascade, Question, Stage
from corea.backends.fake import FakeBackend
from corea.calibrate import FitOptions, OutcomeTable, Targets, fit, load
from corea.calibrate.binding import bind
from corea.calibrate.certify import certify
from corea.calibrate.rules import ScoredTable, ThresholdRule
from corea.errors import ConfigError, DataError
from corea.policies.router import BITS, QuestionModel, Router, features
from corea.policies.threshold import Threshold
from corea.signals.verbalized import Verbalized
from corea.types import Decision

TWO_POINTS = Targets(max_drop=0.02)
ROUTED = FitOptions(router=True)
HARD, EASY = ("integral", "tensor", "proof"), ("sum", "double", "half")


def worded(n: int, *, seed: int = 0, start: int = 0) -> OutcomeTable:
    """Half of the questions name a topic that the small model hardly knows; its confidence tells little."""
    rng = np.random.default_rng(seed)
    hard = rng.random(n) < 0.5
    small = (rng.random(n) < np.where(hard, 0.15, 0.93)).astype(float)
    large = (rng.random(n) < 0.95).astype(float)
    stated = np.round(np.clip(0.5 + 0.15 * (small - 0.5) + 0.2 * rng.normal(size=n), 0, 1), 2)
    topics = np.where(hard, rng.choice(HARD, n), rng.choice(EASY, n))
    return OutcomeTable.from_arrays(
        correct=np.column_stack([small, large]), cost_usd=[1e-4, 4e-4], confidence=stated,
        ids=[f"q{start + i}" for i in range(n)],
        texts=[f"Find the {topic} of item {start + i}." for i, topic in enumerate(topics)],
    )  # fmt: skip


def texts_of(table: OutcomeTable) -> list[str]:
    assert table.texts is not None
    return [str(text) for text in table.texts]


def test_a_score_is_the_logistic_sum_of_the_buckets_that_occur() -> None:
    weights = np.zeros(1 << BITS)
    seen, length = features("abc")
    assert int(seen.sum()) == 1  # one n-gram of three bytes
    assert length == pytest.approx(np.log(4))
    weights[seen] = 2.0
    model = QuestionModel(weights=weights.tolist(), bias=-1.0, length=0.5)
    assert model.score("ABC") == pytest.approx(1 / (1 + np.exp(-(-1 + 2 + 0.5 * np.log(4)))))
    assert model.score("") == pytest.approx(1 / (1 + np.exp(1)))
    assert int(features("abcabc" * 10)[0].sum()) == 9  # each n-gram once: three of each size
    assert np.array_equal(features("x" * 5 + "abc " * 2000)[0], features("abc " * 2000)[0])  # the last 8,000 bytes


def test_both_together_save_more_than_the_threshold_alone_and_skip_what_is_hopeless() -> None:
    fresh = worded(20_000, seed=9, start=10**6)
    alone, both = fit(worded(3000), TWO_POINTS), fit(worded(3000), TWO_POINTS, ROUTED)
    assert (alone.verdict, both.verdict) == ("infeasible", "certified")
    answers = both.apply(fresh)
    assert 1 - answers.cost_usd.mean() / fresh.last.cost_usd.mean() > 0.2
    assert (fresh.last.correct - answers.correct).mean() <= 0.02
    rule = both.rules[0]
    assert rule is not None
    assert rule.ask_above is not None
    router = both.stages[0].router
    assert router is not None
    hard = np.array([any(word in text for word in HARD) for text in texts_of(fresh)])
    asked = np.array([router.score(text) >= rule.ask_above for text in texts_of(fresh)])
    assert asked[hard].mean() < 0.02 < 0.9 < asked[~hard].mean()
    assert answers.kept[~asked].sum() == 0
    assert (answers.cost_usd[~asked] == fresh.last.cost_usd[~asked]).all()
    note = next(note for note in both.data.notes if note.startswith("the router asks small"))
    assert "wait for no draft" in note


def test_the_router_of_the_fit_split_is_tested_on_rows_that_it_has_not_seen() -> None:
    found = certify(worded(2000), TWO_POINTS, ROUTED)
    assert (len(found.fit), len(found.test)) == (600, 1400)
    assert not set(found.fit.table.ids) & set(found.test.table.ids)
    router = found.prepared.router
    assert router is not None
    assert found.test.routes is not None
    assert found.test.routes[0] == router.score(texts_of(found.test.table)[0])
    crossed = found.fit.routes
    assert crossed is not None
    assert crossed[0] != router.score(texts_of(found.fit.table)[0])  # by a model that has not seen it


def test_cost_and_answers_by_hand() -> None:
    rows = ScoredTable.of(worded(4), np.array([0.9, 0.9, 0.1, 0.1]))
    rows = dataclasses.replace(rows, routes=np.array([0.8, 0.2, 0.8, 0.2]))
    answers = rows.outcome((ThresholdRule(tau=0.5, ask_above=0.5),))
    assert answers.stage.tolist() == [0, 1, 1, 1]
    assert answers.cost_usd * 1e4 == pytest.approx([1, 4, 5, 4])


def test_a_bound_cascade_skips_and_keeps_as_the_artefact_says(tmp_path: Path) -> None:
    found = fit(worded(3000), TWO_POINTS, ROUTED)
    found = replace(
        found, binding=tuple(replace(each, model=name) for each, name in zip(found.binding, "ab", strict=True))
    )
    found.save(tmp_path / "c.json")
    assert load(tmp_path / "c.json").stages[0].router == found.stages[0].router
    said = "<answer>4</answer><confidence>0.99</confidence>"
    cascade = Cascade(
        stages=(
            Stage(name="small", backend=FakeBackend("a", said), signal=Verbalized(), policy=Threshold(0.5)),
            Stage(name="large", backend=FakeBackend("b", "<answer>5</answer>")),
        )
    )
    bound = bind(cascade, tmp_path / "c.json")
    easy, hard = (
        asyncio.run(bound.ask(Question.of(f"Find the {topic} of item 7.", id=topic))) for topic in ("sum", "tensor")
    )
    assert easy.answer == "4"
    assert (hard.answer, hard.steps[0].completion) == ("5", None)
    assert hard.steps[0].skipped is not None
    assert "Router" in hard.steps[0].skipped


def test_what_the_router_asks_is_left_to_the_other_pre_policy() -> None:
    class Never:
        def decide(self, question: Question) -> Decision:
            return Decision.DEFER

    model = QuestionModel(weights=[0.0] * (1 << BITS), bias=0.0, length=0.0)
    question = Question.of("What?")
    assert Router(model, 0.5).decide(question) is Decision.KEEP
    assert Router(model, 0.51).decide(question) is Decision.DEFER
    assert Router(model, 0.5, Never()).decide(question) is Decision.DEFER


def test_what_a_router_cannot_learn_from_is_refused() -> None:
    table = worded(400)
    with pytest.raises(ConfigError, match="no text of the question"):
        fit(dataclasses.replace(table, texts=None), TWO_POINTS, ROUTED)
    with pytest.raises(ConfigError, match="other targets than --max-drop"):
        fit(table, Targets(max_risk=0.1), ROUTED)
    with pytest.raises(ConfigError, match="got --by-group or --few-labels"):
        FitOptions(router=True, few_labels=True)
    same = table.change(0, correct=np.where(np.arange(400) < 2, 0.0, table.last.correct))
    with pytest.raises(ConfigError, match="expected at least 10"):
        fit(same, TWO_POINTS, ROUTED)
    found = fit(worded(3000), TWO_POINTS, ROUTED)
    with pytest.raises(DataError, match="no text of the question"):
        found.apply(dataclasses.replace(table, texts=None))


# --- maps of older rows ---------------------------------------------------------------------------------------------


def test_older_rows_fit_the_maps_and_all_new_rows_test() -> None:
    older, new = worded(2000, seed=1, start=10**6), worded(1000)
    found = fit(new, TWO_POINTS, ROUTED, older=older)
    assert (found.guarantee.n_fit, found.guarantee.n_test, found.verdict) == (2000, 1000, "certified")
    assert any("2,000 older rows" in note for note in found.data.notes)
    shared = fit(new, TWO_POINTS, ROUTED, older=dataclasses.replace(older, ids=np.r_[new.ids[:500], older.ids[500:]]))
    assert shared.guarantee.n_fit == 1500
    assert any(note.startswith("500 of the older rows") for note in shared.data.notes)
    same_text = fit(
        new,
        TWO_POINTS,
        older=dataclasses.replace(older, texts=np.array([*texts_of(new)[:500], *texts_of(older)[500:]], dtype=object)),
    )
    assert same_text.guarantee.n_fit == 1500
    with pytest.raises(DataError, match="every one of its questions"):
        fit(new, TWO_POINTS, older=new)


def test_an_older_artefact_lends_its_maps() -> None:
    older = fit(worded(2000, seed=1, start=10**6), TWO_POINTS, ROUTED)
    new = worded(1000)
    found = fit(new, TWO_POINTS, older=older)
    assert found.stages[0].map == older.stages[0].map
    assert found.stages[0].router == older.stages[0].router
    assert (found.guarantee.n_fit, found.guarantee.n_test, found.verdict) == (100, 900, "certified")
    with pytest.raises(ConfigError, match="of these very rows"):
        fit(worded(2000, seed=1, start=10**6), TWO_POINTS, older=older)
    renamed = dataclasses.replace(new.first, name="other")
    with pytest.raises(ConfigError, match="got a calibration of small, expected one of other"):
        fit(dataclasses.replace(new, models=(renamed, new.last)), TWO_POINTS, older=older)


def test_older_rows_without_labels_fit_by_agreement() -> None:
    older = worded(2000, seed=1, start=10**6)
    agreement = (older.first.correct == older.last.correct).astype(float)
    older = older.change(0, agreement=agreement, correct=np.full(2000, np.nan)).change(1, correct=np.full(2000, np.nan))
    found = fit(worded(1000), TWO_POINTS, ROUTED, older=older)
    assert (found.verdict, found.guarantee.n_test) == ("certified", 1000)
    assert any("agreement with the large model stands for them" in note for note in found.data.notes)
