"""A background event loop in a thread of its own, for synchronous callers."""

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

STOP_SECONDS = 5.0


class BackgroundLoop:
    """An event loop that runs in a daemon thread from its first use to the end of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: _LoopThread | None = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result; the calling thread waits for it. An interrupt (Ctrl-C) cancels the coroutine.

        Whatever the coroutine raises is raised here, SystemExit and KeyboardInterrupt too; the loop runs on.

        Raises:
            RuntimeError: The caller runs on this very loop, which would wait for itself.
        """
        try:
            future = self._submit(coroutine)
        except BaseException:
            coroutine.close()
            raise
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        with self._lock:  # no loop ends between the choice of the loop and the submission
            loop = self._running()
            if _current_loop() is loop:
                raise RuntimeError(
                    "a synchronous call was made from within one: got the same event loop; await the call"
                )
            return asyncio.run_coroutine_threadsafe(coroutine, loop)

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._thread is None or not self._thread.is_usable():
            thread = _LoopThread(self._lock)
            thread.start()
            self._thread = thread
            atexit.register(thread.end)
        return self._thread.loop


def _current_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class _LoopThread(threading.Thread):
    """Runs one loop until it is ended."""

    def __init__(self, lock: threading.Lock) -> None:
        super().__init__(name="corea", daemon=True)
        self._lock = lock
        self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()
        self._pid = os.getpid()
        self._ending = self._stopped = False

    def is_usable(self) -> bool:
        """True unless the loop has ended or this is a forked child, which does not have the thread."""
        return self._pid == os.getpid() and not self._ending

    def start(self) -> None:
        """Starts the thread; a process that is ending cannot start one, and the loop is then closed."""
        try:
            super().start()
        except RuntimeError:
            self.loop.close()
            raise

    def run(self) -> None:
        """Runs the loop, again after a task's SystemExit or KeyboardInterrupt, which its caller receives.

        Source: https://docs.python.org/3/library/asyncio-task.html (on SystemExit and KeyboardInterrupt in a task)
        """
        while not self._stopped:
            with suppress(SystemExit, KeyboardInterrupt):
                self.loop.run_forever()

    def end(self) -> None:
        """Closes everything open on the loop, then the loop; one that hangs is left to the end of the process."""
        if not self.is_usable():
            return
        with self._lock:  # calls submitted before this are cancelled below; later ones find no usable loop
            self._ending = True
        try:
            asyncio.run_coroutine_threadsafe(_close_all(), self.loop).result(STOP_SECONDS)
        except TimeoutError:
            return
        self._stopped = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.join(STOP_SECONDS)
        if not self.is_alive():
            self.loop.close()


async def _close_all() -> None:
    """Cancels the other tasks of this loop and closes its generators (connections close in the loop's shutdown)."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


background: BackgroundLoop = BackgroundLoop()
