"""The report of a comparison as one HTML page."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from corea.report.calibration import TableRow
from corea.report.html import inline_svg, render
from recipes.paper import plots
from recipes.paper.text import (
    HEAD,
    MEAN_HEAD,
    TESTED,
    bound,
    cells,
    checks,
    explanations,
    heading,
    mean_cells,
    provenance_lines,
    saved_head,
)

Json = Mapping[str, Any]
TEMPLATES = Path(__file__).parent / "templates"


def page(results: Json) -> str:
    """The page as HTML."""
    return render(
        "paper.html",
        TEMPLATES,
        title=results["name"],
        wide=True,
        lines=[*explanations(results), *results["notes"]],
        head=[*HEAD, *map(saved_head, results["max_drops"]), *TESTED],
        datasets=[_dataset(dataset, results) for dataset in results["datasets"]],
        mean_head=MEAN_HEAD,
        means=[TableRow(tuple(mean_cells(row))) for row in results["means"]],
        provenance=provenance_lines(results),
        config=results["provenance"]["config"],
    )


def _dataset(dataset: Json, results: Json) -> dict[str, Any]:
    drawn = {name: plot(dataset, results) for name, plot in _plots(dataset).items()}
    return {
        "name": dataset["dataset"],
        "anchor": "data-" + "-".join(re.findall(r"\w+", dataset["dataset"])),
        "heading": heading(dataset).lstrip("# "),
        "plots": {name: inline_svg(figure, f"{name} {dataset['dataset']}") for name, figure in drawn.items()},
        "rows": list(_rows(dataset, results)),
        "rules": [_rule(cell) for cell in dataset["cells"] if cell["rule"]],
        "seeds": [_seeds(cell) for cell in dataset["cells"] if cell["per_seed"] and cell["score"]],
        "seed_count": max((len(cell["per_seed"]) for cell in dataset["cells"]), default=0),
        "examples": {name: found for name, found in dataset["examples"].items() if found},
        "publishable": dataset["publishable"],
        "checks": checks(dataset),
    }


def _plots(dataset: Json) -> dict[str, Any]:
    found = {"frontier": plots.frontier}
    if any(not c["not_run"] and c["score"] for c in dataset["cells"]):
        found["savings"] = plots.savings
    if any(p["bins"] for p in dataset["pictures"].values()):
        found["reliability"] = plots.reliability
    return found


def _rows(dataset: Json, results: Json) -> Iterable[dict[str, Any]]:
    for cell in dataset["cells"]:
        kind = "absent" if cell["not_run"] else "ours" if cell["method"] == results["reference"] else ""
        filled = [(cell["method"],)] if cell["not_run"] else [_split(c.strip("*")) for c in cells(cell, results)]
        yield {"kind": kind, "cells": filled, "not_run": cell["not_run"]}
    for found in dataset["bounds"]:
        filled = [_split(c.strip("_")) for c in bound(found, len(results["max_drops"]))]
        yield {"kind": "bound", "cells": filled, "not_run": None}


def _split(text: str) -> tuple[str, ...]:
    """A value, and in small print its interval on one line and its drop or p-value on the next."""
    value, mark, rest = text.partition(" [")
    inside, _, further = rest.partition("], ")
    if not mark:
        return (value,)
    return (value, f"[{inside.rstrip(']')}]", further) if further else (value, f"[{inside.rstrip(']')}]")


def _rule(cell: Json) -> TableRow:
    found = cell["rule"]
    accuracy, drop, share, saving = (found[n]["value"] for n in ("accuracy", "drop", "llm_share", "saving"))
    values = f"{100 * accuracy:.1f}", f"{100 * drop:+.1f}", f"{100 * share:.1f}", f"{100 * saving:.1f} %"
    return TableRow((cell["method"], *values))


def _seeds(cell: Json) -> TableRow:
    each = list(cell["per_seed"].values())
    spread = [_spread([s[what] for s in each]) for what in ("accuracy", "llm_share", "saving", "drop")]
    spread += [_spread([s[what] for s in each], scale=1, digits=3) for what in ("ece", "auroc")]
    return TableRow((cell["method"], str(cell["trained"]), *spread))


def _spread(values: list[float | None], *, scale: float = 100, digits: int = 1) -> str:
    known = [scale * v for v in values if v is not None]
    return f"{min(known):.{digits}f} to {max(known):.{digits}f}" if known else ""
