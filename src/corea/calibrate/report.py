"""A calibration for people: lines for a terminal; `corea.calibrate.page` has the same as one HTML file."""

from typing import Any

from corea.calibrate.artefact import Calibration

NAMES = {
    "pass_at_1": "cascade, right", "llm_pass_at_1": "large model, right", "slm_pass_at_1": "small model, right",
    "drop": "drop below the large model", "saving": "saving", "total_saving": "saving of the total",
    "llm_share": "sent to the large model",
    "abstained_share": "left to a person", "agreement": "same answer from both",
}  # fmt: skip
COSTS = {  # the total is with errors, and questions left to people, at their price
    "mean_cost_usd": "cascade", "llm_mean_cost_usd": "large model alone", "slm_mean_cost_usd": "small model alone",
    "total_usd": "cascade, total", "llm_total_usd": "large model, total",
}  # fmt: skip


def terminal_lines(found: Calibration) -> list[str]:
    """The report in lines of plain text."""
    guarantee = found.guarantee
    lines = [found.sentence, "", f"{'promise' if found.certified else 'asked for':11}{guarantee['promise']}"]
    lines.append(f"rows       {guarantee['n_fit']:,} fitted the map, {guarantee['n_test']:,} tested it")
    if guarantee.get("n_gold") is not None:
        lines.append(f"labels     {labels_words(guarantee)}")
    lines += [f"signal     {words}" for words in signal_words(found)]
    lines += [f"threshold  {words}" for words in threshold_words(found)]
    lines += ["", f"{'on the rows of the test':34}{'value':>10}   95 % interval"]
    for name, title in NAMES.items():
        if name in found.expected:
            unit = " points" if name == "drop" else " %"
            lines.append(_figure(title, found.expected[name], 100, unit))
    lines += [_figure(f"{COSTS[n]}, USD / 1,000", found.expected[n], 1000, "") for n in COSTS if n in found.expected]
    lines += _beside(found)
    if violated := violations(found):
        advice = "" if found.tiers else "; --by-group promises it to each"
        lines.append(
            f"warning    the promise is for all questions together; these slices lose more: {', '.join(violated)}"
            + advice
        )
    lines += [f"note       {note}" for note in found.data["notes"]]
    lines += [f"next       {each}" for each in found.advice]
    return lines


def labels_words(guarantee: Any) -> str:
    """How many gold labels there were, and how many they saved."""
    said = f"{guarantee['n_gold']:,} gold, the large model's answers are the reference for the rest"
    if guarantee.get("gold_alone") is None:
        return said
    return f"{said}; labels alone would need about {guarantee['gold_alone']:,}: {guarantee['gold_saved']:,} saved"


def signal_words(found: Calibration) -> list[str]:
    """How good the signal is, a line for each stage before the last."""
    if not found.tiers:
        return [str(found.health["words"])]
    return [f"{part['model']}: {part['health']['words']}" for part in found.tiers]


def threshold_words(found: Calibration) -> list[str]:
    """What decides, a line for each threshold."""
    if found.tiers:
        return [
            f"{part['model']}: " + ("not asked" if part["threshold"] is None else _cut(part["threshold"], part["map"]))
            for part in (found.tiers if found.certified else ())
        ]
    said = [] if found.threshold is None else [_cut(found.threshold, found.map)]
    for name, each in found.groups.items():
        own = each["threshold"]
        said.append(f"{name}: " + ("all deferred" if own is None else _cut(own, found.map)))
    return said


def _cut(threshold: Any, stored: Any) -> str:
    said = f"{threshold['tau']:.6g} of the {stored['kind']} score"
    if threshold["tie_fraction"] < 1:
        said += f", {threshold['tie_fraction']:.0%} kept at it"
    if threshold.get("abstain_below") is not None:
        said += f"; under {threshold['abstain_below']:.6g} a person answers"
    skip = threshold["skip_categories"]
    return said + (f"; not asked: {', '.join(skip)}" if skip else "")


def violations(found: Calibration) -> list[str]:
    """The slices that lose more than is promised for all, their 95 % intervals considered."""
    allowed = float(found.guarantee["goals"].get("max_drop", float("inf")))
    return [row["category"] for row in found.report.get("categories", ()) if row["drop_low"] > allowed]


def _beside(found: Calibration) -> list[str]:
    report = found.report
    if not report:
        return []
    lines = [""]
    if report["ece_before"] is not None and report["ece_after"] is not None:
        lines.append(f"ECE {report['ece_before']:.3f} as stated, {report['ece_after']:.3f} after the map")
    said = [f"{name} {100 * e['accuracy']:.1f} %{cost}" for name, e, cost in baselines(found)]
    return [*lines, "beside it  " + ", ".join(said)]


def baselines(found: Calibration) -> list[tuple[str, dict[str, Any], str]]:
    """(name, figures, cost in words) of what a cascade is held against."""
    report = found.report
    rows = [
        (f"best single ({report['best_single']['model']})", report["best_single"]),
        ("oracle", report["oracle"]),
        ("published rule", report["published_rule"]),
        ("random, same share", report["random_at_same_share"]),
    ]
    return [
        (name, each, f" at {1000 * each['cost_usd']:.3g} USD / 1,000" if "cost_usd" in each else "")
        for name, each in rows
    ]


def _figure(name: str, each: dict[str, float], scale: float, unit: str) -> str:
    low, high = scale * each["low"], scale * each["high"]
    return f"{name:34}{scale * each['value']:>10.4g}{unit}   {low:.4g} to {high:.4g}"
