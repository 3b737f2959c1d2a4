"""`corea run`: a file of questions in, a file of answers out; resumable, within a budget, by one worker or by many."""

import asyncio
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corea.build import BuiltCascade
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
from corea.config import Config
from corea.errors import ConfigError
from corea.report.terminal import ProgressBars
from corea.run.runner import OnBadRow, run_batch
from corea.run.summary import RunSummary
from corea.stage import Mode

if TYPE_CHECKING:
    from corea.run.pool import PoolJob, Workers

WORKERS, BATCHES = "Many workers", "Stages that are asked by a batch API"


class RunEngine(StrEnum):
    """Starters of the workers of a run, beside this machine's processes."""

    RAY = "ray"


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """A part of a run, or its workers."""

    shard: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Answer only shard K of N; then `corea merge`.", rich_help_panel=WORKERS),
    ] = None
    processes: Annotated[
        int | None, typer.Option(min=1, help="Worker processes on this machine.", rich_help_panel=WORKERS)
    ] = None
    engine: Annotated[
        RunEngine | None, typer.Option(help="Start the workers on a Ray cluster.", rich_help_panel=WORKERS)
    ] = None
    address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster; default: a new one here.", rich_help_panel=WORKERS)
    ] = None
    workers: Annotated[
        int | None, typer.Option(min=1, help="Ray workers. Default: the cluster's processors.", rich_help_panel=WORKERS)
    ] = None
    gpus_per_worker: Annotated[float, typer.Option(min=0, help="GPUs of each Ray worker.", rich_help_panel=WORKERS)] = (
        0.0
    )

    def __post_init__(self) -> None:
        given = [f"--{name}" for name in ("shard", "processes", "engine") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ConfigError(f"{given[0]}: got it together with {given[1]}, expected one of the two")
        if self.engine is None and (self.address or self.workers or self.gpus_per_worker):
            raise ConfigError("--address, --workers, --gpus-per-worker: got one without --engine ray; add that")


@dataclass(frozen=True, kw_only=True)
class BatchApiOptions:
    """How a run waits for the batches of its stages with `batch`."""

    no_wait: Annotated[
        bool,
        typer.Option("--no-wait", help="Submit and leave; the same command goes on later.", rich_help_panel=BATCHES),
    ] = False
    cancel_batches: Annotated[
        bool,
        typer.Option("--cancel-batches", help="Ctrl-C cancels batches under way.", rich_help_panel=BATCHES),
    ] = False


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """One start, as the command line and the configuration describe it."""

    questions: str
    out: str
    concurrency: int
    budget_usd: Decimal | None
    on_bad_row: OnBadRow
    silent: bool
    workers: WorkerOptions
    batches: BatchApiOptions
    options: CascadeOptions
    built: BuiltCascade
    config: Config


@spread
def run(
    questions: Annotated[
        str, typer.Argument(help="JSONL, CSV, TSV or Parquet, also .gz; - reads JSON lines from a pipe.")
    ],
    out: Annotated[str, typer.Option("--out", "-o", help="File of the answers; - writes traces to a pipe.")],
    options: CascadeOptions,
    workers: WorkerOptions,
    batches: BatchApiOptions,
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
    from corea.cli.configuration import BUNDLED_NOTE, build_cascade

    if json and out == "-":
        raise ConfigError("--json: got it together with --out -, expected one of the two to use standard output")
    built, config, bundled = build_cascade(options)
    if bundled and not quiet:
        note(BUNDLED_NOTE)
    wanted = _Wanted(
        questions=questions,
        out=out,
        concurrency=config.run.concurrency if concurrency is None else concurrency,
        budget_usd=config.run.budget_usd if budget_usd is None else amount(budget_usd),
        on_bad_row=on_bad_row,
        silent=quiet or json,
        workers=workers,
        batches=batches,
        options=options,
        built=built,
        config=config,
    )
    many = workers.processes or workers.engine
    batched = next((stage.name for stage in built.cascade.stages if stage.batch), None)
    if many and batched is not None:
        raise ConfigError(
            f"--processes, --engine: got one while stage {batched} is asked by batches, expected none, since the "
            f"provider does that work; leave it out, or use --shard, or --set stages.{batched}.batch=false"
        )
    summary = _run_many(wanted) if many else asyncio.run(_run_one(wanted))
    report(summary, built, free_text=free_text, json=json)


def report(summary: RunSummary, built: BuiltCascade, *, free_text: bool, json: bool) -> None:
    """Prints the summary of a run, and exits with its code."""
    summary.ledger.calibrated = built.cascade.calibrated  # which the journals of shards do not hold
    free_text = free_text or built.cascade.stages[-1].mode is Mode.CHAT
    if json:
        print_json(summary.as_dict())
    else:
        for line in describe(summary, built.cascade.stages, free_text=free_text):
            note(line) if summary.output == "-" else print(line)
    if code := exit_code_of(summary, free_text=free_text):
        raise typer.Exit(code)


async def _run_one(wanted: _Wanted) -> RunSummary:
    """The run, or one shard of it, in this process."""
    from corea.cli.advice import blind_stages
    from corea.cli.configuration import settings_of_answers
    from corea.datasets.question_source import QuestionSource
    from corea.run.batch_calls import BatchOptions
    from corea.run.pace import pace
    from corea.run.shards import plan_shards, read_shard
    from corea.run.shutdown import stopping_on_signals

    cascade, shard, count = wanted.built.cascade, None, 1
    if wanted.workers.shard is not None:
        number, count = read_shard(wanted.workers.shard)
        shard = plan_shards(QuestionSource(wanted.questions), count, wanted.on_bad_row).shard(number)
    try:
        for line in await blind_stages(cascade):
            note(line)
        pace(cascade, {server: each / count for server, each in wanted.config.run.requests_per_minute.items()})
        with stopping_on_signals() as stop, ProgressBars(quiet=wanted.silent) as bars:
            return await run_batch(
                cascade,
                wanted.questions,
                wanted.out,
                shard=shard,
                concurrency=wanted.concurrency,
                budget_usd=None if wanted.budget_usd is None else wanted.budget_usd / count,
                on_bad_row=wanted.on_bad_row,
                settings=settings_of_answers(wanted.config, wanted.built),
                on_progress=None if wanted.silent else partial(show_progress, bars, "answering"),
                stop=stop,
                pipe=sys.stdout.buffer if wanted.out == "-" else None,
                batches=BatchOptions(
                    wait=not wanted.batches.no_wait,
                    cancel=wanted.batches.cancel_batches,
                    poll_seconds=wanted.config.run.batch_poll_seconds,
                ),
            )
    finally:
        await cascade.close()


def _run_many(wanted: _Wanted) -> RunSummary:
    """The run by many workers."""
    from corea.cli.configuration import for_workers, settings_of_answers, worker_parts
    from corea.run.budget import check_bounded
    from corea.run.pool import PoolJob, run_pool

    if wanted.budget_usd is not None:
        check_bounded(wanted.built.cascade)
    job = PoolJob(
        build=partial(worker_parts, for_workers(wanted.options)),
        settings=settings_of_answers(wanted.config, wanted.built),
        questions=wanted.questions if wanted.questions == "-" else str(Path(wanted.questions).absolute()),
        output=wanted.out if wanted.workers.engine is None else str(Path(wanted.out).absolute()),
        concurrency=wanted.concurrency,
        budget_usd=wanted.budget_usd,
        on_bad_row=wanted.on_bad_row,
        requests_per_minute=wanted.config.run.requests_per_minute,
    )
    with redirect_stdout(sys.stderr), ProgressBars(quiet=wanted.silent) as bars:  # Ray writes its messages there
        workers, count = _workers(wanted.workers, job)
        shown = None if wanted.silent else partial(show_progress, bars, "answering")
        return run_pool(workers, job, count, on_progress=shown)


def _workers(options: WorkerOptions, job: "PoolJob") -> "tuple[Workers, int]":
    if options.engine is None:
        from corea.run.processes import ProcessWorkers

        return ProcessWorkers(), options.processes or 1
    from corea.run.ray_workers import RayWorkers

    workers = RayWorkers.connect(options.address, gpus=options.gpus_per_worker)
    return workers, options.workers or min(workers.processors, job.concurrency)
