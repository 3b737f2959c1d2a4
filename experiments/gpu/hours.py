"""Hours and cost of training the backbones: python experiments/gpu/hours.py experiments/results/gpu

Arithmetic for the shipped configurations, on the floating-point rate that one GPU was measured at (`run.sh`'s long
passes, where the folder has them; else a third of an H100's 989 TFLOP/s). Writes FOLDER/hours.json.

Assumed, not measured: replies of 1,000 tokens in the mean behind prompts of 200, each pass padded to twice its mean,
the longest reply of a step at the limit; vLLM reads weights and cache at 60 % of the memory's bandwidth; FSDP keeps
80 % of the rate; the rate of the LoRA pass for every LoRA run, that of the whole model's for every other.
"""

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).parents[2] / "configs" / "train"
REPLY, PROMPT, PADDING = 1000, 200, 2.0
BANDWIDTH, SHARDED, USD = 0.6 * 3.35e12, 0.8, 2.5  # of an H100, bytes a second; of the rate; a GPU and hour
ASSUMED = 989e12 / 3  # operations a second
RUNS: dict[str, dict[str, Any]] = {  # parameters without the input embedding; bytes of cache per token; GPUs
    "qwen2.5-1.5b": {"weights": 1.54e9, "cache": 28_672, "train": 1, "serve": 0},
    "qwen2.5-7b": {"weights": 7.07e9, "cache": 57_344, "train": 4, "serve": 1},
    "llama-3.1-8b": {"weights": 7.5e9, "cache": 131_072, "train": 4, "serve": 1},
    "qwen2.5-7b-lora": {"weights": 7.07e9, "cache": 57_344, "train": 1, "serve": 0},
}
LONG = {"full": "qwen2.5-1.5b", "lora": "qwen2.5-7b-lora"}
PASSES = {"full": 8, "lora": 6}  # floating-point operations a weight and token: forward, again, backward


def rate(folder: Path, kind: str) -> float:
    """Operations a second in the second long step: losses and gradients of one pass."""
    name = LONG[kind]
    measured = folder / f"{name}-long.json"
    if not measured.is_file():
        return ASSUMED
    told = json.loads(measured.read_text())
    step = told["steps"][-1]
    return step["tokens"] * PASSES[kind] * RUNS[name]["weights"] / (step["loss"] + step["gradient"])


def hours(name: str, rates: dict[str, float]) -> dict[str, float]:
    """One configuration: seconds of a step, hours of the run, GPU hours and dollars."""
    run, table = RUNS[name], tomllib.loads((CONFIGS / f"{name}.toml").read_text())
    kind = "lora" if "lora" in table else "full"
    rollouts = table["questions_per_step"] * table["generations"]
    read = 2 * run["weights"] / BANDWIDTH  # seconds that a token takes at least
    together = read + rollouts * (PROMPT + REPLY / 2) * run["cache"] / BANDWIDTH
    generation = REPLY * together + (table["max_tokens"] - REPLY) * read  # all at once, then the longest alone
    operations = rollouts * (PROMPT + REPLY) * PADDING * (PASSES[kind] + 2) * run["weights"]  # 2: before the first step
    training = operations / (rates[kind] * run["train"] * (SHARDED if run["train"] > 1 else 1))
    total = table["steps"] * (generation + training) / 3600
    gpus = run["train"] + run["serve"]
    return {
        "rollouts": rollouts * table["steps"],
        "gpus": gpus,
        "generation_seconds": round(generation, 1),
        "training_seconds": round(training, 1),
        "hours": round(total, 2),
        "gpu_hours": round(total * gpus, 1),
        "usd": round(total * gpus * USD, 0),
    }


def main(folder: str) -> None:
    place = Path(folder)
    rates = {kind: rate(place, kind) for kind in LONG}
    told = {"tflops": {kind: round(value / 1e12, 1) for kind, value in rates.items()}}
    runs = {name.replace(".", "_"): hours(name, rates) for name in RUNS}
    (place / "hours.json").write_text(json.dumps(told | {"runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
