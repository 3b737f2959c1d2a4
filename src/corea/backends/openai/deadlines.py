"""Timeouts for many calls at once: one timer serves them all."""

import asyncio
import math
from types import TracebackType
from typing import Any

from msgspec import Struct


class Deadlines:
    """The time limits of the calls of one event loop.

    `with deadlines.within(30): await ...` is `async with asyncio.timeout(30)` at a quarter of its cost: most
    calls end in time, so one timer is set to the earliest end, and to the next one when it fires.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self.running: set[Deadline] = set()
        self.looks_at: float = math.inf  # the time of the timer

    def within(self, seconds: float) -> "Deadline":
        """A context for the task that runs now, which raises TimeoutError after this many seconds."""
        task = asyncio.current_task()
        assert task is not None, "a deadline is for a task"
        return Deadline(self, self._loop.time() + seconds, task, task.cancelling())

    def look_at(self, at: float) -> None:
        """Sets the timer."""
        if self._timer is not None:
            self._timer.cancel()
        self.looks_at = at
        self._timer = self._loop.call_at(at, self._look)

    def _look(self) -> None:
        self._timer, self.looks_at = None, math.inf
        now = self._loop.time()
        for deadline in [d for d in self.running if d.at <= now]:
            self.running.discard(deadline)
            deadline.expire()
        if self.running:
            self.look_at(min(deadline.at for deadline in self.running))


class Deadline(Struct, eq=False):
    """One call: cancels its task at its time limit, and turns that cancellation into a TimeoutError.

    Source: as `asyncio.Timeout`, https://docs.python.org/3/library/asyncio-task.html#task-cancellation.
    """

    _deadlines: Deadlines
    at: float
    _task: asyncio.Task[Any]
    _pending: int  # cancellations that came before
    _expired: bool = False

    def __enter__(self) -> None:
        self._deadlines.running.add(self)
        if self.at < self._deadlines.looks_at:
            self._deadlines.look_at(self.at)

    def expire(self) -> None:
        """Cancels the task."""
        self._expired = True
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deadlines.running.discard(self)
        if self._expired and self._task.uncancel() <= self._pending and kind is asyncio.CancelledError:
            raise TimeoutError from error  # and no other cancellation came meanwhile
