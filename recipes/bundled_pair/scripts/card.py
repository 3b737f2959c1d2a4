"""The cards of the shipped pair, from what was measured: card.py SLM LLM SLM.npz LLM.npz REPORT.json RL_COMMAND"""

import json
import sys
from pathlib import Path

import numpy as np

from corea.train.model_card import ReliabilityData, write_card
from recipes.bundled_pair.scripts.evaluate import SEED, SETS

FIGURES = ("ECE", "Brier", "AUROC", "values")
COLD = "python -m recipes.bundled_pair cold-start recipes/bundled_pair/configs/cold_start/"
GROW = "python -m recipes.bundled_pair grow runs/llm_5 runs/llm_6_start"
AFTER = "".join(f" --after {layer}" for layer in range(7))
SMALL = f"""# runs/slm_9: the third round's, from git show 71795b1:experiments/pair/weights/slm_cold
{COLD}slm_12.toml --out runs/slm_cold"""
LAST = "python -m recipes.bundled_pair.scripts.finish runs/slm runs/slm_half"
LARGE = f"""# runs/llm_5: the second round's, from git show 4600788:experiments/pair/weights/llm
{GROW}{AFTER}
{COLD}llm_6.toml --out runs/llm_6
# on one H200; stopped by its time: the checkpoint of step 540 goes on as runs/llm_6_540
{COLD}llm_7.toml --out runs/llm
python -m recipes.bundled_pair.scripts.finish runs/llm runs/llm_half"""

if __name__ == "__main__":
    small, large = Path(sys.argv[1]), Path(sys.argv[2])
    slm, llm, report = np.load(sys.argv[3]), np.load(sys.argv[4]), json.loads(Path(sys.argv[5]).read_text())
    rows, measured = {}, []
    for name in SETS:
        row = report[name]
        rows[name] = {
            "n": row["n"],
            "accuracy": row["SLM"],
            **{f"{k} {s}": row[f"{k} {s}"] for s in ("stated", "expected") for k in FIGURES},
            **{
                f"{what}, aim {drop}": row[f"{key} at {drop}, expected"]
                for drop in (2, 1)
                for what, key in (("saved", "saved"), ("accuracy lost", "below"))
            },
        }
        for signal in ("stated", "expected"):
            confidence = slm[f"{name}/{signal}"]
            there = ~np.isnan(confidence)
            if name != "far":
                measured.append(
                    ReliabilityData(
                        name=f"{name}, {signal}",
                        confidence=confidence[there],
                        correct=slm[f"{name}/correct"][there],
                    )
                )
    known = (
        "Small arithmetic, word, sorting, counting and ordering problems, in the wordings of "
        "recipes/bundled_pair/problems."
    )
    write_card(
        small,
        title="corea-small",
        purpose=f"{known} Its confidence was learnt by reinforcement learning (`corea train rlcc`).",
        command="\n".join([SMALL, sys.argv[6], LAST]),
        figures=rows,
        measured=measured,
        notes=[
            f"measured greedily on split test, seed {SEED}, once",
            "thresholds of the savings from split validation, for 2 points or 1 below the large model",
        ],
    )
    write_card(
        large,
        title="corea-large",
        purpose=f"{known} It is asked what corea-small defers. Its own stated confidence says nothing.",
        command=LARGE,
        figures={name: {"n": report[name]["n"], "accuracy": report[name]["LLM"]} for name in SETS},
        notes=[f"grown out of corea-small's first cold start, then trained on a wider world; split test, seed {SEED}"],
    )
