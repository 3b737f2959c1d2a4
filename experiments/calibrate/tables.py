"""Writes the tables of docs/guarantee.md and docs/calibrate.md from the stored results, with the markers that
docs/check.py checks.

    python experiments/calibrate/tables.py

Run it after validity.py, groups.py, power.py, targets.py, tiers.py or ppi.py.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS, DOCS = ROOT / "experiments" / "results" / "calibrate", ROOT / "docs"
SIZES = (200, 500, 1000, 3000)


def percent(value: float, place: str, digits: int) -> str:
    return f"{100 * value:.{digits}f} %<!--= calibrate/{place} percent{digits} -->"


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join([row(head), row(["---"] * len(head)), *map(row, rows)])


def validity(found: dict[str, Any]) -> str:
    goals = list(dict.fromkeys(each["goal"] for world in found["worlds"] for each in world["goals"]))
    rows: list[list[str]] = []
    for i, world in enumerate(found["worlds"]):
        cells = [world["world"], world["map"], str(world["n"])]
        places = {each["goal"]: j for j, each in enumerate(world["goals"])}
        for goal in goals:
            if goal not in places:
                cells.append("not run")
                continue
            each, place = world["goals"][places[goal]], f"validity.json#worlds.{i}.goals.{places[goal]}"
            share = percent(each["certified_share"], f"{place}.certified_share", 0)
            cells.append(f"{percent(each['broken_share'], f'{place}.broken_share', 1)} of {share}")
        rows.append(cells)
    return table(["population", "map", "n", *goals], rows)


def power(found: dict[str, Any], drop: float = 0.02) -> str:
    rows: list[list[str]] = []
    for world in dict.fromkeys(each["world"] for each in found["rows"]):
        for method in dict.fromkeys(each["method"] for each in found["rows"]):
            cells = [world, method]
            for n in SIZES:
                key = (world, method, n, drop)
                points = enumerate(found["rows"])
                i = next((i for i, e in points if (e["world"], e["method"], e["n"], e["max_drop"]) == key), None)
                if i is None:
                    cells.append("not run")
                    continue
                share = percent(found["rows"][i]["share"], f"power.json#rows.{i}.share", 0)
                cells.append(f"{share}, {percent(found['rows'][i]['broken'], f'power.json#rows.{i}.broken', 0)}")
            rows.append(cells)
    return table(["population", "threshold by", *(f"n = {n:,}" for n in SIZES)], rows)


def targets(found: dict[str, Any], file: str = "targets.json") -> str:
    rows: list[list[str]] = []
    for i, pair in enumerate(found["pairs"]):
        cells = [pair["pair"]]
        for way in ("halves_blend", "fifths_blend", "halves_stated"):
            place = f"{file}#pairs.{i}.{way}"
            median, low, high = (
                percent(pair[way][f"saving_{name}"], f"{place}.saving_{name}", 1) for name in ("median", "low", "high")
            )
            cells.append(f"{median} ({low} to {high})")
        cells.append(percent(pair["halves_blend"]["drop_mean"], f"{file}#pairs.{i}.halves_blend.drop_mean", 2))
        cells.append(percent(pair["oracle_saving"], f"{file}#pairs.{i}.oracle_saving", 0))
        rows.append(cells)
    head = [
        "pair",
        "saving, halves",
        "saving, fifths",
        "stated confidence alone, halves",
        "mean drop, halves",
        "oracle",
    ]
    return table(head, rows)


def groups(found: dict[str, Any]) -> str:
    rows: list[list[str]] = []
    for i, each in enumerate(found["populations"]):
        place = f"groups.json#populations.{i}"
        rows.append([
            each["population"], str(each["slices"]), f"{each['n']:,}", f"{100 * each['max_drop']:g} points",
            str(each["draws"]),
            f"{each['promised']:.1f}<!--= calibrate/{place}.promised f1 -->",
            percent(each["broken_share"], f"{place}.broken_share", 1),
        ])  # fmt: skip
    head = [
        "population",
        "slices",
        "n",
        "promise to each",
        "sets",
        "slices promised, mean",
        "sets with any promise broken",
    ]
    return table(head, rows)


def ppi(found: dict[str, Any]) -> str:
    rows: list[list[str]] = []
    for i, each in enumerate(found["trials"]):
        cells = [each["population"], str(each["gold"]), str(each["draws"])]
        for way in ("ppi", "ppi_random", "gold_alone"):
            place = f"ppi.json#trials.{i}.{way}"
            saving = percent(each[way]["mean_saving"], f"{place}.mean_saving", 1)
            cells.append(f"{saving} (broken {percent(each[way]['broken'], f'{place}.broken', 1)})")
        rows.append(cells)
    return table(
        ["population", "gold labels", "sets", "where answers differ", "drawn from all rows", "labels alone"], rows
    )


def tiers(found: dict[str, Any]) -> str:
    rows: list[list[str]] = []
    for i, trio in found["trios"].items():
        place, judged, tried = f"tiers.json#trios.{i}", trio["judged"], trio["validity"]
        alone = (
            percent(two["saving"], f"{place}.pairs.{j}.saving", 1) if two["verdict"] == "certified" else "infeasible"
            for j, two in enumerate(trio["pairs"])
        )
        rows.append([
            " -> ".join(trio["models"]), " / ".join(f"{price:g}" for price in trio["models"].values()),
            percent(judged["saving"], f"{place}.judged.saving", 1),
            percent(judged["drop"], f"{place}.judged.drop", 1), *alone,
            f"{percent(tried['broken'], f'{place}.validity.broken', 1)} of {tried['draws']}",
        ])  # fmt: skip
    head = [
        "cascade", "price per completion token", "saves", "drop", "small alone with the last",
        "middle alone with the last", "sets with a broken promise",
    ]  # fmt: skip
    return table(head, rows)


TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "validity": ("guarantee.md", validity), "groups": ("guarantee.md", groups), "power": ("guarantee.md", power),
    "targets": ("guarantee.md", targets), "tiers": ("calibrate.md", tiers), "ppi": ("calibrate.md", ppi),
}  # fmt: skip


def main() -> None:
    for name, (page, make) in TABLES.items():
        result, text = RESULTS / f"{name}.json", (DOCS / page).read_text()
        made = make(json.loads(result.read_text())) if result.exists() else "Not run yet."
        block = re.compile(rf"(<!-- table: {name} -->\n).*?(\n<!-- end of table -->)", re.S)
        text, count = block.subn(lambda found, made=made: found.group(1) + made + found.group(2), text)
        assert count == 1, name
        (DOCS / page).write_text(text)


if __name__ == "__main__":
    main()
