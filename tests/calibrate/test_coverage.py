"""The promises, tried out on many calibrations."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corea.calibrate import OutcomeTable, fit
from corea.calibrate.coverage import CoverageResult, coverage, hard_targets, missed_targets
from corea.calibrate.prepare import FitOptions, FittedMaps
from corea.calibrate.rules import ScoredTable, ThresholdRule
from corea.calibrate.targets import Targets
from corea.cli.main import main
from corea.errors import ConfigError

from .simulated import simulated_pairs


@pytest.mark.parametrize(
    "how", [{}, {"sharp": 0.0}, {"sharp": -1.5, "tied": False}], ids=["ties", "useless", "inverted"]
)
def test_no_promise_is_broken_more_often_than_delta(how: dict[str, Any]) -> None:
    population = simulated_pairs(4000, **how)
    found = coverage(population, hard_targets(population, delta=0.1), n=200, draws=60)
    assert all(each.holds for each in found), found
    assert sum(each.certified for each in found) > 60, "a sweep that promises nothing shows nothing"


def test_promises_hold_at_fifty_questions() -> None:
    population = simulated_pairs(4000, slm=0.4, llm=0.95)
    found = coverage(population, {"drop": Targets(max_drop=0.15, delta=0.1)}, n=50, draws=80)[0]
    assert found.certified > 20
    assert found.holds


def test_a_map_fitted_on_the_same_draw_keeps_the_promise_too() -> None:
    population = simulated_pairs(4000, columns=True)
    found = coverage(
        population, {"drop": Targets(max_drop=0.03, delta=0.1)}, n=400, draws=40, options=FitOptions(map="linear")
    )
    assert found[0].certified > 10
    assert found[0].holds


def test_other_rows_than_the_population_may_judge() -> None:
    population = simulated_pairs(4000)
    wrong = population.change(0, correct=np.zeros(4000))
    targets = {"drop": Targets(max_drop=0.03, delta=0.1)}
    (kept,) = coverage(population, targets, n=400, draws=20)
    (lost,) = coverage(population, targets, n=400, draws=20, judged=wrong)
    assert kept.certified == lost.certified == lost.broken > 5
    assert kept.holds


def test_maps_may_come_from_other_rows_or_an_artefact() -> None:
    population = simulated_pairs(4000, columns=True)
    other = simulated_pairs(600, columns=True, seed=1)
    other = replace(other, ids=np.array([f"old-{key}" for key in other.ids], dtype=object))
    targets = {"drop": Targets(max_drop=0.03, delta=0.1)}
    fitted = fit(other, Targets(max_drop=0.03), FitOptions(map="linear"))
    stored = FittedMaps(maps=tuple(stage.map for stage in fitted.stages), categories=fitted.categories, router=None)
    for older in (other, stored):
        (found,) = coverage(population, targets, n=400, draws=30, options=FitOptions(map="linear"), older=older)
        assert found.certified > 10
        assert found.holds
    shuffled = replace(stored, maps=tuple(fit(shuffle(other), Targets(max_drop=0.03)).stages[0].map for _ in "1"))
    (useless,) = coverage(population, targets, n=400, draws=30, older=shuffled)
    assert useless.saving < found.saving / 2, "the maps given decide, not those of the set"
    assert useless.holds


def shuffle(table: OutcomeTable) -> OutcomeTable:
    """The rows with right and wrong answers of the first model dealt anew: a map has nothing to learn."""
    return table.change(0, correct=np.random.default_rng(0).permutation(table.first.correct))


def test_the_cap_covers_the_second_opinion() -> None:
    population = simulated_pairs(400)
    asked = population.change(0, opinion_cost_usd=np.full(400, 0.5), opinion_model="second")
    caps = [hard_targets(each)["max-cost"].cost_cap_usd for each in (population, asked)]
    assert caps[1] == pytest.approx((caps[0] or 0) + 0.5)
    assert hard_targets(asked)["max-cost"].cap(asked) == caps[1]


def test_a_broken_promise_is_seen_as_broken() -> None:
    population = simulated_pairs(4000)
    rows = ScoredTable.of(population, population.first.confidence)
    everything = (ThresholdRule(tau=0.0),)
    drop = float((population.last.correct - rows.outcome(everything).correct).mean())
    targets = Targets(max_drop=drop - 1e-6, max_risk=0.01, max_cost_usd=1e-9, value_usd=1.0)
    assert missed_targets(targets, rows, everything) == ["max_drop", "max_risk", "max_cost_usd", "value_usd"]
    kept = Targets(max_drop=drop + 1e-6, max_risk=0.99, max_cost_usd=1.0, value_usd=1e-9)
    assert missed_targets(kept, rows, everything) == []


def test_too_many_broken_promises_do_not_hold() -> None:
    def of(broken: int) -> CoverageResult:
        return CoverageResult(
            name="g", guarantee="p", n=100, draws=1000, certified=900, broken=broken, delta=0.05, saving=0.1
        )

    assert of(50).holds
    assert not of(80).holds


def test_too_small_a_sweep_is_refused() -> None:
    with pytest.raises(ConfigError, match="n = 10"):
        coverage(simulated_pairs(100), {}, n=10)


def test_the_command_says_what_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    population = simulated_pairs(400)
    for name, right in (("small", population.first.correct), ("large", population.last.correct)):
        rows = zip(population.ids, right, population.first.confidence, strict=True)
        lines = [
            {"id": id, "model": name, "correct": bool(ok), "confidence": None if sure != sure else sure, "cost_usd": 1}
            for id, ok, sure in rows
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    files = ["--traces", str(tmp_path / "small.jsonl"), "--reference", str(tmp_path / "large.jsonl")]
    assert main(["calibrate", "verify", *files, "--n", "100", "--draws", "5", "--max-drop", "0.05", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == 400
    assert found["targets"][0]["name"] == "as asked"
    assert main(["calibrate", "verify"]) == 2
    assert "got no population, expected --traces and --reference" in capsys.readouterr().err
