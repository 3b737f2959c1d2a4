"""Accuracy against cost, for an evaluation, a calibration and a comparison."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from corea.calibrate.artefact import Calibration
from corea.calibrate.held_out import HeldOutReport
from corea.evaluate.compare import CERTIFIED, SignalComparison
from corea.evaluate.figures import FiguresRow
from corea.evaluate.thresholds import filled
from corea.metrics import cascade_frontier, oracle_frontier, random_frontier
from corea.records.table import OutcomeTable
from corea.report.plots import Curve, PlotPoint, PointKind, frontier

MOST_CURVES = 4


def evaluation_frontier(outcomes: OutcomeTable, rows: Sequence[FiguresRow], *, title: str, note: str = "") -> Any:
    """The cascade at every threshold, the chosen one, its two models, random deferral and the oracle.

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


def comparison_frontier(found: SignalComparison) -> Any:
    """The first signal and the best others at every threshold, their certified thresholds, and the baselines."""
    main, *others = found.signals
    others.sort(key=lambda name: -np.nan_to_num(found.signals[name].quality.auroc))
    drawn = [main, *others[: MOST_CURVES - 1]]
    curves = [Curve.of(name, found.signals[name].frontier, "other" if i else "chosen") for i, name in enumerate(drawn)]
    kinds: tuple[PointKind, ...] = ("small", "large", "rule", "rule", "oracle")
    points = [
        PlotPoint.at(each.name, each.cost_usd.value, each.accuracy.value, kind)
        for each, kind in zip(found.baselines, kinds, strict=True)
    ]
    for i, row in enumerate(found.rows):
        if row.figures is not None and (i == 0 or (row.signal in drawn and row.chooser == CERTIFIED)):
            name, kind = f"{row.signal}, {row.chooser}", "method" if i else "chosen"
            points.append(PlotPoint(name=name, cost_usd=row.figures.cost_usd, accuracy=row.figures.accuracy, kind=kind))
    floor = found.baselines[1].accuracy.value - found.settings.max_drop
    return frontier(curves, points, floor=(floor, f"large model less {100 * found.settings.max_drop:g} points"))


def calibration_frontier(found: Calibration, report: HeldOutReport) -> Any:
    """The first stage at every threshold, the certified one, its two models, random deferral and the baselines."""
    expected = found.expected
    roles: tuple[tuple[str, str, PointKind], ...] = (
        ("small model alone", "slm", "small"), ("large model alone", "llm", "large"),
    )  # fmt: skip
    ends = [
        PlotPoint.at(name, expected[f"{role}_mean_cost_usd"].value, expected[f"{role}_pass_at_1"].value, kind)
        for name, role, kind in roles
    ]
    label = f"{found.stages[0].model} alone before the last" if len(found.stages) > 1 else "every threshold"
    curves = [
        Curve(name=label, kind="chosen", cost_usd=report.frontier.cost_usd, accuracy=report.frontier.accuracy),
        Curve(
            name="random deferral", kind="random", cost_usd=[end.cost_usd.value for end in ends],
            accuracy=[end.accuracy.value for end in ends],
        ),
    ]  # fmt: skip
    points = [*ends]
    oracle, rule = report.oracle, report.published_rule
    points.append(PlotPoint.at("oracle", oracle.cost_usd or 0.0, oracle.accuracy, "oracle"))
    points.append(PlotPoint.at("published rule", rule.cost_usd or 0.0, rule.accuracy, "rule"))
    if found.certified:
        chosen, cost = expected["pass_at_1"], expected["mean_cost_usd"]
        points.append(PlotPoint(name="certified, with 95 % intervals", cost_usd=cost, accuracy=chosen, kind="chosen"))
    floor, limit = None, found.guarantee.targets.max_drop
    if limit is not None:
        verb = "guarantee" if found.certified else "target"
        floor = expected["llm_pass_at_1"].value - limit, f"{verb}: large model less {100 * limit:g} points"
    return frontier(curves, points, floor=floor)
