"""COREA and its neighbours on the same recorded rows: the table of docs/compare.md.

    python experiments/calibrate/neighbours.py --data FOLDER     (FOLDER holds traces/; or COREA_DATA)

`make neighbours` first sets up the neighbours' environments. Half of the questions calibrate, the other half judges, in
20 splits, at 2 points and the price ratios of `populations.py`. Of MMLU-Pro the 400 questions that chose the second
model are left out. Writes experiments/results/neighbours.json after each pair.
"""

import argparse
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import router
import second_opinion
from populations import CSQA, GSM8K, TARGETS, rows_of

from recipes.neighbours.installed import PINNED, available, megabytes
from recipes.neighbours.measure import measure
from recipes.neighbours.problem import MAX_DROP, Rows
from recipes.paper.measured_code import stamped
from recipes.paper.provenance import commit

RESULTS = Path(__file__).parents[1] / "results"
DRAFTS = {
    GSM8K: ("main adapter", "t2"), CSQA: ("Qwen2.5-7B RLCR-hotpot", "RLCR"),
    router.MATH: ("Qwen2.5-7B RLCR-hotpot", "RLCR"),
}  # fmt: skip


def worded(folder: Path) -> dict[str, Rows]:
    """The pairs with texts: the questions, and the small model's answers with their length."""
    tables, found = router.recorded(folder), dict[str, Rows]()
    for name, (model, variant) in DRAFTS.items():
        recorded = rows_of(folder / "traces" / f"{router.FILES[name]}.jsonl.gz")
        own = next(rows for (m, v), rows in recorded.items() if model in m and v == variant)
        table = tables[name]
        drafts = np.array([own[str(key)]["response"] or "" for key in table.ids], dtype=object)
        length = np.array([len(draft) / 4 for draft in drafts])
        found[name] = Rows(table=table.change(0, completion_tokens=length), drafts=drafts)
    return found


def plain(folder: Path, pair: str) -> Rows:
    """A pair of MMLU-Pro, with the signals that a live cascade measures."""
    _, tables = second_opinion.tables(folder, pair)
    opinions, table = tables["second opinion"], tables["all signals"]
    where = {key: i for i, key in enumerate(opinions.ids)}
    both = [i for i, key in enumerate(table.ids) if key in where]
    return Rows(table=table.take(both), opinions=opinions.take([where[table.ids[i]] for i in both]))


def overall(pairs: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Over all pairs that a way was measured on: halves that miss the target, and the mean of its median savings."""
    by_way: dict[str, list[dict[str, Any]]] = {}
    for pair in pairs:
        for each in pair["ways"]:
            by_way.setdefault(each["way"], []).append(each)
    return [
        {
            "way": way, "pairs": len(each), "saving": float(np.mean([one["saving_median"] for one in each])),
            "broken": sum(one["broken"] for one in each), "halves": sum(one["splits"] for one in each),
        }
        for way, each in by_way.items()
    ]  # fmt: skip


def figures(name: str, rows: Rows, given: argparse.Namespace, before: dict[str, Any] | None) -> dict[str, Any]:
    """One pair's figures; with --way that way's are put in the place of the stored ones."""
    ways = measure(
        rows, splits=before["ways"][0]["splits"] if before else given.splits, environments=given.environments,
        only=given.way, say=lambda said: print(said, flush=True),
    )  # fmt: skip
    if before:
        fresh = {each["way"]: each for each in ways}
        return {**before, "ways": [fresh.get(each["way"], each) for each in before["ways"]]}
    table = rows.table
    return {
        "pair": name, "n": len(table), "small": float(table.first.correct.mean()),
        "large": float(table.last.correct.mean()), "texts": bool(rows.texts),
        "price_ratio": float(table.last.cost_usd.mean() / table.first.cost_usd.mean()), "ways": ways,
    }  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--data", type=Path, default=os.environ.get("COREA_DATA"), required="COREA_DATA" not in os.environ
    )
    options.add_argument("--splits", type=int, default=20)
    options.add_argument("--environments", type=Path, default=Path(".venv/neighbours"))
    options.add_argument("--only", default="", help="only pairs whose name holds this; the stored others stay")
    options.add_argument("--way", default="", help="only this way, on the pairs stored; their other figures stay")
    options.add_argument("--out", type=Path, default=RESULTS / "neighbours.json")
    given = options.parse_args()
    found: dict[str, dict[str, Any]] = {}
    if (given.only or given.way) and given.out.exists():
        found = {each["pair"]: each for each in json.loads(given.out.read_text())["pairs"]}
    sizes = {name: round(megabytes(given.environments / name)) for name in available(given.environments)}
    with_text, made = worded(given.data), commit()
    for name in [*with_text, *TARGETS]:
        if given.only not in name:
            continue
        rows = with_text[name] if name in with_text else plain(given.data, name)
        print(f"{name}, {len(rows):,} questions", flush=True)
        found[name] = figures(name, rows, given, found.get(name) if given.way else None)
        stored = {
            "commit": made, "target": MAX_DROP, "packages": {name: PINNED[name] for name in sizes},
            "megabytes": sizes, "overall": overall(found.values()), "pairs": list(found.values()),
        }  # fmt: skip
        given.out.write_text(json.dumps(stamped(stored, __file__), indent=1) + "\n")


if __name__ == "__main__":
    main()
