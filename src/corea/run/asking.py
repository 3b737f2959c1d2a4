"""One start of a run: asks the questions that have no answer yet, writes each answer down, and counts."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import IO, Any, cast

from msgspec import Struct

from corea.cascade import Begun, Cascade
from corea.datasets.question_source import QuestionSource, SourceRow
from corea.errors import BackendError, DataError
from corea.prices import EXACT
from corea.run.batches import BatchRounds
from corea.run.budget import Budget, WorstCase
from corea.run.journal import Journal
from corea.run.output import answer_bytes_expected, check_room
from corea.run.row_checks import RowChecks, fingerprint_of, rows_of
from corea.run.shards import Shard
from corea.run.shutdown import Stop
from corea.run.summary import RunOutcome, RunProgress, RunSummary, Tally
from corea.trace_io import decode, encode
from corea.types import ZERO_USD, Question, Status, Step, Trace

SYNC_SECONDS = 1.0  # of answers that a power cut may lose; a kill loses none
PROGRESS_SECONDS = 0.1


class InFlight(Struct, frozen=True):
    """A question under way: its row, its fingerprint, and under a budget its worst-case cost.

    Args:
        begun: How far it was, where it goes on or pauses for a batch.
        live: A model may be asked: a kill may lose a call that is paid.
    """

    row: int
    key: int
    worst: WorstCase | None
    begun: Begun | None = None
    live: bool = True


@dataclass(slots=True, kw_only=True)
class Run:
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
    rounds: BatchRounds | None = None
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
            await self.ask(self._questions())
            if self.rounds is not None:
                await self.rounds.all()
        except BackendError as error:  # of a batch API
            self.outcome, self.tally.last_error = RunOutcome.GAVE_UP, str(error)
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
        self.report(last=True)
        return self._summary(tokens_before)

    async def ask(self, questions: AsyncIterator[Question]) -> None:
        """Asks questions that are in flight when they are given, and finishes each."""
        await self.cascade.ask_each(
            questions,
            self._finish,
            concurrency=self.concurrency,
            on_step=self._note_step if self.budget.limit_usd is not None else None,
            before=self._write_starts,
            begun=None if self.rounds is None else self._begun,
        )

    def _begun(self, question: Question) -> Begun:
        begun = self.in_flight[question.id].begun
        assert begun is not None, "where there are rounds, every question has it"
        return begun

    def fly(
        self, row: SourceRow, key: int, worst: WorstCase | None, begun: Begun | None = None, *, live: bool = True
    ) -> None:
        """Notes that a question is about to be asked, or goes on."""
        self.in_flight[row.question.id] = InFlight(row.number, key, worst, begun, live)
        if self.journal is not None and live:
            at_most = None if worst is None else worst.now_at_most_usd if begun is None else worst.rest_usd
            self.journal.start(row.number, at_most)

    async def _questions(self) -> AsyncIterator[Question]:
        if self.journal is not None and self.checks.rows is not None:
            self.journal.note_rows(self.checks.rows)
        rows = 0
        async for item in rows_of(self.source, self.stop):
            rows += 1
            if self.stop.asked:
                self.note_stop()
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
            if self.journal is not None and self.journal.waiting.offset(row.number):
                continue
            if not self.in_flight and not self.asked:  # before the first request: a completed run needs no key
                self.cascade.check()
            worst = None
            if self.budget.limit_usd is not None:
                worst = await self._reserve(row.question)
                if worst is None:
                    return
            self.fly(row, key, worst, None if self.rounds is None else self.rounds.begun())
            yield row.question
        if self.stop.asked and self.source.is_pipe:
            self.note_stop()
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
            self.note_stop()
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
        if self.journal is not None and flight.live:
            self.journal.next_stage(flight.row, flight.worst.now_at_most_usd)

    def note_stop(self) -> None:
        """The run was asked to stop."""
        if self.outcome is not RunOutcome.GAVE_UP:
            self.outcome = RunOutcome.INTERRUPTED

    def _finished(self, row: SourceRow, key: int) -> bool:
        if self.journal is None or not self.journal.finished(row.number):
            return False
        self.check_same(row, self.journal.key(row.number), key)
        return True

    def check_same(self, row: SourceRow, before: int, key: int | None = None) -> None:
        """Refuses a question that is not what it was when it was asked.

        Args:
            before: Its fingerprint then.
            key: Now, where it is known.
        """
        key = fingerprint_of(row.question) if key is None else key
        if before == key:
            return
        was = None if self.journal is None else self.journal.row_of(key)
        moved = "" if was is None else f" (it was row {was + 1}, and is row {row.number + 1} now)"
        raise DataError(
            f"question {row.question.id!r} is not what it was when it was answered{moved}, expected the same file: "
            "rows may be added or removed at its end only; restore it, or name another --out",
            path=self.source.name,
            line=row.line,
        )

    async def _finish(self, place: int, trace: Trace) -> None:
        flight = self.in_flight.pop(trace.question_id)
        line = encode(trace)
        if trace.status is Status.WAITING and self.journal is not None:
            self.journal.waiting.wait(flight.row, flight.key, line, 0)
            self.flush_soon()
            if flight.worst is not None:
                self.budget.settle(flight.worst.at_most_usd, trace.cost_usd)
            self.report()
            return
        if self.journal is not None:
            self.journal.done(flight.row, flight.key, line)
            self.flush_soon()
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
        self.report()

    def report(self, *, last: bool = False) -> None:
        """Passes the progress on, at most ten times a second."""
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
            RunProgress(
                done=done,
                total=self.checks.total,
                ledger=self.tally.ledger,
                rate=rate,
                seconds_left=left,
                waiting=0 if self.journal is None else self.journal.waiting.count,
            )
        )

    def flush_soon(self) -> None:
        """Writes queued lines at the end of this turn of the event loop."""
        if self.journal is not None and not self.flushing:
            self.flushing = True
            asyncio.get_running_loop().call_soon(self._flush, self.journal)

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
            waiting=0 if journal is None else journal.waiting.count,
            batches=0 if journal is None else len(journal.waiting.batches),
            ignored_results=0 if self.rounds is None else self.rounds.ignored,
        )
