"""A report's figures: accuracy against cost, savings and losses, reliability; in the style of all reports."""

from collections.abc import Mapping, Sequence
from typing import Any

from corea.metrics import Interval
from corea.report.plots import INK, Curve, PlotPoint, ReliabilityPanel, error_bars, plot_style
from corea.report.plots import frontier as frontier_plot
from corea.report.plots import reliability as reliability_plot
from recipes.paper.text import operating

Json = Mapping[str, Any]
CURVES = 4


def interval(found: Json) -> Interval:
    """A stored value with the ends of its interval."""
    return Interval(found["value"], found["low"], found["high"])


def frontier(dataset: Json, results: Json) -> Any:
    """Accuracy against cost: a few methods at their thresholds with both intervals, their curves, their small models
    and the large one alone, and the bounds. All methods are in `savings`."""
    ran = [c for c in dataset["cells"] if not c["not_run"]]
    curves = [c for c in ran if c["curve"] and c["score"] in ("verbalized", "expected", "blend", "router")]
    drawn = _first_of_each_score(curves, results["reference"])[:CURVES]
    roles = {"llm", *(c["role"] for c in drawn)}
    points: list[PlotPoint] = []
    for cell in (*(c for c in ran if not c["score"] and c["role"] in roles), *drawn):
        at = operating(cell, results["operate_at"])
        kind = "method" if cell["score"] else "large" if cell["role"] == "llm" else "small"
        points.append(
            PlotPoint(
                name=cell["method"] + ("" if cell["score"] else " alone"),
                cost_usd=interval(at["cost_usd"]),
                accuracy=interval(at["accuracy"]),
                kind="chosen" if cell["method"] == results["reference"] else kind,
            )
        )
    for bound in dataset["bounds"]:
        at, name = bound["at"], bound["name"].partition(",")[0]
        kind = "oracle" if name.startswith("oracle") else "rule"
        points.append(PlotPoint.at(name, at["cost_usd"]["value"], at["accuracy"]["value"], kind))
    lines = [
        Curve(
            name=f"{cell['method']}, any threshold",
            kind="chosen" if cell["method"] == results["reference"] else "other",
            **cell["curve"],
        )
        for cell in drawn
    ]
    return frontier_plot(lines, points, title=f"{dataset['dataset']}: accuracy against cost (95 % intervals)")


def _first_of_each_score(cells: Sequence[Json], reference: str) -> list[Json]:
    """COREA's row, then of each kind of score the row with the largest saving."""
    ours = [c for c in cells if c["method"] == reference]
    others = sorted(
        (c for c in cells if c["method"] != reference), key=lambda c: -(c["at"][-1]["saving"]["value"] or 0)
    )
    kinds: dict[str, Json] = {}
    for cell in others:
        kinds.setdefault(cell["score"], cell)
    return [*ours, *kinds.values()]


def savings(dataset: Json, results: Json) -> Any:
    """Saving and drop of every method at its threshold, both with intervals; a hollow mark exceeds the target drop."""
    shown = [c for c in dataset["cells"] if not c["not_run"] and c["score"]]
    lines = [(c["method"], operating(c, results["operate_at"]), c["method"] == results["reference"]) for c in shown]
    lines += [
        (b["name"].partition(",")[0], b["at"], False) for b in dataset["bounds"] if not b["name"].startswith("best")
    ]
    with plot_style() as new:
        figure = new(figsize=(10.4, 0.27 * len(lines) + 1.3), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.6, 1))
        for k, (_, point, ours) in enumerate(lines):
            over = point["drop"]["value"] > results["operate_at"]
            for axes, what, mark in ((left, "saving", "o"), (right, "drop", "D")):
                value = interval(point[what])
                axes.errorbar(
                    [100 * value.value], [k], xerr=error_bars(value, 100), fmt=mark if k < len(shown) else "x",
                    capsize=2, elinewidth=1.1, markersize=8 if ours else 6, color=INK, markeredgecolor=INK,
                    markerfacecolor="white" if over else INK,
                )  # fmt: skip
        left.axvline(0, color=INK, linewidth=0.9)
        right.axvline(100 * results["operate_at"], color=INK, linewidth=0.9, linestyle="--")
        left.set_yticks(range(len(lines)), [name for name, _, _ in lines], fontsize=8)
        for label, (_, _, ours) in zip(left.get_yticklabels(), lines, strict=True):
            label.set_fontweight("bold" if ours else "normal")
        left.invert_yaxis()
        left.set_xlabel("saved against the LLM alone, %")
        right.set_xlabel(f"points lost; hollow: more than the {100 * results['operate_at']:g} aimed at")
        left.set_title(f"{dataset['dataset']}: what each method saves, and loses (95 % intervals)")
    return figure


def reliability(dataset: Json, results: Json) -> Any:
    """For each score, accuracy over confidence and the counts of right and wrong answers."""
    return reliability_plot(
        [
            ReliabilityPanel(title=name, bins=found["bins"], bold=name == results["reference"])
            for name, found in dataset["pictures"].items()
            if found["bins"]
        ]
    )
