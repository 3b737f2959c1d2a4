"""The rows of a source as a stream that never holds the event loop up."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass

from corea.errors import DataError
from corea.run.shutdown import Stop
from corea.run.source import QuestionSource, SourceRow

PIPE_ROWS = 256  # read ahead of the questions asked


@dataclass(frozen=True, slots=True)
class _Broken:
    """The end of a pipe that could not be read any further."""

    error: DataError


async def rows_of(source: QuestionSource, stop: Stop) -> AsyncIterator[SourceRow | DataError]:
    """The rows of a source; those of a pipe are read by a thread, so that waiting for one holds nothing up."""
    if not source.is_pipe:
        for row in source.rows():
            yield row
        return
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[SourceRow | DataError | _Broken | None] = asyncio.Queue()
    room = threading.Semaphore(PIPE_ROWS)

    def put(item: SourceRow | DataError | _Broken | None) -> None:
        try:
            loop.call_soon_threadsafe(waiting.put_nowait, item)
        except RuntimeError:  # the run is over; nobody reads
            pass

    def read() -> None:
        try:
            for row in source.rows():
                room.acquire()
                put(row)
        except DataError as error:
            put(_Broken(error))
        put(None)

    stop.then(lambda: waiting.put_nowait(None))
    threading.Thread(target=read, daemon=True, name="corea-pipe").start()
    while (item := await waiting.get()) is not None:
        if isinstance(item, _Broken):
            raise item.error
        room.release()
        yield item
