"""`corea run`: a file of questions in, a file of answers out; resumable, within a budget."""

import asyncio
import sys
from functools import partial
from typing import Annotated

import typer

from corea.cli.console import amount, note, print_json
from corea.cli.options import (
    BudgetOption,
    CascadeOptions,
    ConcurrencyOption,
    JsonOption,
    QuietOption,
    spread,
)
from corea.cli.run_report import describe, exit_code_of, show_progress
from corea.errors import ConfigError
from corea.report.terminal import ProgressBars
from corea.run.runner import OnBadRow, run_batch
from corea.run.summary import RunSummary
from corea.stage import Mode


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
    from corea.cli.advice import blind_stages
    from corea.cli.configuration import BUNDLED_NOTE, build_cascade, settings_of_answers
    from corea.run.shutdown import stopping_on_signals

    if json and out == "-":
        raise ConfigError("--json: got it together with --out -, expected one of the two to use standard output")
    built, settings, bundled = build_cascade(options)
    if bundled and not quiet:
        note(BUNDLED_NOTE)
    silent = quiet or json
    free_text = free_text or built.cascade.stages[-1].mode is Mode.CHAT

    async def answer() -> RunSummary:
        try:
            for line in await blind_stages(built.cascade):
                note(line)
            with stopping_on_signals() as stop, ProgressBars(quiet=silent) as bars:
                return await run_batch(
                    built.cascade,
                    questions,
                    out,
                    concurrency=settings.run.concurrency if concurrency is None else concurrency,
                    budget_usd=settings.run.budget_usd if budget_usd is None else amount(budget_usd),
                    on_bad_row=on_bad_row,
                    settings=settings_of_answers(settings, built),
                    on_progress=None if silent else partial(show_progress, bars, "answering"),
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
