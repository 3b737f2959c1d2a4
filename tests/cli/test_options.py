"""Option sets: a command takes a dataclass, the command line shows its fields."""

from typing import Annotated

import typer
from typer.testing import CliRunner

from corea.cli.options import JsonOption, TargetOptions, spread


def test_a_set_of_options_is_filled_from_the_command_line() -> None:
    found: list[object] = []

    @spread
    def command(n: Annotated[int, typer.Option()], targets: TargetOptions, json: JsonOption = False) -> None:
        found.extend([n, targets, json])

    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, ["--n", "3", "--max-drop", "0.02", "--json"])
    assert done.exit_code == 0, done.output
    assert found == [3, TargetOptions(max_drop=0.02), True]
    assert CliRunner().invoke(app, ["--max-drop", "x"]).exit_code == 2
