"""Cancels a request that takes too long, or whose client has disconnected."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from types import TracebackType

GRACE_SECONDS = 0.05  # most failures and short answers are over by then, and pay for no task


class CancelReason(StrEnum):
    """Reason for the cancellation of a request."""

    DISCONNECTED = "disconnected"
    TIMEOUT = "timeout"


class Cancellation:
    """`with Cancellation(...) as cancellation: await work` cancels the work when need be, and `.reason` says why.

    Nothing is raised. A task that waits for a client to disconnect is only started for work that lasts.

    Args:
        disconnected: Waits until the client has disconnected.
        limit_seconds: Time limit of the work; at least GRACE_SECONDS.
    """

    __slots__ = ("_cancelling", "_disconnected", "_limit_seconds", "_task", "_timer", "_watcher", "reason")

    def __init__(self, disconnected: Callable[[], Awaitable[object]], limit_seconds: float) -> None:
        self.reason: CancelReason | None = None
        self._disconnected = disconnected
        self._limit_seconds = limit_seconds
        self._watcher: asyncio.Task[None] | None = None

    def __enter__(self) -> "Cancellation":
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        self._timer = asyncio.get_running_loop().call_later(GRACE_SECONDS, self._start_watching)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if self.reason is None:
            return False
        ours = self._task.uncancel() <= self._cancelling
        return ours and kind is not None and issubclass(kind, asyncio.CancelledError)

    def _start_watching(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        try:
            async with asyncio.timeout(max(self._limit_seconds - GRACE_SECONDS, 0)):
                await self._disconnected()
            self.reason = CancelReason.DISCONNECTED
        except TimeoutError:
            self.reason = CancelReason.TIMEOUT
        self._task.cancel()
