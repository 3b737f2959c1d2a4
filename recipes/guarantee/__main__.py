"""python -m recipes.guarantee: `corea calibrate verify` on a simulated pair, and the saving of other methods."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from corea.calibrate.coverage import coverage, hard_targets
from corea.calibrate.prepare import FitOptions
from corea.calibrate.targets import Targets
from corea.cli.calibrate_verify import coverage_lines
from corea.cli.console import complain, exit_code, print_json
from corea.cli.options import JsonOption, RowOptions
from corea.cli.rows import read_rows
from corea.errors import ConfigError, CoreaError, unknown_name
from corea.records.table import OutcomeTable
from recipes.guarantee.simulated import POPULATIONS, simulated_pairs
from recipes.guarantee.threshold_methods import Power, power

ROWS = 20_000
app: typer.Typer = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def guarantee(
    simulated: Annotated[str, typer.Option(metavar="NAME", help="A simulated pair, such as ties.")] = "",
    traces: Annotated[list[Path] | None, typer.Option(help="Or recorded rows of the small model.")] = None,
    reference: Annotated[list[Path] | None, typer.Option(help="And those of the large model.")] = None,
    n: Annotated[int, typer.Option(help="Questions in a calibration set.")] = 500,
    draws: Annotated[int, typer.Option(help="Calibration sets.")] = 1000,
    max_drop: Annotated[
        float | None, typer.Option(help="Largest accuracy loss to the large model; .02: 2 points.")
    ] = None,
    delta: Annotated[float, typer.Option(help="Failure probability of the guarantee.")] = 0.05,
    power_: Annotated[bool, typer.Option("--power", help="Also what other ways to choose save.")] = False,
    map: Annotated[str, typer.Option(help="Score map: auto, identity, linear or trees.")] = "auto",
    seed: Annotated[int, typer.Option(help="Random seed of the draws.")] = 0,
    json: JsonOption = False,
) -> None:
    """Calibrate on many sets drawn from a population, and judge each on the whole of it.

    Without --max-drop, hard targets are tried. Exit code 1 where a guarantee is broken more often than delta allows.
    """
    population, options = _population(simulated, traces, reference), FitOptions(map=map)
    targets = (
        {"as asked": Targets(max_drop=max_drop, delta=delta)} if max_drop else hard_targets(population, delta=delta)
    )
    results = coverage(population, targets, n=n, draws=draws, options=options, seed=seed)
    drops, methods = (max_drop or 0.02,), list[Power]()
    if power_:
        methods = power(population, n=n, drops=drops, draws=draws, delta=delta, options=options, seed=seed)
    if json:
        found = {"targets": [each.as_dict() for each in results], "power": [each.as_dict() for each in methods]}
        print_json({"rows": len(population), **found})
    else:
        print("\n".join([*coverage_lines(results), *method_lines(methods)]))
    if not all(each.holds for each in results):
        raise typer.Exit(1)


def method_lines(methods: list[Power]) -> list[str]:
    """One line for each way to choose a threshold."""
    return [
        f"{each.method:22} {each.share:6.1%} of the oracle-threshold's saving of {each.oracle_saving:.1%}, "
        f"broken {each.broken:6.1%}"
        for each in methods
    ]


def _population(name: str, traces: list[Path] | None, reference: list[Path] | None) -> OutcomeTable:
    if traces and reference:
        return read_rows(RowOptions(traces=traces, reference=reference))
    if not name:
        raise ConfigError("guarantee: got no population, expected --simulated NAME, or --traces and --reference")
    if name not in POPULATIONS:
        raise unknown_name("guarantee --simulated", name, list(POPULATIONS))
    return simulated_pairs(ROWS, **POPULATIONS[name])


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; gives its exit code."""
    try:
        code = app(arguments, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except CoreaError as error:
        complain(str(error))
        return exit_code(error)


if __name__ == "__main__":
    sys.exit(main())
