"""The cards of the shipped pair, from what was measured: card.py SLM LLM SLM.npz LLM.npz REPORT.json RL_COMMAND"""

import json
import sys
from pathlib import Path

import numpy as np

from corea.train.model_card import Measured, write_card
from evaluate import SETS

FIGURES = ("ECE", "Brier", "AUROC", "values")
COLD = "python experiments/pair/cold.py experiments/pair/configs/"
SMALL = f"""{COLD}slm.toml runs/slm_1    # on the tasks as they were at commit 7417055
{COLD}slm_2.toml runs/slm_2
{COLD}slm_3.toml runs/slm_3
{COLD}slm_4.toml runs/slm_cold"""
LAST = (f"{COLD}slm_6.toml runs/slm", "python experiments/pair/finish.py runs/slm runs/slm_half")
LARGE = f"""{COLD}slm.toml runs/slm_1    # these four on the tasks as they were at commit 7417055
python experiments/pair/grown.py runs/slm_1 runs/llm_1
{COLD}llm_2.toml runs/llm_2    # stopped at step 700: its checkpoint goes on as runs/llm_2_700
{COLD}llm_3.toml runs/llm_3
python experiments/pair/grown.py runs/llm_3 runs/llm_4_start 1 3 4
{COLD}llm_4.toml runs/llm_4    # stopped at step 1500: its checkpoint goes on as runs/llm_4_last
{COLD}llm_5.toml runs/llm
python experiments/pair/finish.py runs/llm runs/llm_half"""

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
            "cost saved, 2 points": row["saved at 2, expected"],
        }
        for signal in ("stated", "expected"):
            confidence = slm[f"{name}/{signal}"]
            there = ~np.isnan(confidence)
            if name != "far":
                measured.append(
                    Measured(
                        name=f"{name}, {signal}",
                        confidence=confidence[there],
                        correct=slm[f"{name}/correct"][there],
                    )
                )
    known = "Small arithmetic, word, sorting, counting and ordering problems, in the wordings of corea.tasks."
    write_card(
        small,
        title="corea-small",
        purpose=f"{known} Its confidence was learnt by reinforcement learning (`corea train rlcc`).",
        command="\n".join([SMALL, sys.argv[6], *LAST]),
        figures=rows,
        measured=measured,
        notes=[
            "confidence by reinforcement learning (the l2-group run); the recipe named here is the 120 steps after it",
            "measured greedily on split test, seed 2027, once; thresholds of the savings from split validation",
        ],
    )
    write_card(
        large,
        title="corea-large",
        purpose=f"{known} It is asked what corea-small defers. Its own stated confidence says nothing.",
        command=LARGE,
        figures={name: {"n": report[name]["n"], "accuracy": report[name]["LLM"]} for name in SETS},
        notes=["grown out of corea-small's first cold start, then trained on the wider world; split test, seed 2027"],
    )
