"""How fast a training step is beside stock TRL, and how much of it is our own reward code.

    python bench/train.py [--json] [--rounds 5] [--steps 4] [--model FOLDER] [--device cuda --questions 128]

The same model, questions, seed and TRL settings four times: stock `GRPOTrainer` with a constant reward; the RLCC
trainer with all its rewards and figures, as it is by default ("segment") and with credit for all values; and the latter
with our two settings for small machines (`shrinking_rollouts`, `length_chunks`: "lean"). With a learning rate of 0 all
but the last write the very same rollouts. Seconds are of processor time, on one thread; with `--device cuda`, on the
clock. Rounds alternate; a figure is the median over rounds, with the lowest and highest beside it.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
warnings.filterwarnings("ignore")

import torch  # noqa: E402  (warnings first)
from transformers import AutoTokenizer, PrinterCallback, logging  # noqa: E402
from trl.trainer.grpo_trainer import GRPOTrainer  # noqa: E402

from corea.graders import AutoGrader  # noqa: E402
from corea.prompts import Prompt  # noqa: E402
from corea.train.settings import grpo_config  # noqa: E402
from recipes.bundled_pair.problems import sample  # noqa: E402
from recipes.bundled_pair.rlcc import BundledRlcc, make_trainer  # noqa: E402

MODEL = Path(__file__).parents[1] / "tests" / "train" / "data" / "cold"
TRL = {
    "bf16": False,
    "gradient_checkpointing": False,
    "disable_tqdm": True,
    "eval_strategy": "no",
    "eval_on_start": False,
    "save_strategy": "no",
    "load_best_model_at_end": False,
    "logging_steps": 1000,
    "model_init_kwargs": {"dtype": "float32"},
}


KINDS = ("stock", "segment", "all-values", "lean")


def constant(completions: list[Any], **_: Any) -> list[float]:
    return [1.0] * len(completions)


def clock(device: str) -> float:
    """Seconds so far: of this process on a CPU; on the clock, with nothing left to do, on a GPU."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def timed(trainer: Any, device: str) -> dict[str, float]:
    """Trains, and gives seconds, rollouts, tokens and the seconds of reward code."""
    spent = {"seconds": 0.0, "reward": 0.0, "rollouts": 0.0, "tokens": 0.0}

    def watch(name: str, key: str) -> None:
        inner = getattr(trainer, name)

        def outer(*args: Any, **kwargs: Any) -> Any:
            start = clock(device)
            result = inner(*args, **kwargs)
            spent[key] += clock(device) - start
            if key == "reward":  # each step's rollouts pass here once
                spent["rollouts"] += len(args[1])
                spent["tokens"] += sum(map(len, args[3]))
            return result

        setattr(trainer, name, outer)

    trainer.remove_callback(PrinterCallback)  # it would print among our figures
    watch("training_step", "seconds")
    watch("_calculate_rewards", "reward")
    trainer.train()
    return spent


def make(kind: str, model: str, folder: Path, steps: int, device: str, asked: int) -> Any:
    """A trainer of one of `KINDS`."""
    lean = kind == "lean"
    settings = BundledRlcc(
        model=model,
        out=folder,
        max_tokens=96,
        steps=steps,
        learning_rate=0.0,
        reward="l2-group",
        confidence_weight=3.0,
        credit="segment" if kind == "segment" else "all-values",
        questions_per_step=asked,
        device_batch=asked * 8,
        trl={**TRL, "use_cpu": device == "cpu"},
        shrinking_rollouts=lean,
        length_chunks=8 if lean else 1,
    )
    questions, prompt = sample("rl", max(200, asked), 1), Prompt("bundled")
    if kind != "stock":
        held_out = sample("slm", 8, 1, split="validation")
        return make_trainer(settings, questions=questions, held_out=held_out, grader=AutoGrader(), prompt=prompt)
    from datasets import Dataset

    config = grpo_config(settings)
    config.reward_weights = None
    rows = [{"prompt": [{"role": "user", "content": question.text}]} for question in questions]
    return GRPOTrainer(
        model=model,
        reward_funcs=constant,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(model, padding_side="left"),
    )


def measure(model: str, rounds: int, steps: int, device: str, asked: int) -> dict[str, Any]:
    """Medians over rounds, each of which runs all kinds."""
    torch.set_num_threads(1)
    runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds):
            order = list(runs) if turn % 2 == 0 else list(runs)[::-1]
            for kind in order:
                runs[kind].append(timed(make(kind, model, Path(folder) / kind, steps, device, asked), device))
    figures: dict[str, Any] = {"rounds": rounds, "steps": steps, "device": device, "rollouts": asked * 8}
    for kind, measured in runs.items():
        figures[kind] = {
            "seconds_per_step": statistics.median(m["seconds"] / steps for m in measured),
            "rollouts_per_second": statistics.median(m["rollouts"] / m["seconds"] for m in measured),
            "tokens_per_second": statistics.median(m["tokens"] / m["seconds"] for m in measured),
            "reward_share": statistics.median(m["reward"] / m["seconds"] for m in measured),
        }
    for kind in KINDS[1:]:
        shares = [
            (mine["tokens"] / mine["seconds"]) / (stock["tokens"] / stock["seconds"])
            for mine, stock in zip(runs[kind], runs["stock"], strict=True)
        ]
        figures[kind] |= {"tokens_against_stock": statistics.median(shares), "range": [min(shares), max(shares)]}
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--model", default=str(MODEL))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--questions", type=int, default=16, help="of a step, eight rollouts each")
    given = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    figures = measure(given.model, given.rounds, given.steps, given.device, given.questions)
    if given.json:
        print(json.dumps(figures, indent=1))
        return
    for kind in KINDS[1:]:
        measured = figures[kind]
        low, high = measured["range"]
        print(
            f"{kind}: {measured['tokens_against_stock']:.2f} ({low:.2f}-{high:.2f}) of stock TRL's training tokens a "
            f"second (target at least 0.95); reward code {measured['reward_share']:.2%} of a step (under 2 %)"
        )


if __name__ == "__main__":
    main()
