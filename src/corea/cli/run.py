"""`corea run`: a file of questions in, a file of answers out; resumable, within a budget."""

import asyncio
import sys
from contextlib import nullcontext
from typing import IO, Annotated, Any

import typer

from corea.cli.console import (
    EXIT_BACKEND,
    EXIT_BUDGET,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    CalibrationOption,
    ConfigOption,
    ForceOption,
    JsonOption,
    SetOption,
    amount,
    percent,
    print_json,
    usd,
)
from corea.errors import ConfigError
from corea.ledger import Ledger
from corea.run.runner import OnBadRow, run_batch
from corea.run.summary import Outcome, Progress, RunSummary


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
    concurrency: Annotated[int | None, typer.Option(help="Questions under way at once.")] = None,
    budget_usd: Annotated[
        str | None, typer.Option(help="Stop before more than this is spent, over all starts.")
    ] = None,
    on_bad_row: Annotated[OnBadRow, typer.Option(help="What follows on a row that is no question.")] = OnBadRow.STOP,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
    json: JsonOption = False,
) -> None:
    """Answer a file of questions. Started again after any end, with the same words, it goes on where it was."""
    from corea.cli.configuration import BUNDLED_NOTE, find_cascade

    built, settings, bundled = find_cascade(config, set_, cascade, calibration=calibration, force=force)
    if bundled and not quiet:
        print(BUNDLED_NOTE, file=sys.stderr)
    budget = amount(budget_usd) if budget_usd is not None else settings.run.budget_usd

    async def answer() -> RunSummary:
        from corea.run.stopping import stopping_on_signals

        try:
            with stopping_on_signals() as stop, _display(quiet or json) as display:
                return await run_batch(
                    built.cascade,
                    questions,
                    out,
                    concurrency=concurrency or settings.run.concurrency,
                    budget_usd=budget,
                    on_bad_row=on_bad_row,
                    fingerprint=f"{settings.sha256} {built.name}",
                    on_progress=display,
                    stop=stop,
                    pipe=_stdout() if out == "-" else None,
                )
        finally:
            await built.cascade.close()

    summary = asyncio.run(answer())
    report = sys.stderr if out == "-" else sys.stdout
    if json:
        if out == "-":
            raise ConfigError("--json: got it together with --out -, expected one of the two to use standard output")
        print_json(summary.as_dict())
    else:
        for line in describe(summary):
            print(line, file=report)
    code = exit_code_of(summary)
    if code:
        raise typer.Exit(code)


def describe(summary: RunSummary) -> list[str]:
    """What a run did, in a few lines for people."""
    ledger, of = summary.ledger, f" of {summary.total:,}" if summary.total is not None else ""
    resumed = f" ({summary.resumed:,} of them by earlier starts)" if summary.resumed else ""
    lines = [
        f"{summary.outcome.value}: {summary.done:,}{of} questions answered{resumed}, {summary.failed:,} failed, "
        f"in {summary.seconds:.1f} s",
        f"deferred {percent(ledger.defer_rate)} · cost {usd(ledger.cost_usd)} · "
        f"large model alone {usd(ledger.baseline_usd)}{_how_known(ledger)} · "
        f"saved {usd(ledger.saved_usd)}",
    ]
    if summary.lost:
        lines.append(
            f"{summary.lost:,} questions were in flight when an earlier start was killed; they were asked again and "
            "may have been paid twice"
        )
    if summary.bad_rows:
        lines += [f"{summary.bad_rows:,} rows were left out:", *(f"  {m}" for m in summary.bad_row_messages)]
    if summary.outcome is Outcome.BUDGET:
        lines.append(f"stopped before the budget of {usd(summary.budget_usd)} could be exceeded; raise it to go on")
    if summary.last_error:
        lines.append(f"last error: {summary.last_error}")
    return [*lines, f"answers: {summary.output}"]


def _how_known(ledger: Ledger) -> str:
    if ledger.baseline_is_assumed:
        return " (assumed: it was never asked; as many tokens as the small model)"
    return " (estimate)" if ledger.baseline_is_estimate else ""


def exit_code_of(summary: RunSummary) -> int:
    """The exit code of a run that ended in good order."""
    codes = {Outcome.BUDGET: EXIT_BUDGET, Outcome.INTERRUPTED: EXIT_INTERRUPTED, Outcome.GAVE_UP: EXIT_BACKEND}
    return codes.get(summary.outcome, EXIT_FAILED if summary.failed or summary.bad_rows else 0)


def _stdout() -> IO[bytes]:
    return sys.stdout.buffer


def _display(quiet: bool) -> Any:
    return nullcontext(None) if quiet else ProgressDisplay()


class ProgressDisplay:
    """A bar on standard error with rate, deferral rate, money spent and saved, and time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bars

        self.bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            console=(console := Console(stderr=True)),
            disable=not console.is_terminal,
        )
        self.task = self.bars.add_task("answering", total=None, facts="")

    def __enter__(self) -> "ProgressDisplay":
        return self

    def __exit__(self, *ended: object) -> None:
        self.bars.stop()

    def __call__(self, progress: Progress) -> None:
        self.bars.start()  # at the first news: an error before it stays one clear line
        ledger = progress.ledger
        left = f" · {progress.seconds_left:,.0f} s left" if progress.seconds_left is not None else ""
        facts = (
            f"{progress.rate:,.0f}/s · deferred {percent(ledger.defer_rate)} · spent {usd(ledger.cost_usd)} · "
            f"saved {usd(ledger.saved_usd)}{left}"
        )
        self.bars.update(self.task, completed=progress.done, total=progress.total, facts=facts)
