"""Calibration as a whole: verdicts, splits, targets, artefact, and the guarantee on rows never seen."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from corea.calibrate import Calibration, FitOptions, OutcomeTable, Targets, fit, load
from corea.calibrate.certify import certify
from corea.calibrate.rules import ScoredTable, rules_at, unlike_rows
from corea.errors import ConfigError, DataError
from corea.evaluate.apply import apply_calibration
from corea.evaluate.promise import retest
from corea.metrics.score_map import apply_map, map_kind
from corea.policies.calibrated import ThresholdRule
from corea.report.calibration import calibration_lines
from corea.report.html import calibration_page

from .simulated import simulated_pairs

TARGETS = Targets(max_drop=0.05)


def threshold_of(found: Calibration) -> ThresholdRule:
    assert found.rules[0] is not None
    return found.rules[0]


def test_a_useful_signal_is_certified_and_saves_on_other_rows() -> None:
    found = fit(simulated_pairs(3000, seed=1), TARGETS)
    assert found.verdict == "certified"
    figures = apply_calibration(found, simulated_pairs(20_000, seed=2, start=10**6))
    assert figures["saving"] > 0.1
    assert figures["targets_met"] == {"max_drop": figures["drop"] <= 0.05}


def test_a_useless_signal_of_a_poor_model_is_infeasible_and_says_what_to_do() -> None:
    found = fit(simulated_pairs(400, seed=1, slm=0.3, sharp=0.0), Targets(max_drop=0.02))
    assert (found.verdict, found.rules) == ("infeasible", (None,))
    assert found.sentence.startswith("INFEASIBLE")
    assert any("uncertified point" in each for each in found.advice)
    assert found.expected["llm_share"].value == 1
    assert found.expected["saving"].value == 0


def test_fifty_questions_cannot_carry_two_points() -> None:
    found = fit(simulated_pairs(50, slm=0.4, llm=0.97, sharp=3.0), Targets(max_drop=0.02))
    assert found.verdict == "infeasible"
    assert any("labels" in each for each in found.advice)


def test_the_rows_that_fit_are_not_rows_of_the_test() -> None:
    pairs = simulated_pairs(1000, columns=True)
    found = certify(pairs, TARGETS)
    fitted, tested = set(found.fit.table.ids), set(found.test.table.ids)
    assert map_kind(found.prepared.maps[0]) == "blend"
    assert (fitted & tested, len(fitted), len(tested)) == (set(), 300, 700)


def test_labels_of_the_test_rows_change_neither_map_nor_candidates() -> None:
    pairs = simulated_pairs(1000, columns=True)
    found = certify(pairs, TARGETS)
    flipped = pairs.first.correct.copy()
    in_test = np.isin(pairs.ids, found.test.table.ids)
    flipped[in_test] = 1 - flipped[in_test]
    again = certify(pairs.change(0, correct=flipped), TARGETS)
    assert again.prepared.maps == found.prepared.maps
    assert np.array_equal(again.fit.scores[0], found.fit.scores[0])


def test_a_blend_beats_the_stated_confidence_alone() -> None:
    pairs, fresh = (
        simulated_pairs(3000, seed=3, columns=True),
        simulated_pairs(20_000, seed=4, columns=True, start=10**6),
    )
    saving = {
        kind: apply_calibration(fit(pairs, TARGETS, FitOptions(map=kind)), fresh)["saving"]
        for kind in ("identity", "trees")
    }
    assert saving["trees"] > saving["identity"] + 0.02


@pytest.mark.parametrize(
    ("targets", "name"),
    [
        (Targets(max_risk=0.2), "max_risk"),
        (Targets(max_cost_usd=0.0009, cost_cap_usd=0.02), "max_cost_usd"),
        (Targets(value_usd=0.002, cost_cap_usd=0.02), "value_usd"),
        (Targets(max_drop=0.08, max_risk=0.25), "max_risk"),
    ],
)
def test_every_goal_is_certified_and_judged_on_other_rows(targets: Targets, name: str) -> None:
    found = fit(simulated_pairs(4000, seed=5, slm=0.7), targets)
    assert found.verdict == "certified"
    figures = apply_calibration(found, simulated_pairs(20_000, seed=6, slm=0.7, start=10**6))
    judged = {
        "max_drop": figures["drop"] <= (targets.max_drop or 0),
        "max_risk": figures["selective_risk"] <= (targets.max_risk or 0),
        "max_cost_usd": figures["mean_cost_usd"] <= (targets.max_cost_usd or 0),
        "value_usd": figures.get("total_usd", 1) <= figures.get("llm_total_usd", 0),
    }
    assert name in figures["targets_met"]
    assert figures["targets_met"] == {each: judged[each] for each in figures["targets_met"]}


def test_goals_that_cannot_be_had_together_are_infeasible() -> None:
    assert (
        fit(simulated_pairs(3000), Targets(max_drop=0.01, max_cost_usd=0.0003, cost_cap_usd=0.02)).verdict
        == "infeasible"
    )


def test_abstaining_where_a_person_is_cheap_lowers_the_total() -> None:
    pairs, fresh = simulated_pairs(4000, seed=7), simulated_pairs(20_000, seed=8, start=10**6)
    with_person = fit(pairs, Targets(value_usd=0.02, abstain_usd=0.001, cost_cap_usd=0.02))
    figures = apply_calibration(with_person, fresh)
    assert threshold_of(with_person).abstain_below is not None
    assert figures["pass_at_1"] > fresh.last.correct.mean()
    total = figures["mean_cost_usd"] + 0.02 * (1 - figures["pass_at_1"]) + 0.001 * figures["abstained_share"]
    assert figures["total_usd"] == pytest.approx(total)
    assert figures["total_saving"] == pytest.approx(
        1 - total / (fresh.last.cost_usd + 0.02 * (1 - fresh.last.correct)).mean()
    )
    assert "of cost, people and errors" in with_person.sentence
    assert "to a person" in with_person.sentence
    assert any("their price is in the total" in note for note in with_person.data.notes)


def test_one_threshold_a_group_is_certified_for_each() -> None:
    found = fit(simulated_pairs(6000, seed=9, columns=True), TARGETS, FitOptions(by_group=True, map="identity"))
    assert set(found.groups) == {"easy", "hard"}
    taus = {name: group.threshold for name, group in found.groups.items()}
    assert taus["easy"] is not None
    kept = sum(threshold is not None for threshold in taus.values())
    assert f"in each of {kept} slice" in found.sentence
    assert "in each slice that has a threshold" in found.guarantee.statement


def test_the_promise_of_each_slice_is_kept_over_draws() -> None:
    population = simulated_pairs(20_000, seed=10, columns=True)
    slices = {name: np.flatnonzero(population.categories == name) for name in ("easy", "hard")}
    certified = broken = 0
    for seed in range(20):
        at = np.random.default_rng([seed, 3]).integers(20_000, size=1500)
        draw = replace(population.take(at), ids=np.array([f"d{i}" for i in range(1500)], dtype=object))
        found = fit(draw, TARGETS, FitOptions(by_group=True, map="identity", seed=seed))
        for name, rows in slices.items():
            if found.groups[name].threshold is not None:
                certified += 1
                broken += apply_calibration(found, population.take(rows))["drop"] > 0.05
    assert certified >= 20
    assert broken <= 6  # 2 of 40 expected at most; 7 has a chance of 0.3 %


def test_the_small_model_is_not_asked_where_it_does_not_pay() -> None:
    pairs = simulated_pairs(4000, seed=11, columns=True)
    dear = pairs.change(0, cost_usd=np.where(pairs.categories == "hard", 9e-4, 1e-5))
    found = certify(dear, TARGETS, FitOptions(use_category=True))
    assert found.rules is not None
    assert found.rules[0] is not None
    assert found.rules[0].skip_categories == ("hard",)
    assert not found.test.asked(0, found.rules[0])[found.test.table.categories == "hard"].any()


def test_cuts_sit_between_distinct_values_or_share_a_tie() -> None:
    score = np.array([0.8] * 6 + [0.9] * 3 + [1.0])
    cuts = rules_at(score, [0.1, 0.4, 0.7, 1.0])
    assert [(c.tau, c.tie_fraction) for c in cuts] == [(0.95, 1.0), (pytest.approx(0.85), 1.0), (0.8, 0.5), (0.8, 1.0)]
    just_in_the_tie = rules_at(np.array([0.9] * 50 + [0.5] * 50), [0.505])
    assert [(c.tau, c.tie_fraction) for c in just_in_the_tie] == [(0.7, 1.0)]
    distinct = rules_at(np.array([0.1, 0.2, 0.3, 0.4]), [0.5])
    assert distinct[0].tau == pytest.approx(0.25)


def test_a_share_of_a_tie_is_kept_about_that_often() -> None:
    pairs = simulated_pairs(4000)
    rows = ScoredTable.of(pairs, np.full(4000, 0.9))
    rule = rules_at(rows.scores[0], [0.35])[0]
    assert rows.kept(0, rule).mean() == pytest.approx(0.35, abs=0.03)


def test_unstated_confidences_are_deferred() -> None:
    pairs = simulated_pairs(500)
    rows = ScoredTable.of(pairs, pairs.first.confidence)
    assert not rows.kept(0, rules_at(pairs.first.confidence, [1.0])[0])[np.isnan(pairs.first.confidence)].any()


def test_the_artefact_survives_the_disk_and_gives_the_same_scores(tmp_path: Path) -> None:
    pairs = simulated_pairs(1000, columns=True)
    found = fit(pairs, TARGETS, clock=lambda: "2026-11-24")
    found.save(tmp_path / "c.json")
    again = load(tmp_path / "c.json")
    assert structs.replace(again, digest="") == found
    assert np.array_equal(again.apply(pairs).correct, found.apply(pairs).correct)
    assert again.rules == certify(pairs, TARGETS).rules
    assert again.created == "2026-11-24"
    assert again.data.digest == pairs.digest


def test_one_row_scores_as_it_does_among_many() -> None:
    pairs = simulated_pairs(1000, columns=True)
    (stored,) = certify(pairs, TARGETS).prepared.maps
    together = apply_map(stored, pairs.columns(0))
    alone = [float(apply_map(stored, pairs.take(np.array([i])).columns(0))[0]) for i in range(25)]
    assert np.array_equal(together[:25], alone, equal_nan=True)


def test_the_reports_say_the_sentence_and_need_nothing_else() -> None:
    found = fit(simulated_pairs(2000, seed=1, columns=True), TARGETS)
    assert calibration_lines(found)[0] == found.sentence
    assert "certified on 2,000 questions" in found.sentence
    page = calibration_page(found)
    assert page.count("<svg") == 2
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    assert found.sentence in page


@pytest.mark.parametrize("targets", [{"max_cost_usd": 0.1}, {"value_usd": 1.0}, {"max_drop": 0.1, "max_cost_usd": 0.1}])
def test_a_guarantee_of_costs_needs_a_cap_that_holds(targets: dict[str, float]) -> None:
    pairs = simulated_pairs(500)
    most = float((pairs.first.cost_usd + pairs.last.cost_usd).max())
    with pytest.raises(ConfigError, match=rf"cost-cap: got none, .* \(the most here is {most:.4g}\)"):
        fit(pairs, Targets(**targets))
    with pytest.raises(ConfigError, match=rf"got {0.9 * most:.4g} USD, and a question costs {most:.4g}"):
        fit(pairs, Targets(**targets, cost_cap_usd=0.9 * most))
    assert Targets(**targets, cost_cap_usd=most).cap(pairs) == most


def test_a_guarantee_of_costs_says_how_many_new_inputs_it_allows() -> None:
    pairs = simulated_pairs(3000, seed=5, slm=0.7, columns=True)
    found = fit(pairs, Targets(max_cost_usd=0.0012, cost_cap_usd=0.02))
    unlike = unlike_rows(pairs, [found.stages[0].map], None)
    assert not np.any(list(unlike.values()))
    share = 1 - 0.05 ** (1 / found.guarantee.n_test)  # none of so many: the exact bound
    assert found.guarantee.new_inputs_share == pytest.approx(share)
    assert f"and at most {math.ceil(1000 * share) / 10:g} % have inputs unlike those" in found.sentence
    assert fit(pairs, Targets(max_drop=0.05)).guarantee.new_inputs_share is None
    plain = fit(simulated_pairs(500), Targets(max_cost_usd=0.01, cost_cap_usd=0.02))
    statement = (
        "the mean cost is at most 0.01 USD a question, if no question costs more than 0.02 USD, with probability"
    )
    assert plain.guarantee.statement.startswith(statement)


def test_rows_above_the_cap_confirm_no_cost_but_can_break_it() -> None:
    found = fit(simulated_pairs(4000, seed=5, slm=0.7), Targets(max_cost_usd=0.0009, cost_cap_usd=0.02))
    fresh = simulated_pairs(4000, seed=6, slm=0.7, start=10**6)
    assert retest(found, fresh).verdicts == {"max_cost_usd": "met"}
    expensive = np.arange(4000) < 2
    some = fresh.change(-1, cost_usd=np.where(expensive, 5.0, fresh.last.cost_usd))
    result = retest(found, some.change(0, signals={"confidence": np.where(expensive, 0.0, fresh.first.confidence)}))
    assert (result.verdicts, result.over_cap) == ({"max_cost_usd": "open"}, 2)
    assert "2 questions cost more than the guarantee assumes at most" in result.notes[0]
    assert retest(found, fresh.change(-1, cost_usd=3 * fresh.last.cost_usd)).contradicted == ["max_cost_usd"]


def test_within_a_cost_the_sentence_is_about_right_answers() -> None:
    found = fit(simulated_pairs(4000, seed=5, slm=0.7), Targets(max_cost_usd=0.0009, cost_cap_usd=0.02))
    right, large = (100 * found.expected[name].value for name in ("pass_at_1", "llm_pass_at_1"))
    assert found.sentence.startswith(f"{right:.0f} % (95 %: ")
    assert f"right, the large model {large:.0f} %, at most 0.0009 USD a question" in found.sentence


def test_the_rows_that_calibrated_are_known_again() -> None:
    found = fit(simulated_pairs(1000), TARGETS)
    assert "the very rows that calibrated" in apply_calibration(found, simulated_pairs(1000))["notes"][-1]
    others = simulated_pairs(1000, seed=1, start=10**6)
    assert not apply_calibration(found, others)["notes"]


def test_an_infeasible_report_promises_nothing_and_names_the_best_point_of_the_test() -> None:
    found = fit(simulated_pairs(150, seed=2, sharp=0.0), Targets(max_drop=0.001))
    assert found.verdict == "infeasible"
    assert "asked for" in "\n".join(calibration_lines(found))
    assert f"on the {found.guarantee.n_test} rows of the test" in found.advice[0]
    page = calibration_page(found)
    assert "Asked for:" in page
    assert "Guarantee:" not in page


def test_an_artefact_of_other_models_is_refused_by_name() -> None:
    found = fit(simulated_pairs(1000), TARGETS)
    with pytest.raises(ConfigError, match="slm is 'another', calibrated for 'small'"):
        apply_calibration(found, simulated_pairs(100).change(0, name="another"))
    assert apply_calibration(found, simulated_pairs(100).change(0, name="another"), force=True)["notes"][-1].startswith(
        "forced"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.change(0, correct=np.ones(100)), "every answer of small is right"),
        (lambda t: t.change(1, cost_usd=np.zeros(100)), "nothing to save"),
        (lambda t: t.change(1, cost_usd=np.full(100, np.nan)), "cost_usd of large holds NaN"),
        (lambda t: replace(t, ids=np.array(["q"] * 100, dtype=object)), "comes twice"),
        (lambda t: t.change(0, signals={"confidence": np.full(100, np.nan)}), "no value in .0, 1. in any row"),
    ],
)
def test_tables_that_nothing_can_be_learnt_from_are_refused(
    change: Callable[[OutcomeTable], OutcomeTable], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        fit(change(simulated_pairs(100)), TARGETS)


@pytest.mark.parametrize(
    "targets", [{}, {"max_drop": 0.02, "delta": 0}, {"max_risk": 2.0}, {"abstain_usd": 1.0, "max_drop": 0.1}]
)
def test_goals_that_make_no_sense_are_refused(targets: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Targets(**targets)


def test_a_cost_that_the_large_model_alone_keeps_is_stored_and_read_again(tmp_path: Path) -> None:
    pairs = simulated_pairs(2000, seed=1, slm=0.3, llm=0.97, sharp=0.0)
    found = fit(pairs, Targets(max_cost_usd=0.1, cost_cap_usd=0.2))
    assert threshold_of(found).limit == float("inf")
    found.save(tmp_path / "c.json")
    again = load(tmp_path / "c.json")
    assert (again.certified, threshold_of(again).limit) == (True, float("inf"))
    assert not again.apply(pairs).kept.any()


def test_plain_arrays_are_fitted_and_applied() -> None:
    made = simulated_pairs(1000, seed=1)
    correct = np.column_stack([made.first.correct, made.last.correct])
    table = OutcomeTable.from_arrays(correct=correct, cost_usd=[1e-4, 1e-3], confidence=made.first.confidence)
    found = fit(table, TARGETS)
    answers = found.apply(table)
    assert found.certified
    assert answers.cost_usd[answers.kept].tolist() == [1e-4] * int(answers.kept.sum())
    assert np.array_equal(answers.correct, np.where(answers.kept, correct[:, 0], correct[:, 1]))
    with pytest.raises(ConfigError, match="with S of at least 2 models"):
        OutcomeTable.from_arrays(correct=correct, cost_usd=[1e-4, 1e-3], confidence=correct)
    with pytest.raises(ConfigError, match="got a table of 3 models, expected 2"):
        found.apply(replace(table, models=(*table.models, table.last)))


def test_an_artefact_with_a_changed_threshold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    found = fit(simulated_pairs(1000, seed=1), TARGETS, clock=str)
    found.save(path)
    assert structs.replace(load(path), digest="") == found
    path.write_text(path.read_text().replace(f'"tau": {threshold_of(found).tau}', '"tau": 0.01'))
    with pytest.raises(DataError, match=r"c.json: was changed after `corea calibrate` wrote it"):
        load(path)


def test_an_artefact_of_another_version_or_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    for text, words in (
        ('{"version": 3}', "calibration version 3, expected 4"), ("[]", "not a calibration"),
        ('{"version": 4, "verdict": "maybe"}', "not a calibration"),
    ):  # fmt: skip
        path.write_text(text)
        with pytest.raises(DataError, match=words):
            load(path)
    with pytest.raises(ConfigError, match="no such calibration"):
        load(tmp_path / "none.json")
