"""Are the promises kept? Calibrates on a thousand sets a world and judges each on the whole population.

    python experiments/calibrate/validity.py --data FOLDER     (FOLDER holds traces/; or COREA_DATA)

Writes experiments/results/calibrate/validity.json, which docs/guarantee.md quotes.
"""

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from populations import CSQA, GSM8K, ROUTELLM, TARGETS, mmlu_pro, others

from corea.calibrate.coverage import coverage, hard_targets
from corea.calibrate.prepare import FitOptions
from corea.records.table import OutcomeTable
from recipes.guarantee.simulated import POPULATIONS, simulated_pairs
from recipes.paper.provenance import commit

RESULTS = Path(__file__).parents[1] / "results" / "calibrate"
MAPS = (FitOptions(), FitOptions(map="linear"))
WORDS = {"auto": "trees", "identity": "stated"}
SUBJECT = tuple(FitOptions(map=kind, use_category=True) for kind in ("auto", "linear"))
Part = tuple[str, str, OutcomeTable, int, FitOptions, OutcomeTable]


def asked_often(pairs: OutcomeTable, times: int = 3) -> OutcomeTable:
    """Each question so many times under other ids, with the same answers."""
    rows = pairs.take(np.repeat(np.arange(len(pairs)), times))
    return replace(rows, ids=np.array([f"r{i}" for i in range(len(rows))], dtype=object), clusters=rows.ids)


def rarely_expensive(pairs: OutcomeTable, often: float = 1 / 500, times: float = 500.0) -> OutcomeTable:
    """The large model's answer to one question in 500 costs 500 times as much."""
    expensive = np.random.default_rng(3).random(len(pairs)) < often
    return pairs.change(-1, cost_usd=pairs.last.cost_usd * np.where(expensive, times, 1.0))


def partly_missing(pairs: OutcomeTable, share: float = 0.1) -> OutcomeTable:
    """Each input of the map is missing in a tenth of the rows, by chance."""
    dice = np.random.default_rng(4).random((4, len(pairs))) < share
    signals = {
        name: np.where(gone, np.nan, values)
        for gone, (name, values) in zip(dice, pairs.first.signals.items(), strict=False)
    }
    tokens = np.where(dice[2], np.nan, pairs.first.completion_tokens)
    kinds = np.where(dice[3], None, pairs.categories)
    return replace(pairs.change(0, signals=signals, completion_tokens=tokens), categories=kinds)


def new_inputs(pairs: OutcomeTable) -> OutcomeTable:
    """Half of the hard questions are of a new category; a tenth has none, a signal above 1, or a hundredfold length."""
    dice = np.random.default_rng(5).random((4, len(pairs)))
    kinds = np.where((pairs.categories == "hard") & (dice[0] < 0.5), "new", pairs.categories)
    kinds = np.where(dice[1] < 0.1, None, kinds)
    signals = dict(pairs.first.signals)
    signals["mean_token_probability"] = np.where(dice[2] < 0.1, 9.0, signals["mean_token_probability"])
    tokens = pairs.first.completion_tokens * np.where(dice[3] < 0.1, 100.0, 1.0)
    return replace(pairs.change(0, signals=signals, completion_tokens=tokens), categories=kinds)


def plan_of(folder: Path) -> list[Part]:
    """Population by population: name, map in words, rows, questions a set, options, rows that judge.

    "trees" is the default map.
    """
    other = others(folder)
    plan: list[tuple[Any, ...]] = [
        (f"simulated: {name}", "stated", simulated_pairs(20_000, **how), 500, FitOptions())
        for name, how in POPULATIONS.items()
        if "columns" not in how
    ]
    several = simulated_pairs(20_000, columns=True)
    plan += [("simulated: several signals", how.map, several, 500, how) for how in MAPS]
    plan += [
        ("simulated: asked three times", "stated", asked_often(simulated_pairs(7_000)), 1500, FitOptions()),
        ("simulated: rarely expensive", "stated", rarely_expensive(simulated_pairs(20_000)), 500, FitOptions()),
    ]
    for how in SUBJECT:
        gaps = partly_missing(several)
        plan += [("simulated: inputs missing", how.map, gaps, 500, how)]
        plan += [("simulated: new inputs", how.map, several, 500, how, new_inputs(several))]
    plan += [
        ("simulated: far apart", "stated", simulated_pairs(20_000, slm=0.4, llm=0.95), 50, FitOptions()),
        (
            "simulated: far apart, useless",
            "stated",
            simulated_pairs(20_000, slm=0.4, llm=0.95, sharp=0.0),
            50,
            FitOptions(),
        ),
        (GSM8K, "stated", other[GSM8K], 300, FitOptions()),
        (CSQA, "stated", other[CSQA], 300, FitOptions()),
        (ROUTELLM, "stated", other[ROUTELLM], 500, FitOptions(map="identity")),
    ]
    for name in reversed(TARGETS):
        pairs = mmlu_pro(folder, name)
        plan += [(name, how.map, pairs, 500, how) for how in MAPS]
    return [
        (name, WORDS.get(kind, kind), rows, n, how, *(judged or [rows])) for name, kind, rows, n, how, *judged in plan
    ]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--data", type=Path, default=os.environ.get("COREA_DATA"), required="COREA_DATA" not in os.environ
    )
    options.add_argument("--draws", type=int, default=1000)
    options.add_argument("--part", default="0/1", help="K/N: only every N-th part from the K-th; the file is added to")
    options.add_argument("--world", default="", help="only the parts whose population has this in its name")
    options.add_argument("--map", default="", help="only the parts with this map: stated, trees or linear")
    options.add_argument("--out", type=Path, default=RESULTS / "validity.json")
    chosen = options.parse_args()
    made, plan = commit(), plan_of(chosen.data)
    part, parts = map(int, chosen.part.split("/"))
    for name, map_, population, n, how, judged in plan[part::parts]:
        if chosen.map not in ("", map_) or chosen.world not in name:
            continue
        rows, began = [], time.process_time()
        goals = hard_targets(population)
        for kept in coverage(population, goals, n=n, draws=chosen.draws, options=how, judged=judged):
            rows.append(stored(kept.as_dict()))
            print(
                f"{name:36}{map_:8}{n:5} {kept.name:22} broken {kept.broken_share:.3f} certified {kept.certified:5} "
                f"saving {kept.saving:.3f} {'' if kept.holds else 'BROKEN TOO OFTEN'}",
                flush=True,
            )
        found = {"world": name, "map": map_, "n": n, "rows": len(population), "commit": made}
        found |= {"cpu_seconds": round(time.process_time() - began, 1), "goals": rows}
        keep(chosen.out, found, [(other, kind) for other, kind, *_ in plan])


def stored(result: dict) -> dict:
    """A result under the names of the stored file."""
    names = {"name": "goal", "guarantee": "promise"}
    return {names.get(name, name): value for name, value in result.items()}


def keep(path: Path, found: dict, order: list[tuple[str, str]]) -> None:
    """Adds a part to the file, in the order of the plan."""
    worlds = json.loads(path.read_text())["worlds"] if path.exists() else []
    worlds = [w for w in worlds if (w["world"], w["map"]) != (found["world"], found["map"])] + [found]
    worlds.sort(key=lambda w: order.index((w["world"], w["map"])))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"worlds": worlds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
