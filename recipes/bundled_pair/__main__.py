"""python -m recipes.bundled_pair cold-start | grow | rlcc: the training of the bundled pair, from a clone's root."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from corea.cli.console import complain, exit_code
from corea.cli.options import SetOption
from corea.cli.train import needs_its_extra, read_table, run_recipe
from corea.errors import CoreaError

ConfigArgument = Annotated[Path, typer.Argument(help="TOML of the run; see recipes/bundled_pair/configs/.")]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder of the trained model; a killed run resumes.")]

app: typer.Typer = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, callback=needs_its_extra
)


@app.command("cold-start")
def cold_start(config: ConfigArgument, out: OutOption, set_: SetOption = None) -> None:
    """Supervised start on generated problems: a model reasons, answers and states a confidence.

    `start` in the file names the folder of an earlier stage, beside that of this one.
    """
    from corea.config import settings
    from recipes.bundled_pair.cold_start import ColdStart
    from recipes.bundled_pair.cold_start import cold_start as train
    from recipes.bundled_pair.format import Shape

    table = read_table(config, set_ or [])
    if "start" in table:
        table["start"] = str(out.parent / table["start"])
    shape = settings(f"{config}: shape", Shape, table.pop("shape", {}))
    print(train(settings(str(config), ColdStart, table, shape=shape, out=out)))


@app.command("grow")
def grow(
    small: Annotated[Path, typer.Argument(help="Folder of the small model.")],
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    after: Annotated[
        list[int] | None, typer.Option(help="Add a layer after this one, and keep the widths; may be repeated.")
    ] = None,
) -> None:
    """A larger model that begins by writing what a small one writes: by default twice as wide, two layers deeper."""
    from recipes.bundled_pair.net2net import grow as make

    print(make(small, out, new_after=tuple(after), wider=False) if after else make(small, out))


@app.command("rlcc")
def rlcc(
    config: ConfigArgument,
    out: OutOption,
    model: Annotated[str | None, typer.Option("--model", help="Start from this model, not the file's.")] = None,
    set_: SetOption = None,
) -> None:
    """`corea train rlcc` with three settings more, for tiny models on a CPU."""
    from recipes.bundled_pair.rlcc import BundledRlcc
    from recipes.bundled_pair.rlcc import rlcc as train

    program = ("python", "-m", "recipes.bundled_pair", "rlcc")
    print(run_recipe(config, out, model, set_ or [], kind=BundledRlcc, train=train, program=program))


if __name__ == "__main__":
    try:
        app(standalone_mode=False)
    except CoreaError as error:
        complain(str(error))
        sys.exit(exit_code(error))
