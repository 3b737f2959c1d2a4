"""How often the guarantee of a router with a threshold, and of maps of older rows, is broken: simulated sets.

    python experiments/calibrate/joint_validity.py [--sets 1000]

In each world, questions of some topics are hard for the small model. A set draws the rows that calibrate; the cascade
that it certifies is judged on 8,000 other questions by the known chance that each answer is right. The older rows are
of another mixture (more hard questions) with a weaker signal; they fit the maps and the router, again for each set, or
once, as the artefact of their own calibration. Writes experiments/results/calibrate/joint_validity.json
after each way.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import norm

from corea.calibrate import FitOptions, OutcomeTable, Targets, fit
from corea.calibrate.certify import certify
from corea.calibrate.prepare import FittedMaps
from corea.calibrate.rules import ScoredTable
from recipes.paper.provenance import commit

RESULTS = Path(__file__).parents[1] / "results" / "calibrate"
TARGET = Targets(max_drop=0.03)
HARD, EASY = ("integral", "tensor", "proof"), ("sum", "double", "half")
KNOWN = 0.93  # by the large model, whatever the question
WORLDS = {"informative": 0.3, "useless": 0.0, "weak": 0.12}
WAYS = ("router, older artefact", "router", "router, older rows fit")


def draw(n: int, rng: np.random.Generator, signal: float, start: int, hard: float = 0.4) -> OutcomeTable:
    is_hard = rng.random(n) < hard
    small = (rng.random(n) < np.where(is_hard, 0.2, 0.9)).astype(float)
    large = (rng.random(n) < KNOWN).astype(float)
    stated = np.round(np.clip(0.5 + signal * (small - 0.5) + 0.2 * rng.normal(size=n), 0, 1), 2)
    topics = np.where(is_hard, rng.choice(HARD, n), rng.choice(EASY, n))
    return OutcomeTable.from_arrays(
        correct=np.column_stack([small, large]), cost_usd=[1e-4, 4e-4], confidence=stated,
        ids=[f"q{start + i}" for i in range(n)],
        texts=[f"Find the {topic} of item {i % 50}." for i, topic in enumerate(topics)],
    )  # fmt: skip


def expected(table: OutcomeTable, signal: float) -> OutcomeTable:
    """The table with the chance of a right answer, given topic and confidence, in the place of each outcome."""
    is_hard = np.array([any(topic in str(text) for topic in HARD) for text in table.texts])
    prior, stated = np.where(is_hard, 0.2, 0.9), table.first.confidence
    low, high = np.where(stated <= 0, -np.inf, stated - 0.005), np.where(stated >= 1, np.inf, stated + 0.005)
    right, wrong = (norm.cdf(high, m, 0.2) - norm.cdf(low, m, 0.2) for m in (0.5 + signal / 2, 0.5 - signal / 2))
    chance = prior * right / (prior * right + (1 - prior) * wrong)
    return table.change(0, correct=chance).change(-1, correct=np.full(len(table), KNOWN))


def older_rows(n: int, rng: np.random.Generator, signal: float) -> OutcomeTable:
    rows = draw(n, rng, signal / 2, 10**7, hard=0.7)
    return replace(rows, texts=np.array([str(text).replace("of item", "in question") for text in rows.texts]))


def artefact_of(signal: float, n: int) -> FittedMaps:
    """Maps and router of the calibration of older rows."""
    options = FitOptions(map="identity", router=True)
    found = fit(older_rows(n, np.random.default_rng(11), signal), TARGET, options)
    stages = found.stages
    return FittedMaps(maps=tuple(stage.map for stage in stages), categories=found.categories, router=stages[0].router)


def trial(
    way: str, signal: float, n: int, seed: int, others: ScoredTable, artefact: FittedMaps
) -> tuple[bool, float, float]:
    """Certified, points truly lost, and saving on the other questions; these have the scores of the artefact."""
    rng = np.random.default_rng([seed, n])
    table = draw(n, rng, signal, 10**6)
    if way == "router, older artefact":
        found = certify(table, TARGET, FitOptions(map="identity", seed=seed), fitted=artefact)
    else:
        older = older_rows(n // 2, rng, signal) if way == "router, older rows fit" else None
        found = certify(table, TARGET, FitOptions(map="identity", router=True, seed=seed), older=older)
        others = others.with_maps(found.prepared.maps, found.prepared.categories, found.prepared.router)
    if found.rules is None:
        return False, 0.0, 0.0
    answers, last = others.outcome(found.rules), others.table.last
    return (
        True,
        float((last.correct - answers.correct).mean()),
        float(1 - answers.cost_usd.mean() / last.cost_usd.mean()),
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--sets", type=int, default=1000)
    options.add_argument("--n", type=int, default=500)
    options.add_argument("--confidence", default="", help="only this one")
    options.add_argument("--way", default="", help="only this one")
    options.add_argument("--out", type=Path, default=RESULTS / "joint_validity.json")
    given = options.parse_args()
    made = commit()
    for name, signal in WORLDS.items():
        if given.confidence not in name:
            continue
        artefact = artefact_of(signal, given.n)
        others = ScoredTable.mapped(
            expected(draw(8000, np.random.default_rng(7), signal, 0), signal), artefact.maps, artefact.categories,
            artefact.router,
        )  # fmt: skip
        for way in [each for each in WAYS if given.way in ("", each)]:
            each = [trial(way, signal, given.n, seed, others, artefact) for seed in range(given.sets)]
            certified, drop, saving = map(np.array, zip(*each, strict=True))
            row = {
                "confidence": name, "way": way, "n": given.n, "sets": given.sets, "certified": float(certified.mean()),
                "broken": float((drop > TARGET.max_drop).mean()), "saving": float(saving.mean()), "commit": made,
            }  # fmt: skip
            print(row, flush=True)
            store(given.out, row)


def store(path: Path, row: dict) -> None:
    """Puts one result beside those that are there."""
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    rows = [each for each in rows if (each["confidence"], each["way"]) != (row["confidence"], row["way"])] + [row]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"max_drop": TARGET.max_drop, "delta": TARGET.delta, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
