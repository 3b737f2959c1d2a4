"""Three tiers: one joint promise, thresholds that leave out a stage that does not pay, and the same rows for all."""

from dataclasses import replace

import numpy as np
import pytest

from corea.calibrate.certify import Options
from corea.calibrate.paths import Tiered, certify, common_rows, fit
from corea.calibrate.rules import ScoredTable, ThresholdRule
from corea.calibrate.targets import Targets
from corea.errors import ConfigError, DataError
from corea.evaluate.apply import apply_calibration
from corea.metrics.score_map import apply_map
from corea.records.table import OutcomeTable
from corea.report.calibration import calibration_lines
from corea.report.html import calibration_page

GOALS = Targets(max_drop=0.05)
PLAIN = Options(map="identity")


def trio(n: int, *, seed: int = 0, prices: tuple[float, float] = (1.0, 4.0), start: int = 0) -> list[OutcomeTable]:
    """Two models before a last one that is right in 9 of 10; each knows fairly well when it is right."""
    rng = np.random.default_rng(seed)
    last = (rng.random(n) < 0.9).astype(float)
    made: list[OutcomeTable] = []
    for name, right, price in (("small", 0.5, prices[0]), ("middle", 0.75, prices[1])):
        correct = (rng.random(n) < right).astype(float)
        sure = np.round(np.clip(0.5 + 0.35 * (correct - 0.5) + 0.18 * rng.normal(size=n), 0, 1), 2)
        made.append(
            OutcomeTable(
                ids=np.array([f"q{start + i}" for i in range(n)], dtype=object), signals={"confidence": sure},
                slm_correct=correct, llm_correct=last, slm_cost=np.full(n, price * 1e-4),
                llm_cost=np.full(n, 40e-4), slm=name, llm="large", digest=f"sha256:{name}",
            )
        )  # fmt: skip
    return made


def test_cost_and_answers_by_hand() -> None:
    pairs = [p.take(np.arange(4)) for p in trio(40)]
    scores = ([0.9, 0.1, 0.1, np.nan], [0.9, 0.9, 0.1, 0.1])
    rows = Tiered(samples=tuple(ScoredTable.of(p, np.array(s)) for p, s in zip(pairs, scores, strict=True)))
    cuts = (ThresholdRule(tau=0.5), ThresholdRule(tau=0.5))
    assert rows.stage(cuts).tolist() == [0, 1, 2, 2]
    assert rows.cost(cuts) * 1e4 == pytest.approx([1, 5, 45, 45])
    assert rows.correct(cuts).tolist() == [
        pairs[0].first.correct[0],
        pairs[1].first.correct[1],
        *pairs[0].last.correct[2:],
    ]
    assert rows.cost((None, cuts[1])) * 1e4 == pytest.approx([4, 4, 44, 44])
    assert rows.stage((None, None)).tolist() == [2, 2, 2, 2]


def test_joint_thresholds_are_certified_and_beat_either_pair_alone() -> None:
    found, fresh = fit(trio(4000), GOALS, PLAIN), trio(20_000, seed=9, start=10**6)
    assert found.verdict == "certified"
    assert all(part["threshold"] for part in found.tiers)
    assert "on 4,000 questions" in found.sentence
    seen = apply_calibration(found, fresh)
    assert seen["kept_promises"] == {"max_drop": seen["drop"] <= 0.05}
    for one in ("small", "middle"):
        from corea.calibrate.certify import calibrate

        index = ("small", "middle").index(one)
        alone = calibrate(trio(4000)[index], GOALS, PLAIN)
        assert seen["saving"] > apply_calibration(alone, fresh[index])["saving"] + 0.02


def test_a_stage_that_costs_as_much_as_the_last_is_not_asked() -> None:
    found = fit(trio(3000, prices=(1.0, 39.0)), GOALS, PLAIN)
    assert found.tiers[0]["threshold"] is not None
    assert found.tiers[1]["threshold"] is None


@pytest.mark.parametrize("goals", [Targets(max_risk=0.3), Targets(max_cost_usd=0.003), Targets(value_usd=0.002),
                                   Targets(max_drop=0.06, max_cost_usd=0.0036)])  # fmt: skip
def test_every_goal_is_certified_jointly_and_judged_on_other_rows(goals: Targets) -> None:
    found = fit(trio(3000), goals, PLAIN)
    assert found.verdict == "certified"
    kept = apply_calibration(found, trio(20_000, seed=3, start=10**6))["kept_promises"]
    asked = {name: getattr(goals, name) for name in ("max_drop", "max_risk", "max_cost_usd", "value_usd")}
    assert set(kept) == {name for name, goal in asked.items() if goal is not None}


def test_the_joint_promise_is_kept_over_draws() -> None:
    population = trio(20_000)
    goals, broken, certified = Targets(max_drop=0.03), 0, 0
    for seed in range(20):
        at = np.random.default_rng([seed, 2]).integers(20_000, size=600)
        ids = np.array([f"d{i}" for i in range(600)], dtype=object)
        found = certify([replace(p.take(at), ids=ids) for p in population], goals, replace(PLAIN, seed=seed))
        if found.cuts is None:
            continue
        certified += 1
        samples = [ScoredTable.of(p, apply_map(m, p.inputs())) for p, m in zip(population, found.maps, strict=True)]
        rows = Tiered(samples=tuple(samples))
        broken += float((rows.pairs.last.correct - rows.correct(found.cuts)).mean()) > 0.03
    assert certified >= 10
    assert broken <= 4  # 1 expected at most; 5 has a chance of 0.3 %


def test_tables_of_other_rows_are_joined_or_refused() -> None:
    small, middle = trio(300)
    joined = common_rows([small, middle.take(np.arange(50, 300)[::-1])])
    assert [len(p) for p in joined] == [250, 250]
    assert np.array_equal(joined[0].ids, joined[1].ids)
    assert "50 questions are not in every tier's rows" in joined[0].notes[-1]
    with pytest.raises(DataError, match="other questions than small"):
        fit([small, middle.take(np.arange(299))], GOALS)
    with pytest.raises(DataError, match="no question is in all files"):
        common_rows([small, trio(300, start=1000)[1]])
    with pytest.raises(ConfigError, match="expected two or more"):
        fit([small], GOALS)


def test_the_report_names_every_tier_and_infeasible_is_plain() -> None:
    found = fit(trio(1500), GOALS, PLAIN)
    lines = "\n".join(calibration_lines(found))
    assert "small: " in lines
    assert "middle: " in lines
    assert "small deferring to middle deferring to large" in calibration_page(found)
    never = fit(trio(200), Targets(max_drop=0.001), PLAIN)
    assert never.verdict == "infeasible"
    assert never.expected["llm_share"]["value"] == 1
    assert any("best uncertified point" in each for each in never.advice)
