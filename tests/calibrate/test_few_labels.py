"""Few labels: the p-value by exact sums, the promise over many draws, and what is refused."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from corea.calibrate import FitOptions, OutcomeTable, Targets, fit, select_for_labelling
from corea.calibrate.certify import certify
from corea.calibrate.exact_tests import share_upper
from corea.calibrate.few_labels import FewLabels, few_label_drop_pvalue
from corea.calibrate.rules import ScoredTable
from corea.errors import ConfigError, DataError
from corea.metrics import Interval

from .simulated import compared

TARGETS, FEW = Targets(max_drop=0.05), FitOptions(few_labels=True)


def hidden(pairs: OutcomeTable, gold: Any) -> OutcomeTable:
    first, last = (np.where(gold, model.correct, np.nan) for model in (pairs.first, pairs.last))
    return pairs.change(0, correct=first).change(-1, correct=last)


@pytest.mark.parametrize("within", [True, False])
def test_the_p_value_errs_at_most_delta_on_a_broken_promise(within: bool) -> None:
    drop, delta, n, gold = 0.05, 0.1, 400, 30
    rng = np.random.default_rng(0)
    for share, mean in ((0.06, 0.85), (0.1, 0.5), (0.3, 1 / 6)):
        rejected = 0
        loss, gain = (0.9 + mean) / 2, (0.9 - mean) / 2
        for _ in range(1500):
            different = int(rng.binomial(n, share))
            labelled = min(gold, different) if within else int(rng.binomial(gold, share))
            losses, gains, _ = rng.multinomial(labelled, _chances(loss, gain))
            rows = labelled if within else gold
            p = few_label_drop_pvalue(different, n, int(losses), int(gains), rows, drop, delta=delta, within=within)
            rejected += p <= delta
        assert rejected / 1500 <= delta + 2.5 * math.sqrt(delta * (1 - delta) / 1500), (share, mean)


def _chances(loss: float, gain: float) -> list[float]:
    loss = min(loss, 1.0)
    gain = max(0.0, min(gain, 1 - loss))
    return [loss, gain, 1 - loss - gain]


def test_where_hardly_any_answers_differ_no_label_is_needed() -> None:
    assert few_label_drop_pvalue(5, 1000, 0, 0, 0, 0.02) == pytest.approx(0.005)
    assert few_label_drop_pvalue(15, 1000, 0, 0, 0, 0.02) == 1


def test_labels_are_asked_for_where_answers_differ_and_only_on_rows_of_the_test() -> None:
    pairs = compared(2000)
    ids = select_for_labelling(hidden(pairs, np.zeros(2000, dtype=bool)), TARGETS, 100, FEW)
    at = np.isin(pairs.ids.astype(str), ids)
    assert (len(ids), at.sum(), pairs.first.agreement[at].max()) == (100, 100, 0)  # type: ignore[index]
    found = certify(hidden(pairs, at), TARGETS, FEW)
    assert set(ids) <= set(found.test.table.ids)
    assert found.notes == ()


def test_hidden_labels_change_nothing_but_the_gold_ones_do() -> None:
    pairs = compared(2000)
    at = np.isin(pairs.ids.astype(str), select_for_labelling(pairs, TARGETS, 150, FEW))
    first = fit(hidden(pairs, at), TARGETS, FEW, clock=str)
    lied = pairs.change(0, correct=np.where(at, pairs.first.correct, 1 - pairs.first.correct))
    assert fit(hidden(lied, at), TARGETS, FEW, clock=str) == first
    bad = pairs.change(0, correct=np.where(at, 0.0, pairs.first.correct)).change(-1, correct=np.ones(2000))
    worse = fit(hidden(bad, at), TARGETS, FEW, clock=str)
    assert worse.expected["saving"].value < first.expected["saving"].value


def test_it_says_how_many_labels_were_saved() -> None:
    pairs, targets = compared(3000), Targets(max_drop=0.02)
    at = np.isin(pairs.ids.astype(str), select_for_labelling(pairs, targets, 100, FEW))
    found = fit(hidden(pairs, at), targets, FEW)
    assert found.verdict == "certified"
    assert found.guarantee.labels is not None
    assert found.guarantee.labels.gold == 100
    assert (found.guarantee.labels.gold_saved or 0) > 0
    assert "of which 100 are labelled" in found.sentence


def test_what_cannot_be_certified_from_few_labels_is_refused() -> None:
    pairs = compared(300)
    gold = np.arange(300) < 50
    with pytest.raises(ConfigError, match="--value, which needs a label on every row"):
        certify(hidden(pairs, gold), Targets(value_usd=1.0), FEW)
    with pytest.raises(DataError, match="no answers to compare"):
        certify(hidden(pairs, gold).change(0, agreement=None), TARGETS, FEW)
    with pytest.raises(DataError, match="the answers are the same but one label is right"):
        odd = pairs.change(0, agreement=np.ones(300), correct=np.zeros(300)).change(-1, correct=np.ones(300))
        certify(hidden(odd, gold), TARGETS, FEW)
    with pytest.raises(ConfigError, match="needs gold labels drawn from all rows"):
        certify(hidden(pairs, gold & (pairs.first.agreement == 0)), Targets(max_risk=0.2), FEW)


def test_a_cost_needs_no_label_and_a_risk_those_of_the_kept() -> None:
    pairs = compared(2000)
    none = np.zeros(2000, dtype=bool)
    assert fit(hidden(pairs, none), Targets(max_cost_usd=0.0009, cost_cap_usd=0.02), FEW).verdict == "certified"
    some = np.random.default_rng(0).random(2000) < 0.3
    assert fit(hidden(pairs, some), Targets(max_risk=0.3), FEW).verdict == "certified"


# --- gold labels that are no random sample --------------------------------------------------------------------------


def test_gold_labels_where_both_models_agree_are_refused() -> None:
    pairs = compared(2000)
    agree = np.flatnonzero(pairs.first.agreement == 1)[:300]
    with pytest.raises(DataError, match=r"of the 300 labelled rows 0\.0 % have different answers, of all \d\d\.\d %"):
        certify(hidden(pairs, np.isin(np.arange(2000), agree)), TARGETS, FEW)


def test_gold_labels_that_prefer_rows_where_both_are_right_are_refused() -> None:
    pairs = compared(2000)
    weight = 1.0 + ((pairs.first.correct > 0.5) & (pairs.last.correct > 0.5))
    gold = np.isin(np.arange(2000), np.random.default_rng(0).choice(2000, 300, replace=False, p=weight / weight.sum()))
    with pytest.raises(DataError, match=r"rows \d\d\.\d % have different answers, of all \d\d\.\d %"):
        certify(hidden(pairs, gold), TARGETS, FEW)


@pytest.mark.parametrize("only_different", [True, False])
def test_gold_labels_on_easier_rows_are_refused(only_different: bool) -> None:
    pairs = compared(3000)
    rng, score = np.random.default_rng(0), np.nan_to_num(pairs.first.confidence)
    weight = score**3 * ((pairs.first.agreement == 0) if only_different else 1)
    gold = np.isin(np.arange(3000), rng.choice(3000, 300, replace=False, p=weight / weight.sum()))
    with pytest.raises(
        DataError, match=r"the scores of the \d+ labelled rows are higher than those of the rows that they stand for"
    ):
        certify(hidden(pairs, gold), TARGETS, FEW)


def test_labels_drawn_as_documented_are_never_refused_nor_remarked_on() -> None:
    linear = replace(FEW, map="linear")
    for seed in range(20):
        pairs = compared(1000, seed=seed)
        some = np.random.default_rng(seed).random(1000) < 0.2
        certify(hidden(pairs, some), TARGETS, linear)
        selected = np.isin(pairs.ids, select_for_labelling(pairs, TARGETS, 100, linear))
        assert certify(hidden(pairs, selected), TARGETS, linear).notes == ()


def test_ids_selected_for_a_small_drop_certify_no_threshold_below_them_at_a_larger_one() -> None:
    pairs = compared(4000, seed=1)
    gold = np.isin(pairs.ids, select_for_labelling(pairs, Targets(max_drop=0.005), 200, FEW))
    found = certify(hidden(pairs, gold), Targets(max_drop=0.1), FEW)
    assert found.rules is not None
    assert found.rules[0] is not None
    labelled = found.test.scores[0][np.isin(found.test.table.ids, pairs.ids[gold])]
    assert found.rules[0].limit >= labelled.min()
    said = f"no threshold below the score {labelled.min():.4g}, the least of a labelled answer, was tested"
    assert any(note.startswith(said) for note in found.notes)


def test_nothing_is_certified_without_a_labelled_row_that_decides() -> None:
    assert few_label_drop_pvalue(100, 1000, 0, 0, 300, 0.02, within=False, decisive=0) == 1
    assert few_label_drop_pvalue(100, 1000, 0, 0, 300, 0.02, within=False, decisive=1) < 0.05
    assert few_label_drop_pvalue(3, 1000, 0, 0, 0, 0.02, within=False, decisive=0) < 0.05  # needs no label


def drop_of(different: int, losses: int, gains: int, gold: int, n: int = 1000) -> Interval:
    """All n rows are kept, `different` of them have other answers, and the first `gold` of these are labelled."""
    at = np.arange(n)
    gap = np.where(at < losses, 1, np.where(at < losses + gains, -1, 0))
    pairs = compared(n).change(0, correct=(gap == -1).astype(float)).change(-1, correct=(gap == 1).astype(float))
    labels = FewLabels(gold=at < gold, different=at < different, only_different=True)
    return labels.drop_interval(ScoredTable.of(pairs, np.ones(n)), np.ones(n, dtype=bool))


def test_the_drop_s_interval_counts_what_was_not_seen() -> None:
    none = drop_of(0, 0, 0, 0)
    assert (none.value, none.low) == (0, -none.high)
    assert none.high == pytest.approx(1 - 0.05 ** (1 / 1000))  # no different answer in so many rows, at 5 %
    unknown = drop_of(30, 0, 0, 0)
    assert (unknown.value, unknown.low) == (0.03, -unknown.high)
    assert unknown.high == pytest.approx(share_upper(30, 1000, 0.05))
    half = drop_of(100, 30, 10, 50)
    assert half.value == pytest.approx(0.1 * 20 / 50)
    assert 0.005 < half.low < 0.02 < 0.06 < half.high < 0.09
    assert drop_of(100, 0, 0, 50).low < 0 < drop_of(100, 0, 0, 50).high  # both models wrong in all labelled rows


@pytest.mark.parametrize(("share", "loss", "gain"), [(0.002, 0.6, 0.2), (0.03, 0.5, 0.1), (0.2, 0.4, 0.3)])
def test_the_drop_s_interval_covers_the_true_drop(share: float, loss: float, gain: float) -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(300):
        different = int(rng.binomial(1000, share))
        gold = min(different, 40)
        losses, gains, _ = rng.multinomial(gold, _chances(loss, gain))
        found = drop_of(different, int(losses), int(gains), gold)
        covered += found.low <= share * (loss - gain) <= found.high
    assert covered >= 0.95 * 300
