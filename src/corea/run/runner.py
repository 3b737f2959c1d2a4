"""The batch run: asks every question of a source once, within a budget; it can be killed and resumed.

with stopping_on_signals() as stop:
    summary = await run_batch(cascade, Source("questions.jsonl"), "answers.jsonl", stop=stop)
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from corea.cascade import Cascade
from corea.datasets.question_source import QuestionSource
from corea.errors import ConfigError
from corea.files.rows import FileFormat, format_of
from corea.run.answer_settings import answer_settings
from corea.run.asking import Run
from corea.run.batch_calls import BatchCalls, BatchOptions
from corea.run.batches import BatchRounds, in_batches
from corea.run.budget import Budget, bound_lost, check_bounded
from corea.run.finished import finished_run, note_finished
from corea.run.garbage import rare_garbage_collection
from corea.run.journal import Journal
from corea.run.output import check_is_file, check_output, write_output
from corea.run.row_checks import OnBadRow, RowChecks
from corea.run.shards import Shard, make_folder, refuse_shards
from corea.run.shutdown import Stop
from corea.run.summary import RunProgress, RunSummary

SYNC_SECONDS = 1.0  # of answers that a power cut may lose; a kill loses none
PROGRESS_SECONDS = 0.1
GIVE_UP_AFTER = 50  # questions that failed in a row


async def run_batch(
    cascade: Cascade,
    source: QuestionSource | str,
    output: str,
    *,
    format: FileFormat | None = None,
    shard: Shard | None = None,
    concurrency: int = 32,
    budget_usd: Decimal | None = None,
    budget: Budget | None = None,
    on_bad_row: OnBadRow = OnBadRow.STOP,
    settings: Mapping[str, Any] | None = None,
    give_up_after: int = GIVE_UP_AFTER,
    on_progress: Callable[[RunProgress], None] | None = None,
    stop: Stop | None = None,
    clock: Callable[[], float] = time.monotonic,
    pipe: IO[bytes] | None = None,
    batches: BatchOptions | None = None,
) -> RunSummary:
    """Answers the questions of a source into a file; the journal `OUTPUT.journal` beside it makes the run resumable.

    Calling it again with the same arguments resumes the run: answered questions are not asked again, failed ones are.
    The output is written at the end, complete and in the order of the source, also when the run ends early.

    Args:
        output: A path whose suffix gives the format, or "-": traces are then written to `pipe` as they finish, as JSON
            lines, without a journal.
        shard: Answers only this part of the source, into the shard's journal; no output is written.
        budget_usd: For all starts of this run together. No question is asked whose worst case does not fit.
        budget: A budget shared with other runs, in place of `budget_usd`.
        settings: All settings that decide the answers (default: `answer_settings(cascade)`); they must equal those of
            earlier starts. Budget, concurrency, retries and prices may change.
        give_up_after: Ends the run after so many failed questions in a row.
        on_progress: Called at most ten times a second, and at the end.
        batches: Asks the stages with `batch` by their batch APIs; by default all are asked live.

    Raises:
        ConfigError: The budget cannot be bounded, a key is missing, the format is unknown, the output is not a file,
            or the journal belongs to another run.
        DataError: A bad row under `OnBadRow.STOP`; also after a question was asked, a changed input or a full disk.
    """
    _check(output, concurrency, has_pipe=pipe is not None and shard is None)
    source = QuestionSource.of(source, category=cascade.calibrated.category_column)
    budget, live = budget or Budget(budget_usd), cascade
    if batches is not None:
        cascade = _in_batches(cascade, pipe=output == "-" or source.is_pipe)
    if budget.limit_usd is not None:
        check_bounded(cascade)
    source = source if shard is None else replace(source, part=shard.part)
    checks = RowChecks(source, on_bad_row, shard.own_repeated if shard is not None else None)
    run = Run(
        cascade=cascade, source=source, output=output, shard=shard, concurrency=concurrency, budget=budget,
        checks=checks, give_up_after=give_up_after, on_progress=on_progress, stop=stop or Stop(), clock=clock,
        pipe=pipe,
    )  # fmt: skip
    run.tally.ledger.calibrated = cascade.calibrated
    if output != "-":
        return await _into_file(run, format, settings or answer_settings(live), live, batches)
    run.checks.survey()
    return await run.ask_all()


def _check(output: str, concurrency: int, *, has_pipe: bool) -> None:
    if concurrency < 1:
        raise ConfigError(f"concurrency: got {concurrency}, expected at least 1")
    if output == "-" and not has_pipe:
        raise ConfigError("output: got '-' and no pipe, or a shard; expected a stream to write to, or a file")


def _in_batches(cascade: Cascade, *, pipe: bool) -> Cascade:
    if not any(stage.batch for stage in cascade.stages):
        return cascade
    if pipe:
        raise ConfigError("batch: got a pipe, expected files, since the questions are read again")
    return in_batches(cascade)


async def _into_file(
    run: Run, format: FileFormat | None, settings: Mapping[str, Any], live: Cascade, batches: BatchOptions | None
) -> RunSummary:
    check_is_file(run.output)
    format = format or format_of(run.output, written=True)
    shard, owner = run.shard, None
    if shard is not None:
        make_folder(run.output)
        journal, owner = Journal(shard.journal(run.output)), shard.owner
        settings = {**settings, "shard": shard.settings}
    else:
        refuse_shards(run.output)
        journal = Journal(Path(f"{run.output}.journal"))
        if ended := finished_run(journal.path, settings, run.source, run.output, run.budget.limit_usd):
            return ended
    check_output(run.output, format, has_journal=shard is not None or journal.path.exists())
    run.checks.survey()
    with journal.open(settings, run.restore, epoch=owner), rare_garbage_collection():
        run.journal = journal
        if run.budget.limit_usd is not None:
            bound_lost(run.cascade, run.source, journal.lost)
        run.budget.spent_usd = run.tally.ledger.cost_usd + journal.lost.at_most_usd
        if batches is not None and live is not run.cascade:
            folder = journal.path.with_suffix(".batches")
            stages = {stage.name: stage for stage in live.stages if stage.batch}
            calls = BatchCalls(
                journal=journal, stages=stages, options=batches, folder=folder, give_up_after=run.give_up_after
            )
            run.rounds = BatchRounds(run=run, cascade=live, calls=calls)
            run.rounds.open()
        elif journal.waiting.count:
            raise ConfigError(
                f"{journal.path}: {journal.waiting.count:,} questions wait for batches, expected the stages' batch "
                "settings as they were; set them until no question waits"
            )
        run.check_room()
        summary = await run.ask_all()
        journal.sync()
        if shard is not None:
            journal.note_end(summary.as_dict())
        else:
            write_output(run.output, journal.traces(run.checks.rows), format)
            note_finished(journal, summary, settings, run.source)
    return summary
