"""The settings of the RL recipe say what is wrong before anything is loaded."""

from pathlib import Path
from typing import Any

import pytest

from corea.errors import ConfigError, TrainError
from corea.prompts import Prompt, prompt_text
from corea.rewards.calibration import CalibrationReward, NoConfidenceReward
from corea.train.rlcc import rlcc
from corea.train.settings import RlccSettings, refuse_absent_trackers
from corea.types import Question


def settings(**given: Any) -> RlccSettings:
    return RlccSettings(model="m", out=Path("o"), **given)


def test_the_published_combination_is_the_default() -> None:
    assert settings().confidence_reward() == CalibrationReward("l1", "group")


def test_distance_and_estimate_change_half_of_a_named_reward_each() -> None:
    assert settings(reward="rlcc", distance="kl").confidence_reward() == CalibrationReward("kl", "group")
    assert settings(reward="brier", estimate="group").confidence_reward() == CalibrationReward("l2", "group")
    assert settings(reward="rlvr").confidence_reward() == NoConfidenceReward()


def test_the_last_part_pays_for_confidence_by_its_weight() -> None:
    parts = settings(reward="brier", confidence_weight=2.0).parts()
    assert [part.name for part in parts] == ["correctness", "format", "confidence"]
    assert (parts[-1].reward, parts[-1].weight) == (CalibrationReward("l2", "sample"), 2.0)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"reward": "brire"}, r"train\.reward: got 'brire'.*Did you mean 'brier'"),
        ({"distance": "L2"}, r"train\.distance: got 'L2'"),
        ({"reward": "rlvr", "distance": "l2"}, "which it does not have"),
        ({"scale": "std"}, r"train\.scale: got 'std'"),
        ({"credit": "all"}, r"train\.credit: got 'all', expected one of all-values, sampled, segment"),
        ({"credit": "all-values", "trl": {"importance_sampling_level": "sequence"}}, "expected .segment. there"),
        ({"credit": "all-values", "scale": "group"}, r"train\.scale: got 'group' with credit 'all-values'"),
        (
            {"reward": "rlvr", "credit": "all-values", "entropy_bonus": 0.1},
            r"train\.entropy_bonus: got 0\.1 .*expected 0",
        ),
        ({"entropy_bonus": 0.1}, r"train\.entropy_bonus: got 0\.1 with credit 'segment'"),
        (
            {"credit": "all-values", "trl": {"vllm_importance_sampling_mode": "sequence_mask"}},
            "expected 'token_truncate'",
        ),
        ({"generations": 1}, "at least 2"),
        ({"trl": {"num_generations": 4}}, r"train\.trl\.num_generations: .* set by generations"),
    ],
)
def test_a_wrong_setting_is_named(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        settings(**given)


def test_rlvr_credits_every_token_unless_asked_otherwise() -> None:
    assert settings(reward="rlvr").credit == "sampled"
    assert settings().credit == "segment"
    assert settings(reward="rlvr", credit="segment").credit == "segment"


def test_the_confidence_weight_follows_from_the_length_where_the_number_alone_is_credited() -> None:
    assert settings().balanced
    assert settings(credit="all-values").balanced
    assert not settings(confidence_weight=3.0).balanced
    assert not settings(credit="sampled").balanced
    assert settings(credit="sampled").parts()[-1].weight == 1


def test_a_tracker_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corea.train.settings.find_spec", lambda name: None)
    refuse_absent_trackers("none")
    with pytest.raises(ConfigError, match=r"train\.trl\.report_to: got 'wandb'.*pip install wandb"):
        refuse_absent_trackers(["none", "wandb"])


def test_held_out_questions_may_not_be_trained_on() -> None:
    same = [Question.of("1 + 1 = ?")]
    with pytest.raises(TrainError, match="1 questions are also trained on"):
        rlcc(settings(), questions=same, held_out=same, grader=None, prompt=Prompt("p"), command="")  # type: ignore[arg-type]


def test_a_saved_prompt_reads_back(tmp_path: Path) -> None:
    from corea.prompts import load_prompt

    for prompt in (Prompt("p", "{question}"), Prompt("p", "Solve: {question}", "Be brief.")):
        (tmp_path / "p.txt").write_text(prompt_text(prompt))
        assert load_prompt(str(tmp_path / "p.txt")) == prompt


def test_a_model_that_cannot_be_loaded_is_said_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    run, asked = RlccSettings(model=str(tmp_path / "nowhere"), out=tmp_path), [Question.of("1 + 1?", reference="2")]
    with pytest.raises(ConfigError, match=r"train\.model: got '.*nowhere', which cannot be loaded") as said:
        rlcc(run, questions=asked, held_out=[], grader=None, prompt=Prompt("p"), command="")  # type: ignore[arg-type]
    assert "\n" not in str(said.value)
