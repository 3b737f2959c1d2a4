"""`corea run`: a file of questions in, a file of answers out; resumable, within a budget."""

import asyncio
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from typing import IO, TYPE_CHECKING, Annotated, Any

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
    note,
    percent,
    print_json,
    usd,
)
from corea.errors import ConfigError
from corea.ledger import Ledger
from corea.run.runner import OnBadRow, run_batch
from corea.run.summary import Outcome, Progress, RunSummary

if TYPE_CHECKING:
    from rich.console import Console


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
    free_text: Annotated[
        bool, typer.Option("--free-text", help="Whole texts are wanted: none has to hold a short answer.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
    json: JsonOption = False,
) -> None:
    """Answer a file of questions. Started again after any end, with the same words, it goes on where it was."""
    from corea.cli.configuration import BUNDLED_NOTE, find_cascade, settings_of_answers

    if json and out == "-":
        raise ConfigError("--json: got it together with --out -, expected one of the two to use standard output")
    built, settings, bundled = find_cascade(config, set_, cascade, calibration=calibration, force=force)
    if bundled and not quiet:
        note(BUNDLED_NOTE)
    budget = amount(budget_usd) if budget_usd is not None else settings.run.budget_usd

    async def answer() -> RunSummary:
        from corea.run.stopping import stopping_on_signals

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
        for line in describe(summary, free_text=free_text):
            note(line) if out == "-" else print(line)
    code = exit_code_of(summary, free_text=free_text)
    if code:
        raise typer.Exit(code)


def describe(summary: RunSummary, *, free_text: bool = False) -> list[str]:
    """What a run did, in a few lines for people."""
    ledger, of = summary.ledger, f" of {summary.total:,}" if summary.total is not None else ""
    resumed = f" ({summary.resumed:,} of them by earlier starts)" if summary.resumed else ""
    unreadable = 0 if free_text else summary.shortcomings.unreadable
    without = f", {unreadable:,} without a readable answer" if unreadable else ""
    lines = [
        f"{summary.outcome.value}: {summary.done:,}{of} questions answered{resumed}, "
        f"{summary.failed:,} failed{without}, in {summary.seconds:.1f} s",
        f"deferred {percent(ledger.defer_rate)} · cost {usd(ledger.cost_usd)} · "
        f"large model alone {usd(ledger.baseline_usd)}{_how_known(ledger)} · "
        f"saved {usd(ledger.saved_usd)}",
        *_shortcomings(summary, free_text=free_text),
        *_about_the_questions(summary),
    ]
    if summary.lost:
        lines.append(
            f"{summary.lost:,} questions were in flight when an earlier start was killed; they were asked again and "
            "may have been paid twice"
        )
    if summary.outcome is Outcome.BUDGET:
        lines.append(_budget_ended(summary))
    if summary.last_error:
        lines.append(f"last error: {summary.last_error}")
    return [*lines, f"answers: {summary.output}"]


def _shortcomings(summary: RunSummary, *, free_text: bool) -> list[str]:
    """One line for each kind of answer that is less than it should be, with what to do."""
    found, lines = summary.shortcomings, list[str]()
    if found.unreadable and not free_text:
        lines.append(
            f"{found.unreadable:,} answers could not be read from their text; use a prompt that asks for "
            "<answer>...</answer>, such as `default`, or give --free-text if whole texts are wanted"
        )
    if found.cut:
        keys = " and ".join(f"stages.{stage}.sampling.max_tokens" for stage in found.cut)
        lines.append(f"{_by_stage(found.cut)} texts were cut off by the token limit; raise {keys}")
    if found.unstated:
        reason = found.reasons.most_common(1)[0][0]
        lines.append(
            f"{_by_stage(found.unstated)} drafts stated no confidence ({reason}), so the threshold could not be "
            "applied to them; use a prompt that asks for one, or another signal, and see `corea check`"
        )
    return lines


def _by_stage(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} of stage {stage}'s" for stage, count in counts.items())


def _about_the_questions(summary: RunSummary) -> list[str]:
    lines: list[str] = []
    if summary.bad_rows:
        lines += [f"{summary.bad_rows:,} rows were left out:", *(f"  {m}" for m in summary.bad_row_messages)]
    if summary.removed:
        lines.append(
            f"{summary.removed:,} rows of an earlier start are no longer in the questions; "
            f"{summary.removed_answered:,} of them had been answered: that stays in the journal "
            "and in the cost, and is left out of the output"
        )
    if summary.unused:
        named = ", ".join(f"{key} ({count:,} rows)" for key, count in sorted(summary.unused.items()))
        lines.append(f"settings in the requests are not used, the configuration decides them: {named}")
    return lines


def _budget_ended(summary: RunSummary) -> str:
    if summary.next_usd_at_most is None:
        return f"stopped before the budget of {usd(summary.budget_usd)} could be exceeded; raise it to go on"
    return (
        f"stopped before the budget of {usd(summary.budget_usd)} could be exceeded: the next question may cost up to "
        f"{usd(summary.next_usd_at_most)}, and {usd(summary.left_usd)} is left; raise it to go on, or lower max_tokens"
    )


def _how_known(ledger: Ledger) -> str:
    if ledger.baseline_is_assumed:
        return " (assumed: it was never asked; as many tokens as the small model)"
    return " (estimate)" if ledger.baseline_is_estimate else ""


def exit_code_of(summary: RunSummary, *, free_text: bool = False) -> int:
    """The exit code of a run that ended in good order."""
    codes = {Outcome.BUDGET: EXIT_BUDGET, Outcome.INTERRUPTED: EXIT_INTERRUPTED, Outcome.GAVE_UP: EXIT_BACKEND}
    unreadable = 0 if free_text else summary.shortcomings.unreadable
    return codes.get(summary.outcome, EXIT_FAILED if summary.failed or summary.bad_rows or unreadable else 0)


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
        self.bars = Bars(
            MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=len("100,000/100,000"))),
            BarColumn(bar_width=10),
            TextColumn("{task.fields[facts]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            console=console,
            expand=True,
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
            f"{progress.rate:,.0f}/s{left} · deferred {percent(ledger.defer_rate)} · spent {usd(ledger.cost_usd)} · "
            f"saved {usd(ledger.saved_usd)}"
        )
        self.bars.update(self.task, completed=progress.done, total=progress.total, facts=facts)
