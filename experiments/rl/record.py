"""Keeps what RL runs logged on held-out problems: python experiments/rl/record.py OUT.json FOLDER [FOLDER ...]

A folder holds `training.json` and `log.jsonl` (a finished run) or at least `out.log` (one that was stopped).
"""

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

KEPT = ("accuracy", "ece", "brier", "auroc", "stated_mean", "stated_values", "formed", "criterion")
EXPECTED = ("expected_ece", "expected_brier", "expected_auroc")
STEP = ("rollouts/accuracy", "rollouts/ece", "rollouts/auroc", "rollouts/brier", "kl", "step_time", "grad_norm")


def entries(folder: Path) -> list[dict[str, Any]]:
    """What the trainer logged, from its own file or, where it was stopped, from what it printed."""
    if (folder / "log.jsonl").is_file():
        return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    found, step = [], 0
    for line in (folder / "out.log").read_text(errors="replace").splitlines():
        if match := re.search(r"\{'(?:eval_)?loss'.*\}", line):
            read = {key: float(value) for key, value in ast.literal_eval(match[0]).items()}
            step += "loss" in read
            found.append({**read, "step": step})
    return found


def summary(folder: Path) -> dict[str, Any]:
    """One run: its settings, held-out figures as they were measured, and the mean of its last ten steps."""
    log = entries(folder)
    facts = json.loads((folder / "training.json").read_text()) if (folder / "training.json").is_file() else {}
    held_out = [
        {"step": e["step"]} | {k: round(e[f"eval_{k}"], 4) for k in (*KEPT, *EXPECTED) if f"eval_{k}" in e}
        for e in log
        if "eval_accuracy" in e
    ]
    steps = [e for e in log if "grad_norm" in e]
    last = {k: [float(e[k]) for e in steps[-10:] if k in e] for k in STEP}
    return {
        "settings": facts.get("settings", "stopped before its end; see the lab log"),
        "finished": bool(facts),
        "steps": len(steps),
        "best_step": facts.get("best_step"),
        "seconds": facts.get("seconds"),
        "held_out": held_out,
        "last_ten_steps": {k: round(sum(v) / len(v), 4) for k, v in last.items() if v},
    }


def main(out: str, *folders: str) -> None:
    place = Path(out)
    runs: dict[str, Any] = json.loads(place.read_text()) if place.is_file() else {}
    runs |= {Path(folder).name: summary(Path(folder)) for folder in folders}
    place.write_text(json.dumps(runs, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
