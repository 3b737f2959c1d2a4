"""Pages: jinja2 templates with automatic escaping, filled into one HTML file each. Needs the extra `report`."""

from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from corea.calibrate.artefact import Calibration
from corea.errors import ConfigError
from corea.evaluate.compare import SignalComparison
from corea.registry import install_hint
from corea.report import calibration as words
from corea.report import comparison as cells
from corea.report.frontiers import calibration_frontier, comparison_frontier
from corea.report.plots import ReliabilityPanel, reliability, svg_text

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
            "frontier": inline_svg(calibration_frontier(found, found.report), "frontier"),
            "reliability": inline_svg(reliability(panels), "reliability"),
        }
    return render(
        "calibration.html", title=words.title(found), wide=False, found=found,
        facts=[f"{name}: {said}" for name, said in words.facts(found)], violations=words.violations(found),
        ece=words.calibration_errors(found), shares=words.share_rows(found), costs=words.cost_rows(found),
        baselines=words.baseline_rows(found), categories=words.category_rows(found),
        slice_name=found.data.category_column, **plots,
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
        frontier=inline_svg(comparison_frontier(found), "frontier"),
        reliability=inline_svg(reliability(panels), "reliability") if panels else None,
    )  # fmt: skip
