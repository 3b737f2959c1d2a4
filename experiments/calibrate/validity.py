"""Are the promises kept? Calibrates on a thousand sets a world and judges each on the whole population.

    python experiments/calibrate/validity.py --data FOLDER     (FOLDER holds traces/; or COREA_DATA)

Writes experiments/results/calibrate/validity.json, which docs/guarantee.md quotes.
"""

import argparse
import json
import os
import time
from pathlib import Path

from populations import CSQA, GSM8K, ROUTELLM, TARGETS, mmlu_pro, others

from corea.calibrate.fit import Options
from corea.calibrate.sweep import edge_goals, sweep
from corea.calibrate.worlds import WORLDS, world
from corea.evaluate.compare.provenance import commit

RESULTS = Path(__file__).parents[1] / "results" / "calibrate"
PLAIN = Options(map="identity")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--data", type=Path, default=os.environ.get("COREA_DATA"), required="COREA_DATA" not in os.environ
    )
    options.add_argument("--draws", type=int, default=1000)
    options.add_argument("--part", default="0/1", help="K/N: only every N-th world from the K-th; the file is added to")
    options.add_argument("--out", type=Path, default=RESULTS / "validity.json")
    chosen = options.parse_args()
    began, made = time.process_time(), commit()
    other = others(chosen.data)
    nano, reasoner, qwen = TARGETS
    plan = [
        (f"simulated: {name}", world(20_000, **how), 500, Options(map="linear" if "columns" in how else "auto"))
        for name, how in WORLDS.items()
    ]
    plan += [
        ("simulated: far apart", world(20_000, slm=0.4, llm=0.95), 50, Options()),
        ("simulated: far apart, useless", world(20_000, slm=0.4, llm=0.95, sharp=0.0), 50, Options()),
        (GSM8K, other[GSM8K], 300, Options()),
        (CSQA, other[CSQA], 300, Options()),
        (ROUTELLM, other[ROUTELLM], 500, PLAIN),
        (qwen, mmlu_pro(chosen.data, qwen), 500, Options(map="linear")),
        (reasoner, mmlu_pro(chosen.data, reasoner), 500, Options(map="linear")),
        (nano, mmlu_pro(chosen.data, nano), 500, Options(map="linear")),
    ]
    part, parts = map(int, chosen.part.split("/"))
    for name, population, n, how in plan[part::parts]:
        rows = []
        for kept in sweep(population, edge_goals(population), n=n, draws=chosen.draws, options=how):
            rows.append({"world": name, "rows": len(population), "map": how.map, **kept.as_dict()})
            print(
                f"{name:36}{n:5} {kept.goal:22} broken {kept.broken_share:.3f} certified {kept.certified:5} "
                f"saving {kept.saving:.3f} {'' if kept.holds else 'BROKEN TOO OFTEN'}",
                flush=True,
            )
        spent, began = time.process_time() - began, time.process_time()
        order = [(world_name, size) for world_name, _, size, _ in plan]
        keep(chosen.out, {"commit": made, "cpu_seconds": round(spent, 1), "world": name, "n": n, "goals": rows}, order)


def keep(path: Path, found: dict, order: list[tuple[str, int]]) -> None:
    """Adds a world to the file, in the order of the plan."""
    worlds = json.loads(path.read_text())["worlds"] if path.exists() else []
    worlds = [w for w in worlds if (w["world"], w["n"]) != (found["world"], found["n"])] + [found]
    worlds.sort(key=lambda w: order.index((w["world"], w["n"])))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"worlds": worlds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
