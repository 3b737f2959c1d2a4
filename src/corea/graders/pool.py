"""Worker processes that compare expressions, each row under a hard limit of time and memory.

A worker that overruns is killed and replaced; the row that it held is undecided, and no other row is touched. The
calling process never runs sympy, so neither its main thread, its signals nor its memory are at stake.
"""

import atexit
import json
import os
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import LifoQueue

from corea.errors import ConfigError, CoreaError

_START_SECONDS = 60.0  # a worker imports sympy (1.5 s on an idle core); the limit of a row begins after that
_PATIENCE = 4.0
_REMEMBERED = 20_000
PROGRAM = "corea.graders.worker"


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """Time and memory of one comparison, and number of processes.

    Args:
        seconds: Computing time of one row, so that a busy machine grades as an idle one does; at most `_PATIENCE`
            times as much may pass on the clock.
        memory_mb: Address space of one worker (where the system can limit it).
        workers: Processes at once; 0 is one for each core, at most 4.
    """

    seconds: float = 5.0
    memory_mb: int = 1024
    workers: int = 0

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.memory_mb < 256 or self.workers < 0:
            raise ConfigError(
                f"worker limits: seconds={self.seconds}, memory_mb={self.memory_mb}, workers={self.workers};"
                " expected more than 0, at least 256, and 0 or more"
            )

    @property
    def processes(self) -> int:
        """Maximum number of workers."""
        return self.workers or max(1, min(4, os.cpu_count() or 1))


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """Equality of two expressions; `reason` says why none was determined (then `equal` is False)."""

    equal: bool
    reason: str = ""


def worker_command(program: str, limits: WorkerLimits) -> list[str]:
    """The command that starts a worker."""
    return [sys.executable, "-m", program, str(limits.memory_mb), str(limits.seconds)]


class ComparisonWorker:
    """One process; it answers one JSON line with one. Not for two threads at once."""

    def __init__(self, limits: WorkerLimits, command: Sequence[str] | None = None) -> None:
        self.limits = limits
        self._command = command or worker_command(PROGRAM, limits)
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the parent's to handle
        )
        self._ready = False

    def compare(self, reference: str, answer: str) -> ComparisonResult | None:
        """The outcome; None when the worker is gone, having overrun its limits or died."""
        if not self._ready:
            self._ready = self._exchange(None, _START_SECONDS) is not None
            if not self._ready:
                self.close()
                raise CoreaError(f"a worker process did not start; try: {' '.join(self._command)}")
        reply = self._exchange(json.dumps([reference, answer]), _PATIENCE * self.limits.seconds)
        return ComparisonResult(*json.loads(reply)) if reply else None

    def _exchange(self, line: str | None, seconds: float) -> bytes | None:
        """Sends a line and reads one; None (and the process dead) when that takes too long."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        overrun = threading.Event()

        def stop() -> None:
            overrun.set()
            process.kill()

        timer = threading.Timer(seconds, stop)
        timer.daemon = True
        timer.start()
        try:
            if line is not None:
                process.stdin.write(line.encode() + b"\n")
                process.stdin.flush()
            reply = process.stdout.readline()
        except (BrokenPipeError, ValueError):
            reply = b""
        finally:
            timer.cancel()
        if overrun.is_set() or not reply.endswith(b"\n"):
            self.close()
            return None
        return reply

    def close(self) -> None:
        """Ends the process, now."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass  # unsent data has no reader any more
        self._process.wait()


class WorkerPool:
    """Workers that are started when needed and kept; any thread may ask.

    Args:
        program: The module that a worker runs.
        remembered: Outcomes that are kept, so that an equal pair is not compared again.
    """

    def __init__(self, limits: WorkerLimits, program: str = PROGRAM, remembered: int = _REMEMBERED) -> None:
        self.limits = limits
        self.replaced: int = 0
        self._program = program
        self._remembered = remembered
        self._slots: LifoQueue[ComparisonWorker | None] = LifoQueue()
        for _ in range(limits.processes):
            self._slots.put(None)  # a worker that is not yet started
        self._known: OrderedDict[tuple[str, str], ComparisonResult] = OrderedDict()
        self._lock = threading.Lock()

    def compare(self, reference: str, answer: str) -> ComparisonResult:
        """The comparison of two expressions, within the limits, plus a worker's start where needed."""
        key = (reference, answer)
        with self._lock:
            if key in self._known:
                return self._known[key]
        worker = self._slots.get()
        try:
            worker = worker or ComparisonWorker(self.limits, worker_command(self._program, self.limits))
            outcome = worker.compare(reference, answer)
            if outcome is None:
                worker = None
        except BaseException:
            worker = None
            raise
        finally:
            self._slots.put(worker)
        if outcome is None:
            with self._lock:
                self.replaced += 1
            return ComparisonResult(
                False, f"no verdict within {self.limits.seconds:g} s and {self.limits.memory_mb} MB"
            )
        with self._lock:
            self._known[key] = outcome
            if len(self._known) > self._remembered:
                self._known.popitem(last=False)
        return outcome

    def compare_many(self, pairs: Sequence[tuple[str, str]]) -> list[ComparisonResult]:
        """Outcomes of many (reference, answer) pairs, in order, all workers busy."""
        if len(pairs) < 2:
            return [self.compare(*pair) for pair in pairs]
        with ThreadPoolExecutor(min(self.limits.processes, len(pairs))) as threads:
            return list(threads.map(self.compare, *zip(*pairs, strict=True)))

    def close(self) -> None:
        """Ends the workers, each when its row is done; the pool can be used again."""
        held = [self._slots.get() for _ in range(self.limits.processes)]
        for worker in held:
            if worker:
                worker.close()
            self._slots.put(None)


_pools: dict[tuple[int, WorkerLimits, str], WorkerPool] = {}
_pools_lock = threading.Lock()


def shared_pool(limits: WorkerLimits, program: str = PROGRAM, remembered: int = _REMEMBERED) -> WorkerPool:
    """The one pool of this process with these limits and program (a forked child has its own)."""
    key = (os.getpid(), limits, program)
    with _pools_lock:
        if key not in _pools:
            if not _pools:
                atexit.register(close_pools)
            _pools[key] = WorkerPool(limits, program, remembered)
        return _pools[key]


def close_pools() -> None:
    """Ends all workers of this process."""
    with _pools_lock:
        for (pid, *_), pool in list(_pools.items()):
            if pid == os.getpid():
                pool.close()
        _pools.clear()
