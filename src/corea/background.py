"""One event loop in a thread of its own, for callers that are not asynchronous."""

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

STOP_SECONDS = 5.0


class BackgroundLoop:
    """An event loop that runs in a daemon thread from its first use to the end of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result; the calling thread waits for it. An interrupt (Ctrl-C) cancels the coroutine.

        Raises:
            RuntimeError: The caller runs on this very loop, which would wait for itself.
        """
        loop = self._running()
        try:
            here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is loop:
            coroutine.close()
            raise RuntimeError("a synchronous call was made from within one: got the same event loop; await the call")
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._pid != os.getpid():  # a forked child has no such thread
                self._loop, self._pid = asyncio.new_event_loop(), os.getpid()
                threading.Thread(target=self._loop.run_forever, name="corea", daemon=True).start()
                atexit.register(_stop, self._loop, self._pid)
            return self._loop


def _stop(loop: asyncio.AbstractEventLoop, pid: int) -> None:
    """Lets what is open on the loop close (connections do so in the shutdown), then ends it."""
    if pid != os.getpid():
        return

    async def close_all() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await loop.shutdown_asyncgens()

    try:
        asyncio.run_coroutine_threadsafe(close_all(), loop).result(STOP_SECONDS)
    except TimeoutError:
        pass  # the process ends anyway
    loop.call_soon_threadsafe(loop.stop)


background: BackgroundLoop = BackgroundLoop()
