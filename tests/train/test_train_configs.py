"""The shipped training configurations are what the recipes and their launchers accept."""

import tomllib
from pathlib import Path

import pytest

from corea.config import settings
from corea.train.data import DataSettings
from corea.train.settings import RlccSettings

FOLDER = Path(__file__).parents[2] / "configs" / "train"
MATERIAL = ("questions", "held_out", "grader", "prompt")
RUNS = [path for path in sorted(FOLDER.glob("*.toml")) if "reward" in tomllib.loads(path.read_text())]


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_a_configuration_is_accepted_and_whole(path: Path) -> None:
    table = tomllib.loads(path.read_text())
    material = {key: table.pop(key) for key in MATERIAL if key in table}
    run = settings(str(path), RlccSettings, table, out=Path("out"))
    settings(str(path), DataSettings, material)
    assert (run.questions_per_step * run.generations) % (run.device_batch * 4) == 0 or run.device_batch == 128
    assert run.steps % run.evaluate_every == 0  # the last state is measured


def test_the_papers_configuration_is_plain_grpo_for_each_of_its_rewards() -> None:
    path = FOLDER / "qwen2.5-7b-paper.toml"
    table = {key: value for key, value in tomllib.loads(path.read_text()).items() if key not in MATERIAL}
    for reward in ("rlcc", "brier", "rlvr"):
        run = settings(str(path), RlccSettings, {**table, "reward": reward}, out=Path("out"))
        assert (run.credit, run.scale, run.trl["loss_type"]) == ("sampled", "group", "grpo")
        assert (run.entropy_bonus, run.balanced) == (0.0, False)


@pytest.mark.parametrize("path", sorted((FOLDER / "launch").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_launcher_is_one_that_accelerate_reads(path: Path) -> None:
    config_args = pytest.importorskip("accelerate.commands.config.config_args")
    launcher = config_args.load_config_from_file(str(path))
    assert launcher.num_processes in (2, 4, 16)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_what_goes_to_trl_is_known_there(path: Path) -> None:
    pytest.importorskip("trl")
    from dataclasses import fields

    from trl.trainer.grpo_config import GRPOConfig

    assert set(tomllib.loads(path.read_text()).get("trl", {})) <= {field.name for field in fields(GRPOConfig)}
