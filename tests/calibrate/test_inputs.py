"""Inputs that a calibration reads and a question lacks, or that no calibrating row had: deferred, counted, refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from corea.backends.fake import FakeBackend
from corea.calibrate import Calibration, FitOptions, OutcomeTable, Targets, fit
from corea.calibrate.binding import bind
from corea.cascade import Cascade
from corea.cli.advice import refuse_unknown_inputs
from corea.errors import ConfigError
from corea.evaluate.apply import apply_calibration
from corea.policies.threshold import Threshold
from corea.report.calibration import calibration_lines
from corea.signals.verbalized import Verbalized
from corea.stage import Stage
from corea.types import OUTSIDE, Question, Sampling

from .simulated import simulated_pairs

TARGETS = Targets(max_drop=0.05)
BY_CATEGORY = FitOptions(use_category=True)


def two_kinds(n: int, *, seed: int = 0, start: int = 0) -> OutcomeTable:
    """The small model is right on easy questions only, with the same stated confidences; the large one on both."""
    rng = np.random.default_rng([seed, n, start])
    hard = rng.random(n) < 0.5
    right = rng.random((n, 2)) < np.column_stack([np.where(hard, 0.3, 0.98), np.full(n, 0.98)])
    return OutcomeTable.from_arrays(
        correct=right, cost_usd=[1e-5, 1e-3], confidence=rng.choice([0.8, 0.9, 1.0], n),
        ids=[f"q{start + i}" for i in range(n)], categories=["hard" if h else "easy" for h in hard],
    )  # fmt: skip


@pytest.fixture(scope="module")
def by_category() -> Calibration:
    found = fit(two_kinds(3000), TARGETS, BY_CATEGORY)
    assert found.certified
    assert found.expected["llm_share"].value < 0.6
    return found


@pytest.mark.parametrize("given", [None, "unheard-of"])
def test_a_question_without_a_known_category_is_deferred_and_counted(
    by_category: Calibration, given: str | None
) -> None:
    fresh = two_kinds(2000, seed=1, start=10**6)
    known = fresh.categories
    assert known is not None
    renamed = replace(fresh, categories=np.array([given] * 1000 + known[1000:].tolist(), dtype=object))
    kept = by_category.apply(renamed).kept
    assert not kept[:1000].any()
    assert np.array_equal(kept[1000:], by_category.apply(fresh).kept[1000:])
    figures = apply_calibration(by_category, renamed)
    assert "1,000 of 2,000 questions have a category that did not calibrate, or none: all deferred" in figures["notes"]
    without = replace(fresh, categories=None)
    assert not by_category.apply(without).kept.any()


@pytest.mark.parametrize("options", [FitOptions(by_group=True, map="identity"), BY_CATEGORY])
async def test_a_cascade_defers_what_has_no_known_category_and_says_so(options: FitOptions, tmp_path: Path) -> None:
    found = fit(two_kinds(3000), TARGETS, options)
    found.save(tmp_path / "c.json")
    bound = bind(pair(), tmp_path / "c.json")
    stages = {}
    for category in ("easy", "hard", None, "unheard-of"):
        trace = await bound.ask(Question(id="q", messages=Question.of("Say yes").messages, category=category))
        stages[category] = trace.stage
        if category in (None, "unheard-of"):
            assert trace.steps[0].confidence is not None
            assert trace.steps[0].confidence.value is None
            assert trace.steps[0].confidence.reason == f"{OUTSIDE}: category {category!r}; deferred"
    assert stages == {"easy": "small", "hard": "large", None: "large", "unheard-of": "large"}


def test_commands_that_give_no_category_refuse_such_a_calibration(by_category: Calibration, tmp_path: Path) -> None:
    by_category.save(tmp_path / "c.json")
    bound = bind(pair(), tmp_path / "c.json")
    with pytest.raises(ConfigError, match="corea ask: the calibration reads each question's category, which"):
        refuse_unknown_inputs(bound, "corea ask")
    refuse_unknown_inputs(pair(), "corea ask")
    assert any("every question must carry its category, one of easy, hard" in n for n in by_category.data.notes)


def test_by_default_the_category_is_not_read_as_the_gateway_has_none() -> None:
    pairs = simulated_pairs(2000, columns=True)
    found, without = fit(pairs, TARGETS), fit(replace(pairs, categories=None), TARGETS)
    assert found.stages == without.stages
    assert found.stages[0].categories is None
    assert not any("must carry" in line for line in calibration_lines(found))
    assert found.report is not None
    assert [row.category for row in found.report.categories] == ["easy", "hard"]  # still shown


def test_an_input_that_was_always_there_and_is_missing_defers() -> None:
    pairs = simulated_pairs(2000, columns=True)
    found = fit(pairs, TARGETS)
    tokens = pairs.first.completion_tokens
    assert tokens is not None
    kept = found.apply(pairs).kept
    for wrong in (np.nan, 0.0, 50 * float(tokens.max())):
        changed = pairs.change(0, completion_tokens=np.full(len(pairs), wrong))
        assert not found.apply(changed).kept.any()
    name = list(pairs.first.signals)[-1]
    gone = {**pairs.first.signals, name: np.full(len(pairs), np.nan)}
    assert kept.any()
    assert not found.apply(pairs.change(0, signals=gone)).kept.any()


def sure(_: Question) -> str:
    return "<answer>yes</answer><confidence>1.0</confidence>"


def test_rows_that_contradict_the_promise_are_named() -> None:
    found = fit(simulated_pairs(3000, seed=1), TARGETS)
    fresh = simulated_pairs(3000, seed=2, start=10**6)
    assert apply_calibration(found, fresh)["contradicted"] == []
    shifted = fresh.change(0, correct=np.where(found.apply(fresh).kept, 0.0, fresh.first.correct))
    assert apply_calibration(found, shifted)["contradicted"] == ["max_drop"]


def pair() -> Cascade:
    small = Stage(
        name="small", backend=FakeBackend("small", sure), sampling=Sampling(),
        signal=Verbalized(), policy=Threshold(0.5),
    )  # fmt: skip
    return Cascade(
        stages=(
            small,
            Stage(name="large", backend=FakeBackend("large", lambda _: "<answer>yes</answer>"), sampling=Sampling()),
        ),
        name="pair",
    )
