"""`corea calibrate` on 1,000 and on 100,000 rows with several signals: seconds with all imports, and memory.

    python bench/calibrate.py [--rows 1000 100000] [--rounds 3] [--json]

The rows are simulated (`recipes.guarantee.simulated`) and written as files; each round is a process of its own, on at
most two threads. Wall time depends on what else the machine does, processor time hardly.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from recipes.guarantee.simulated import simulated_pairs

TARGETS = {1_000: {"seconds": 5.0, "mb": 1000.0}, 100_000: {"seconds": 20.0, "mb": 1000.0}}


def write_rows(folder: Path, n: int) -> list[str]:
    """The options that name two files of n simulated rows."""
    pairs = simulated_pairs(n, columns=True)
    small, large = folder / f"small_{n}.jsonl", folder / f"large_{n}.jsonl"
    names = ("confidence", "mean_token_probability")
    with small.open("w") as mine, large.open("w") as theirs:
        for i, key in enumerate(pairs.ids.tolist()):
            measured = {name: None if (v := float(pairs.first.signals[name][i])) != v else v for name in names}
            row: dict[str, Any] = {
                "id": key,
                "correct": int(pairs.first.correct[i]),
                "cost_usd": float(pairs.first.cost_usd[i]),
            }
            row |= measured | {
                "completion_tokens": float(pairs.first.completion_tokens[i]),
                "category": pairs.categories[i],
            }
            mine.write(json.dumps(row) + "\n")
            cost = float(pairs.last.cost_usd[i])
            theirs.write(json.dumps({"id": key, "correct": int(pairs.last.correct[i]), "cost_usd": cost}) + "\n")
    return ["--traces", str(small), "--reference", str(large), "--out", str(folder / "calibration.json")]


def measure(options: list[str]) -> dict[str, float]:
    """One run: wall and processor seconds, and the largest resident memory of any child so far, in MB."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [str(Path(sys.executable).parent / "corea"), "calibrate", *options, "--max-drop", "0.02", "--json"]
    two = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "2")
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **two})
    if done.returncode:
        raise SystemExit(done.stderr)
    assert json.loads(done.stdout)["verdict"] == "certified"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": time.perf_counter() - began, "cpu": cpu, "mb": after.ru_maxrss / 1024}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, nargs="+", default=sorted(TARGETS))
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for n in sorted(chosen.rows):  # small first: the memory is a maximum over all children
            named = write_rows(Path(folder), n)
            rounds = [measure(named) for _ in range(chosen.rounds)]
            found[str(n)] = {
                "wall_seconds": statistics.median(r["wall"] for r in rounds),
                "wall_range": [min(r["wall"] for r in rounds), max(r["wall"] for r in rounds)],
                "cpu_seconds": statistics.median(r["cpu"] for r in rounds),
                "mb": rounds[-1]["mb"],
                "target": TARGETS.get(n),
                "rounds": chosen.rounds,
            }
            each = found[str(n)]
            if not chosen.json:
                took = f"{each['wall_seconds']:.1f} s ({each['cpu_seconds']:.1f} s of processor)"
                print(f"{n:>8,} rows: {took}, {each['mb']:.0f} MB")
    if chosen.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
