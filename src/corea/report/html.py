"""Pages: jinja2 templates with automatic escaping, filled into one HTML file each. Needs the extra `report`."""

from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from corea.calibrate.artefact import Calibration
from corea.errors import ConfigError
from corea.evaluate.compare import CERTIFIED, SignalComparison
from corea.metrics import Interval
from corea.registry import install_hint
from corea.report import calibration as words
from corea.report import comparison as cells
from corea.report.plots import Curve, PlotPoint, PointKind, ReliabilityPanel, frontier, reliability, svg_text

MOST_CURVES = 4
TEMPLATES = Path(__file__).parent / "templates"


@cache
def _environment(*folders: Path) -> Any:
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise ConfigError(f"pages need jinja2, which is not installed; {install_hint('jinja2')}") from error
    return Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def render(template: str, *folders: Path, **values: Any) -> str:
    """A filled template; every text among `values` is escaped.

    Args:
        folders: Where else to look for templates; `base.html` and `macros.html` are always found.

    Raises:
        ConfigError: jinja2 is not installed.
    """
    return _environment(*folders).get_template(template).render(**values)


def inline_svg(figure: Any, name: str) -> Any:
    """A figure to stand within a page; the ids within it begin with `name`."""
    from markupsafe import Markup

    return Markup(svg_text(figure, name))


def calibration_page(found: Calibration) -> str:
    """The report of a calibration.

    Raises:
        ConfigError: jinja2 or matplotlib is not installed.
    """
    plots: dict[str, Any] = {"frontier": None, "reliability": None}
    if found.report:
        bins = {"as stated": found.report["reliability_before"], "after the map": found.report["reliability_after"]}
        panels = [ReliabilityPanel(title=name, bins=each) for name, each in bins.items()]
        plots = {
            "frontier": inline_svg(_frontier(found), "frontier"),
            "reliability": inline_svg(reliability(panels), "reliability"),
        }
    return render(
        "calibration.html", title=words.title(found), wide=False, found=found,
        facts=[f"{name}: {said}" for name, said in words.facts(found)], violations=words.violations(found),
        ece=words.calibration_errors(found), shares=words.share_rows(found), costs=words.cost_rows(found),
        baselines=words.baseline_rows(found), categories=words.category_rows(found),
        slice_name=found.data.get("group", "category"), **plots,
    )  # fmt: skip


def comparison_page(found: SignalComparison) -> str:
    """The report of a comparison of signals and thresholds.

    Raises:
        ConfigError: jinja2 or matplotlib is not installed.
    """
    panels = [
        ReliabilityPanel(title=name, bins=[asdict(each) for each in report.bins], bold=i == 0)
        for i, (name, report) in enumerate(found.signals.items())
        if report.bins
    ]
    return render(
        "comparison.html", title=f"Comparison: {' deferring to '.join(found.models)}", wide=True,
        lines=cells.explanations(found), head=cells.HEAD, rows=cells.comparison_rows(found),
        signal_head=cells.SIGNAL_HEAD, signals=cells.signal_rows(found), notes=found.notes,
        frontier=inline_svg(_comparison_frontier(found), "frontier"),
        reliability=inline_svg(reliability(panels), "reliability") if panels else None,
    )  # fmt: skip


def _comparison_frontier(found: SignalComparison) -> Any:
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


def _frontier(found: Calibration) -> Any:
    report, expected = found.report, {name: _interval(each) for name, each in found.expected.items() if name != "n"}
    ends = [
        PlotPoint.at(name, expected[f"{role}_mean_cost_usd"].value, expected[f"{role}_pass_at_1"].value, kind)
        for name, role, kind in (("small model alone", "slm", "small"), ("large model alone", "llm", "large"))
    ]
    label = f"{found.tiers[0]['model']} alone before the last" if len(found.tiers) > 1 else "every threshold"
    curves = [
        Curve(name=label, kind="chosen", **{k: report["frontier"][k] for k in ("cost_usd", "accuracy")}),
        Curve(
            name="random deferral", kind="random", cost_usd=[end.cost_usd.value for end in ends],
            accuracy=[end.accuracy.value for end in ends],
        ),
    ]  # fmt: skip
    points = [*ends]
    for name, kind in (("oracle", "oracle"), ("published_rule", "rule")):
        points.append(PlotPoint.at(name.replace("_", " "), report[name]["cost_usd"], report[name]["accuracy"], kind))
    if found.certified:
        chosen, cost = expected["pass_at_1"], expected["mean_cost_usd"]
        points.append(PlotPoint(name="certified, with 95 % intervals", cost_usd=cost, accuracy=chosen, kind="chosen"))
    floor, limit = None, found.guarantee["goals"].get("max_drop")
    if limit is not None:
        verb = "guarantee" if found.certified else "target"
        floor = expected["llm_pass_at_1"].value - limit, f"{verb}: large model less {100 * limit:g} points"
    return frontier(curves, points, floor=floor)


def _interval(each: dict[str, float]) -> Interval:
    return Interval(each["value"], each["low"], each["high"])
