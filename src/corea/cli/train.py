"""`corea train ...`: the training recipes."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from corea.cli.options import FILE, FOLDER, SetOption
from corea.registry import need_extra

app: typer.Typer = typer.Typer(no_args_is_help=True, help="Train a small model (extra: train).")


@app.callback()
def needs_its_extra() -> None:
    """Refuses to start without the extra `train`, in one line."""
    need_extra("corea train:", "trl")


ModelOption = Annotated[str | None, typer.Option("--model", help="Initial model, in place of the file's.")]


@app.command("rlcc")
def rlcc(
    config: Annotated[
        Path, typer.Argument(metavar=FILE, help="TOML of the run; see configs/train/ and docs/training.md.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar=FOLDER, help="Folder of the trained model; a killed run resumes.")
    ],
    model: ModelOption = None,
    set_: SetOption = None,
) -> None:
    """Reinforcement learning with confidence calibration, from a model that knows the answer format."""
    from corea.train.rlcc import rlcc as train
    from corea.train.settings import RlccSettings

    print(
        run_recipe(config, out, model, set_ or [], kind=RlccSettings, train=train, program=("corea", "train", "rlcc"))
    )


@app.command("cold-start")
def cold_start(
    config: Annotated[
        Path, typer.Argument(metavar=FILE, help="TOML of the run; see recipes/smollm2/ and docs/training.md.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar=FOLDER, help="Folder of the trained model; a killed run resumes.")
    ],
    model: ModelOption = None,
    set_: SetOption = None,
) -> None:
    """Supervised training that teaches a pretrained model to reason, answer and state a confidence."""
    from corea.train.cold_start import ColdStartSettings
    from corea.train.cold_start import cold_start as train

    program = ("corea", "train", "cold-start")
    print(run_recipe(config, out, model, set_ or [], kind=ColdStartSettings, train=train, program=program))


def run_recipe(
    config: Path,
    out: Path,
    model: str | None,
    overrides: list[str],
    *,
    kind: type[Any],
    train: Callable[..., Path],
    program: Sequence[str],
) -> Path:
    """Trains as a file says; returns the folder of the model.

    Args:
        kind: Settings of the run.
        program: First words of the command, for the model card.
    """
    from corea.config import settings
    from corea.train.data import DataSettings

    table = read_table(config, overrides)
    if model is not None:
        table["model"] = model
    given = {key: table.pop(key) for key in ("questions", "held_out", "grader", "prompt") if key in table}
    run = settings(str(config), kind, table, out=out)
    questions, held_out, grader, prompt = settings(str(config), DataSettings, given).load()
    words = [*program, str(config), "--out", str(out)]
    words += [word for override in overrides for word in ("--set", override)] + (["--model", model] if model else [])
    return train(run, questions=questions, held_out=held_out, grader=grader, prompt=prompt, command=shlex.join(words))


def read_table(config: Path, overrides: list[str]) -> dict[str, Any]:
    """TOML file of a run, with `--set a.b=value` overrides."""
    from corea.config import overlay, read_toml

    table = read_toml(config, "see configs/ for examples")
    overlay(table, overrides)
    return table
