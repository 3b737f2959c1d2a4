"""A report's figures as SVG text, in the project's one style: readable in grey, by mark and line and not by colour."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from corea.evaluate.compare.text import operating
from corea.evaluate.plots import BLUE, GREY, INK, ORANGE, load_pyplot

Json = Mapping[str, Any]
MARKS = ("o", "^", "<", "h", "d", "P", "X", "8", "v", ">")
DASHES = ("-", "--", "-.", ":")
ALONE = ("s", "D", "p", "v", "H")
ACROSS = 5


def svg_of(figure: Any, pyplot: Any, name: str) -> str:
    """A figure as SVG to stand within a page; its ids begin with `name`, so that two figures do not share any."""
    out = io.StringIO()
    pyplot.rcParams["svg.hashsalt"] = f"corea {name}"
    figure.savefig(out, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    text = out.getvalue()
    return text[text.index("<svg") :]


def frontier(dataset: Json, results: Json) -> str:
    """Accuracy against cost: a few methods at their thresholds with both intervals, their curves, their small models
    and the large one alone, and the bounds. All methods are in `savings`."""
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(figsize=(9.6, 4.8))
    ran = [c for c in dataset["cells"] if not c["not_run"]]
    curves = [c for c in ran if c["curve"] and c["score"] in ("verbalized", "expected", "blend", "router")]
    drawn = _first_of_each_role(curves, results["reference"])[: len(DASHES)]
    for k, cell in enumerate(drawn):
        ours = cell["method"] == results["reference"]
        axes.plot(
            [1000 * x for x in cell["curve"]["cost_usd"]], cell["curve"]["accuracy"], linestyle=DASHES[k],
            color=BLUE if ours else GREY, linewidth=1.8 if ours else 1.1, zorder=2,
            label=f"{cell['method']}, any threshold",
        )  # fmt: skip
    roles = {"llm", *(c["role"] for c in drawn)}
    alone = [c for c in ran if not c["score"] and c["role"] in roles]
    for cell, mark in [*zip(alone, ALONE * 3, strict=False), *zip(drawn, MARKS, strict=False)]:
        point, ours = operating(cell, results["operate_at"]), cell["method"] == results["reference"]
        x, y, cascade, large = point["cost_usd"], point["accuracy"], bool(cell["score"]), cell["role"] == "llm"
        axes.errorbar(
            [1000 * x["value"]], [y["value"]], xerr=_bars(x, 1000), yerr=_bars(y, 1), fmt=mark, capsize=2,
            elinewidth=0.8, color=ORANGE if ours else GREY if cascade else INK, markersize=8 if ours else 6,
            markerfacecolor=ORANGE if ours else "#d0d0d0" if cascade else INK if large else "white",
            markeredgecolor=INK, zorder=4 if ours else 3, label=cell["method"] + ("" if cascade else " alone"),
        )  # fmt: skip
    for bound, mark in zip(dataset["bounds"], ("1", "2", "*"), strict=False):
        name = bound["name"].partition(",")[0]
        x, y = (bound["at"][what]["value"] for what in ("cost_usd", "accuracy"))
        axes.plot([1000 * x], [y], mark, color=INK, markersize=10, label=name, zorder=4)
    axes.set_xlabel("USD per 1,000 questions")
    axes.set_ylabel("share right")
    axes.set_title(f"{dataset['dataset']}: accuracy against cost (95 % intervals)", loc="left", fontsize=11)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.tight_layout()
    return svg_of(figure, pyplot, f"frontier {dataset['dataset']}")


def _first_of_each_role(cells: Sequence[Json], reference: str) -> list[Json]:
    """COREA's row, then the best saving of each kind of score whose drop was kept, as far as there are any."""
    ours = [c for c in cells if c["method"] == reference]
    others = sorted(
        (c for c in cells if c["method"] != reference), key=lambda c: -(c["at"][-1]["saving"]["value"] or 0)
    )
    kinds: dict[str, Json] = {}
    for cell in others:
        kinds.setdefault(cell["score"], cell)
    return [*ours, *kinds.values()]


def savings(dataset: Json, results: Json) -> str:
    """Every method at its threshold: what it saves, and beside it the points it loses, both with intervals; a hollow
    mark lost more than was aimed at."""
    pyplot = load_pyplot()
    shown = [c for c in dataset["cells"] if not c["not_run"] and c["score"]]
    lines = [(c["method"], operating(c, results["operate_at"]), c["method"] == results["reference"]) for c in shown]
    lines += [
        (b["name"].partition(",")[0], b["at"], False) for b in dataset["bounds"] if not b["name"].startswith("best")
    ]
    if not shown:
        return ""
    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(10.4, 0.27 * len(lines) + 1.3), sharey=True, width_ratios=(1.6, 1)
    )
    for k, (_, point, ours) in enumerate(lines):
        over = point["drop"]["value"] > results["operate_at"]
        for axes, what, mark in ((left, "saving", "o"), (right, "drop", "D")):
            value = point[what]
            axes.errorbar(
                [100 * value["value"]], [k], xerr=_bars(value, 100), fmt=mark if k < len(shown) else "x", capsize=2,
                elinewidth=1.1, markersize=8 if ours else 6, color=INK, markeredgecolor=INK,
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
    left.set_title(f"{dataset['dataset']}: what each method saves, and loses (95 % intervals)", loc="left", fontsize=11)
    figure.tight_layout()
    return svg_of(figure, pyplot, f"savings {dataset['dataset']}")


def _bars(found: Json, scale: float) -> list[list[float]]:
    return [[max(0.0, scale * (found["value"] - found["low"]))], [max(0.0, scale * (found["high"] - found["value"]))]]


def reliability(dataset: Json, results: Json) -> str:
    """For each score: accuracy over confidence (marks grow with the number of answers), and below it how often each
    confidence comes, right answers apart from wrong ones."""
    pyplot = load_pyplot()
    shown = [(name, p) for name, p in dataset["pictures"].items() if p["bins"]]
    if not shown:
        return ""
    lines = -(-len(shown) // ACROSS)
    across = min(ACROSS, len(shown))
    figure, grid = pyplot.subplots(
        2 * lines, across, figsize=(2.25 * across + 0.4, 3.5 * lines), squeeze=False, height_ratios=[2, 1] * lines
    )
    for axes in grid.flat:
        axes.set_visible(False)
    for k, (name, data) in enumerate(shown):
        top, low = grid[2 * (k // ACROSS)][k % ACROSS], grid[2 * (k // ACROSS) + 1][k % ACROSS]
        _diagram(top, name, data, ours=name == results["reference"], first=k % ACROSS == 0)
        _histogram(low, data, first=k % ACROSS == 0)
    figure.tight_layout()
    return svg_of(figure, pyplot, f"reliability {dataset['dataset']}")


def _diagram(axes: Any, name: str, data: Json, *, ours: bool, first: bool) -> None:
    axes.set_visible(True)
    total = sum(b["count"] for b in data["bins"])
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
    x, y = [b["confidence"] for b in data["bins"]], [b["accuracy"] for b in data["bins"]]
    axes.plot(x, y, color=BLUE, linewidth=1)
    axes.scatter(
        x, y, s=[12 + 160 * b["count"] / total for b in data["bins"]], facecolors="white", edgecolors=BLUE, zorder=3
    )
    axes.set_xlim(-0.05, 1.05)
    axes.set_ylim(-0.05, 1.05)
    axes.set_title(name, fontsize=8, loc="left", fontweight="bold" if ours else "normal")
    axes.tick_params(labelsize=7)
    if first:
        axes.set_ylabel("share right", fontsize=8)


def _histogram(axes: Any, data: Json, *, first: bool) -> None:
    axes.set_visible(True)
    width = 1 / len(data["right"])
    middle = [(i + 0.5) * width for i in range(len(data["right"]))]
    axes.bar(middle, data["right"], width=width, color="#c9d8e6", edgecolor=INK, linewidth=0.4, label="right")
    axes.bar(
        middle, data["wrong"], width=width, bottom=data["right"], color="white", edgecolor=INK, hatch="/////",
        linewidth=0.4, label="wrong",
    )  # fmt: skip
    axes.set_xlim(-0.05, 1.05)
    axes.tick_params(labelsize=7)
    axes.set_xlabel("confidence", fontsize=8)
    if first:
        axes.set_ylabel("answers", fontsize=8)
        axes.legend(fontsize=6.5)
