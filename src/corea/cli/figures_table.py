"""The table of figures that `corea demo`, `eval` and `compare` print."""

from collections.abc import Sequence
from typing import Any

from corea.cli.console import percent
from corea.evaluate.figures import FiguresRow


def figures_table(rows: Sequence[FiguresRow]) -> Any:
    """Accuracy, cost, share deferred and saving of each way to answer; a rich table of 80 columns."""
    from rich.table import Table

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
            "" if row.name in ("large alone", "small alone") else saved,
            style="bold" if row.name.startswith("cascade") else None,
        )
    return made
