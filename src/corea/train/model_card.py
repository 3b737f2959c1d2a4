"""Model card of a trained folder: figures, reliability diagram, data hash, seeds, versions, the command.

Its contents come from `training.json` (which the recipes write) and from the arguments; it measures nothing.
"""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from corea.metrics.calibration import reliability_bins

LIBRARIES = ("corea", "torch", "transformers", "trl", "tokenizers")
SIDE, EDGE = 240, 40  # of the diagram, in SVG units


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityData:
    """Confidences and their outcomes on one held-out set, for the reliability diagram.

    Args:
        name: The set, such as "in domain, stated".
        confidence: (N,) in [0, 1], none missing.
        correct: (N,) 0 or 1.
    """

    name: str
    confidence: np.ndarray
    correct: np.ndarray


def write_card(
    folder: Path,
    *,
    title: str,
    purpose: str,
    command: str,
    figures: Mapping[str, Mapping[str, Any]],
    base: str | None = None,
    measured: Sequence[ReliabilityData] = (),
    notes: Sequence[str] = (),
) -> Path:
    """Writes README.md, and reliability.svg if there is data for it, into the folder of the weights.

    Args:
        base: The model that was trained, whose licence and base model are stated; None: one trained from random
            weights, Apache-2.0 as this project is.
        command: The command line that remakes this folder.
        figures: A row of numbers for each set of questions; all rows have the same columns.
    """
    facts_file = folder / "training.json"
    facts: dict[str, Any] = json.loads(facts_file.read_text()) if facts_file.is_file() else {}
    settings: dict[str, Any] = facts.get("settings", {})
    known = {"license": "apache-2.0"} if base is None else provenance(base)
    lines = ["---", *(f"{key}: {value}" for key, value in sorted(known.items(), reverse=True))]
    lines += ["library_name: transformers", "tags: [corea]", "---", "", f"# {title}"]
    lines += ["", purpose, "", "## Figures", "", *table(figures)]
    if measured:
        (folder / "reliability.svg").write_text(reliability_svg(measured), encoding="utf-8")
        lines += ["", "![Reliability diagram: accuracy against confidence](reliability.svg)"]
    lines += ["", "## How it was made", "", "```", command, "```", ""]
    lines += [f"- recipe: {facts.get('recipe', 'not recorded')}; parameters: {facts.get('parameters', 'not recorded')}"]
    lines += [f"- data hash: {facts.get('data_hash', 'not recorded')}; seed: {settings.get('seed', 'not recorded')}"]
    lines += [f"- versions: Python {platform.python_version()}, " + ", ".join(map(versioned, LIBRARIES))]
    lines += [f"- settings: `{json.dumps(settings, sort_keys=True)}`"]
    if "license" not in known:
        lines += ["- licence: not stated by the base model's card; state it here before you publish this folder"]
    lines += [f"- {note}" for note in notes]
    card = folder / "README.md"
    card.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return card


def provenance(base: str) -> dict[str, str]:
    """`license` and `base_model` for the card of a model trained from `base`, as far as they are known.

    A folder's are those of its own card; a model of the hub is itself the base.
    """
    from huggingface_hub import ModelCard

    folder, known = Path(base), {} if Path(base).is_dir() else {"base_model": base}
    card = folder / "README.md"
    try:
        text = card.read_text(encoding="utf-8") if folder.is_dir() else ModelCard.load(base).content
        data = ModelCard(text, ignore_metadata_errors=True).data.to_dict()
    except (OSError, ValueError):  # no card, or no network
        return known
    found = {key: data[key] for key in ("license", "base_model") if isinstance(data.get(key), str)}
    return found | known


def versioned(library: str) -> str:
    """A library with its installed version."""
    try:
        return f"{library} {version(library)}"
    except PackageNotFoundError:
        return f"{library} not installed"


def table(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A Markdown table: a row for each name, floats to three places."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))

    def cell(value: Any) -> str:
        return f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)

    head = ["| set | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    return head + [f"| {name} | " + " | ".join(cell(row.get(c)) for c in columns) + " |" for name, row in rows.items()]


def reliability_svg(measured: Sequence[ReliabilityData]) -> str:
    """Panels side by side: accuracy against confidence, a dot a bin, its area the share of questions."""
    width, height = len(measured) * (SIDE + EDGE) + EDGE, SIDE + 2 * EDGE
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">']
    parts.append(f'<rect width="{width}" height="{height}" fill="white"/>')
    for i, panel in enumerate(measured):
        left, foot = EDGE + i * (SIDE + EDGE), EDGE + SIDE
        parts.append(f'<rect x="{left}" y="{EDGE}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#999"/>')
        parts.append(f'<path d="M{left} {foot}L{left + SIDE} {EDGE}" stroke="#999" stroke-dasharray="4"/>')
        parts.append(f'<text x="{left}" y="{EDGE - 10}" font-size="13">{panel.name}</text>')
        parts.append(f'<text x="{left}" y="{foot + 20}" font-size="11">confidence 0 to 1; accuracy upwards</text>')
        for bar in reliability_bins(panel.confidence, panel.correct):
            x, y = left + bar.confidence * SIDE, foot - bar.accuracy * SIDE
            radius = max(2.0, 30 * (bar.count / len(panel.correct)) ** 0.5)
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="#2563eb" fill-opacity="0.5"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"
