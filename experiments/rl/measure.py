"""Measures trained models on the same held-out problems: python experiments/rl/measure.py OUT.json FOLDER [FOLDER ...]

Greedy replies to `N` validation problems each of worlds slm (in domain), ood and far. A line per model and world.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, logging

from corea.metrics.calibration import auroc, brier_score, expected_calibration_error
from recipes.bundled_pair.answering import Answers, answer
from recipes.bundled_pair.problems import sample

N, SEED = 500, 11


def figures(answers: Answers) -> dict[str, float]:
    """Accuracy, and what the stated and the expected confidence are worth; a missing number counts as 0."""
    correct = answers.correct
    stated, expected = np.nan_to_num(answers.stated), np.nan_to_num(answers.expected)
    row: dict[str, float] = {"accuracy": correct.mean(), "unstated": float(np.isnan(answers.stated).mean())}
    for name, confidence in (("stated", stated), ("expected", expected)):
        row |= {
            f"{name}_mean": confidence.mean(),
            f"{name}_ece": expected_calibration_error(confidence, correct),
            f"{name}_brier": brier_score(confidence, correct),
            f"{name}_auroc": auroc(confidence, correct),
            f"{name}_values": len(np.unique(confidence.round(4))),
        }
    return {key: round(float(value), 4) for key, value in row.items()}


def main(out: str, *folders: str) -> None:
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    place = Path(out)
    results: dict[str, Any] = json.loads(place.read_text()) if place.is_file() else {}
    for folder in folders:
        if Path(folder).name in results:
            continue
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        row: dict[str, Any] = {}
        for world in ("slm", "ood", "far"):
            questions = sample(world, N, SEED, split="validation")
            answers = answer(model, tokenizer, questions, temperature=0.0, max_tokens=112)
            row[world] = figures(answers)
            print(Path(folder).name, world, row[world], flush=True)
        results[Path(folder).name] = row
        place.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
