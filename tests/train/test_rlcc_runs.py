"""The RL recipe as a whole, in processes of its own. Slow: each run loads torch, transformers and TRL."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")
HERE = Path(__file__).parent
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def run(what: str, out: Path, *more: str, processes: int = 1, code: int = 0) -> list[dict[str, Any]]:
    """Runs a part of `runs.py`; returns the log of its steps."""
    launch = [sys.executable]
    if processes > 1:
        launch += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE.parents[1]), os.environ.get("PYTHONPATH")]))
    command = [*launch, str(HERE / "runs.py"), what, str(out), *more]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == code, done.stderr[-3000:]
    return log(out) if code == 0 else []


def log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def steps(entries: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    return {entry["step"]: entry for entry in entries if "grad_norm" in entry}


def weights(out: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return load_file(out / "model.safetensors")


@pytest.mark.parametrize("credit", ["segment", "all-values"])
def test_two_processes_equal_one_though_groups_lie_across_them(credit: str, tmp_path: Path) -> None:
    alone = steps(run("split", tmp_path / "one", "1", credit))
    both = steps(run("split", tmp_path / "two", "2", credit, processes=2))
    assert sorted(alone) == sorted(both) == [1, 2, 3]
    figures = ["rewards/confidence/mean", "reward", "rollouts/accuracy", "rollouts/ece", "grad_norm", "loss"]
    figures += ["rollouts/enumerated"] if credit == "all-values" else []
    for step in alone:
        for figure in figures:
            assert both[step][figure] == pytest.approx(alone[step][figure], abs=1e-4), (step, figure)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(abs(one[name] - two[name]).max() < 1e-5 for name in one)


def test_credit_for_all_values_is_the_gradient_of_every_number_in_turn(tmp_path: Path) -> None:
    """Also where vLLM's probabilities differ, whose ratios correct every other token."""
    (facts,) = run("enumerated", tmp_path / "out")
    assert facts["numbers"] == 14  # of 16 rollouts; two state none
    assert facts["off"] < 1e-3


def test_digits_logits_are_whole_where_each_process_holds_half_of_the_weights(tmp_path: Path) -> None:
    """PyTorch's FSDP2 on two CPU processes; accelerate shards on accelerators alone."""
    (facts,) = run("shards", tmp_path / "out", processes=2)
    assert facts["share"] == 0.5
    assert facts["logits_off"] < 1e-5
    assert facts["gradient_off"] < 1e-5


def test_a_killed_run_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    unbroken = steps(run("resume", tmp_path / "whole"))
    run("resume", tmp_path / "cut", "5", code=-9)
    resumed = steps(run("resume", tmp_path / "cut"))
    assert sorted(unbroken) == sorted(resumed) == [1, 2, 3, 4, 5, 6]
    for step in unbroken:
        for figure in ("loss", "grad_norm", "reward", "completions/mean_length", "rollouts/accuracy"):
            assert resumed[step][figure] == pytest.approx(unbroken[step][figure], rel=1e-4, abs=1e-6), (step, figure)


def test_an_adapter_is_merged_when_saved_and_every_figure_is_on_the_board(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run("lora", tmp_path)
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
    assert json.loads((tmp_path / "config.json").read_text())["use_cache"] is True
    assert json.loads((tmp_path / "generation_config.json").read_text())["eos_token_id"] == 637
    ids, told = torch.arange(40)[None], torch.load(tmp_path / "logits.pt")
    with torch.no_grad():
        merged = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)(input_ids=ids).logits
        before = AutoModelForCausalLM.from_pretrained(HERE / "data" / "cold", dtype=torch.float32)(input_ids=ids).logits
    assert (merged - told).abs().max() < 1e-3
    assert (merged - before).abs().max() > 0.1
    board = event_accumulator.EventAccumulator(str(tmp_path / "board")).Reload()
    bars = [f"stated/{bar / 10:.1f}" for bar in range(10)]
    rollouts = {f"train/rollouts/{name}" for name in ("accuracy", "ece", "auroc", "brier", "unstated", *bars)}
    parts = {f"train/rewards/{name}/mean" for name in ("correctness", "format", "confidence")}
    lengths = {"train/completions/mean_length", "train/completions/clipped_ratio"}
    held_out = {f"eval/{name}" for name in ("accuracy", "ece", "auroc", "brier", "expected_brier", *bars)}
    assert rollouts | parts | lengths | held_out <= set(board.Tags()["scalars"])
    for figure in ("rollouts/ece", "rollouts/brier", "rollouts/stated/0.9"):
        logged = {step: entry[figure] for step, entry in steps(log(tmp_path)).items()}
        assert {event.step: event.value for event in board.Scalars(f"train/{figure}")} == pytest.approx(logged)


def test_the_confidence_rewards_gradient_is_about_as_large_as_the_others_for_short_and_long_replies(
    tmp_path: Path,
) -> None:
    kinds = run("balance", tmp_path)
    assert kinds[-1]["tokens"] > 1.5 * kinds[0]["tokens"]
    for facts in kinds:
        assert facts["used"] == pytest.approx(facts["first"])
        assert 1 / 3 < facts["number"] / facts["rest"] < 3, facts


def test_a_run_with_nothing_to_learn_from_stops_and_says_what_to_do(tmp_path: Path) -> None:
    start, silent, equal = run("stops", tmp_path)
    assert start["step"] == 0
    assert "none of 16 held-out replies states a confidence" in start["said"]
    assert silent["step"] == equal["step"] == 4
    assert "no rollout of the last 5 steps states a confidence" in silent["said"]
    assert "corea train cold-start" in silent["said"]
    assert "all rewards of each group of the last 5 steps are equal (0% of rollouts are right)" in equal["said"]


def test_a_start_that_no_checkpoint_improves_is_kept_and_the_card_says_so(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    run("ruined", tmp_path)
    kept, start = (load_file(folder / "model.safetensors") for folder in (tmp_path, HERE / "data" / "cold"))
    assert all((kept[name] == start[name]).all() for name in start)
    assert json.loads((tmp_path / "training.json").read_text())["best_step"] == 0
    card = (tmp_path / "README.md").read_text()
    assert "**nothing was gained**" in card
    assert "trained - start, brier: +" in card


def test_a_cold_start_teaches_another_form_to_an_adapter_with_the_prompt_and_licence_kept(tmp_path: Path) -> None:
    run("cold", tmp_path)
    facts = json.loads((tmp_path / "training.json").read_text())
    assert facts["steps"] == 32
    assert facts["held_out"]["after"]["formed"] > 0.6
    losses = [entry["loss"] for entry in log(tmp_path) if "loss" in entry]
    assert losses[-1] < losses[0] / 3
    assert (tmp_path / "corea_prompt.txt").read_text() == "Please: {question}\n"
    assert (tmp_path / "README.md").read_text().startswith("---\nlicense: mit\nbase_model: some/one\n")
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
