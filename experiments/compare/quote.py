"""Rows for the templates of docs/_tables/ from stored results.

python experiments/compare/quote.py compare/bundled.json            # a comparison's rows, and each seed alone
python experiments/compare/quote.py compare/ablations.json          # the rows of ablations.py
"""

import json
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"
SPREAD = (("auroc", "f3"), ("ece", "f3"), ("saving", "percent1"), ("drop", "percent1"))


def quoted(file: str, path: str, how: str, value: float | None) -> str:
    return "" if value is None else f"{{{file}#{path} {how}}}"


def compared(file: str, results: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for d, dataset in enumerate(results["datasets"]):
        lines += ["", f"{dataset['dataset']}: {dataset['judged']} judged, {dataset['fit']} to fit", ""]
        for c, cell in enumerate(dataset["cells"]):
            if cell["not_run"]:
                lines.append(f"| {cell['method']} | not computed |  |  |  |  |  |  |")
                continue
            k, here = len(cell["at"]) - 1, f"datasets.{d}.cells.{c}"
            at, q = cell["at"][k], cell["quality"]
            row = [
                cell["method"],
                quoted(file, f"{here}.at.{k}.accuracy.value", "percent1", at["accuracy"]["value"]),
                quoted(file, f"{here}.at.{k}.llm_share.value", "percent1", at["llm_share"]["value"]) if q else "",
                quoted(file, f"{here}.quality.auroc.value", "f3", q["auroc"]["value"]) if q else "",
                quoted(file, f"{here}.quality.ece.value", "f3", q["ece"]["value"]) if q else "",
                quoted(file, f"{here}.quality.brier.value", "f3", q["brier"]["value"]) if q else "",
                quoted(file, f"{here}.at.{k}.saving.value", "percent1", at["saving"]["value"]) if q else "",
                quoted(file, f"{here}.at.{k}.drop.value", "percent1", at["drop"]["value"]) if q else "",
            ]
            lines.append("| " + " | ".join(row) + " |")
        for b, bound in enumerate(dataset["bounds"]):
            here, at = f"datasets.{d}.bounds.{b}.at", bound["at"]
            cells = [
                quoted(file, f"{here}.accuracy.value", "percent1", at["accuracy"]["value"]),
                quoted(file, f"{here}.llm_share.value", "percent1", at["llm_share"]["value"]), "", "", "",
                quoted(file, f"{here}.saving.value", "percent1", at["saving"]["value"]),
                quoted(file, f"{here}.drop.value", "percent1", at["drop"]["value"]),
            ]  # fmt: skip
            lines.append(f"| *{bound['name'].partition(',')[0]}* | " + " | ".join(cells) + " |")
        lines += ["", f"{dataset['dataset']}, each seed alone: AUROC, ECE, saved, points lost", ""]
        for c, cell in enumerate(dataset["cells"]):
            if cell["per_seed"] and cell["score"]:
                each = [each_seed(file, f"datasets.{d}.cells.{c}.per_seed", cell, *column) for column in SPREAD]
                lines.append("| " + " | ".join([cell["method"], *each]) + " |")
    return lines


def each_seed(file: str, path: str, cell: dict[str, Any], what: str, how: str) -> str:
    """A figure of every seed's questions (and training run) alone, lowest first."""
    seeds = sorted(cell["per_seed"], key=lambda seed: cell["per_seed"][seed][what] or 0)
    return ", ".join(quoted(file, f"{path}.{seed}.{what}", how, cell["per_seed"][seed][what]) for seed in seeds)


def ablated(file: str, results: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for dataset, what in results["datasets"].items():
        for name, rows in what.items():
            lines += ["", f"{dataset}: {name}", ""]
            for row, found in rows.items():
                here = f"datasets.{dataset}.{name}.{row}"
                cells = [
                    quoted(file, f"{here}.{k}.value", "percent1", found[k]["value"])
                    for k in ("accuracy", "saving", "drop")
                ]
                cells += [
                    f"{k} {quoted(file, f'{here}.{k}', 'f3', v)}" for k, v in found.items() if isinstance(v, float)
                ]
                lines.append("| " + " | ".join([row, *cells]) + " |")
    return lines


if __name__ == "__main__":
    found = json.loads((RESULTS / sys.argv[1]).read_text())
    print("\n".join((compared if isinstance(found["datasets"], list) else ablated)(sys.argv[1], found)))
