"""Models trained with several seeds: each answers its own questions, and nothing is fitted across them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corea.errors import ConfigError
from recipes.paper.models import open_models
from recipes.paper.settings import CompareSettings, DatasetSettings, ModelSettings
from recipes.paper.splits import DatasetSplits, load_splits
from recipes.paper.tests.conftest import ASKED, Counting, World, question_hash, row

SEEDED = replace(ASKED, seed_of={question_hash(q): 1 + i % 2 for i, q in enumerate((*ASKED.fit, *ASKED.judge))})


def two_runs(world: World) -> list[Any]:
    """The small model trained twice: the second run is wrong on one question in three, the first on none."""
    world.backends["slm"] = Counting("first run", lambda i: False)
    first = world.model("slm", trained=1, seeds=frozenset([1]))
    world.backends["slm"] = Counting("second run", lambda i: i % 3 == 0)
    second = world.model("slm", trained=2, seeds=frozenset([2]), revision="2")
    return [first, second, world.model("llm")]


def test_each_training_run_answers_the_questions_of_its_seed(world: World) -> None:
    models = two_runs(world)
    results = world.compare(SEEDED, models)
    assert [len(m.cache.rows) for m in models] == [150, 150, 300]
    assert row(results, "SLM")["trained"] == 2
    assert sorted(results["models"]) == ["llm", "slm, trained with seed 1", "slm, trained with seed 2"]
    assert row(results, "SLM")["per_seed"]["1"]["accuracy"] == 1.0
    assert row(results, "SLM")["per_seed"]["2"]["accuracy"] == pytest.approx(2 / 3)


def test_every_part_has_a_threshold_of_its_own(world: World) -> None:
    exact = row(world.compare(SEEDED, two_runs(world)), "SLM-Verb")["at"][0]
    assert exact["taus"] == pytest.approx([0.74, 0.72])  # the least sure right answer of each
    assert exact["accuracy"]["value"] == 1.0


def test_the_second_run_calls_no_model_with_seeds_either(world: World) -> None:
    assert world.compare(SEEDED, two_runs(world))["model_calls"] == 600
    assert world.compare(SEEDED, two_runs(world))["model_calls"] == 0


def declared(name: str) -> ModelSettings:
    return ModelSettings(
        backend={"kind": "hf", "name": name}, price={"input_usd_per_mtok": 1, "output_usd_per_mtok": 1}
    )


GENERATED = "recipes.bundled_pair.dataset:Generated"


def settings(**changes: Any) -> CompareSettings:
    values: dict[str, Any] = {
        "models": {"l1": declared("./l1-s{seed}"), "llm": declared("./llm")},
        "datasets": {"made": DatasetSettings(kind=GENERATED, seeded=True)},
        "ours": "l1",
    }
    return CompareSettings(**{**values, **changes})


def test_a_seed_that_was_not_trained_is_served_by_the_first_run(tmp_path: Path) -> None:
    for name in ("llm", "l1-s1", "l1-s3"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(f'"{name}"')
    models, missing = open_models(settings(), tmp_path, tmp_path / "traces")
    assert [(m.role, m.trained, m.seeds) for m in models] == [
        ("l1", 1, frozenset([1, 2])),
        ("l1", 3, frozenset([3])),
        ("llm", None, None),
    ]
    assert len({m.cache.path for m in models}) == 3
    assert "rlvr" in missing


def test_a_training_run_answers_questions_of_other_seeds_that_are_given_to_it(tmp_path: Path) -> None:
    for name in ("llm", "l1-s1", "l1-s2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(f'"{name}"')
    given = settings(seeds=(71, 72, 73, 74), runs=(1, 2, 2, 3))
    models, _ = open_models(given, tmp_path, tmp_path / "traces")
    assert [(m.trained, m.seeds) for m in models] == [
        (1, frozenset([71, 74])),
        (2, frozenset([72, 73])),
        (None, None),
    ]
    models, _ = open_models(given.only([73]), tmp_path, tmp_path / "traces")
    assert [(m.trained, m.seeds) for m in models] == [(2, frozenset([73])), (None, None)]


def test_a_training_run_is_named_for_every_seed_or_for_none() -> None:
    with pytest.raises(ConfigError, match="runs: got 1 for 3 seeds, expected one for each, or none"):
        settings(runs=(1,))


def test_models_by_seed_need_questions_by_seed() -> None:
    with pytest.raises(ConfigError, match=r"'own' draws the same questions with every seed.*expected seeded = true"):
        settings(datasets={"own": DatasetSettings(kind="jsonl")})


def test_a_question_drawn_twice_belongs_to_the_first_seed() -> None:
    asked: DatasetSplits = load_splits(
        "x", DatasetSettings(kind=GENERATED, options={"n": 30}, seeded=True, fit="validation"), [1, 2]
    )
    again = load_splits("x", DatasetSettings(kind=GENERATED, options={"n": 30}, seeded=True, fit="validation"), [1])
    assert all(asked.seed(q) == 1 for q in (*again.fit, *again.judge))
    assert {asked.seed(q) for q in asked.fit} == {asked.seed(q) for q in asked.judge} == {1, 2}


def test_the_guard_compares_with_what_was_trained_on_whatever_seed_is_judged() -> None:
    trained = ({"split": "train", "n": 40, "seed": 1}, {"split": "train", "n": 50, "seed": 2, "world": "rl"})
    declared = DatasetSettings(
        kind=GENERATED, options={"world": "slm", "n": 10}, seeded=True, fit="validation", trained_on=trained
    )
    found = load_splits("x", declared, [71])
    assert {q.id.rpartition("-")[0] for q in found.trained_on} == {"slm-train-1", "rl-train-2"}
    assert 80 <= len(found.trained_on) <= 90  # a text that comes twice counts once


def test_the_page_shows_the_spread_between_seeds(world: World) -> None:
    pytest.importorskip("matplotlib")
    from recipes.paper.page import page
    from recipes.paper.session import read_results

    world.compare(SEEDED, two_runs(world))
    html = page(read_results(world.folder))
    assert "Each of the 2 seeds alone: lowest to highest" in html
    assert "<td>SLM-Verb</td><td>2</td><td>100.0 to 100.0</td>" in html
