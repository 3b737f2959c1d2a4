"""`corea run`: a file of questions in, a file of answers out; resumable, within a budget."""

import asyncio
import sys
from contextlib import nullcontext
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from corea.cli.console import (
    CalibrationOption,
    ConfigOption,
    ForceOption,
    JsonOption,
    SetOption,
    amount,
    note,
    percent,
    print_json,
    usd,
)
from corea.cli.run_report import describe, exit_code_of
from corea.errors import ConfigError
from corea.run.runner import OnBadRow, run_batch
from corea.run.summary import RunProgress, RunSummary

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID


def run(
    questions: Annotated[
        str, typer.Argument(help="JSONL, CSV, TSV or Parquet, also .gz; - reads JSON lines from a pipe.")
    ],
    out: Annotated[str, typer.Option("--out", "-o", help="Where the answers go; - writes traces to a pipe.")],
    config: ConfigOption = None,
    set_: SetOption = None,
    cascade: Annotated[str | None, typer.Option(help="Which cascade of the configuration; default: the first.")] = None,
    calibration: CalibrationOption = None,
    force: ForceOption = False,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Questions under way at once.")] = None,
    budget_usd: Annotated[
        str | None, typer.Option(help="Stop before more than this is spent, over all starts.")
    ] = None,
    on_bad_row: Annotated[OnBadRow, typer.Option(help="What follows on a row that is no question.")] = OnBadRow.STOP,
    free_text: Annotated[
        bool,
        typer.Option(
            "--free-text", help="Whole texts are wanted: none has to hold a short answer, but none may be empty."
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
    json: JsonOption = False,
) -> None:
    """Answer a file of questions. Re-running the same command resumes the run."""
    from corea.cli.configuration import BUNDLED_NOTE, find_cascade, settings_of_answers

    if json and out == "-":
        raise ConfigError("--json: got it together with --out -, expected one of the two to use standard output")
    built, settings, bundled = find_cascade(config, set_, cascade, calibration=calibration, force=force)
    if bundled and not quiet:
        note(BUNDLED_NOTE)
    budget = amount(budget_usd) if budget_usd is not None else settings.run.budget_usd

    async def answer() -> RunSummary:
        from corea.run.shutdown import stopping_on_signals

        try:
            with stopping_on_signals() as stop, _display(quiet or json) as display:
                return await run_batch(
                    built.cascade,
                    questions,
                    out,
                    concurrency=settings.run.concurrency if concurrency is None else concurrency,
                    budget_usd=budget,
                    on_bad_row=on_bad_row,
                    settings=settings_of_answers(settings, built),
                    on_progress=display,
                    stop=stop,
                    pipe=_stdout() if out == "-" else None,
                )
        finally:
            await built.cascade.close()

    summary = asyncio.run(answer())
    if json:
        print_json(summary.as_dict())
    else:
        for line in describe(summary, built.cascade.stages, free_text=free_text):
            note(line) if out == "-" else print(line)
    code = exit_code_of(summary, free_text=free_text)
    if code:
        raise typer.Exit(code)


def _stdout() -> IO[bytes]:
    return sys.stdout.buffer


def _display(quiet: bool) -> Any:
    return nullcontext(None) if quiet else ProgressDisplay()


class ProgressDisplay:
    """A bar on standard error with counts, rate, deferral rate, money spent and saved, and time left.

    In a narrow window the counts are shown whole, and the facts behind them as far as they fit.
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
        self.bars.start()  # at the first news: an error before it stays one clear line
