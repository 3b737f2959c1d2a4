"""Graceful shutdown of a run."""

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stop:
    """A stop request: no further question is asked, those in flight are finished."""

    asked: bool = False
    _wake: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])

    def __call__(self) -> None:
        self.asked = True
        for wake in self._wake:
            wake()

    def then(self, wake: Callable[[], None]) -> None:
        """Registers a function to call when the stop is requested."""
        self._wake.append(wake)


@contextmanager
def stopping_on_signals() -> Generator[Stop]:
    """Within an event loop, turns Ctrl-C and SIGTERM into a stop; a second one abandons what is in flight."""
    loop, task, stop = asyncio.get_running_loop(), asyncio.current_task(), Stop()

    def handle() -> None:
        if stop.asked and task is not None:
            task.cancel()
        stop()

    handled: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, handle)
            handled.append(number)
        except (NotImplementedError, ValueError, RuntimeError):  # Windows, or not the main thread
            pass
    try:
        yield stop
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
