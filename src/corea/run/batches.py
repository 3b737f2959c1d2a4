"""The stages of a run that are asked by a provider's batch API, in rounds.

All rows are asked up to the first such stage, live; those that get there wait, with their steps in the journal. Then,
until none waits: the waiting rows are written to files, a batch is created of each, and as a batch ends, its rows go on
with their results: to an answer, to a later stage, or to one more batch.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from decimal import Decimal
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import msgspec

from corea.backends.openai.batches import BatchApi
from corea.baseline_cost import draft_after
from corea.cascade import Begun, Cascade
from corea.costs.bounds import unbounded
from corea.costs.signal_calls import signal_calls
from corea.datasets.question_source import SourceRow
from corea.errors import BackendError, ConfigError, DataError
from corea.prices import EXACT
from corea.run.batch_calls import BatchCalls
from corea.run.batch_files import BatchFile, Results
from corea.run.budget import WorstCase
from corea.run.journal import Journal
from corea.run.journal_lines import BatchNote, BatchStep, JournalLine, Waiting
from corea.run.summary import RunOutcome
from corea.stage import Stage, as_asked
from corea.trace_io import decode, encode
from corea.types import ZERO_USD, Completion, Question, Sampling, Trace

if TYPE_CHECKING:
    from corea.run.asking import Run

log: logging.Logger = logging.getLogger(__name__)
TRIES = 2  # batches in which a row may fail
CLOCKS_APART = 3600.0  # seconds, at most, between the server's clock and ours
PAUSE_ROWS = 256  # read between two turns of the event loop
LIVE = "live"


@dataclass(slots=True)
class Delivered:
    """The backend of a stage that is asked by batches: it gives what a batch brought for one question."""

    server: Any
    outcome: Completion | BackendError | None = None

    @property
    def model(self) -> str:
        """The server's name of it."""
        return self.server.model

    def check(self) -> None:
        """Checks that requests can be sent, as the server's backend does."""
        self.server.check()

    async def complete(self, question: Question, sampling: Sampling) -> Completion:
        """The completion that came, or its error."""
        assert self.outcome is not None, "a cascade pauses before such a stage until its result is there"
        if isinstance(self.outcome, BackendError):
            raise self.outcome
        return self.outcome


def in_batches(cascade: Cascade) -> Cascade:
    """The cascade with the batch prices of its stages that are asked by batches.

    Raises:
        ConfigError: Such a price is not known.
    """
    return replace(cascade, stages=tuple(_in_batches(stage) if stage.batch else stage for stage in cascade.stages))


def _in_batches(stage: Stage) -> Stage:
    price = stage.price
    if price is not None and price.in_batch is None:
        raise ConfigError(
            f"stages.{stage.name}.batch: no batch price is known for {stage.backend.model!r} ({price.source}); "
            f'add the part of its token prices that the batch API charges, such as batch = "0.5", to '
            f'[prices."{stage.backend.model}"]'
        )
    return replace(
        stage,
        price=None if price is None else price.in_batch,
        signal_price=stage.signal_price or price,
        backend=Delivered(stage.backend),
    )


class _Row(msgspec.Struct, frozen=True):
    """A row that waits: its question, its trace so far, the stage that it waits for, and that stage's question."""

    row: SourceRow
    key: int
    tries: int
    trace: Trace
    stage: Stage
    asked: Question


@dataclass(slots=True, kw_only=True)
class BatchRounds:
    """The batches of one start of a run.

    Args:
        run: Of the cascade that `in_batches` gives, with its journal open.
        cascade: As it is asked live.
    """

    run: "Run"
    cascade: Cascade
    calls: BatchCalls
    ignored: int = 0

    @property
    def pause_at(self) -> frozenset[str]:
        """Names of the stages that are asked by batches."""
        return frozenset(self.calls.stages)

    @property
    def journal(self) -> Journal:
        """The journal of the run."""
        return self.calls.journal

    @property
    def waiting(self) -> Waiting:
        """The rows that wait."""
        return self.journal.waiting

    def open(self) -> None:
        """Prepares the batches of earlier starts.

        Raises:
            ConfigError: A batch under way has no bound for the budget.
            DataError: A row that waits was removed.
        """
        waiting, rows = self.waiting, self.run.checks.rows
        if rows is not None and waiting.last_row >= rows:
            raise DataError(
                f"row {waiting.last_row + 1} waits for a batch and is not there, expected the same file; restore it",
                path=self.run.source.name,
            )
        budget = self.run.budget
        for note in waiting.batches.values():
            if note.at_most_usd is None and budget.limit_usd is not None:
                raise ConfigError(
                    "budget: got one while a batch is under way that was created without a bound; set it when that "
                    "batch has ended"
                )
            budget.spent_usd = EXACT.add(budget.spent_usd, note.at_most_usd or ZERO_USD)
        if budget.limit_usd is not None and waiting.count:
            for trace in self._traces():
                budget.spent_usd = EXACT.add(budget.spent_usd, trace.cost_usd or ZERO_USD)

    def begun(self, trace: Trace | None = None) -> Begun:
        """The start of a question that pauses at the stages that are asked by batches."""
        return Begun(self.run.cascade, () if trace is None else trace.steps, self.pause_at)

    async def all(self) -> None:
        """Goes on until no row waits, the budget ends it, or it is to leave."""
        run = self.run
        while True:
            ended = await self.calls.look()
            await self._settle(ended)
            if not run.stop.asked:
                await self._ask_live()
            if not run.stop.asked:
                await self._plan()
                await self.calls.create_planned()
            if not self.waiting.batches and not run.stop.asked:
                return
            if not ended and not run.stop.asked:
                if not self.calls.options.wait:
                    run.outcome = RunOutcome.WAITING if run.outcome is RunOutcome.COMPLETE else run.outcome
                    return
                await self._pause()
            if run.stop.asked:
                run.note_stop()
                await self.calls.cancel()
                return

    async def _pause(self) -> None:
        """Waits until the next look, or until a stop is asked for."""
        self.run.report(last=True)
        stopped = asyncio.Event()
        self.run.stop.then(stopped.set)
        polled = asyncio.ensure_future(self.calls.options.sleep(self.calls.options.poll_seconds))
        waits = [polled, asyncio.ensure_future(stopped.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    # --- from rows that wait to batches ---

    async def _plan(self) -> None:
        """Writes the rows that wait into files, and each file into the journal."""
        run, files = self.run, dict[str, BatchFile]()
        if not self.waiting.unplanned or run.outcome is RunOutcome.BUDGET:
            return
        async for each in self._rows(""):
            if each.tries >= TRIES and each.stage.batch == LIVE:
                continue
            bound = self._bound(each)
            if run.budget.limit_usd is not None and bound is not None:
                if not await run.budget.reserve(bound):
                    run.outcome, run.next_usd_at_most = RunOutcome.BUDGET, bound
                    break
                run.budget.settle(bound, bound)
            name, api = each.stage.name, self.calls.apis[each.stage.name]
            if (file := files.get(name)) is None:
                file = files[name] = self._new_file(api)
            line = api.line(f"{file.key}-{each.row.number}", each.asked, each.stage.sampling)
            if not file.fits(line):
                self._planned(name, file)
                file = files[name] = self._new_file(api)
                line = api.line(f"{file.key}-{each.row.number}", each.asked, each.stage.sampling)
            file.add(each.row.number, line, bound)
        for name, file in files.items():
            self._planned(name, file)

    def _new_file(self, api: BatchApi) -> BatchFile:
        lines, size = min(api.max_lines, self.calls.options.max_lines), min(api.max_bytes, self.calls.options.max_bytes)
        return BatchFile(self.calls.folder, f"corea-{token_hex(8)}", api, lines, size)

    def _planned(self, stage: str, file: BatchFile) -> None:
        file.close()
        self.calls.fresh.add(file.key)
        self.calls.note(
            BatchNote(
                key=file.key,
                step=BatchStep.PLANNED,
                stage=stage,
                rows=file.rows,
                at_most_usd=file.at_most_usd,
                at=time.time(),
            )
        )

    def _note(self, note: BatchNote) -> None:
        self.waiting.note(note)
        self.journal.flush()
        self.journal.sync()

    def _bound(self, each: _Row) -> Decimal | None:
        """The most that a row can still cost; None where that has no bound."""
        if unbounded(self.run.cascade.stages) is not None:
            return None
        return WorstCase(self.run.cascade, each.row.question).after(each.trace.steps).rest_usd

    # --- from batches to rows that go on ---

    async def _settle(self, ended: list[BatchNote]) -> None:
        """Lets the rows of ended batches go on, and then forgets the batches."""
        if not ended:
            return
        results = {note.key: Results(self.calls.folder / f"{note.key}.results", note, self.waiting) for note in ended}
        self.ignored += sum(each.ignored for each in results.values())
        with ExitStack() as stack:
            for each in results.values():
                stack.enter_context(each)
            await self.run.ask(self._go_on(results))
        budget = self.run.budget
        for key, each in results.items():
            if self.waiting.left(key):
                continue  # a stop came between
            self.calls.note(msgspec.structs.replace(each.note, step=BatchStep.SETTLED))
            budget.settle(ZERO_USD, EXACT.subtract(ZERO_USD, each.held_usd))
            for suffix in (".jsonl", ".results"):
                (self.calls.folder / f"{key}{suffix}").unlink(missing_ok=True)

    async def _go_on(self, results: dict[str, Results]) -> AsyncIterator[Question]:
        run = self.run
        async for each in self._rows(*results):
            if run.stop.asked:
                run.note_stop()
                return
            number = each.row.number
            found = results[self.waiting.batch_of(number)]
            outcome, bound = (
                found.outcome(number, self.calls.apis[each.stage.name], each.asked, each.stage.sampling),
                None,
            )
            if run.budget.limit_usd is not None or found.lost:
                bound = self._bound(each) or ZERO_USD
                found.held_usd = EXACT.subtract(found.held_usd, bound)
            if found.lost:
                self.waiting.lose(number, bound or ZERO_USD)
                self.journal.lost.add(number, bound or ZERO_USD)
            elif bound is not None:
                run.budget.settle(ZERO_USD, EXACT.subtract(ZERO_USD, bound))
            if isinstance(outcome, BackendError) and outcome.retryable and outcome.spent is None:
                tries = each.tries + (found.note.status != "cancelled")
                if tries < TRIES or each.stage.batch == LIVE:
                    self._wait_again(each, tries)
                    continue
            asked = next(stage for stage in run.cascade.stages if stage.name == each.stage.name)
            delivered = replace(asked, backend=Delivered(each.stage.backend, outcome))
            self._fly(each, self._with(delivered), live=self._may_ask(each.stage))
            yield each.row.question

    def _wait_again(self, each: _Row, tries: int) -> None:
        self.waiting.wait(each.row.number, each.key, encode(each.trace), tries)
        self.run.flush_soon()

    def _fly(self, each: _Row, cascade: Cascade, *, live: bool, pause_at: frozenset[str] | None = None) -> None:
        """A row goes on; what it can still cost is set aside, since its batch has been paid."""
        pause_at = self.pause_at - {each.stage.name} if pause_at is None else pause_at
        worst, run = None, self.run
        if run.budget.limit_usd is not None:
            worst = WorstCase(cascade, each.row.question).after(each.trace.steps)
            run.budget.settle(ZERO_USD, EXACT.subtract(ZERO_USD, each.trace.cost_usd or ZERO_USD))
            run.budget.lower(ZERO_USD, worst.at_most_usd)
        run.fly(each.row, each.key, worst, Begun(cascade, each.trace.steps, pause_at), live=live)

    def _with(self, instead: Stage) -> Cascade:
        """The cascade with another stage of that name."""
        cascade = self.run.cascade
        return replace(cascade, stages=tuple(instead if each.name == instead.name else each for each in cascade.stages))

    def _may_ask(self, stage: Stage) -> bool:
        """True where a row may be asked live before it is done or waits again."""
        stages = self.cascade.stages
        rest = stages[next(n for n, each in enumerate(stages) if each.name == stage.name) :]
        follows = rest[1:2] and not rest[1].batch
        return bool(signal_calls(stage.signal) or signal_calls(stage.second_opinion) or follows)

    async def _ask_live(self) -> None:
        """Asks the rows live that have failed in their batches, where their stage allows it."""
        if self.waiting.unplanned and any(stage.batch == LIVE for stage in self.cascade.stages):
            await self.run.ask(self._failed_rows())

    async def _failed_rows(self) -> AsyncIterator[Question]:
        run = self.run
        async for each in self._rows(""):
            if each.tries < TRIES or each.stage.batch != LIVE:
                continue
            if run.stop.asked:
                return
            cascade = self._with(each.stage)
            if run.budget.limit_usd is not None:
                rest = WorstCase(cascade, each.row.question).after(each.trace.steps).rest_usd
                if not await run.budget.reserve(rest):
                    run.outcome, run.next_usd_at_most = RunOutcome.BUDGET, rest
                    return
                run.budget.settle(rest, ZERO_USD)
            self._fly(each, cascade, live=True)
            yield each.row.question

    # --- rows ---

    def _stage(self, name: str) -> Stage:
        return next(stage for stage in self.cascade.stages if stage.name == name)

    def _traces(self) -> Iterator[Trace]:
        journal = self.journal
        with journal.path.open("rb") as file:
            for row in range(self.waiting.last_row + 1):
                if self.waiting.offset(row):
                    yield decode(bytes(journal.waits(row, file).trace))

    async def _rows(self, *keys: str) -> AsyncIterator[_Row]:
        """The rows that wait in batches with these keys; "" those that wait for the next one."""
        journal = self.journal
        journal.flush()
        with journal.path.open("rb") as file:
            for row in self.run.source.rows():
                if isinstance(row, DataError) or not self.waiting.offset(row.number):
                    continue
                if row.number % PAUSE_ROWS == 0:
                    await asyncio.sleep(0)
                if self.waiting.batch_of(row.number) in keys:
                    yield self._row(row, journal.waits(row.number, file))

    def _row(self, row: SourceRow, line: JournalLine) -> _Row:
        key = int(line.key, 16)
        self.run.check_same(row, key)
        trace = decode(bytes(line.trace))
        stage = self._stage(trace.stage or "") if trace.stage in self.calls.apis else None
        if stage is None:
            raise ConfigError(
                f"question {row.question.id!r} waits for a batch of stage {trace.stage}, which is not asked by batches "
                f"now, expected stages.{trace.stage}.batch as it was; set it until no question waits"
            )
        asked = as_asked(stage, row.question, draft_after(self.cascade.stages, trace.steps))
        return _Row(row, key, line.tries, trace, stage, asked)
