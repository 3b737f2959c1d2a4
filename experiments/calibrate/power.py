"""What a certificate costs, by number of labels and by test, beside a plain threshold and the published rule.

    python experiments/calibrate/power.py --data FOLDER     (FOLDER holds traces/; or COREA_DATA)
    python experiments/calibrate/power.py --only-draw       (the figure, from the stored result)

Writes experiments/results/calibrate/power.json and docs/images/power.svg.
"""

import argparse
import json
import os
import time
from pathlib import Path

from matplotlib.figure import Figure
from populations import TARGETS, mmlu_pro

from recipes.guarantee.simulated import simulated_pairs
from recipes.guarantee.threshold_methods import power
from recipes.paper.provenance import commit

ROOT = Path(__file__).parents[2]
RESULTS, IMAGE = ROOT / "experiments" / "results" / "calibrate" / "power.json", ROOT / "docs" / "images" / "power.svg"
SIZES = (200, 500, 1000, 3000)
LOOKS = {  # colour, line, mark: told apart in grey by the last two
    "exact": ("#222222", "-", "o"), "betting": ("#0b5fa5", "--", "s"), "hoeffding-bentkus": ("#0b5fa5", ":", "v"),
    "hoeffding": ("#8a8a8a", ":", "x"), "validation set": ("#d9730d", "-.", "D"),
    "published rule": ("#8a8a8a", "-", "^"),
}  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, default=os.environ.get("COREA_DATA"))
    options.add_argument("--only-draw", action="store_true")
    options.add_argument("--draws", type=int, default=1000)
    options.add_argument("--out", type=Path, default=RESULTS)
    options.add_argument("--image", type=Path, default=IMAGE)
    options.add_argument("--part", default="0/1", help="K/N: only every N-th point from the K-th; the file is added to")
    chosen = options.parse_args()
    if chosen.only_draw:
        return draw(json.loads(chosen.out.read_text())["rows"], chosen.image)
    if chosen.data is None:
        options.error("--data: expected the folder that holds traces/ (or COREA_DATA)")
    part, parts = map(int, chosen.part.split("/"))
    worlds = {"simulated: ties": None, TARGETS[0]: TARGETS[0], TARGETS[1]: TARGETS[1]}
    plan = [(name, n) for name in worlds for n in SIZES]
    for name, n in plan[part::parts]:
        population = simulated_pairs(20_000) if worlds[name] is None else mmlu_pro(chosen.data, name)
        began = time.process_time()
        found = power(population, n=n, draws=chosen.draws // (2 if n >= 3000 else 1))
        spent = round(time.process_time() - began, 1)
        rows = [{"world": name, **each.as_dict(), "commit": commit(), "cpu_seconds": spent} for each in found]
        for row in rows:
            print({key: row[key] for key in ("world", "n", "max_drop", "method", "share", "broken")}, flush=True)
        keep(chosen.out, rows, plan)
    return draw(json.loads(chosen.out.read_text())["rows"], chosen.image)


def keep(path: Path, rows: list[dict], plan: list[tuple[str, int]]) -> None:
    """Adds a point to the file, in the order of the plan."""
    old = json.loads(path.read_text())["rows"] if path.exists() else []
    key = (rows[0]["world"], rows[0]["n"])
    all_rows = [row for row in old if (row["world"], row["n"]) != key] + rows
    all_rows.sort(key=lambda row: plan.index((row["world"], row["n"])))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"rows": all_rows}, indent=1) + "\n")


def draw(rows: list[dict], path: Path, drop: float = 0.02) -> None:
    """Share of the oracle-threshold's saving over n; a hollow mark breaks its promise in more than 1 of 20 sets."""
    worlds = list(dict.fromkeys(row["world"] for row in rows))
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    for index, name in enumerate(worlds):
        axes = figure.add_subplot(1, len(worlds), index + 1)
        for method, (colour, line, mark) in LOOKS.items():
            own = [r for r in rows if (r["world"], r["method"], r["max_drop"]) == (name, method, drop)]
            axes.plot([r["n"] for r in own], [r["share"] for r in own], line, color=colour, lw=1.5)
            axes.plot([], [], line, marker=mark, color=colour, label=method)
            for r in own:
                fill = "white" if r["broken"] > 0.05 + 2.33 * (0.05 * 0.95 / r["draws"]) ** 0.5 else colour
                axes.plot(r["n"], r["share"], mark, color=colour, mfc=fill)
        axes.set(xscale="log", title=name, xlabel="labelled questions", ylim=(0, 2))
        axes.set_xticks(SIZES, [f"{n:,}" for n in SIZES], minor=False)
        axes.minorticks_off()
        axes.axhline(1, color="#57626d", lw=0.8, ls="--")
    figure.axes[0].set_ylabel("saving, oracle-threshold = 1")
    figure.axes[0].legend(fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
