"""python -m recipes.neighbours: all ways on a board's rows, and the entry for RouterArena."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from corea.calibrate import OutcomeTable
from corea.calibrate.router import fit_router
from corea.cli.console import complain, exit_code
from corea.errors import ConfigError, CoreaError
from recipes.neighbours import boards
from recipes.neighbours.measure import measure
from recipes.neighbours.problem import Rows, cheapest_threshold

app: typer.Typer = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def compare(
    file: Annotated[Path, typer.Argument(help="RouterBench's file, or RouterArena's answers of the small model.")],
    small: Annotated[str, typer.Option(help="RouterBench: the small model's name.")] = "",
    large: Annotated[str, typer.Option(help="RouterBench: the large model's name; RouterArena: its file.")] = "",
    splits: Annotated[int, typer.Option(help="How many halves.")] = 20,
    environments: Annotated[Path | None, typer.Option(help="Folder with the neighbours' environments.")] = None,
) -> None:
    """Every way that needs no answer, on two models of a board."""
    rows = Rows(table=_read(file, small, large))
    typer.echo(f"{len(rows):,} questions, target 2 points")
    measure(rows, splits=splits, environments=environments)


@app.command()
def entry(
    dataset: Annotated[Path, typer.Argument(help="RouterArena's dataset/router_data.json.")],
    answers: Annotated[Path, typer.Option(help="cached_results of the small model, which fit the router.")],
    large: Annotated[Path, typer.Option(help="cached_results of the large model.")],
    out: Annotated[Path, typer.Option(help="RouterArena's folder router_inference.")],
    name: Annotated[str, typer.Option(help="The router's name.")] = "corea",
) -> None:
    """RouterArena's configuration and prediction file for COREA's router between two models."""
    table = boards.routerarena(answers, large)
    router, routes = fit_router(table)
    tau = cheapest_threshold(routes, Rows(table=table), before=True)
    if tau is None:
        raise ConfigError("entry: got no threshold within 2 points, expected one; choose two other models")
    models = (table.first.name, table.last.name)
    count = boards.arena_entry(dataset, out, name, models, router, tau)
    typer.echo(f"{count:,} predictions in {out / 'predictions' / name}.json")


def _read(file: Path, small: str, large: str) -> OutcomeTable:
    if small:
        return boards.routerbench(file, small, large)
    if not large:
        raise ConfigError("neighbours: got no --large, expected the large model's name, or its file")
    return boards.routerarena(file, Path(large))


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
