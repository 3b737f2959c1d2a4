"""The frontier of an evaluation: the cascade at every threshold, with its two models and its baselines."""

from collections.abc import Sequence
from typing import Any

from corea.evaluate.figures import FiguresRow
from corea.evaluate.thresholds import filled
from corea.metrics import cascade_frontier, oracle_frontier, random_frontier
from corea.records.table import OutcomeTable
from corea.report.plots import Curve, PlotPoint, frontier


def frontier_of(outcomes: OutcomeTable, rows: Sequence[FiguresRow], *, title: str, note: str = "") -> Any:
    """The plot of accuracy against cost.

    Args:
        rows: As `corea.evaluate.figures.cascade_rows` gives them; the third is the chosen threshold's.
    """
    first, last = outcomes.first, outcomes.last
    models = (first.correct, last.correct, first.cost_usd, last.cost_usd)
    curves = [
        Curve.of("oracle", oracle_frontier(*models), "oracle"),
        Curve.of("random deferral", random_frontier(*models), "random"),
        Curve.of("cascade, any threshold", cascade_frontier(filled(first.confidence), *models), "chosen"),
    ]
    small, large, chosen = rows[:3]
    points = [
        PlotPoint.at("small model alone", small.cost_usd.value, small.accuracy.value, "small"),
        PlotPoint.at("large model alone", large.cost_usd.value, large.accuracy.value, "large"),
        PlotPoint(
            name=f"{chosen.name}: saves {100 * chosen.saving.value:.0f} %",
            cost_usd=chosen.cost_usd,
            accuracy=chosen.accuracy,
            kind="chosen",
        ),
    ]
    return frontier(curves, points, title=title, note=note)
