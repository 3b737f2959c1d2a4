"""Writes docs/_generated/*.md: tables of stored results, and lists made from the code: `python docs/tables.py`.

A table is a template in docs/_tables/ or a function below; reference.py makes the lists.

In a template `{file.json#path format}` is a stored value
(see stored_values.py); a first line `<!-- values: file.json#path. -->` is put before each of them.
"""

import inspect
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import reference
from stored_values import RESULTS, look_up

DOCS = Path(__file__).parent
VALUE = re.compile(r"\{([^{}\n]+ (?:percent|usd|f)\d|[^{}\n]+ [ns])\}")
PREFIX = re.compile(r"<!-- values: (\S+) -->\n")
SIZES = (200, 500, 1000, 3000)


def filled(template: str) -> str:
    prefix = PREFIX.match(template)
    start = prefix[1] if prefix else ""
    return VALUE.sub(lambda value: look_up(start + value[1]), template[prefix.end() if prefix else 0 :])


def percent(value: float, digits: int) -> str:
    return f"{100 * value:.{digits}f} %"


def table(head: list[str], rows: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, ["---"] * len(head), *rows))


def validity(found: dict[str, Any]) -> str:
    goals = [each["goal"] for each in max((world["goals"] for world in found["worlds"]), key=len)]
    rows: list[list[str]] = []
    for world in found["worlds"]:
        by_goal = {each["goal"]: each for each in world["goals"]}
        cells = [
            f"{percent(by_goal[goal]['broken_share'], 1)} of {percent(by_goal[goal]['certified_share'], 0)}"
            if goal in by_goal
            else "not run"
            for goal in goals
        ]
        sets = f"{world['goals'][0]['draws']:,}"
        rows.append([world["world"], world["map"], str(world["n"]), sets, *cells])
    return table(["population", "map", "n", "sets", *goals], rows)


def intervals(found: dict[str, Any]) -> str:
    rows: list[list[str]] = []
    for each in found["rows"]:
        sizes = [f"{percent(size['covered'], 1)} ({size['width']:.2g})" for size in each["sizes"].values()]
        rows.append([each["interval"], each["population"], f"{each['truth']:.3g}", *sizes])
    return table(["interval", "population", "truth", *(f"n = {int(n):,}" for n in found["rows"][0]["sizes"])], rows)


def power(found: dict[str, Any], drop: float = 0.02) -> str:
    points = {(each["world"], each["method"], each["n"]): each for each in found["rows"] if each["max_drop"] == drop}
    rows: list[list[str]] = []
    for world in dict.fromkeys(each["world"] for each in found["rows"]):
        for method in dict.fromkeys(each["method"] for each in found["rows"]):
            at = [points.get((world, method, n)) for n in SIZES]
            cells = [f"{percent(e['share'], 0)}, {percent(e['broken'], 0)}" if e else "not run" for e in at]
            rows.append([world, method, *cells])
    return table(["population", "threshold by", *(f"n = {n:,}" for n in SIZES)], rows)


def targets(found: dict[str, Any]) -> str:
    ways = ("halves_blend", "fifths_blend", "halves_stated", "halves_category", "halves_recorded")
    rows: list[list[str]] = []
    for pair in found["pairs"]:
        cells = [pair["pair"]]
        for way in ways:
            median, low, high = (percent(pair[way][f"saving_{name}"], 1) for name in ("median", "low", "high"))
            cells.append(f"{median} ({low} to {high})" if pair[way]["certified"] else "infeasible")
        rows.append([*cells, percent(pair["halves_blend"]["drop_mean"], 2), percent(pair["oracle_saving"], 0)])
    head = [
        "pair",
        "saving, halves",
        "saving, fifths",
        "stated number alone, halves",
        "with the subject, halves",
        "with recorded signals and the subject, halves",
        "mean drop, halves",
        "oracle",
    ]
    return table(head, rows)


def gold_labels(found: dict[str, Any]) -> str:
    rows = [
        [each["labels"], f"{100 * each['max_drop']:g} points",
         *(percent(each[name], 1) for name in ("refused", "certified", "broken", "saving"))]
        for each in found["ways"]
    ]  # fmt: skip
    return table(["labels", "target", "refused", "certified", "broken", "mean saving"], rows)


def end_to_end(found: dict[str, Any]) -> str:
    words = {
        "max_drop": ("points lost", 100), "max_risk": ("kept answers wrong, %", 100),
        "max_cost_usd": ("USD / 1,000 questions", 1000),
        "value_usd": ("total above the large model's, USD / 1,000", 1000),
    }  # fmt: skip
    rows: list[list[str]] = []
    for case in found["cases"]:
        for goal in case["goals"]:
            name, scale = words[goal["goal"]]
            here, error, true = (scale * goal[key] for key in ("here", "standard_error", "true"))
            rows.append([
                case["case"], name, f"{scale * goal['promised']:.3g}", f"{true:.3g}", f"{here:.3g} ± {error:.2g}",
                percent(case["kept"], 1), f"{sum(case['decided_otherwise'].values()):,}",
            ])  # fmt: skip
    head = ["case", "goal", "promised at most", "true", f"on {found['count']:,} questions (± standard error)", "kept"]
    return table([*head, "decided otherwise by any way"], rows)


def router(found: dict[str, Any]) -> str:
    ways = ("threshold", "router", "both")
    rows = [
        [
            each["pair"], str(each["ratio"]), f"{each['n']:,}",
            *(percent(each[f"{way}_certified"]["saving"], 1) for way in ways),
            percent(each["both_certified"]["instant"], 0),
            *(percent(each[f"{way}_chosen"]["saving"], 1) for way in ways),
        ]
        for each in found["pairs"]
    ]  # fmt: skip
    head = ["pair", "price ratio", "n", *(f"{way}, certified" for way in ways), "deferred without a draft (both)"]
    return table([*head, *(f"{way}, not certified" for way in ways)], rows)


def second_opinion(found: dict[str, Any]) -> str:
    names = ("corea", "mapie", "exact", "automix")
    rows = [
        [
            each["pair"], way + (f" ({each['second']})" if way.startswith("second") else ""),
            *(percent(figures[name]["saving"], 1) for name in names),
            *(f"{100 * figures[name]['drop']:.2f}" for name in names), percent(figures["corea"]["opinions"], 0),
        ]
        for each in found["pairs"]
        for way, figures in each["ways"].items()
    ]  # fmt: skip
    titles = ("COREA", "MAPIE's test", "exact test of losses", "AutoMix (not certified)")
    head = ["pair", "signals", *titles, *(f"points lost, {title}" for title in titles)]
    return table([*head, "second model asked"], rows)


def neighbours(found: dict[str, Any]) -> str:
    head = ["way", "kind", "saving, median (range)", "95 % of one half", "points lost, mean (most)", "target missed in"]
    whole = [
        [each["way"], str(each["pairs"]), percent(each["saving"], 1), f"{each['broken']} of {each['halves']}"]
        for each in found["overall"]
    ]  # fmt: skip
    parts = [table(["way", "pairs", "saving, mean of the medians", "target missed in"], whole)]
    for pair in found["pairs"]:
        rows: list[list[str]] = []
        for each in pair["ways"]:
            median, low, high = (percent(each[f"saving_{name}"], 1) for name in ("median", "low", "high"))
            rows.append([
                each["way"], each["kind"], f"{median} ({low} to {high})",
                " to ".join(percent(end, 1) for end in each["interval"]),
                f"{100 * each['drop_mean']:.2f} ({100 * each['drop_high']:.1f})",
                f"{each['broken']} of {each['splits']}", "" if each["ms"] is None else f"{each['ms']:.2g}",
            ])  # fmt: skip
        parts.append(
            f"**{pair['pair']}**: {pair['n']:,} questions, small model {percent(pair['small'], 1)} right, large one "
            f"{percent(pair['large'], 1)}, price ratio {pair['price_ratio']:.1f}.\n\n"
            + table([*head, "ms a decision"], rows)
        )
    return "\n".join(parts)


def audit(found: dict[str, Any]) -> str:
    rows: list[list[str]] = []
    for name, each in found["scenarios"].items():
        alone, live = each["detectors"], each["gateway"]
        after = live["alarm_after_the_change"]
        seen = f"after {after:,}, by `{live['alarm']}`" if live["alarm"] else f"none in {live['questions']:,}"
        times = "-" if name == "steady" else f"{alone['median']:.0f} ({alone['nine_of_ten']:.0f})"
        false = f"{percent(alone['share'], 1)} of {alone['streams']:,}, stated {percent(alone['stated_at_most'], 0)}"
        shares = [
            f"{percent(each['shares']['before'][part], 0)} to {percent(each['shares']['after'][part], 0)}"
            for part in ("deferred", "kept")
        ]
        rows.append([name, *shares, times, false if name == "steady" else "", seen])
    head = ["traffic", "deferred that differ", "kept that differ", "questions until the alarm, median (9 of 10)"]
    return table([*head, "false alarms in 3,000 questions", "through the gateway"], rows)


def joint_validity(found: dict[str, Any]) -> str:
    rows = [
        [each["confidence"], each["way"], str(each["n"]), str(each["sets"]),
         *(percent(each[name], 1) for name in ("certified", "broken", "saving"))]
        for each in found["rows"]
    ]  # fmt: skip
    return table(["confidence", "way", "n", "sets", "certified", "broken", "mean saving"], rows)


def groups(found: dict[str, Any]) -> str:
    rows = [
        [
            each["population"], str(each["slices"]), f"{each['n']:,}", f"{100 * each['max_drop']:g} points",
            str(each["draws"]), f"{each['promised']:.1f}", percent(each["broken_share"], 1),
        ]
        for each in found["populations"]
    ]  # fmt: skip
    head = ["population", "slices", "n", "promise to each", "sets", "slices promised, mean"]
    return table([*head, "sets with any promise broken"], rows)


def ppi(found: dict[str, Any]) -> str:
    rows: list[list[str]] = []
    for each in found["trials"]:
        ways = [each[way] for way in ("ppi", "ppi_random", "gold_alone")]
        cells = [f"{percent(way['mean_saving'], 1)} (broken {percent(way['broken'], 1)})" for way in ways]
        rows.append([each["population"], str(each["gold"]), str(each["draws"]), *cells])
    head = ["population", "gold labels", "sets", "where answers differ", "drawn from all rows", "labels alone"]
    return table(head, rows)


def judge(found: dict[str, Any]) -> str:
    rows = [
        [
            each["population"], each["judge"], percent(each["agrees"], 0), f"{100 * each['leans']:+.0f} points",
            f"{each['gold']:,} of {each['rows']:,}", f"{each['draws']:,}", percent(each["broken"], 1),
            percent(each["certified"], 0), percent(each["saving"], 1), percent(each["oracle"], 1),
        ]
        for each in found["trials"]
    ]  # fmt: skip
    head = ["population", "judge", "says the same", "leans to the large model", "labels", "sets", "broken", "certified"]
    return table([*head, "saving, mean", "oracle"], rows)


def tiers(found: dict[str, Any]) -> str:
    rows: list[list[str]] = []
    for trio in found["trios"].values():
        judged, tried = trio["judged"], trio["validity"]
        alone = [percent(e["saving"], 1) if e["verdict"] == "certified" else "infeasible" for e in trio["pairs"]]
        rows.append([
            " -> ".join(trio["models"]), " / ".join(f"{price:g}" for price in trio["models"].values()),
            percent(judged["saving"], 1), percent(judged["drop"], 1), *alone,
            f"{percent(tried['broken'], 1)} of {tried['draws']}",
        ])  # fmt: skip
    head = [
        "cascade", "price per completion token", "saves", "drop", "small alone with the last",
        "middle alone with the last", "sets with a broken promise",
    ]  # fmt: skip
    return table(head, rows)


def schema() -> str:
    """The records of the calibration artefact, each with its fields."""
    from corea.calibrate import Calibration

    return "\n".join(record(kind) for kind in dict.fromkeys(records(Calibration)))


def records(kind: Any) -> Iterator[Any]:
    """A record and those in its fields, each before the ones in it."""
    if is_dataclass(kind) or (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        yield kind
        for hint in get_type_hints(kind).values():
            yield from records(hint)
    else:
        for part in get_args(kind):
            yield from records(part)


def record(kind: Any) -> str:
    summary, said = (inspect.getdoc(kind) or "").partition("\n")[0], reference.field_texts(kind)
    tag = getattr(getattr(kind, "__struct_config__", None), "tag", None)
    entries = [reference.entry("`kind` (string)", f'"{tag}"')] if tag else []
    for name, hint in get_type_hints(kind).items():
        entries.append(reference.entry(f"`{name}` ({type_words(hint)})", said.get(name, "")))
    return f"## {kind.__name__}\n\n{summary}\n\n{''.join(entries)}"


def type_words(hint: Any) -> str:
    """A type in words of JSON."""
    text = hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
    text = re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", text).replace("typing.", "").replace("NoneType", "null")
    text = re.sub(r"\bstr\b", "string", re.sub(r"\bint\b|\bfloat\b", "number", text)).replace("None", "null")
    text = re.sub(r"Literal\[(.*)\]", lambda found: " or ".join(re.findall(r"'(\w+)'", found[1])), text)
    return text.replace("tuple[", "list[").replace(", ...]", "]").replace("|", "or")


CALIBRATION: dict[str, Callable[[dict[str, Any]], str]] = {
    "end_to_end": end_to_end,
    "validity": validity, "groups": groups, "power": power, "targets": targets, "tiers": tiers, "ppi": ppi,
    "gold_labels": gold_labels, "router": router, "joint_validity": joint_validity, "second_opinion": second_opinion,
    "audit": audit, "judge": judge,
}  # fmt: skip


def tables() -> dict[str, str]:
    """Every table by the name of its file."""
    made = {template.name: filled(template.read_text()) for template in sorted((DOCS / "_tables").glob("*.md"))}
    for name, make in CALIBRATION.items():
        made[f"calibration-{name}.md"] = make(json.loads((RESULTS / "calibrate" / f"{name}.json").read_text()))
    made["neighbours.md"] = neighbours(json.loads((RESULTS / "neighbours.json").read_text()))
    made["intervals.md"] = intervals(json.loads((RESULTS / "intervals.json").read_text()))
    made["calibration-schema.md"] = schema()
    return {**made, **reference.pages()}


def write() -> None:
    folder = DOCS / "_generated"
    folder.mkdir(exist_ok=True)
    for name, text in tables().items():
        (folder / name).write_text(text)


def stale() -> list[str]:
    """Files of docs/_generated/ that are not what this command would write."""
    written = {file.name: file.read_text() for file in (DOCS / "_generated").glob("*.md")}
    return [
        f"docs/_generated/{name}: not what the results and the code say; run `python docs/tables.py`"
        for name, text in tables().items()
        if written.get(name) != text
    ]


if __name__ == "__main__":
    write()
