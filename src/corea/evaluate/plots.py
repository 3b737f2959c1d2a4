"""Pictures, in one style that is readable in grey and by the colour-blind. Needs the extra `report`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corea.errors import ConfigError
from corea.evaluate.table import Pair, Row
from corea.metrics import cascade_frontier, oracle_frontier, random_frontier
from corea.registry import install_hint

INK, BLUE, ORANGE, GREY = "#222222", "#0b5fa5", "#d9730d", "#8a8a8a"
STYLE: dict[str, Any] = {
    "figure.figsize": (7.2, 4.4),
    "figure.dpi": 130,
    "font.size": 10,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "svg.hashsalt": "corea",
    "svg.fonttype": "none",
}


def load_pyplot() -> Any:
    """matplotlib without a screen, or one clear line."""
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError(f"pictures need matplotlib, which is not installed; {install_hint('matplotlib')}") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as pyplot

    for name, value in STYLE.items():
        pyplot.rcParams[name] = value  # pyright: ignore[reportArgumentType]  # its keys are literals
    return pyplot


def draw_frontier(pair: Pair, table: Sequence[Row], path: Path, *, title: str, note: str = "") -> Path:
    """Accuracy against mean cost: the cascade at every threshold, with its ends, random, oracle and the chosen point.

    Args:
        table: As `corea.evaluate.table.rows` gives it; its third row is the chosen point.
        path: The ending chooses the format: .png, .svg, .pdf.
    """
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots()
    scale = 1000  # USD for a thousand questions
    models = (pair.small_correct, pair.large_correct, pair.small_cost, pair.large_cost)
    ours, oracle, chance = cascade_frontier(pair.filled, *models), oracle_frontier(*models), random_frontier(*models)
    axes.plot(oracle.cost_usd * scale, oracle.accuracy, color=GREY, linestyle=":", label="oracle")
    axes.plot(chance.cost_usd * scale, chance.accuracy, color=GREY, linestyle="--", label="random deferral")
    axes.plot(
        ours.cost_usd * scale, ours.accuracy, color=BLUE, marker=".", markersize=4, label="cascade, any threshold"
    )
    by_name = {row.name: row for row in table}
    small, large, chosen = by_name["small alone"], by_name["large alone"], table[2]
    for row, marker, label in ((small, "s", "small model alone"), (large, "D", "large model alone")):
        axes.plot(row.cost_usd * scale, row.accuracy, marker, color=INK, markersize=7, label=label)
    bars = [[chosen.accuracy - chosen.low], [chosen.high - chosen.accuracy]]
    axes.errorbar(
        [chosen.cost_usd * scale], [chosen.accuracy], yerr=bars, fmt="o", color=ORANGE, markersize=8, capsize=3,
        zorder=5, label=f"{chosen.name}: saves {100 * chosen.saving:.0f} %",
    )  # fmt: skip
    axes.set_xlabel("USD per 1,000 questions")
    axes.set_ylabel("share right")
    axes.set_title(title, loc="left", fontsize=11)
    axes.legend(loc="lower right", fontsize=8.5)
    if note:
        figure.text(0.01, 0.005, note, fontsize=7, color=GREY)
    figure.tight_layout(rect=(0, 0.03 if note else 0, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
    return path
