"""Terminal output that every command shares: text and JSON, errors as one line, exit codes, a full or closed stdout."""

import errno
import io
import json
import math
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from corea.errors import BackendError, BudgetError, ConfigError, CoreaError, DataError
from corea.money import read_usd

EXIT_FAILED, EXIT_CONFIG, EXIT_DATA, EXIT_BACKEND, EXIT_BUDGET, EXIT_WAITING, EXIT_INTERRUPTED = 1, 2, 3, 4, 5, 6, 130
EXIT_CODES = """Exit codes: 0 done; 1 done, but something failed (a question, an unreadable answer, a check); 2 wrong
usage or configuration; 3 a data file is wrong or cannot be written; 4 a model could not be reached or refused;
5 stopped by the budget; 6 batches are under way, run it again; 130 interrupted."""
CODE_OF: dict[type[CoreaError], int] = {
    ConfigError: EXIT_CONFIG,
    DataError: EXIT_DATA,
    BackendError: EXIT_BACKEND,
    BudgetError: EXIT_BUDGET,
}


def exit_code(error: CoreaError) -> int:
    """Exit code of an error; see EXIT_CODES."""
    return next((code for kind, code in CODE_OF.items() if isinstance(error, kind)), EXIT_FAILED)


def complain(message: str) -> None:
    """Prints an error as one line on standard error, after the program's name."""
    note(f"corea: {' '.join(message.split())}")


def note(line: str) -> None:
    """Prints a line on standard error, if that can be written."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # else Python's own message and exit code follow at its end


def read_stdin(command: str) -> str:
    """The text of standard input.

    Raises:
        DataError: It is closed, or is not UTF-8.
    """
    try:
        return cast(Any, sys.stdin).buffer.read().decode("utf-8") if cast(Any, sys.stdin) is not None else ""
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{command}: standard input is not UTF-8 text ({error}); write the question as UTF-8"
        ) from error


def print_json(value: Any) -> None:
    """Prints one JSON object on one line; an amount of money keeps its exact decimal digits as a string."""
    print(json.dumps(value, default=_plain, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"cannot print {type(value).__name__} as JSON")


def amount(text: str) -> Decimal:
    """Budget given on the command line."""
    return read_usd("--budget-usd", text)


def usd(amount: Decimal | float | None) -> str:
    """Amount in USD with at least two significant digits, never rounded to nothing; "unknown" for None."""
    if amount is None:
        return "unknown"
    value = abs(float(amount))
    decimals = 2 if value >= 1 or value == 0 else min(1 - math.floor(math.log10(value)), 12)
    sign = "-" if amount < 0 else ""
    return f"{sign}${value:,.{max(decimals, 2)}f}" if value else "$0"


def percent(share: float | None) -> str:
    """Share as a percentage, such as "27.1 %"; "unknown" for None."""
    return "unknown" if share is None else f"{100 * share:.1f} %"


def counted(count: int, noun: str) -> str:
    """Count with its noun, such as "1 row" or "2,000 rows"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


@dataclass
class StdoutState:
    """Last error of a write to standard output; None if there was none."""

    failure: OSError | None = None


class _Stdout(io.RawIOBase):
    """Writes to a file descriptor and records what fails. A descriptor of -1 stands for a closed output (`>&-`)."""

    def __init__(self, descriptor: int, state: StdoutState) -> None:
        self._descriptor, self._state = descriptor, state

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._descriptor >= 0 and os.isatty(self._descriptor)

    def fileno(self) -> int:
        if self._descriptor < 0:
            raise io.UnsupportedOperation("fileno")
        return self._descriptor

    def write(self, data: Any) -> int:
        try:
            if self._descriptor < 0:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            written, whole = 0, memoryview(data).cast("B")
            while written < len(whole):
                written += os.write(self._descriptor, whole[written:])
            return written
        except OSError as error:
            self._state.failure = error
            raise


@contextmanager
def watched_stdout() -> Generator[StdoutState]:
    """Makes `sys.stdout` record what fails, until the end; what cannot be written then is dropped.

    Standard output that a test or another program has replaced is left alone.
    """
    state, before = StdoutState(), sys.stdout
    if before is not sys.__stdout__:
        yield state
        return
    closed = cast(Any, before) is None
    raw = _Stdout(-1 if closed else before.fileno(), state)
    direct = not closed and cast(io.TextIOWrapper, before).write_through  # PYTHONUNBUFFERED
    sys.stdout = io.TextIOWrapper(
        cast(Any, raw) if direct else io.BufferedWriter(raw),
        encoding=None if closed else before.encoding,
        errors=None if closed else before.errors,
        line_buffering=raw.isatty(),
        write_through=direct,
    )
    try:
        yield state
    finally:
        if state.failure is not None and not closed:
            with suppress(OSError):  # else Python reports at its end that it cannot write what is buffered
                os.dup2(os.open(os.devnull, os.O_WRONLY), raw.fileno())
        with suppress(OSError):
            sys.stdout.flush()
        sys.stdout = before
