"""Plots of all reports: accuracy against cost, and reliability. One style, readable in grey. Needs matplotlib."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import numpy as np

from corea.errors import ConfigError
from corea.metrics import Frontier, Interval
from corea.registry import install_hint

INK, BLUE, ORANGE, GREEN, GREY, LIGHT = "#222222", "#0b5fa5", "#d9730d", "#2a7d4f", "#8a8a8a", "#e6e6e6"
STYLE: dict[str, Any] = {
    "figure.dpi": 130,
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "grid.color": LIGHT,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.fonttype": "none",
}
PANELS_ACROSS = 5
MOST_POINTS = 201  # of a curve

CurveKind = Literal["chosen", "other", "random", "oracle"]
PointKind = Literal["chosen", "small", "large", "oracle", "rule", "method"]
CURVES: dict[CurveKind, dict[str, Any]] = {
    "chosen": {"color": BLUE, "linewidth": 1.8},
    "other": {"color": GREY, "linewidth": 1.1},
    "random": {"color": GREY, "linewidth": 1.2, "linestyle": "--"},
    "oracle": {"color": GREY, "linewidth": 1.2, "linestyle": ":"},
}
POINTS: dict[PointKind, dict[str, Any]] = {
    "chosen": {"color": ORANGE, "markersize": 8, "zorder": 5},
    "small": {"color": INK, "markerfacecolor": "white", "markersize": 7},
    "large": {"color": INK, "markersize": 7},
    "oracle": {"color": INK, "markersize": 11},
    "rule": {"color": INK, "markersize": 8},
    "method": {"color": GREY, "markerfacecolor": "#d0d0d0", "markeredgecolor": INK, "markersize": 6},
}
MARKS: dict[PointKind, str] = {
    "chosen": "o",
    "small": "s^v<>",
    "large": "D",
    "oracle": "*",
    "rule": "X1",
    "method": "hdpP8H",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Accuracy and mean cost in USD a question at every threshold of a score."""

    name: str
    cost_usd: Sequence[float]
    accuracy: Sequence[float]
    kind: CurveKind = "other"

    @classmethod
    def of(cls, name: str, found: Frontier, kind: CurveKind = "other") -> "Curve":
        """The curve of a frontier, thinned to what can be seen."""
        at = np.unique(np.linspace(0, len(found.cost_usd) - 1, MOST_POINTS).astype(int))
        return cls(name=name, cost_usd=found.cost_usd[at].tolist(), accuracy=found.accuracy[at].tolist(), kind=kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotPoint:
    """One way to answer, with 95 % intervals where they are known; costs are USD a question."""

    name: str
    cost_usd: Interval
    accuracy: Interval
    kind: PointKind = "method"

    @classmethod
    def at(cls, name: str, cost_usd: float, accuracy: float, kind: PointKind = "method") -> "PlotPoint":
        """A point without intervals."""
        cost, right = Interval(cost_usd, cost_usd, cost_usd), Interval(accuracy, accuracy, accuracy)
        return cls(name=name, cost_usd=cost, accuracy=right, kind=kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityPanel:
    """One score: its bins, each with the mean `confidence`, the `accuracy` and the `count` of its answers."""

    title: str
    bins: Sequence[dict[str, float]]
    bold: bool = False


@contextmanager
def plot_style(name: str = "corea") -> Iterator[Any]:
    """The class `Figure` of matplotlib, in the style of all reports.

    Args:
        name: Begins the ids of an SVG, so that two figures of one page share none.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ConfigError(f"pictures need matplotlib, which is not installed; {install_hint('matplotlib')}") from error
    style: Any = {**STYLE, "svg.hashsalt": name}  # its keys are typed as literals
    with rc_context(style):
        yield Figure


def frontier(
    curves: Sequence[Curve],
    points: Sequence[PlotPoint],
    *,
    title: str = "",
    floor: tuple[float, str] | None = None,
    note: str = "",
) -> Any:
    """Accuracy against mean cost: curves over all thresholds, and points with their intervals.

    Args:
        floor: An accuracy to mark with a line, and its label.
        note: Small print below the plot.
    """
    with plot_style() as new:
        figure = new(figsize=(9.2, 4.6), layout="constrained")
        axes = figure.add_subplot()
        dashes = cycle(("-", "--", "-.", ":"))
        for curve in curves:
            how = {"linestyle": next(dashes)} if curve.kind == "other" else {}
            cost, right = [1000 * c for c in curve.cost_usd], [100 * a for a in curve.accuracy]
            axes.plot(cost, right, label=curve.name, zorder=2, **{**how, **CURVES[curve.kind]})
        marks = {kind: cycle(found) for kind, found in MARKS.items()}
        for point in points:
            x, y = point.cost_usd, point.accuracy
            axes.errorbar(
                [1000 * x.value], [100 * y.value], xerr=error_bars(x, 1000), yerr=error_bars(y, 100), capsize=3,
                elinewidth=0.8, fmt=next(marks[point.kind]), label=point.name, **{"zorder": 3, **POINTS[point.kind]},
            )  # fmt: skip
        if floor is not None:
            axes.axhline(100 * floor[0], color=GREEN, linewidth=1, linestyle=":", label=floor[1])
        axes.set(xlabel="USD per 1,000 questions", ylabel="right answers, %", title=title)
        axes.margins(x=0.08, y=0.1)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
        if note:
            figure.supxlabel(note, fontsize=7, color=GREY, x=0.01, ha="left")
    return figure


def error_bars(found: Interval, scale: float) -> list[list[float]] | None:
    """The two lengths of an error bar as matplotlib takes them; None for a point."""
    low, high = scale * (found.value - found.low), scale * (found.high - found.value)
    return None if low == high == 0 else [[max(0.0, low)], [max(0.0, high)]]


def reliability(panels: Sequence[ReliabilityPanel]) -> Any:
    """For each score accuracy over confidence, and below it how many right and wrong answers have that confidence.

    Source: Niculescu-Mizil and Caruana 2005, ICML (reliability diagrams).
    """
    with plot_style() as new:
        across = min(PANELS_ACROSS, len(panels))
        lines = -(-len(panels) // PANELS_ACROSS)
        width = 4.6 if across <= 2 else 2.3
        figure = new(figsize=(width * across, 1.55 * width**0.5 * 1.6 * lines), layout="constrained")
        grid = figure.add_gridspec(2 * lines, across, height_ratios=[2.4, 1] * lines)
        for k, panel in enumerate(panels):
            row, column = divmod(k, across)
            upper, lower = (figure.add_subplot(grid[2 * row + i, column]) for i in (0, 1))
            _diagram(upper, panel, labelled=column == 0)
            _counts(lower, panel, labelled=column == 0)
    return figure


def _diagram(axes: Any, panel: ReliabilityPanel, *, labelled: bool) -> None:
    confidence, accuracy = [b["confidence"] for b in panel.bins], [b["accuracy"] for b in panel.bins]
    total = sum(b["count"] for b in panel.bins) or 1
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
    axes.plot(confidence, accuracy, color=BLUE, linewidth=1.2)
    sizes = [14 + 160 * b["count"] / total for b in panel.bins]
    axes.scatter(confidence, accuracy, s=sizes, facecolors="white", edgecolors=BLUE, zorder=3)
    axes.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05), ylabel="share right" if labelled else "")
    axes.set_title(panel.title, fontsize=9, fontweight="bold" if panel.bold else "normal")
    axes.tick_params(labelsize=8)


def _counts(axes: Any, panel: ReliabilityPanel, *, labelled: bool) -> None:
    x = [b["confidence"] for b in panel.bins]
    right = [b["count"] * b["accuracy"] for b in panel.bins]
    wrong = [b["count"] - r for b, r in zip(panel.bins, right, strict=True)]
    axes.bar(x, right, width=0.05, color="#c9d8e6", edgecolor=INK, linewidth=0.4, label="right")
    axes.bar(
        x, wrong, width=0.05, bottom=right, color="white", edgecolor=INK, hatch="/////", linewidth=0.4, label="wrong"
    )
    axes.set(xlim=(-0.05, 1.05), xlabel="confidence", ylabel="answers" if labelled else "")
    axes.tick_params(labelsize=8)
    if labelled:
        axes.legend(fontsize=7)


def svg_text(figure: Any, name: str) -> str:
    """A figure as SVG to stand within a page."""
    out = io.StringIO()
    with plot_style(f"corea {name}"):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def save(figure: Any, path: Path) -> Path:
    """Writes a figure; the ending of the path chooses the format: .png, .svg, .pdf."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with plot_style():
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    return path
