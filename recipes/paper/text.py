"""The table as Markdown."""

from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]
MEANT = ("accuracy", "drop", "llm_share", "saving")
HEAD = ("method", "pass@1", "USD / 1,000", "LLM%", "ECE", "AUROC", "Brier", "AURC")
MEAN_HEAD = (
    "group", "method", "pass@1", "points lost", "LLM%", "saved, %", "ECE", "AUROC",
    "rule of thumb: pass@1", "points lost", "LLM%", "saved, %",
)  # fmt: skip
TESTED = ("pass@1 − COREA's", "cost − COREA's, % of the LLM's", "AUROC − COREA's")


def tables(results: Json) -> str:
    """Every dataset's table, and the means of groups."""
    found = "\n".join(f"{heading(d)}\n\n{table(d, results)}\n" for d in results["datasets"])
    return found + (f"\n### Means\n\n{means_table(results)}\n" if results["means"] else "")


def means_table(results: Json) -> str:
    """The means of groups of datasets."""
    rows = [MEAN_HEAD, ["---"] * len(MEAN_HEAD), *map(mean_cells, results["means"])]
    return "\n".join("| " + " | ".join(line) + " |" for line in rows)


def mean_cells(row: Json) -> list[str]:
    """The cells of a group's method: at the threshold of the tables, then at the paper's rule of thumb."""
    shares = [[interval(point[n], ".1f", 100) for n in MEANT] for point in (row, row["rule"])]
    group = f"{row['group']} ({len(row['datasets'])})"
    return [group, row["method"], *shares[0], *(interval(row[n], ".3f") for n in ("ece", "auroc")), *shares[1]]


def heading(dataset: Json) -> str:
    """A dataset's name and sizes."""
    return f"### {dataset['dataset']}: {dataset['judged']:,} questions judged, {dataset['fit']:,} to fit on"


def table(dataset: Json, results: Json) -> str:
    """One dataset's table, with intervals in brackets, then why some rows could not be computed."""
    rows = [[c["method"], "not computed"] if c["not_run"] else cells(c, results) for c in dataset["cells"]]
    rows += [bound(b, len(results["max_drops"])) for b in dataset["bounds"]]
    saved = [saved_head(d) for d in results["max_drops"]]
    head = [*HEAD, *saved, *TESTED]
    filled = [[*line, *[""] * (len(head) - len(line))] for line in (head, ["---"] * len(head), *rows)]
    lines = ["| " + " | ".join(line) + " |" for line in filled]
    absent = [c for c in dataset["cells"] if c["not_run"]]
    if absent:
        lines += ["", "Not computed:", ""] + [f"- {c['method']}: {c['not_run']}" for c in absent]
    return "\n".join(lines)


def saved_head(drop: float) -> str:
    """The heading of a column of savings."""
    return f"saved, %, at {100 * drop:g} point{'' if drop == 0.01 else 's'}"


def cells(cell: Json, results: Json) -> list[str]:
    """One row's cells."""
    at = operating(cell, results["operate_at"])
    name = f"**{cell['method']}**" if cell["method"] == results["reference"] else cell["method"]
    quality = [interval(cell["quality"].get(m), ".3f") for m in ("ece", "auroc", "brier", "aurc")]
    savings = [saving(next((p for p in cell["at"] if p["max_drop"] == d), None), cell) for d in results["max_drops"]]
    return [
        name,
        interval(at["accuracy"], ".1f", 100),
        interval(at["cost_usd"], ".4g", 1000),
        interval(at["llm_share"], ".1f", 100) if cell["score"] else f"{100 * at['llm_share']['value']:.0f}",
        *quality,
        *savings,
        *against(cell["against"]),
    ]


def operating(cell: Json, drop: float) -> Json:
    """The point that a row's accuracy and cost are shown at."""
    return next((p for p in cell["at"] if p["max_drop"] == drop), cell["at"][0])


def interval(found: Json | None, how: str, scale: float = 1) -> str:
    """A value with the ends of its interval; empty where it has no meaning."""
    if found is None or found["value"] is None or found["value"] != found["value"]:
        return ""
    shown = f"{scale * found['value']:{how}}"
    if found["low"] is None or found["low"] != found["low"]:
        return shown
    return f"{shown} [{scale * found['low']:{how}}, {scale * found['high']:{how}}]"


def saving(point: Json | None, cell: Json) -> str:
    """Saving of a threshold, and its drop on the evaluation split."""
    if not cell["score"] or point is None:
        return ""
    drop = point["drop"]["value"]
    over = " (over)" if drop > point["max_drop"] else ""
    return f"{interval(point['saving'], '.1f', 100)}, drop {100 * drop:+.1f}{over}"


def against(found: Json | None) -> list[str]:
    """Paired differences to COREA's row, with their p-values."""
    if found is None:
        return [""] * len(TESTED)
    return [
        f"{interval(found['accuracy'], '+.1f', 100)}, p {p_value(found['p_accuracy'])}",
        f"{interval(found['cost_share'], '+.1f', 100)}, p {p_value(found['p_cost'])}",
        interval(found["auroc"], "+.3f"),
    ]


def p_value(p: float) -> str:
    """A p-value as text."""
    return "< .001" if p < 0.001 else f"{p:.3f}"


def bound(found: Json, drops: int) -> list[str]:
    """A bound's row; its saving and drop are in the last of the columns for savings."""
    at = found["at"]
    numbers = [interval(at["accuracy"], ".1f", 100), interval(at["cost_usd"], ".4g", 1000)]
    return [
        f"_{found['name']}_",
        *numbers,
        interval(at["llm_share"], ".1f", 100),
        *[""] * 4,
        *[""] * (drops - 1),
        f"{interval(at['saving'], '.1f', 100)}, drop {100 * at['drop']['value']:+.1f}",
        *[""] * len(TESTED),
    ]


def markdown(results: Json) -> str:
    """A whole report as Markdown: tables, what was checked, what was spent, provenance."""
    lines = [f"# {results['name']}", ""]
    lines += [f"- {note}" for note in (*explanations(results), *results["notes"])]
    for dataset in results["datasets"]:
        lines += ["", heading(dataset), "", table(dataset, results), "", *(f"- {line}" for line in checks(dataset))]
    if results["means"]:
        lines += ["", "## Means of the groups", "", means_table(results)]
    lines += ["", "## Provenance", ""]
    lines += [f"- {name}: {value}" for name, value in provenance_lines(results)]
    lines += ["", "```toml", results["provenance"]["config"].strip(), "```"]
    return "\n".join(lines) + "\n"


def explanations(results: Json) -> list[str]:
    """Explanations of the table."""
    return [
        f"Thresholds and classifiers are fitted on the calibration split alone; every figure is of the evaluation "
        f"split. pass@1, cost and LLM% are at the threshold chosen for a drop of {100 * results['operate_at']:g} "
        "points on the calibration split.",
        "In brackets: 95 % intervals, given the fitted thresholds: shares Wilson's, costs, savings and Brier scores "
        "the delta method's, differences of shares Bonett and Price's. ECE and AURC have none.",
        f"COREA's row is {results['reference']}; the last columns are differences to it on the same questions "
        "(McNemar's exact test; sign-flip permutation test of cost). The p-values are uncorrected "
        "for the number of rows.",
        '"saved" is against the LLM alone; followed by the drop on the evaluation split. A saving whose drop is '
        'over what was aimed at ("over") was not earned.',
        "ECE (10 equal bins), AUROC, Brier and AURC are of the score for the small model's own answers.",
    ]


def checks(dataset: Json) -> list[str]:
    """Checks and costs of a dataset, as sentences."""
    found: list[str] = []
    for what, hits in dataset["contamination"].items():
        if hits["compared_with"]:
            found.append(
                f"contamination guard: {hits['flagged']} of {dataset['judged']:,} evaluation questions share 70 % of "
                f"their 8-grams with {hits['compared_with']:,} {what} questions"
            )
    if dataset["dropped_from_fitting"]:
        found.append(f"{dataset['dropped_from_fitting']} questions were left out of fitting as they are judged too")
    if dataset["left_out"]:
        found.append(f"{dataset['left_out']:,} questions were left out, as not every model has an answer to them")
    for role, spent in dataset["spent"].items():
        found.append(
            f"spent on {role}: {spent['questions']:,} answers, {spent['completion_tokens']:,.0f} completion tokens, "
            f"${spent['answers_usd']:.4g} for answers, ${spent['signals_usd']:.4g} for signals' own calls"
        )
    return found


def provenance_lines(results: Json) -> list[tuple[str, str]]:
    """The provenance box, line by line."""
    made = results["provenance"]
    lines = [(name, str(made[name])) for name in ("made", "command", "commit", "machine", "python", "config_sha256")]
    lines.append(("versions", ", ".join(f"{k} {v}" for k, v in made["versions"].items())))
    lines.append(("seeds", ", ".join(map(str, results["seeds"]))))
    for dataset in results["datasets"]:
        facts = ", ".join(f"{k} {v}" for k, v in dataset["facts"].items())
        hashes = f"fit {dataset['hashes']['fit']}, judged {dataset['hashes']['judged']}"
        lines.append((f"data {dataset['dataset']}", f"{facts}; sha256 of questions and references: {hashes}"))
    for role, model in results["models"].items():
        price = model["price"]
        lines.append(
            (
                f"model {role}",
                f"{model['model']}, revision {model['revision'][:12]}, USD per million tokens in / out "
                f"{price['input_usd_per_mtok']} / {price['output_usd_per_mtok']} ({price['source']})",
            )
        )
    return lines
