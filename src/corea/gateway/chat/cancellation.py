"""Ends a request from outside: its time is over, or its client has gone."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from types import TracebackType

LOOK_AFTER_SECONDS = 0.05  # most failures and short answers are over by then, and pay for no task


class CancelReason(StrEnum):
    """Why a request was ended."""

    GONE = "gone"
    LATE = "late"


class DeadlineTimer:
    """Finds the work that lasts. One timer serves all, since most work is over before."""

    def __init__(self) -> None:
        self._running: dict[Cancellation, float] = {}  # when each is to be looked at, the first one first
        self._timing = False

    def add(self, watch: "Cancellation") -> None:
        """Has the watch look after LOOK_AFTER_SECONDS."""
        loop = asyncio.get_running_loop()
        self._running[watch] = due = loop.time() + LOOK_AFTER_SECONDS
        if not self._timing:
            self._timing = True
            loop.call_at(due, self._look)

    def remove(self, watch: "Cancellation") -> None:
        """The work is over."""
        self._running.pop(watch, None)

    def _look(self) -> None:
        loop, self._timing = asyncio.get_running_loop(), False
        now = loop.time()
        for watch, due in list(self._running.items()):
            if due > now:
                self._timing = True
                loop.call_at(due, self._look)
                return
            del self._running[watch]
            watch.look()


class Cancellation:
    """`with Cancellation(...) as watch: await work` ends the work when it must; `watch.cut` then says why.

    Nothing is raised. The task that waits for a client to hang up is only made for work that lasts.

    Args:
        gone: Waits until the client has hung up.
        limit_seconds: The work may take so long, or LOOK_AFTER_SECONDS if that is longer.
    """

    __slots__ = ("_cancelling", "_gone", "_lasting", "_limit_seconds", "_looking", "_task", "cut")

    def __init__(self, gone: Callable[[], Awaitable[object]], limit_seconds: float, lasting: DeadlineTimer) -> None:
        self.cut: CancelReason | None = None
        self._gone = gone
        self._limit_seconds = limit_seconds
        self._lasting = lasting
        self._looking: asyncio.Task[None] | None = None

    def __enter__(self) -> "Cancellation":
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        self._lasting.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._lasting.remove(self)
        if self._looking is not None:
            self._looking.cancel()
        if self.cut is None:
            return False
        ours = self._task.uncancel() <= self._cancelling
        return ours and kind is not None and issubclass(kind, asyncio.CancelledError)

    def look(self) -> None:
        """Begins to wait for the client to hang up, and for the limit."""
        self._looking = asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(max(self._limit_seconds - LOOK_AFTER_SECONDS, 0)):
                await self._gone()
            self.cut = CancelReason.GONE
        except TimeoutError:
            self.cut = CancelReason.LATE
        self._task.cancel()
