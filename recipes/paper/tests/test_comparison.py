"""The comparison's machine on two models whose every answer is known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corea.datasets import load_dataset
from corea.errors import ConfigError, DataError
from corea.graders import grader_name
from corea.metrics import auroc, auroc_interval
from recipes.paper.answers import Answers, Fitting, Judged, Pair, folds, question_hash
from recipes.paper.apply_methods import fit_threshold
from recipes.paper.methods import Method
from recipes.paper.quality import auroc_difference_interval
from recipes.paper.scores import scores
from recipes.paper.settings import DatasetSettings
from recipes.paper.splits import DatasetSplits, contamination, load_splits
from recipes.paper.tests.conftest import ASKED, Counting, World, questions, row


def answers(n: int) -> Answers:
    values = np.linspace(0, 1, n)
    return Answers(
        correct=(values > 0.5).astype(float),
        cost_usd=np.ones(n),
        confidence={"verbalized": values},
        signal_cost_usd={},
        tokens=np.full(n, 5.0),
        texts=("",) * n,
        extracted=(None,) * n,
    )


def test_the_accuracies_and_the_cost_of_the_rows_are_those_that_can_be_counted(world: World) -> None:
    results = world.compare()
    small, large, cascade = (row(results, name) for name in ("SLM", "LLM", "SLM-Verb"))
    assert small["at"][0]["accuracy"]["value"] == pytest.approx(100 / 150)
    assert large["at"][0]["accuracy"]["value"] == 1.0
    assert large["at"][0]["cost_usd"]["value"] == pytest.approx(30 * 10 / 1e6)
    exact, loose = cascade["at"]
    assert exact["taus"] == pytest.approx([0.72])  # every wrong answer is less sure than the least sure right one
    assert exact["accuracy"]["value"] == 1.0
    assert exact["llm_share"]["value"] == pytest.approx(50 / 150)
    assert exact["saving"]["value"] == pytest.approx(1 - (1 + 10 / 3) / 10)
    assert loose["drop"]["value"] == pytest.approx(0.02, abs=0.03)  # chosen on the other questions
    assert loose["saving"]["value"] > exact["saving"]["value"]
    assert cascade["quality"]["auroc"]["value"] == 1.0


def test_a_missing_model_is_listed_as_not_run_and_why(world: World) -> None:
    results = world.compare()
    assert row(results, "RLVR-SLM-Probe")["not_run"] == "[models.rlvr] is not in the configuration"
    assert "hidden states" in row(results, "SLM-Probe")["not_run"]
    assert "not among the model's signals" in row(results, "SLM-Agreement")["not_run"]
    assert row(results, "L1-SLM")["at"] == ()


def test_every_row_is_tested_against_coreas_on_the_same_questions(world: World) -> None:
    results = world.compare()
    assert row(results, "SLM-Verb")["against"] is None
    against = row(results, "SLM")["against"]
    assert against["accuracy"]["value"] == pytest.approx(-50 / 150)
    assert against["p_accuracy"] == pytest.approx(2 * 0.5**50)  # 50 questions tell, all one way
    assert against["p_cost"] == pytest.approx(1 / 2001)


def test_random_best_single_and_oracle_stand_beside_them(world: World) -> None:
    random, single, oracle = world.compare()["datasets"][0]["bounds"]
    assert random["at"]["accuracy"]["value"] == pytest.approx(2 / 3 * 100 / 150 + 1 / 3)
    assert random["at"]["cost_usd"]["value"] == pytest.approx(30 * (1 + 10 / 3) / 1e6)
    assert single["name"] == "best single (llm)"
    assert oracle["at"]["accuracy"]["value"] == 1.0
    assert oracle["at"]["llm_share"]["value"] == pytest.approx(50 / 150)


def test_the_second_run_calls_no_model_and_finds_the_same(world: World) -> None:
    first = world.compare()
    assert first["model_calls"] == 600
    calls = {role: backend.calls for role, backend in world.backends.items()}
    world.opened.clear()
    second = world.compare()
    assert world.opened == []
    assert {role: backend.calls for role, backend in world.backends.items()} == calls
    assert second["model_calls"] == 0
    assert [c["at"] for c in second["datasets"][0]["cells"]] == [c["at"] for c in first["datasets"][0]["cells"]]


def test_a_run_that_broke_off_goes_on_where_it_was(world: World) -> None:
    world.backends["slm"] = Counting("small", lambda i: i % 3 == 0, fail_after=128)
    with pytest.raises(DataError, match="expected some of each"):
        world.compare()  # the first 128 questions are all of the calibration part
    world.backends["slm"] = Counting("small", lambda i: i % 3 == 0)
    results = world.compare()
    assert world.backends["slm"].calls == 300 - 128
    assert results["datasets"][0]["judged"] == 150


def test_answers_that_another_grader_graded_are_graded_again_and_no_model_is_asked(world: World) -> None:
    first = world.compare()
    cache = world.model("slm").cache
    assert {row["grader"] for row in cache.rows.values()} == {"number"}
    stale = [(key, {**row, "correct": 1 - row["correct"], "grader": "text"}) for key, row in cache.rows.items()]
    cache.rewrite(stale)
    second = world.compare()
    assert second["model_calls"] == 0
    assert [c["at"] for c in second["datasets"][0]["cells"]] == [c["at"] for c in first["datasets"][0]["cells"]]
    lines = cache.path.read_text().splitlines()
    assert len(lines) == 300  # in the place of the old ones
    assert {json.loads(line)["grader"] for line in lines} == {"number"}


def parts(folder: Path, *rows: dict[str, Any]) -> DatasetSplits:
    (folder / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_splits("own", DatasetSettings(kind="jsonl", options={"path": str(folder / "own.jsonl")}), (1,))


def test_the_results_name_the_graders_and_the_repeated_questions(tmp_path: Path) -> None:
    rows = [{"id": n, "question": f"{n} + 1?", "answer": str(n + 1)} for n in range(40)]
    rows += [{"id": 99, "question": "5 + 1?", "answer": "6"}, {"id": 100, "question": "Odd?", "answer": "Yes"}]
    asked = parts(tmp_path, *rows)
    assert (asked.facts["graders"], asked.facts["repeated"]) == ("number 40, yes_no 1", 1)
    assert "repeated" not in parts(tmp_path, *rows[:40]).facts


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"answer": "banana", "answer_type": "number"}, r"own\.jsonl:2: .*'banana' is no number"),
        ({"answer": "F", "choices": ["a cat", "a dog"]}, r"own\.jsonl:2: .*'F' names none of the options A to B"),
        ({"answer": ""}, r"own\.jsonl:2: .* has no reference"),
        ({"answer": "5", "grader": "numbr"}, r"own\.jsonl:2: .*grader: got 'numbr'"),
    ],
)
def test_a_reference_that_cannot_be_graded_stops_a_comparison_before_it_begins(
    tmp_path: Path, row: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        parts(tmp_path, {"question": "1 + 1?", "answer": "2"}, {"question": "2 + 2?", **row})


def test_another_revision_of_a_model_is_asked_anew(world: World) -> None:
    world.compare()
    assert len(world.model("slm").cache.rows) == 300
    assert world.model("slm", revision="2").cache.rows == {}


def test_a_row_cut_off_by_a_crash_is_asked_again(world: World) -> None:
    world.compare()
    path = world.model("slm").cache.path
    path.write_bytes(path.read_bytes()[:-30])
    assert len(world.model("slm").cache.rows) == 299
    assert world.compare()["model_calls"] == 1


def test_fitting_refuses_questions_that_are_judged() -> None:
    shared = questions(0, 3)
    held = frozenset(question_hash(q) for q in shared[2:])
    with pytest.raises(DataError, match=r"got the evaluation question 'q2' .* to fit on"):
        Fitting(questions=shared, answers={}, held_out=held)


def test_fitting_refuses_a_judged_text_under_another_id() -> None:
    (question,) = questions(0, 1)
    (again,) = (type(question).of(question.text, id="other", reference="0"),)
    with pytest.raises(DataError, match="to fit on"):
        Fitting(questions=(again,), answers={}, held_out=frozenset([question_hash(question)]))


@pytest.mark.parametrize("score", ["verbalized", "router", "blend", "probe"])
def test_nothing_is_fitted_on_the_evaluation_split(score: str) -> None:
    part = Judged(questions=questions(0, 60), answers={"slm": answers(60), "llm": answers(60)})
    method = Method(name="SLM-X", role="slm", score=score)
    with pytest.raises(DataError, match="nothing is tuned on questions that are judged"):
        scores(method, part, part)


def test_no_threshold_is_fitted_on_the_evaluation_split() -> None:
    own = answers(60)
    part = Judged(questions=questions(0, 60), answers={"slm": own, "llm": own})
    pair = Pair(
        confidence=own.confidence["verbalized"], small_correct=own.correct, large_correct=own.correct,
        small_cost=own.cost_usd, large_cost=own.cost_usd,
    )  # fmt: skip
    with pytest.raises(DataError, match="threshold: got the evaluation split"):
        fit_threshold(part, pair, 0.02)  # pyright: ignore[reportArgumentType]  # that it is refused is the point


def test_the_same_split_cannot_be_declared_for_both() -> None:
    with pytest.raises(ConfigError, match="fit: got 'test', which is the split that is judged"):
        DatasetSettings(kind="gsm8k", fit="test", judge="test")


def test_a_training_split_is_named() -> None:
    with pytest.raises(ConfigError, match="trained_on: got a table without split"):
        DatasetSettings(kind="gsm8k", trained_on=({"path": "x.jsonl"},))


def test_a_router_learns_from_the_calibration_split_and_pays_no_small_model_where_it_defers(world: World) -> None:
    pytest.importorskip("sklearn")
    cell = row(world.compare(), "Router + SLM")
    assert cell["quality"]["auroc"]["value"] == 1.0  # "Carefully." marks the questions that the small model misses
    point = cell["at"][0]
    assert point["saving"]["value"] == pytest.approx(1 - (1 / 10 * 2 / 3 + 1 / 3))


def test_folds_keep_a_repeated_text_together() -> None:
    twice = (*questions(0, 40), *questions(0, 40))
    for fold in folds(twice):
        inside = {int(i) for i in fold}
        assert all((i + 40) % 80 in inside for i in inside)


def test_the_contamination_guard_counts_what_stands_in_the_training_questions() -> None:
    asked = DatasetSplits(
        name="x", fit=questions(0, 5), judge=questions(5, 10), seed_of={}, trained_on=questions(8, 20)
    )
    found = contamination(asked)
    assert (found["calibration"]["flagged"], found["training"]["flagged"], found["training"]["identical"]) == (0, 2, 2)


def test_a_difference_of_aurocs_is_their_difference_and_sees_a_clear_gap() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(400) < 0.6).astype(float)
    good, poor = y + rng.normal(size=400), 0.2 * y + rng.normal(size=400)
    found = auroc_difference_interval((good, y), (poor, y))
    assert found.value == pytest.approx(auroc(good, y) - auroc(poor, y))
    assert found.low > 0
    same = auroc_difference_interval((good, y), (good, y))
    assert (same.low, same.high) == (0, 0)
    one = auroc_difference_interval((good, y), (np.full(400, 0.5), y))  # a constant score's AUROC is known: one half
    low, high = auroc_interval(good, y)
    assert (one.low, one.high) == pytest.approx((low - 0.5, high - 0.5), abs=0.01)


def test_ece_and_aurc_have_no_interval(world: World) -> None:
    quality = row(world.compare(), "SLM-Verb")["quality"]
    assert np.isnan([quality["ece"]["low"], quality["aurc"]["low"]]).all()
    assert quality["auroc"]["low"] <= quality["auroc"]["value"] <= quality["auroc"]["high"]


def test_results_are_plain_json_without_nan(world: World) -> None:
    world.compare()
    text = (world.folder / "results.json").read_text()
    stored = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in the results"))
    assert stored["datasets"][0]["hashes"]["judged"]
    assert stored["provenance"]["command"] == "recipes.paper compare x.toml"


def test_texts_that_must_not_be_published_are_in_no_result(world: World) -> None:
    from dataclasses import replace

    world.compare(replace(ASKED, publishable=False))
    assert "What is" not in (world.folder / "results.json").read_text()
    world.compare()
    assert "What is" in (world.folder / "results.json").read_text()


def test_recorded_questions_are_graded_as_their_dataset_is_and_checked_with_their_line(tmp_path: Path) -> None:
    rows = [
        {"id": n, "question": f"{n}?", "gold": str(n), "dataset": "math500", "model": m} for n in (1, 2) for m in "ab"
    ]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded = load_dataset("recorded", path=str(tmp_path / "r.jsonl"))
    assert [(q.id, grader_name(q)) for q in loaded] == [("1", "maths"), ("2", "maths")]
    rows[2] = {**rows[2], "gold": "banana", "dataset": "gsm8k"}
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=r"r\.jsonl:3: question '2': the reference 'banana' is no number"):
        load_dataset("recorded", path=str(tmp_path / "r.jsonl"))
