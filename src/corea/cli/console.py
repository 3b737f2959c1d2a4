"""What every command shares: options, printing for people and for machines, exit codes."""

import json
import math
import os
import sys
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from corea.errors import BackendError, BudgetError, ConfigError, CoreaError, DataError
from corea.money import read_usd

EXIT_FAILED, EXIT_CONFIG, EXIT_DATA, EXIT_BACKEND, EXIT_BUDGET, EXIT_INTERRUPTED = 1, 2, 3, 4, 5, 130
EXIT_CODES = """Exit codes: 0 done; 1 done, but something failed (a question, an unreadable answer, a check); 2 wrong
usage or configuration; 3 a data file is wrong or cannot be written; 4 a model could not be reached or refused;
5 stopped by the budget; 130 interrupted."""

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="Configuration file. Default: corea.toml here if there is one, else the bundled pair.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one setting, as a.b=value; may be repeated."),
]
CalibrationOption = Annotated[
    Path | None, typer.Option("--calibration", help="An artefact of `corea calibrate` that decides what is kept.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Use an artefact that was made for another configuration; every trace says so.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines instead.")]


def exit_code(error: CoreaError) -> int:
    """The exit code that an error stands for; see EXIT_CODES."""
    for kind, code in (
        (ConfigError, EXIT_CONFIG),
        (DataError, EXIT_DATA),
        (BackendError, EXIT_BACKEND),
        (BudgetError, EXIT_BUDGET),
    ):
        if isinstance(error, kind):
            return code
    return EXIT_FAILED


def complain(message: str) -> None:
    """One line to standard error, in the name of the program."""
    note(f"corea: {' '.join(message.split())}")


def note(line: str) -> None:
    """A line to standard error, if that can be written."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # else Python complains at its end, with an exit code of its own


def print_json(value: Any) -> None:
    """One JSON object on one line; money keeps its exact decimal digits as a string."""
    print(json.dumps(value, default=_plain, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"cannot print {type(value).__name__} as JSON")


def amount(text: str) -> Decimal:
    """A budget from the command line."""
    return read_usd("--budget-usd", text)


def usd(amount: Decimal | float | None) -> str:
    """Money for people: at least two significant digits, never rounded to nothing; "unknown" for None."""
    if amount is None:
        return "unknown"
    value = abs(float(amount))
    decimals = 2 if value >= 1 or value == 0 else min(1 - math.floor(math.log10(value)), 12)
    sign = "-" if amount < 0 else ""
    return f"{sign}${value:,.{max(decimals, 2)}f}" if value else "$0"


def percent(share: float | None) -> str:
    """A share for people, such as "27.1 %"; "unknown" for None."""
    return "unknown" if share is None else f"{100 * share:.1f} %"
