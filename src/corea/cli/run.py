"""`corea run`: a file of questions in, a file of answers out; resumable, within a budget."""

import asyncio
import sys
from functools import partial
from typing import IO, Annotated

import typer

from corea.cli.console import (
    CalibrationOption,
    ConfigOption,
    ForceOption,
    JsonOption,
    SetOption,
    amount,
    note,
    print_json,
)
from corea.cli.run_report import describe, exit_code_of, show_progress
from corea.errors import ConfigError
from corea.report.terminal import ProgressBars
from corea.run.runner import OnBadRow, run_batch
from corea.run.summary import RunSummary


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
    silent = quiet or json
    budget = amount(budget_usd) if budget_usd is not None else settings.run.budget_usd

    async def answer() -> RunSummary:
        from corea.run.shutdown import stopping_on_signals

        try:
            with stopping_on_signals() as stop, ProgressBars(quiet=silent) as bars:
                return await run_batch(
                    built.cascade,
                    questions,
                    out,
                    concurrency=settings.run.concurrency if concurrency is None else concurrency,
                    budget_usd=budget,
                    on_bad_row=on_bad_row,
                    settings=settings_of_answers(settings, built),
                    on_progress=None if silent else partial(show_progress, bars, "answering"),
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
