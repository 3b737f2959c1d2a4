"""`corea run`: a file of questions in, a file of answers out; resumable, within a budget."""

import asyncio
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corea.cli.console import amount, note, percent, print_json, usd
from corea.cli.options import (
    BudgetOption,
    CascadeOptions,
    ConcurrencyOption,
    JsonOption,
    QuietOption,
    spread,
)
from corea.cli.run_report import describe, exit_code_of
from corea.errors import ConfigError
from corea.run.runner import OnBadRow, run_batch
from corea.run.summary import RunProgress, RunSummary

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID


@spread
def run(
    questions: Annotated[
        str, typer.Argument(help="JSONL, CSV, TSV or Parquet, also .gz; - reads JSON lines from a pipe.")
    ],
    out: Annotated[str, typer.Option("--out", "-o", help="File of the answers; - writes traces to a pipe.")],
    options: CascadeOptions,
    concurrency: ConcurrencyOption = None,
    budget_usd: BudgetOption = None,
    on_bad_row: Annotated[OnBadRow, typer.Option(help="Action on an invalid row.")] = OnBadRow.STOP,
    free_text: Annotated[
        bool, typer.Option("--free-text", help="Accept whole texts without a short answer; an empty one still counts.")
    ] = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Answer a file of questions. Re-running the same command resumes the run."""
    from corea.cli.configuration import BUNDLED_NOTE, build_cascade, settings_of_answers
    from corea.run.shutdown import stopping_on_signals

    if json and out == "-":
        raise ConfigError("--json: got it together with --out -, expected one of the two to use standard output")
    built, settings, bundled = build_cascade(options)
    if bundled and not quiet:
        note(BUNDLED_NOTE)

    async def answer() -> RunSummary:
        try:
            with stopping_on_signals() as stop, _display(quiet or json) as display:
                return await run_batch(
                    built.cascade,
                    questions,
                    out,
                    concurrency=settings.run.concurrency if concurrency is None else concurrency,
                    budget_usd=settings.run.budget_usd if budget_usd is None else amount(budget_usd),
                    on_bad_row=on_bad_row,
                    settings=settings_of_answers(settings, built),
                    on_progress=display,
                    stop=stop,
                    pipe=sys.stdout.buffer if out == "-" else None,
                )
        finally:
            await built.cascade.close()

    summary = asyncio.run(answer())
    if json:
        print_json(summary.as_dict())
    else:
        for line in describe(summary, built.cascade.stages, free_text=free_text):
            note(line) if out == "-" else print(line)
    if code := exit_code_of(summary, free_text=free_text):
        raise typer.Exit(code)


def _display(quiet: bool) -> Any:
    return nullcontext(None) if quiet else ProgressDisplay()


class ProgressDisplay:
    """Progress bar on standard error: counts, rate, deferral rate, money spent and saved, time left.

    In a narrow window the counts are shown whole, and the text behind them as much as fits.
    """

    def __init__(self, console: "Console | None" = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bars
        from rich.table import Column

        console = console or Console(stderr=True)
        self.bars: Bars = Bars(
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            BarColumn(bar_width=10),
            TextColumn("{task.fields[facts]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            console=console,
            expand=True,
            disable=not console.is_terminal,
        )
        self.task: TaskID = self.bars.add_task("answering", total=None, facts="")

    def __enter__(self) -> "ProgressDisplay":
        return self

    def __exit__(self, *ended: object) -> None:
        self.bars.stop()

    def __call__(self, progress: RunProgress) -> None:
        ledger = progress.ledger
        left = f" · {progress.seconds_left:,.0f} s left" if progress.seconds_left is not None else ""
        facts = (
            f"{progress.rate:,.0f}/s{left} · deferred {percent(ledger.defer_rate)} · spent {usd(ledger.cost_usd)} · "
            f"saved {usd(ledger.saved_usd)}"
        )
        self.bars.update(self.task, completed=progress.done, total=progress.total, facts=facts)
        self.bars.start()  # at the first update: an error before it stays one clear line
