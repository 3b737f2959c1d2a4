"""The frontier of an evaluation: the cascade at every threshold, with its two models and its baselines."""

from collections.abc import Sequence
from typing import Any

from corea.evaluate.figures import FiguresRow
from corea.evaluate.thresholds import filled
from corea.metrics import Frontier, cascade_frontier, oracle_frontier, random_frontier
from corea.records.table import OutcomeTable
from corea.report.plots import Curve, CurveKind, PlotPoint, frontier


def frontier_of(outcomes: OutcomeTable, rows: Sequence[FiguresRow], *, title: str, note: str = "") -> Any:
    """The plot of accuracy against cost.

    Args:
        rows: As `corea.evaluate.figures.cascade_rows` gives them; the third is the chosen threshold's.
    """
    first, last = outcomes.first, outcomes.last
    models = (first.correct, last.correct, first.cost_usd, last.cost_usd)
    curves = [
        _curve("oracle", "oracle", oracle_frontier(*models)),
        _curve("random deferral", "random", random_frontier(*models)),
        _curve("cascade, any threshold", "chosen", cascade_frontier(filled(first.confidence), *models)),
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


def _curve(name: str, kind: CurveKind, found: Frontier) -> Curve:
    return Curve(name=name, kind=kind, cost_usd=found.cost_usd.tolist(), accuracy=found.accuracy.tolist())
