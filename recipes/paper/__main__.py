"""python -m recipes.paper: runs the comparison of a TOML file of models and datasets, and makes its report."""

import asyncio
import hashlib
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from corea.cli.console import complain, exit_code, print_json
from corea.cli.options import JsonOption
from corea.errors import ConfigError, CoreaError
from corea.report.terminal import ProgressBars
from recipes.paper.download import PAPER, download
from recipes.paper.models import located, open_models, read_settings
from recipes.paper.page import page
from recipes.paper.provenance import provenance
from recipes.paper.session import RESULTS, ProgressHooks, read_results
from recipes.paper.session import compare as run
from recipes.paper.splits import load_all
from recipes.paper.text import markdown, tables

app: typer.Typer = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command("compare")
def compare(
    config: Annotated[Path, typer.Argument(help="The comparison's TOML file; see recipes/paper/configs/.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for answers and results.")] = Path("out/compare"),
    data: Annotated[
        Path | None, typer.Option(envvar="COREA_DATA", help="The folder that {data} in the file stands for.")
    ] = None,
    limit: Annotated[int, typer.Option(help="At most this many questions of each split; 0: as the file says.")] = 0,
    seeds: Annotated[
        list[int] | None, typer.Option("--seed", help="Only these seeds of the file's; may be repeated.")
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Value of {NAME} in the file; may be repeated."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
    json: JsonOption = False,
) -> None:
    """Run every row of the comparison. Stored answers are used again; `report OUT` then makes the page."""
    text, settings, base = read_settings(config, data, _values(values or []))
    if limit:
        capped = {name: replace(d, limit=limit) for name, d in settings.datasets.items()}
        settings = replace(settings, datasets=capped)
    if seeds:
        settings = settings.only(seeds)
    models, missing = open_models(settings, base, out / "traces")
    declared = {name: located(base, each) for name, each in settings.datasets.items()}
    asked = load_all(declared, settings.seeds)
    made_by = provenance(
        command=_command(config, out, data, limit, seeds or []),
        config=text,
        config_sha256=hashlib.sha256(text.encode()).hexdigest(),
    )
    with ProgressBars(quiet=quiet or json) as bars:
        hooks = ProgressHooks(phase=bars.start, step=bars.advance)
        results = asyncio.run(run(settings, models, missing, asked, out, made_by, hooks=hooks))
    if json:
        print_json({"results": str(out / RESULTS), "model_calls": results["model_calls"]})
        return
    print(tables(results))
    page_command = f"python -m recipes.paper report {out}"
    print(f"{results['model_calls']:,} model calls; results: {out / RESULTS}; a page: {page_command}")


def _values(given: Sequence[str]) -> dict[str, str]:
    """The values of `--set`."""
    for each in given:
        if "=" not in each:
            raise ConfigError(f"--set: got {each!r}, expected NAME=VALUE")
    return {each.partition("=")[0]: each.partition("=")[2] for each in given}


def _command(config: Path, out: Path, data: Path | None, limit: int, seeds: Sequence[int]) -> str:
    """The command that reproduces the results; the data folder is given by its variable, as it differs by machine."""
    words = ["compare", str(config), "--out", str(out), *(["--limit", str(limit)] if limit else [])]
    words += [word for seed in seeds for word in ("--seed", str(seed))]
    return ("COREA_DATA=... " if data is not None else "") + "python -m recipes.paper " + shlex.join(words)


@app.command("download")
def download_all(
    data: Annotated[Path, typer.Option(help="The folder of one backbone, or of all: its `datasets` is written.")],
    only: Annotated[list[str] | None, typer.Option(help="Only this dataset; may be repeated.")] = None,
) -> None:
    """Load the paper's six datasets from the hub; those that are there are kept. GPQA asks for a log-in."""
    failed: list[CoreaError] = []
    for name in only or PAPER:
        try:
            print(download(name, data / "datasets"))
        except CoreaError as error:  # the others are loaded all the same
            complain(str(error))
            failed.append(error)
    if failed:
        raise typer.Exit(exit_code(failed[0]))


@app.command("report")
def report(
    folder: Annotated[Path, typer.Argument(help="Where `compare` wrote its results.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The HTML page; the table has the same name with .md. Default: in FOLDER."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make report.html and report.md from stored results; no model is run."""
    results = read_results(folder)
    path = out or folder / "report.html"
    table = path.with_suffix(".md")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(results), encoding="utf-8")
    table.write_text(markdown(results), encoding="utf-8")
    if json:
        print_json({"page": str(path), "table": str(table)})
    else:
        print(f"page: {path}\ntable: {table}")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    try:
        code = app(arguments, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except CoreaError as error:
        complain(str(error))
        return exit_code(error)


if __name__ == "__main__":
    sys.exit(main())
