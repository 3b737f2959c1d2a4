"""`corea compare`: signals and ways to choose a threshold, compared on one's own rows."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from corea.cli.console import print_json
from corea.cli.options import FILE, SHARE, JsonOption, RowOptions, spread
from corea.cli.rows import read_rows
from corea.errors import ConfigError, DataError


@spread
def compare(
    rows: RowOptions,
    max_drop: Annotated[
        float, typer.Option(metavar=SHARE, help="Accuracy loss that thresholds are chosen for; .02 is 2 points.")
    ] = 0.02,
    delta: Annotated[
        float, typer.Option(metavar=SHARE, help="Failure probability of the certified thresholds.")
    ] = 0.05,
    fit_share: Annotated[
        float, typer.Option(metavar=SHARE, help="Share of the questions that thresholds are chosen on.")
    ] = 0.5,
    report: Annotated[
        Path | None, typer.Option(metavar=FILE, help="Also write a report: .html for a page, .md for Markdown.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of the calibrations' own splits.")] = 0,
    json: JsonOption = False,
) -> None:
    """Compare signals and thresholds on recorded rows: chosen on one part of the questions, judged on the other.

    Rows: each signal, and their blend, with the cheapest threshold, the published rule and a certified threshold; below
    them both models alone, random deferral, the better single model and the oracle.
    """
    from corea.evaluate.compare import CompareSettings
    from corea.evaluate.compare import compare as run

    if not rows.traces or not rows.reference:
        raise ConfigError("compare: got rows of one model or none, expected both; give --traces and --reference")
    if report is not None and report.suffix not in (".html", ".md"):
        raise ConfigError(f"--report: got {report}, expected a name that ends in .html or .md")
    settings = CompareSettings(max_drop=max_drop, delta=delta, fit_share=fit_share, seed=seed)
    found = run(read_rows(rows), settings)
    if report is not None:
        from corea.report.comparison import markdown
        from corea.report.html import comparison_page

        text = comparison_page(found) if report.suffix == ".html" else markdown(found)
        try:
            report.write_text(text, encoding="utf-8")
        except OSError as error:
            raise DataError(f"cannot be written ({error}); name another --report", path=str(report)) from error
    if json:
        print_json(found.as_dict())
        return
    from corea.report.comparison import HEAD, SIGNAL_HEAD, comparison_rows, explanations, signal_rows

    print("\n".join(explanations(found)), "\n")
    _print_table(HEAD, [row.cells for row in comparison_rows(found)])
    _print_table(SIGNAL_HEAD, [row.cells for row in signal_rows(found)])
    print("\n".join(f"note: {note}" for note in found.notes))
    if report is not None:
        print(f"report     {report}")


def _print_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    made = Table(box=None, pad_edge=False)
    for i, name in enumerate(head):
        made.add_column(name, justify="left" if i < 2 else "right", overflow="fold")
    for row in rows:
        made.add_row(*row)
    width = None if sys.stdout.isatty() else 200  # of a file or pipe
    Console(highlight=False, width=width).print(made, "")
