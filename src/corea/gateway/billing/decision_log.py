"""Decisions on their way into the database: a bounded queue that never makes a request wait.

An operator's `redact` function may be slow, so it has a thread of its own: the writer's thread, on which answers wait
for their booking, only ever takes what is ready.
"""

import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from traceback import extract_tb
from typing import Any, cast

import msgspec

from corea.errors import ConfigError
from corea.gateway.chat.reply import deciding_confidence
from corea.gateway.chat.request_state import CompletedRequest
from corea.gateway.ops.settings import GatewayStorage
from corea.registry import resolve
from corea.types import Trace

log: logging.Logger = logging.getLogger("corea.gateway")
_encode = msgspec.json.Encoder(decimal_format="string").encode
Row = tuple[str | int | float | None, ...]
Redact = Callable[[str], str]

CAPACITY = 20_000
TEXT_CAPACITY = 64_000_000  # characters of all queued texts
LONGEST_TEXT = 200_000
BATCH = 500
LOG_SECONDS = 10.0
DAY_SECONDS = 86_400
COLUMNS = (
    "trace_id", "at", "key_id", "cascade", "model", "stage", "status", "error", "deferred", "confidence", "threshold",
    "cost_usd", "baseline_usd", "prompt_tokens", "completion_tokens", "seconds", "first_text_seconds", "streamed",
    "cached", "client_disconnected", "steps", "prompt", "answer",
)  # fmt: skip
DELETED = 1000
ROW = f"({', '.join('?' * len(COLUMNS))})"
INSERT = f"INSERT INTO decisions ({', '.join(COLUMNS)}) VALUES"
ROWS_AT_ONCE = 100  # in one statement: at each, the writer's thread gives up the interpreter
DELETE = f"DELETE FROM decisions WHERE rowid IN (SELECT rowid FROM decisions WHERE at < ? LIMIT {DELETED})"


@dataclass(slots=True)
class QueuedDecision:
    """A decision that is not written yet: its row without texts, and the texts.

    Args:
        length: Characters of the texts as they came.
    """

    row: Row
    prompt: str | None
    answer: str | None
    length: int


class DecisionLog:
    """Queues completed requests, drops what does not fit, and inserts them from the writer's thread.

    Args:
        clock: Seconds since 1970.

    Attributes:
        dropped: Decisions that did not fit. Spending is not in this queue, and never dropped.
    """

    def __init__(
        self, settings: GatewayStorage, *, capacity: int = CAPACITY, clock: Callable[[], float] = time.time
    ) -> None:
        self.queue: deque[QueuedDecision] = deque()
        self.dropped: int = 0
        self.capacity = capacity
        self.clock = clock
        self.settings: GatewayStorage = settings
        self.redact: Redact = find_redact(settings.redact)
        self._text_in = self._text_out = 0  # each written by one thread only
        self._batch: list[Row] = []
        self._to_redact: queue.SimpleQueue[QueuedDecision | None] = queue.SimpleQueue()
        self._redacting: QueuedDecision | None = None
        self._redactor: threading.Thread | None = None
        self._logged_at = float("-inf")
        self._next_deletion = 0.0

    @property
    def waiting(self) -> int:
        """Decisions that are not stored yet."""
        return len(self.queue) + self._to_redact.qsize()

    @property
    def full(self) -> bool:
        """True if a whole batch is queued."""
        return len(self.queue) >= BATCH

    def use(self, settings: GatewayStorage) -> None:
        """Applies a reloaded configuration."""
        self.settings = settings
        self.redact = find_redact(settings.redact)

    def record(self, completed: CompletedRequest) -> None:
        """Queues a decision."""
        prompt = answer = None
        if self.settings.store_text:
            messages, text = completed.state.request.messages, completed.trace.text
            prompt = "\n\n".join(f"{m.role}: {m.content}" for m in messages)[:LONGEST_TEXT]
            answer = text[:LONGEST_TEXT] if text is not None else None
        length = len(prompt or "") + len(answer or "")
        if self.waiting >= self.capacity or (length and self._text_in - self._text_out + length > TEXT_CAPACITY):
            self._drop()
            return
        queued = QueuedDecision(row_of(completed, self.clock()), prompt, answer, length)
        self._text_in += length
        if not length or self.settings.redact is None:
            self.queue.append(queued)
            return
        if self._redactor is None:
            self._redactor = threading.Thread(target=self._redact_all, name="corea-redact", daemon=True)
            self._redactor.start()
        self._to_redact.put(queued)

    def drain(self, seconds: float) -> None:
        """Redacts all that is left, within this time; the texts of the rest are not stored. No decision may follow."""
        if self._redactor is None:
            return
        self._to_redact.put(None)
        self._redactor.join(seconds)
        left = [self._redacting] if self._redactor.is_alive() else []
        while not self._to_redact.empty():
            left.append(self._to_redact.get())
        unredacted = [queued for queued in left if queued is not None]
        if unredacted:
            log.error("gateway.storage.redact is too slow; the texts of %d decisions are not stored", len(unredacted))
        self.queue.extend(QueuedDecision(queued.row, None, None, queued.length) for queued in unredacted)

    def _redact_all(self) -> None:
        while (queued := self._to_redact.get()) is not None:
            self._redacting = queued
            self.queue.append(self._redacted(queued))

    def batch(self) -> list[Row]:
        """The oldest that are queued, in the order of `COLUMNS`: the same ones until `written` is called."""
        while self.queue and len(self._batch) < BATCH:
            queued = self.queue.popleft()
            self._text_out += queued.length
            self._batch.append((*queued.row, queued.prompt, queued.answer))
        return self._batch

    def written(self) -> None:
        """The batch is stored."""
        self._batch = []

    def write(self, connection: sqlite3.Connection) -> int:
        """Inserts a batch of what is queued in one transaction; how many. On the writer's thread, as `delete_old`."""
        if not (batch := self.batch()):
            return 0
        connection.execute("BEGIN IMMEDIATE")
        for start in range(0, len(batch), ROWS_AT_ONCE):
            rows = batch[start : start + ROWS_AT_ONCE]
            try:
                _insert(connection, rows)
            except (OverflowError, ValueError, TypeError):  # by one of them, such as a number beyond 64 bits
                _insert_each(connection, rows)
        connection.execute("COMMIT")
        self.written()
        return len(batch)

    def delete_old(self, connection: sqlite3.Connection) -> None:
        """Deletes decisions older than `retention_days`, at most 1,000 a second."""
        if (before := self.oldest_kept()) is not None:
            self.deleted(connection.execute(DELETE, (before,)).rowcount)

    def oldest_kept(self) -> float | None:
        """The time before which decisions are to be deleted now, some at a time; None: nothing is due."""
        now, days = self.clock(), self.settings.retention_days
        return now - days * DAY_SECONDS if days and now >= self._next_deletion else None

    def deleted(self, count: int) -> None:
        """Notes that so many, at most `DELETED`, were deleted."""
        self._next_deletion = self.clock() + (1 if count == DELETED else 3600)

    def _redacted(self, queued: QueuedDecision) -> QueuedDecision:
        row, length = queued.row, queued.length
        try:
            prompt, answer = self._redacted_text(queued.prompt), self._redacted_text(queued.answer)
            return QueuedDecision(row, prompt, answer, length)
        except Exception as error:  # the operator's own function, whose message may quote the text
            kind, line = type(error).__name__, error.__traceback__ and extract_tb(error.__traceback__)[-1]
            where = f"{line.filename}:{line.lineno}" if line else "?"
            name = "gateway.storage.redact"
            log.error("%s failed (%s at %s); the texts of this decision are not stored", name, kind, where)
            return QueuedDecision(row, None, None, length)

    def _redacted_text(self, text: str | None) -> str | None:
        redacted = None if text is None else self.redact(text)
        if redacted is not None and not isinstance(redacted, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError("not a string")
        return redacted

    def _drop(self) -> None:
        self.dropped += 1
        if self.clock() - self._logged_at >= LOG_SECONDS:
            self._logged_at = self.clock()
            log.warning("decisions arrive faster than they are written: %d dropped so far", self.dropped)


def _insert(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    connection.execute(f"{INSERT} {', '.join([ROW] * len(rows))}", tuple(chain(*rows)))


def _insert_each(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    for row in rows:
        try:
            _insert(connection, [row])
        except (OverflowError, ValueError, TypeError) as error:
            log.error("decision %s cannot be stored (%s)", row[0], error)


def row_of(completed: CompletedRequest, at: float) -> Row:
    """The columns of `decisions` up to `steps`, in the order of `COLUMNS`."""
    state, trace, usage = completed.state, completed.trace, completed.usage
    return (
        trace.trace_id,
        at,
        state.admission.key_id,
        state.plan.route,
        state.request.body.model,
        trace.stage,
        trace.status.value,
        completed.error.code if completed.error is not None else None,
        int(trace.deferred),
        deciding_confidence(trace),
        state.plan.threshold,
        _text(trace.cost_usd),
        _text(trace.baseline_cost_usd),
        usage.prompt_tokens,
        usage.completion_tokens,
        completed.seconds,
        completed.first_text_seconds,
        int(state.request.body.stream or False),
        int(state.cached),
        int(completed.client_disconnected),
        _encode(steps_of(trace)).decode(),
    )


def steps_of(trace: Trace) -> list[dict[str, Any]]:
    """The steps of a trace without any text of prompts and answers (an error's message could quote some)."""
    return [
        {
            "stage": step.stage,
            "confidence": step.confidence.value if step.confidence is not None else None,
            "score": step.confidence.score if step.confidence is not None else None,
            "threshold": step.threshold,
            "decision": step.decision,
            "prompt_tokens": step.completion.usage.prompt_tokens if step.completion is not None else 0,
            "completion_tokens": step.completion.usage.completion_tokens if step.completion is not None else 0,
            "retries": step.completion.retries if step.completion is not None else 0,
            "cost_usd": step.cost_usd,
            "seconds": step.seconds,
            "error": step.error_kind,
            "error_status": step.error_status,
            "skipped": step.skipped,
        }
        for step in trace.steps
    ]


def find_redact(name: str | None) -> Redact:
    """The function that `gateway.storage.redact` names.

    Raises:
        ConfigError: It cannot be imported, or is not a function.
    """
    if name is None:
        return str
    found = resolve("gateway.storage.redact", name, {})
    if not callable(found):
        raise ConfigError(f"gateway.storage.redact: {name!r} is not a function; name one of str -> str")
    return cast(Redact, found)


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)
