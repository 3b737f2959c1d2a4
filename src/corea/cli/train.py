"""`corea train ...`: the recipes; `corea export` stands beside them in `corea.cli.export`."""

import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from corea.cli.console import SetOption
from corea.errors import ConfigError
from corea.registry import install_hint

app: typer.Typer = typer.Typer(no_args_is_help=True, help="Train a small model (extra: train).")


@app.callback()
def needs_its_extra() -> None:
    if find_spec("trl") is None:
        raise ConfigError(f"corea train: needs trl, which is not installed; {install_hint('trl')}")


@app.command("cold-start")
def cold_start(
    config: Annotated[Path, typer.Argument(help="TOML of the run; see configs/ and docs/training.md.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the trained model; a killed run resumes.")],
    set_: SetOption = None,
) -> None:
    """Supervised start from nothing on generated problems: reasons, answers, states a confidence."""
    from corea.config import settings
    from corea.train.cold_start import ColdStart
    from corea.train.cold_start import cold_start as train
    from corea.train.settings import Shape

    table = read_table(config, set_ or [])
    shape = settings(f"{config}: shape", Shape, table.pop("shape", {}))
    print(train(settings(str(config), ColdStart, table, shape=shape, out=out)))


@app.command("rlcc")
def rlcc(
    config: Annotated[Path, typer.Argument(help="TOML of the run; see configs/train/ and docs/training.md.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the trained model; a killed run resumes.")],
    model: Annotated[str | None, typer.Option("--model", help="Start from this model, not the file's.")] = None,
    set_: SetOption = None,
) -> None:
    """Reinforcement learning with confidence calibration, from a model that knows the format."""
    from corea.config import settings
    from corea.train.data import Material
    from corea.train.rlcc import Rlcc
    from corea.train.rlcc import rlcc as train

    table = read_table(config, set_ or [])
    if model is not None:
        table["model"] = model
    given = {key: table.pop(key) for key in ("questions", "held_out", "grader", "prompt") if key in table}
    run = settings(str(config), Rlcc, table, out=out)
    questions, held_out, grader, prompt = settings(str(config), Material, given).load()
    words = ["corea", "train", "rlcc", str(config), "--out", str(out)]
    words += [word for override in set_ or [] for word in ("--set", override)] + (["--model", model] if model else [])
    command = shlex.join(words)
    print(train(run, questions=questions, held_out=held_out, grader=grader, prompt=prompt, command=command))


def read_table(config: Path, overrides: list[str]) -> dict[str, Any]:
    """A TOML file with `--set a.b=value` laid over it."""
    import tomllib

    try:
        table = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"{config}: cannot be read ({why}), expected a TOML file; see configs/ for examples"
        ) from error
    for override in overrides:
        key, separator, value = override.partition("=")
        *parents, last = key.strip().split(".")
        inner = table
        for parent in parents:
            inner = inner.setdefault(parent, {})
        if not separator or not isinstance(inner, dict):
            raise ConfigError(f"--set {override}: expected a.b=value, such as shape.width=96")
        try:
            inner[last] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            inner[last] = value
    return table
