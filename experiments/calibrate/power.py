"""What a certificate costs, by number of labels and by test, beside a plain threshold and the published rule.

    python experiments/calibrate/power.py --data FOLDER     (FOLDER holds traces/; or COREA_DATA)

Writes experiments/results/calibrate/power.json and docs/images/power.svg.
"""

import argparse
import json
import os
import time
from pathlib import Path

from matplotlib.figure import Figure
from populations import TARGETS, mmlu_pro

from corea.calibrate.fit import Options
from corea.calibrate.rivals import power
from corea.calibrate.worlds import world
from corea.evaluate.compare.provenance import commit

ROOT = Path(__file__).parents[2]
RESULTS, IMAGE = ROOT / "experiments" / "results" / "calibrate" / "power.json", ROOT / "docs" / "images" / "power.svg"
SIZES = (200, 500, 1000, 3000)
COLOURS = {
    "exact": "#2a7d4f", "betting": "#2a5d8f", "hoeffding-bentkus": "#7a5195", "hoeffding": "#9aa5b1",
    "validation set": "#b3541e", "published rule": "#b8860b",
}  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    data = os.environ.get("COREA_DATA")
    options.add_argument("--data", type=Path, default=data, required=data is None)
    options.add_argument("--draws", type=int, default=200)
    options.add_argument("--out", type=Path, default=RESULTS)
    options.add_argument("--image", type=Path, default=IMAGE)
    chosen = options.parse_args()
    began, made, rows = time.process_time(), commit(), []
    plan = [("simulated: ties", world(20_000), Options())]
    plan += [(name, mmlu_pro(chosen.data, name), Options()) for name in TARGETS[:2]]
    for name, population, how in plan:
        for n in SIZES:
            for each in power(population, n=n, draws=chosen.draws, options=how):
                rows.append({"world": name, **each.as_dict()})
                print(
                    f"{name:32}{n:5} {each.max_drop:.2f} {each.method:18} share {each.share:.2f} "
                    f"chosen {each.chosen:.2f} broken {each.broken:.2f} saving {each.saving:.3f}",
                    flush=True,
                )
    found = {"draws": chosen.draws, "cpu_seconds": round(time.process_time() - began), "commit": made, "rows": rows}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(found, indent=1) + "\n")
    draw(rows, chosen.image)


def draw(rows: list[dict], path: Path, drop: float = 0.02) -> None:
    """Share of the oracle-threshold's saving over n; a hollow mark breaks its promise in more than 1 of 20 sets."""
    worlds = list(dict.fromkeys(row["world"] for row in rows))
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for index, name in enumerate(worlds):
        axes = figure.add_subplot(1, len(worlds), index + 1)
        for method, colour in COLOURS.items():
            own = [r for r in rows if (r["world"], r["method"], r["max_drop"]) == (name, method, drop)]
            axes.plot([r["n"] for r in own], [r["share"] for r in own], color=colour, label=method, lw=1.5)
            for r in own:
                fill = "white" if r["broken"] > 0.05 + 2.33 * (0.05 * 0.95 / r["draws"]) ** 0.5 else colour
                axes.plot(r["n"], r["share"], "o", color=colour, mfc=fill)
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
