"""A judge with few labels of people: by hand, valid whatever it says, and worth labels where it agrees with them."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from corea.calibrate import FitOptions, OutcomeTable, Targets, fit, select_for_labelling
from corea.calibrate.certify import certify
from corea.calibrate.exact_tests import mean_pvalue
from corea.calibrate.few_labels import ENOUGH_TO_COMPARE, TRUST, FewLabels, labels_of, rectified
from corea.calibrate.rules import ScoredTable, ThresholdRule, rules_at
from corea.errors import ConfigError, DataError
from corea.evaluate.judged_promise import preferences_met_pvalues

TARGETS, JUDGED = Targets(max_drop=0.06), FitOptions(few_labels=True, map="identity")


def pairs(n: int, *, agrees: float = 0.8, leans: float = 0.0, seed: int = 0) -> tuple[OutcomeTable, Any]:
    """Pairs whose texts all differ, with what people say: hidden in the table, of which a judge says most."""
    rng = np.random.default_rng(seed)
    sure = rng.random(n)
    said = np.where(rng.random(n) < 0.75 * (1 - sure), 1.0, np.where(rng.random(n) < 0.15, -1.0, 0.0))
    judged = np.where(rng.random(n) < agrees, said, rng.permutation(said))
    judged = np.where(rng.random(n) < abs(leans), np.clip(judged + np.sign(leans), -1, 1), judged)
    table = OutcomeTable.from_arrays(correct=np.full((n, 2), np.nan), cost_usd=[1.0, 20.0], confidence=sure)
    return table.change(0, judged=judged, agreement=np.zeros(n), judge_model="judge"), said


def labelled(table: OutcomeTable, said: Any, ids: list[str]) -> OutcomeTable:
    first, last = labels_of(np.where(np.isin(table.ids.astype(str), ids), said, np.nan))
    return table.change(0, correct=first).change(-1, correct=last)


def test_preferences_as_labels() -> None:
    first, last = labels_of(np.array([1.0, 0.0, -1.0, np.nan]))
    assert first[:3].tolist() == [0, 1, 1]
    assert last[:3].tolist() == [1, 1, 0]
    assert np.isnan([first[3], last[3]]).all()


def test_rectified_labels_by_hand() -> None:
    said, judged, others = (
        np.array([1.0, 0.0, -1.0]),
        np.array([1.0, 1.0, -1.0]),
        np.array([1.0, 0.0, 0.0, 0.0, 1.0, 1.0]),
    )
    values = rectified(said, judged, others)  # parts of the others: their means are 0.5, 0 and 1
    start = 5
    gap = [0.5, 1.0, -2.0]
    weights = [TRUST, (TRUST * start + 0.5) / (start + 0.25), (TRUST * start + 0.5) / (start + 1.25)]
    assert values.tolist() == pytest.approx([d - w * g for d, w, g in zip(said, weights, gap, strict=True)])


def test_a_value_depends_on_what_is_before_and_on_its_own_part_alone_and_stays_within_bounds() -> None:
    rng = np.random.default_rng(0)
    said, judged, others = (rng.choice([-1.0, 0.0, 1.0], size=n) for n in (50, 50, 173))
    values = rectified(said, judged, others)
    for i in (0, 10, 49):
        later = [np.arange(50) >= i, np.arange(50) >= i, np.arange(173) * 50 // 173 >= i]
        changed = [np.where(at, -1.0, old) for at, old in zip(later, (said, judged, others), strict=True)]
        assert rectified(*changed)[:i].tolist() == values[:i].tolist()
    assert np.abs(values).max() <= 3


@pytest.mark.parametrize("judge", ["as people", "leans", "opposite", "random"])
def test_the_test_errs_at_most_delta_on_a_broken_promise_whatever_the_judge_says(judge: str) -> None:
    rng, delta, sets, n = np.random.default_rng(1), 0.1, 1000, 60
    chances, limit = [0.3, 0.5, 0.2], 0.1  # of 1, 0, -1: the mean is just the limit
    rejected = 0
    for _ in range(sets):
        said = rng.choice([1.0, 0.0, -1.0], size=4 * n, p=chances)
        noise = rng.choice([1.0, 0.0, -1.0], size=4 * n)
        verdicts = {
            "as people": said, "leans": np.maximum(said - 1, -1), "opposite": -said, "random": noise
        }[judge]  # fmt: skip
        values = rectified(said[:n], verdicts[:n], verdicts[n:])
        rejected += mean_pvalue(values, limit, low=-3.0, high=3.0, delta=delta) <= delta
    assert rejected / sets <= delta + 2.5 * math.sqrt(delta * (1 - delta) / sets)


def test_a_judge_that_agrees_makes_labels_worth_more() -> None:
    found: dict[float, float] = {}
    for agrees in (1.0, 0.0):
        table, said = pairs(4000, agrees=agrees)
        table = labelled(table, said, [str(i) for i in np.random.default_rng(2).permutation(4000)[:400]])
        labels = FewLabels.of(table, TARGETS)
        scored = certify(table, TARGETS, JUDGED).test
        answers = scored.outcome((rules_at(scored.scores[0], [1.0])[-1],))
        labels = labels.take(np.array([int(key) for key in scored.table.ids]))
        target = Targets(max_drop=float(np.mean(said)) + 0.07)
        assert int(labels.gold.sum()) >= ENOUGH_TO_COMPARE
        found[agrees] = labels.pvalues(target, scored, answers, cap_usd=1.0)["max_drop"]
    assert found[1.0] < found[0.0] / 3


@pytest.mark.parametrize(("leans", "agrees"), [(0.0, 0.8), (-0.5, 0.8), (0.5, 0.8), (0.0, 0.2)])
def test_what_is_certified_holds_for_people_with_any_judge(leans: float, agrees: float) -> None:
    broken = certified = 0
    everything, truth = pairs(20_000, seed=100)
    for seed in range(8):
        table, said = pairs(1200, agrees=agrees, leans=leans, seed=seed)
        table = labelled(table, said, select_for_labelling(table, TARGETS, 150, JUDGED))
        found = certify(table, TARGETS, JUDGED)
        if found.rules is not None:
            kept = everything.first.confidence >= found.rules[0].limit  # type: ignore[union-attr]
            certified += 1
            broken += float((truth * kept).mean()) > 0.06
    assert broken <= 1
    assert certified >= 6


def test_the_artefact_says_who_judged_and_how_often_people_said_the_same() -> None:
    table, said = pairs(1500)
    table = labelled(table, said, select_for_labelling(table, TARGETS, 250, JUDGED))
    found = fit(table, TARGETS, JUDGED)
    use = found.guarantee.labels
    assert use is not None
    gold = ~np.isnan(table.first.correct)
    agreed = float(np.mean(table.first.judged[gold] == said[gold]))  # type: ignore[index]
    assert (found.verdict, use.judge, use.gold) == ("certified", "judge", 250)
    assert use.judge_agrees == pytest.approx(agreed)
    assert "exceed those where they prefer the draft by at most 6 points" in found.sentence
    assert "prediction-powered" in found.guarantee.test
    assert any("for the judge's verdict" in note for note in found.data.notes)


def test_the_labels_that_it_asks_for_are_mostly_enough() -> None:
    certified = 0
    for seed in range(6):
        table, said = pairs(1500, seed=seed)
        options = replace(JUDGED, seed=seed)
        use = fit(table, Targets(max_drop=0.04), options).guarantee.labels
        assert use is not None
        assert use.enough is not None
        assert use.pairs is not None
        assert 20 <= use.enough <= use.pairs
        ids = select_for_labelling(table, Targets(max_drop=0.04), use.enough, options)
        certified += fit(labelled(table, said, ids), Targets(max_drop=0.04), options).certified
    assert certified >= 4


def test_a_risk_is_of_kept_drafts_that_people_find_worse() -> None:
    table, said = pairs(2000)
    both = Targets(max_drop=0.1, max_risk=0.3)
    table = labelled(table, said, select_for_labelling(table, both, 300, JUDGED))
    found = fit(table, both, JUDGED)
    assert found.verdict == "certified"
    assert "people prefer the large model's answer to at most 30 % of kept drafts" in found.guarantee.statement
    none, _ = pairs(2000)
    grades = none.change(0, judged=None, agreement=(np.arange(2000) % 2).astype(float))
    with pytest.raises(ConfigError, match="needs gold labels drawn from all rows"):
        at = np.arange(2000) % 2 == 0
        first, last = labels_of(np.where(at, said, np.nan))
        certify(grades.change(0, correct=first).change(-1, correct=last), Targets(max_risk=0.3), JUDGED)


@pytest.mark.parametrize(("side", "said"), [(0.0, "to no draft"), (1.0, "to every draft")])
def test_a_judge_that_says_the_same_of_all_is_refused(side: float, said: str) -> None:
    table, _ = pairs(100)
    with pytest.raises(DataError, match=f"judge: it prefers the large model's answer {said}"):
        fit(table.change(0, judged=np.full(100, side)), TARGETS, JUDGED)


# --- a locked rule on fresh pairs -------------------------------------------------------------------------------------

DRAWN = Targets(max_drop=0.1, max_risk=0.2, delta=0.1)


def drawn(rng: Any, worse: float, *, gold: int, judge: bool, n: int = 1300) -> dict[str, tuple[float, float]]:
    """p-values of missed and met; half is kept, 0.8 of it differs, people find `worse` of that worse and 0.1 better."""
    kept, different = rng.random(n) < 0.5, rng.random(n) < 0.8
    said = rng.choice([1.0, 0.0, -1.0], size=n, p=[worse, 0.9 - worse, 0.1])
    judged = np.where(rng.random(n) < 0.8, said, rng.choice([1.0, 0.0, -1.0], size=n)) if judge else None
    pool = rng.permutation(np.flatnonzero(kept & different))[:gold]
    first, last = labels_of(np.where(np.isin(np.arange(n), pool), said, np.nan))
    table = OutcomeTable.from_arrays(
        correct=np.column_stack([first, last]), cost_usd=[1.0, 20.0], confidence=kept.astype(float)
    ).change(0, judged=judged)
    rows = ScoredTable.of(table, kept.astype(float))
    labels = FewLabels(gold=np.isin(np.arange(n), pool), different=different, only_different=True, judged=judged)
    answers = rows.outcome((ThresholdRule(tau=0.5, tie_fraction=1.0),))
    missed = labels.pvalues(DRAWN, rows, answers, cap_usd=0.0)
    met = preferences_met_pvalues(labels, DRAWN, rows, answers, cap_usd=0.0)
    return {name: (missed[name], met[name]) for name in met}


@pytest.mark.parametrize(("gold", "judge"), [(60, False), (200, True)])
def test_a_locked_promise_at_its_very_limit_is_neither_confirmed_nor_refuted_beyond_delta(
    gold: int, judge: bool
) -> None:
    rng, sets, delta = np.random.default_rng(2), 400, DRAWN.delta
    noise = 2.5 * math.sqrt(delta * (1 - delta) / sets)
    for name, worse in (("max_drop", 0.1 / (0.5 * 0.8) + 0.1), ("max_risk", 0.2 / 0.8)):
        found = [drawn(rng, worse, gold=gold, judge=judge)[name] for _ in range(sets)]
        assert np.mean([missed <= delta for missed, _ in found]) <= delta + noise
        assert np.mean([met <= delta / 2 for _, met in found]) <= delta / 2 + noise


@pytest.mark.parametrize(("gold", "judge"), [(60, False), (200, True)])
def test_a_locked_promise_is_refuted_where_it_is_broken_and_confirmed_where_it_holds(gold: int, judge: bool) -> None:
    rng = np.random.default_rng(3)
    broken = drawn(rng, 0.7, gold=gold, judge=judge)
    assert all(met <= DRAWN.delta / 2 < missed for missed, met in broken.values())
    kept = drawn(rng, 0.05, gold=gold, judge=judge)
    assert all(missed <= DRAWN.delta < met for missed, met in kept.values())
