"""The batch run: asks every question of a source once, within a budget; it can be killed and resumed.

with stopping_on_signals() as stop:
    summary = await run_batch(cascade, Source("questions.jsonl"), "answers.jsonl", stop=stop)
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, cast

from msgspec import Struct

from corea.cascade import Cascade
from corea.datasets.question_source import QuestionSource, SourceRow
from corea.errors import ConfigError, DataError
from corea.files.rows import FileFormat, format_of
from corea.prices import EXACT
from corea.run.answer_settings import answer_settings
from corea.run.budget import Budget, WorstCase, bound_lost, check_bounded
from corea.run.finished import finished_run, note_finished
from corea.run.garbage import rare_garbage_collection
from corea.run.journal import Journal
from corea.run.output import answer_bytes_expected, check_is_file, check_output, check_room, write_output
from corea.run.row_checks import OnBadRow, RowChecks, fingerprint_of, rows_of
from corea.run.shards import Shard, make_folder, refuse_shards
from corea.run.shutdown import Stop
from corea.run.summary import RunOutcome, RunProgress, RunSummary, Tally
from corea.trace_io import decode, encode
from corea.types import ZERO_USD, Question, Status, Step, Trace

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

    Raises:
        ConfigError: The budget cannot be bounded, a key is missing, the format is unknown, the output is not a file, or
            the journal belongs to another run.
        DataError: A bad row under `OnBadRow.STOP`; also after a question was asked, a changed input or a full disk.
    """
    source = QuestionSource.of(source, category=cascade.calibrated.category_column)
    if concurrency < 1:
        raise ConfigError(f"concurrency: got {concurrency}, expected at least 1")
    budget = budget or Budget(budget_usd)
    if budget.limit_usd is not None:
        check_bounded(cascade)
    if output == "-" and (pipe is None or shard is not None):
        raise ConfigError("output: got '-' and no pipe, or a shard; expected a stream to write to, or a file")
    if shard is not None:
        source = replace(source, part=shard.part)
    checks = RowChecks(source, on_bad_row, shard.own_repeated if shard is not None else None)
    run = _Run(
        cascade=cascade, source=source, output=output, shard=shard, concurrency=concurrency, budget=budget,
        checks=checks, give_up_after=give_up_after, on_progress=on_progress, stop=stop or Stop(), clock=clock,
        pipe=pipe,
    )  # fmt: skip
    run.tally.ledger.calibrated = cascade.calibrated
    if output != "-":
        return await _into_file(run, format, settings)
    run.checks.survey()
    return await run.ask_all()


async def _into_file(run: "_Run", format: FileFormat | None, settings: Mapping[str, Any] | None) -> RunSummary:
    check_is_file(run.output)
    format = format or format_of(run.output, written=True)
    settings, shard, owner = settings or answer_settings(run.cascade), run.shard, None
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
        run.check_room()
        summary = await run.ask_all()
        journal.sync()
        if shard is not None:
            journal.note_end(summary.as_dict())
        else:
            write_output(run.output, journal.traces(run.checks.rows), format)
            note_finished(journal, summary, settings, run.source)
    return summary


class InFlight(Struct, frozen=True):
    """A question under way: its row, its fingerprint, and under a budget its worst-case cost."""

    row: int
    key: int
    worst: WorstCase | None


@dataclass(slots=True, kw_only=True)
class _Run:
    """The state of one start."""

    cascade: Cascade
    source: QuestionSource
    output: str
    shard: Shard | None
    concurrency: int
    budget: Budget
    checks: RowChecks
    give_up_after: int
    on_progress: Callable[[RunProgress], None] | None
    stop: Stop
    clock: Callable[[], float]
    pipe: IO[bytes] | None
    journal: Journal | None = None
    tally: Tally = field(default_factory=Tally)
    unused: Counter[str] = field(default_factory=Counter[str])
    next_usd_at_most: Decimal | None = None
    outcome: RunOutcome = RunOutcome.COMPLETE
    resumed: int = 0
    asked: int = 0
    failed_in_a_row: int = 0
    in_flight: dict[str, InFlight] = field(default_factory=dict[str, InFlight])
    began: float = 0.0
    reported: float = 0.0
    flushing: bool = False
    broken: DataError | None = None

    def restore(self, row: int, line: bytes) -> bool:
        """Adds a trace from the journal; True if its question need not be asked again."""
        trace = decode(line)
        self.tally.add(row, trace, self.checks.rows)
        return trace.status is not Status.FAILED

    def check_room(self) -> None:
        """Refuses a disk that is too small for the unanswered questions; the length of a pipe is unknown."""
        total = self.checks.total
        if self.journal is None or total is None:
            return
        answered, size = self.journal.answered, self.journal.size
        each = size / answered if answered else answer_bytes_expected(self.cascade)
        check_room(self.output, rows=total, unanswered=max(0, total - answered), answer_bytes=each)

    async def ask_all(self) -> RunSummary:
        """Asks the unanswered questions and summarises the run."""
        self.began = self.reported = self.clock()
        tokens_before = {name: stage.usage.completion_tokens for name, stage in self.tally.ledger.stages.items()}
        syncing = asyncio.create_task(self._sync_periodically())
        try:
            await self.cascade.ask_each(
                self._questions(),
                self._finish,
                concurrency=self.concurrency,
                on_step=self._note_step if self.budget.limit_usd is not None else None,
                before=self._write_starts,
            )
        except asyncio.CancelledError:
            if not self.stop.asked:
                raise
            self.outcome = RunOutcome.INTERRUPTED  # a second Ctrl-C: questions in flight stay started and not done
            cast("asyncio.Task[Any]", asyncio.current_task()).uncancel()
        finally:
            syncing.cancel()
        if self.journal is not None:
            self.journal.flush()
        if self.broken is not None:
            raise self.broken
        self._report(last=True)
        return self._summary(tokens_before)

    async def _questions(self) -> AsyncIterator[Question]:
        if self.journal is not None and self.checks.rows is not None:
            self.journal.note_rows(self.checks.rows)
        rows = 0
        async for item in rows_of(self.source, self.stop):
            rows += 1
            if self.stop.asked:
                self._note_stop()
                return
            row = self.checks.good(item)
            if row is None:
                continue
            if row.unused:
                self.unused.update(row.unused)
            key = fingerprint_of(row.question)
            if self._finished(row, key):
                self.resumed += 1
                continue
            if not self.in_flight and not self.asked:  # before the first request: a completed run needs no key
                self.cascade.check()
            worst = None
            if self.budget.limit_usd is not None:
                worst = await self._reserve(row.question)
                if worst is None:
                    return
            self.in_flight[row.question.id] = InFlight(row.number, key, worst)
            if self.journal is not None:
                self.journal.start(row.number, worst.now_at_most_usd if worst is not None else None)
            yield row.question
        if self.stop.asked and self.source.is_pipe:
            self._note_stop()
            return
        self.checks.rows = rows
        if self.journal is not None:
            self.journal.note_rows(rows)

    async def _write_starts(self) -> None:
        """Writes that questions are about to be asked: those of one turn of the event loop together."""
        await asyncio.sleep(0)
        if self.journal is not None:
            self.journal.flush()
            if self.journal.failure is not None:  # another worker's flush failed, with this one's start in it
                raise self.journal.failure

    async def _reserve(self, question: Question) -> WorstCase | None:
        """Sets the worst case of a question aside; None where the budget or a stop ends the run."""
        worst = WorstCase(self.cascade, question)
        fits = await self.budget.reserve(worst.at_most_usd)
        if self.stop.asked:  # while it waited
            if fits:
                self.budget.settle(worst.at_most_usd, ZERO_USD)
            self._note_stop()
            return None
        if not fits:
            self.outcome, self.next_usd_at_most = RunOutcome.BUDGET, worst.at_most_usd
            return None
        return worst

    def _note_step(self, question: Question, step: Step) -> None:
        """Lowers the worst case before the next stage is asked, now that the cost of this one is known."""
        flight = self.in_flight[question.id]
        if flight.worst is None or not flight.worst.goes_on(step):
            return
        before = flight.worst.at_most_usd
        flight.worst.advance(step)
        self.budget.lower(before, flight.worst.at_most_usd)
        if self.journal is not None:
            self.journal.next_stage(flight.row, flight.worst.now_at_most_usd)

    def _note_stop(self) -> None:
        if self.outcome is not RunOutcome.GAVE_UP:
            self.outcome = RunOutcome.INTERRUPTED

    def _finished(self, row: SourceRow, key: int) -> bool:
        if self.journal is None or not self.journal.finished(row.number):
            return False
        if self.journal.key(row.number) != key:
            before = self.journal.row_of(key)
            moved = "" if before is None else f" (it was row {before + 1}, and is row {row.number + 1} now)"
            raise DataError(
                f"question {row.question.id!r} is not what it was when it was answered{moved}, expected the same file: "
                "rows may be added or removed at its end only; restore it, or name another --out",
                path=self.source.name,
                line=row.line,
            )
        return True

    async def _finish(self, place: int, trace: Trace) -> None:
        flight = self.in_flight.pop(trace.question_id)
        line = encode(trace)
        if self.journal is not None:
            self.journal.done(flight.row, flight.key, line)
            if not self.flushing:
                self.flushing = True
                asyncio.get_running_loop().call_soon(self._flush, self.journal)
        elif self.pipe is not None:
            self.pipe.write(line + b"\n")
            self.pipe.flush()
        if flight.worst is not None:
            self.budget.settle(flight.worst.at_most_usd, trace.cost_usd)
        self.tally.add(flight.row, trace, self.checks.rows)
        self.asked += 1
        if trace.status is Status.FAILED:
            self.failed_in_a_row += 1
            if self.failed_in_a_row >= self.give_up_after and not self.stop.asked:
                self.outcome = RunOutcome.GAVE_UP
                self.stop()
        else:
            self.failed_in_a_row = 0
        self._report()

    def _report(self, *, last: bool = False) -> None:
        if self.on_progress is None:
            return
        now = self.clock()
        if now - self.reported < PROGRESS_SECONDS and not last:
            return
        self.reported = now
        rate = self.asked / (now - self.began) if now > self.began else 0.0
        done = self.asked + self.resumed
        left = (self.checks.total - done) / rate if self.checks.total is not None and rate else None
        self.on_progress(
            RunProgress(done=done, total=self.checks.total, ledger=self.tally.ledger, rate=rate, seconds_left=left)
        )

    def _flush(self, journal: Journal) -> None:
        """Writes the finished traces at the end of a turn of the event loop, unless `_write_starts` has."""
        self.flushing = False
        try:
            journal.flush()
        except DataError as error:
            self.broken = error
            self.stop()

    async def _sync_periodically(self) -> None:
        while self.journal is not None:
            await asyncio.sleep(SYNC_SECONDS)
            await asyncio.to_thread(self.journal.sync)

    def _summary(self, tokens_before: dict[str, int]) -> RunSummary:
        seconds = self.clock() - self.began
        journal, limit = self.journal, self.budget.limit_usd
        done = journal.answered if journal is not None else self.asked
        rows = self.checks.rows
        removed = max(0, journal.rows - rows) if journal is not None and rows is not None else 0
        removed_answered = journal.answered_from(rows or 0) if journal is not None and removed else 0
        return RunSummary(
            outcome=self.outcome,
            output=self.output,
            journal=str(journal.path) if journal is not None else None,
            done=done - removed_answered,
            removed=removed,
            removed_answered=removed_answered,
            shortcomings=self.tally.shortcomings,
            unused=dict(self.unused),
            next_usd_at_most=self.next_usd_at_most,
            left_usd=None if limit is None else max(ZERO_USD, EXACT.subtract(limit, self.budget.spent_usd)),
            total=self.checks.total,
            resumed=self.resumed,
            failed=self.tally.failed(rows),
            bad_rows=self.checks.bad_rows,
            bad_row_messages=tuple(self.checks.messages),
            lost=journal.lost.questions if journal is not None else 0,
            lost_usd_at_most=journal.lost.at_most_usd if journal is not None else ZERO_USD,
            ledger=self.tally.ledger,
            repeated_usd=self.tally.repeated_usd,
            budget_usd=limit,
            seconds=seconds,
            rate=self.asked / seconds if seconds else 0.0,
            tokens_per_second={
                name: (stage.usage.completion_tokens - tokens_before.get(name, 0)) / seconds if seconds else 0.0
                for name, stage in self.tally.ledger.stages.items()
            },
            last_error=self.tally.last_error,
        )
