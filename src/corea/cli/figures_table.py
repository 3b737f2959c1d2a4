"""The table of figures that `corea demo`, `eval` and `compare` print."""

from collections.abc import Sequence
from typing import Any

from corea.cli.console import percent
from corea.evaluate.figures import FiguresRow

ALONE = ("large alone", "small alone")
NARROW = 70  # columns of a window under which the table has no intervals and no costs


def figures_table(rows: Sequence[FiguresRow], width: int) -> Any:
    """Accuracy, cost, share deferred and saving of each way to answer; a rich table of 80 columns, or of 40.

    Args:
        width: Of the window, in columns.
    """
    from rich.table import Table

    if width < NARROW:
        made = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
        for i, name in enumerate(("", "right", "to LLM", "saved")):
            made.add_column(name, justify="right" if i else "left", no_wrap=True)
        for row in rows:
            saved = "" if row.name in ALONE else percent(row.saving.value)
            made.add_row(row.name, percent(row.accuracy.value), percent(row.llm_share.value), saved, style=_style(row))
        return made
    made = Table(box=None, pad_edge=False)
    made.add_column("", min_width=max(len(row.name) for row in rows))  # legible in the narrowest window, too
    for name in ("right", "(95 %)", "USD/1,000", "to LLM", "saved (95 %)"):
        made.add_column(name, justify="right")
    for row in rows:
        right, saving = row.accuracy, row.saving
        saved = f"{percent(saving.value)} ({100 * saving.low:.0f} to {100 * saving.high:.0f})"
        made.add_row(
            row.name,
            percent(right.value),
            f"{100 * right.low:.1f}-{100 * right.high:.1f}",
            f"{1000 * row.cost_usd.value:.4f}",
            percent(row.llm_share.value),
            "" if row.name in ALONE else saved,
            style=_style(row),
        )
    return made


def _style(row: FiguresRow) -> str | None:
    return "bold" if row.name.startswith("cascade") else None
