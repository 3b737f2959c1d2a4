"""`corea train ...`: the recipes; `corea export` stands beside them in `corea.cli.export`."""

import shlex
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from corea.cli.options import SetOption
from corea.errors import ConfigError
from corea.registry import install_hint

app: typer.Typer = typer.Typer(no_args_is_help=True, help="Train a small model (extra: train).")


@app.callback()
def needs_its_extra() -> None:
    if find_spec("trl") is None:
        raise ConfigError(f"corea train: needs trl, which is not installed; {install_hint('trl')}")


@app.command("rlcc")
def rlcc(
    config: Annotated[Path, typer.Argument(help="TOML of the run; see configs/train/ and docs/training.md.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the trained model; a killed run resumes.")],
    model: Annotated[str | None, typer.Option("--model", help="Start from this model, not the file's.")] = None,
    set_: SetOption = None,
) -> None:
    """Reinforcement learning with confidence calibration, from a model that knows the format."""
    from corea.train.rlcc import Rlcc
    from corea.train.rlcc import rlcc as train

    print(run_rlcc(config, out, model, set_ or [], kind=Rlcc, train=train, program=("corea", "train", "rlcc")))


def run_rlcc(
    config: Path,
    out: Path,
    model: str | None,
    overrides: list[str],
    *,
    kind: type[Any],
    train: Callable[..., Path],
    program: Sequence[str],
) -> Path:
    """Trains as a file says, with settings of this kind.

    Args:
        program: The words that start this command, for the model card.
    """
    from corea.config import settings
    from corea.train.data import Material

    table = read_table(config, overrides)
    if model is not None:
        table["model"] = model
    given = {key: table.pop(key) for key in ("questions", "held_out", "grader", "prompt") if key in table}
    run = settings(str(config), kind, table, out=out)
    questions, held_out, grader, prompt = settings(str(config), Material, given).load()
    words = [*program, str(config), "--out", str(out)]
    words += [word for override in overrides for word in ("--set", override)] + (["--model", model] if model else [])
    return train(run, questions=questions, held_out=held_out, grader=grader, prompt=prompt, command=shlex.join(words))


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
            raise ConfigError(f"--set {override}: expected a.b=value, such as trl.beta=0.05")
        try:
            inner[last] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            inner[last] = value
    return table
