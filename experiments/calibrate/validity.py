"""Are the promises kept? Calibrates on a thousand sets a world and judges each on the whole population.

    python experiments/calibrate/validity.py --data FOLDER     (FOLDER holds traces/; or COREA_DATA)

A second start goes on. Writes experiments/results/calibrate/validity.json, which docs/guarantee.md quotes.
"""

import argparse
import dataclasses
import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from populations import CSQA, GSM8K, ROUTELLM, TARGETS, mmlu_pro, others
from second_opinion import tables

from corea.calibrate import Targets, fit
from corea.calibrate.coverage import CoverageResult, coverage, hard_targets
from corea.calibrate.prepare import FitOptions, FittedMaps
from corea.records.table import OutcomeTable
from recipes.guarantee.simulated import POPULATIONS, simulated_pairs
from recipes.paper.provenance import commit

RESULTS = Path(__file__).parents[1] / "results" / "calibrate"
PIECE = 250  # sets of each world, in turn
ROWS = 8000  # of a simulated population
STATED, LINEAR, TREES = FitOptions(map="identity"), FitOptions(map="linear"), FitOptions()
ONE_MAP = ("max-drop", "max-cost", "value")  # these share a map
SUBJECT = FitOptions(map="linear", use_category=True)
WORDS = {"auto": "trees", "identity": "stated"}


@dataclass(frozen=True, kw_only=True)
class World:
    """A population, and how its calibration sets of n rows are calibrated.

    Args:
        judged: The rows whose mean is the truth; the population by default.
        older: Rows that fit the maps of all sets, or maps, as in `certify`.
        goals: Of `hard_targets`; all by default.
    """

    name: str
    rows: OutcomeTable
    n: int
    options: FitOptions = STATED
    judged: OutcomeTable | None = None
    older: OutcomeTable | FittedMaps | None = None
    goals: tuple[str, ...] = ()

    @property
    def map(self) -> str:
        """The map in words."""
        kind = WORDS.get(self.options.map, self.options.map)
        return kind if self.older is None else f"older {'rows' if isinstance(self.older, OutcomeTable) else 'artefact'}"


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


def second_opinion(pairs: OutcomeTable) -> OutcomeTable:
    """Another small model's answer is compared: it knows most of what the first one knows, at twice its price."""
    dice = np.random.default_rng(6).random((2, len(pairs)))
    small, large = pairs.first.correct > 0.5, pairs.last.correct > 0.5
    right = dice[0] < np.where(small, 0.85, np.where(large, 0.5, 0.2))
    agrees = (small & right) | (~small & ~right & (dice[1] < 0.4))
    signals = {**pairs.first.signals, "second_opinion": agrees.astype(float)}
    cost = 2 * pairs.first.cost_usd
    return pairs.change(0, signals=signals, opinion_cost_usd=cost, opinion_model="second")


def artefact_of(older: OutcomeTable) -> FittedMaps:
    """The maps of the calibration of these rows."""
    found = fit(older, Targets(max_drop=0.02), TREES)
    return FittedMaps(maps=tuple(stage.map for stage in found.stages), categories=found.categories, router=None)


def halves(pairs: OutcomeTable) -> tuple[OutcomeTable, OutcomeTable]:
    order = np.random.default_rng(8).permutation(len(pairs))
    return pairs.take(order[: len(order) // 2]), pairs.take(order[len(order) // 2 :])


def plan_of(folder: Path) -> list[World]:
    other, simulated = others(folder), "simulated: {}".format
    plain = [
        World(name=simulated(name), rows=simulated_pairs(ROWS, **how), n=500)
        for name, how in POPULATIONS.items()
        if "columns" not in how
    ]
    several = simulated_pairs(ROWS, columns=True)
    # other questions, other shares of right answers, and weaker signals
    older = simulated_pairs(800, columns=True, seed=1, start=10**6, slm=0.45, llm=0.8, sharp=0.75)
    asked = second_opinion(several)
    nano, older_nano = halves(tables(folder, TARGETS[0])[1]["second opinion"])
    plan = [
        World(name=simulated("asked three times"), rows=asked_often(simulated_pairs(3000)), n=1500, goals=ONE_MAP),
        World(name=simulated("rarely expensive"), rows=rarely_expensive(simulated_pairs(ROWS)), n=500, goals=ONE_MAP),
        World(name=simulated("inputs missing"), rows=partly_missing(several), n=500, options=SUBJECT, goals=ONE_MAP),
        World(
            name=simulated("new inputs"), rows=several, n=500, options=SUBJECT, judged=new_inputs(several),
            goals=ONE_MAP,
        ),
        World(name=simulated("second opinion"), rows=asked, n=500, options=LINEAR, goals=ONE_MAP),
        World(name=simulated("older rows"), rows=several, n=500, options=LINEAR, older=older, goals=ONE_MAP),
        World(name=simulated("older artefact"), rows=several, n=500, older=artefact_of(older), goals=ONE_MAP),
        World(name=f"{TARGETS[0]}, second opinion", rows=nano, n=500, older=artefact_of(older_nano), goals=ONE_MAP),
        *plain,
        World(name=simulated("far apart"), rows=simulated_pairs(ROWS, slm=0.4, llm=0.95), n=50),
        World(name=simulated("far apart, useless"), rows=simulated_pairs(ROWS, slm=0.4, llm=0.95, sharp=0.0), n=50),
        World(name=GSM8K, rows=other[GSM8K], n=300),
        World(name=CSQA, rows=other[CSQA], n=300),
        World(name=ROUTELLM, rows=other[ROUTELLM], n=500),
        World(name=simulated("several signals"), rows=several, n=500, options=TREES),
    ]  # fmt: skip
    return plan + [World(name=name, rows=mmlu_pro(folder, name), n=500, options=TREES) for name in reversed(TARGETS)]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--data", type=Path, default=os.environ.get("COREA_DATA"), required="COREA_DATA" not in os.environ
    )
    options.add_argument("--draws", type=int, default=1000)
    options.add_argument("--part", default="0/1", help="K/N: only every N-th part from the K-th; the file is added to")
    options.add_argument("--world", default="", help="only the parts whose population has this in its name")
    options.add_argument("--out", type=Path, default=RESULTS / "validity.json")
    chosen = options.parse_args()
    made, plan = commit(), plan_of(chosen.data)
    part, parts = map(int, chosen.part.split("/"))
    mine = [world for world in plan[part::parts] if chosen.world in world.name]
    for done in range(0, chosen.draws, PIECE):
        for world in mine:
            draws = min(PIECE, chosen.draws - done)
            before = found_in(chosen.out, world, made)
            if draws <= 0 or any(each["draws"] > done for each in before):
                continue
            began = time.process_time()
            goals = {
                name: each for name, each in hard_targets(world.rows).items() if not world.goals or name in world.goals
            }
            rows = [
                stored(each.as_dict())
                for each in coverage(
                    world.rows, goals, n=world.n, draws=draws, options=world.options, seed=done // PIECE,
                    judged=world.judged, older=world.older,
                )
            ]  # fmt: skip
            rows = [together(*pair) for pair in zip(before, rows, strict=True)] if before else rows
            found = {"world": world.name, "map": world.map, "n": world.n, "rows": len(world.rows), "commit": made}
            found |= {"cpu_seconds_of_last_piece": round(time.process_time() - began, 1), "goals": rows}
            keep(chosen.out, found, [(each.name, each.map) for each in plan])
            for row in rows:
                print(
                    f"{world.name:36}{world.map:15}{world.n:5} {row['goal']:22} broken {row['broken_share']:.3f} "
                    f"certified {row['certified']:5} of {row['draws']:5} saving {row['saving']:.3f} "
                    f"{'' if row['holds'] else 'BROKEN TOO OFTEN'}",
                    flush=True,
                )


def together(old: dict, new: dict) -> dict:
    """The results of two pieces."""
    sums = {name: old[name] + new[name] for name in ("draws", "certified", "broken")}
    saving = (old["draws"] * old["saving"] + new["draws"] * new["saving"]) / sums["draws"]
    names = {"goal": "name", "promise": "guarantee"}
    fields = {names.get(name, name): value for name, value in (old | sums | {"saving": saving}).items()}
    given = {each.name: fields[each.name] for each in dataclasses.fields(CoverageResult)}
    return stored(CoverageResult(**given).as_dict())


def found_in(path: Path, world: World, made: str) -> list[dict]:
    """What this commit has found for a world so far."""
    worlds = json.loads(path.read_text())["worlds"] if path.exists() else []
    key = world.name, world.map, made
    return next((each["goals"] for each in worlds if (each["world"], each["map"], each["commit"]) == key), [])


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
