"""Pages: jinja2 templates with automatic escaping, filled into one HTML file each. Needs the extra `report`."""

from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from corea.calibrate.artefact import Calibration
from corea.calibrate.held_out import HeldOutReport
from corea.errors import ConfigError
from corea.registry import install_hint
from corea.report import calibration as words
from corea.report.plots import Curve, PlotPoint, ReliabilityPanel, frontier, reliability, svg_text

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
        bars = {"as stated": found.report.reliability_before, "after the map": found.report.reliability_after}
        bins = {name: msgspec.to_builtins(each) for name, each in bars.items()}
        panels = [ReliabilityPanel(title=name, bins=each) for name, each in bins.items()]
        plots = {
            "frontier": inline_svg(_frontier(found, found.report), "frontier"),
            "reliability": inline_svg(reliability(panels), "reliability"),
        }
    return render(
        "calibration.html", title=words.title(found), wide=False, found=found,
        facts=[f"{name}: {said}" for name, said in words.facts(found)], violations=words.violations(found),
        ece=words.calibration_errors(found), shares=words.share_rows(found), costs=words.cost_rows(found),
        baselines=words.baseline_rows(found), categories=words.category_rows(found),
        slice_name=found.data.category_column, **plots,
    )  # fmt: skip


def _frontier(found: Calibration, report: HeldOutReport) -> Any:
    expected = found.expected
    ends = [
        PlotPoint.at(name, expected[f"{role}_mean_cost_usd"].value, expected[f"{role}_pass_at_1"].value, kind)
        for name, role, kind in (("small model alone", "slm", "small"), ("large model alone", "llm", "large"))
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
