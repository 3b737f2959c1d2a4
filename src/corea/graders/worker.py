"""The program of a worker process: reads [reference, answer] lines, writes [equal, reason] lines.

Run by `corea.graders.pool` as `python -m corea.graders.worker MEMORY_MB SECONDS`. Each row's
computing time is limited by the system's own timer, which also ends a worker whose parent has died.
"""

import json
import os
import sys
from importlib import import_module
from typing import Any

from corea.graders.algebra.comparison import answers_equal
from corea.graders.algebra.phrasing import has_operator

WARM_UP = ((r"x^2+\frac{x}{2}", "x(x+1/2)"), (r"\sqrt{8}", r"2\sqrt{2}"), ("[1,2]", "1,-2"), ("x=1", "x>2"))
"""One pair for each kind of expression, at whose first use sympy and the parser load modules."""


def equivalent(reference: str, answer: str) -> bool:
    """True if two LaTeX or plain expressions are mathematically equal, as math-verify finds.

    Source: math-verify 0.9, its timeouts off (they need signals and the main thread; the pool has a hard limit).
    """
    math_verify: Any = import_module("math_verify")  # it has no types
    wanted, stated = (math_verify.parse(f"${text}$", parsing_timeout=None) for text in (reference, answer))
    return bool(math_verify.verify(wanted, stated, timeout_seconds=None, allow_set_relation_comp=True))


def compared(reference: str, answer: str) -> bool | None:
    """True if an answer equals the reference, by its value with 50 digits or as math-verify finds; None if undecided.

    math-verify is asked only where both have an integral, a sum or a limit: an answer with one that the reference has
    not is the task again, not its solution. Its known false positives need other notation (bases, units, sequences).
    """
    equal = answers_equal(reference, answer, precise=True)
    if not equal and has_operator(reference) and has_operator(answer):
        return equivalent(reference, answer)
    return equal


def main() -> None:
    """Answer lines until the input ends."""
    memory_mb, seconds = int(sys.argv[1]), float(sys.argv[2])
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries must not mix with the replies
    for pair in WARM_UP:
        compared(*pair)
        equivalent(*pair)
    _limit_memory(memory_mb)
    print(json.dumps([True, "ready"]), file=replies, flush=True)
    for line in sys.stdin:
        _alarm(seconds)
        reference, answer = json.loads(line)
        try:
            equal = compared(reference, answer)
            reply = [bool(equal), "undecided: no value that 50 digits can compare" if equal is None else ""]
        except MemoryError:
            reply = [False, f"no verdict within {memory_mb} MB"]
        except Exception as error:  # the boundary to sympy, which may raise any error
            reply = [False, f"could not be compared: {type(error).__name__}"]
        _alarm(0)
        print(json.dumps(reply), file=replies, flush=True)


def _limit_memory(memory_mb: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    try:
        resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    except (ValueError, OSError):  # macOS refuses some limits
        pass


def _alarm(seconds: float) -> None:
    """Set a timer after which the system ends this process, even inside C code; 0 cancels it."""
    import signal

    if hasattr(signal, "setitimer"):  # not on Windows, where the pool's own limit is the only one
        signal.setitimer(signal.ITIMER_PROF, seconds)  # SIGPROF, unhandled, ends the process


if __name__ == "__main__":
    main()
