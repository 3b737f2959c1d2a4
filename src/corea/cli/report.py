"""`corea report`: one self-contained page from a comparison's folder; no model is run."""

import json
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from corea.cli.console import print_json
from corea.cli.options import JsonOption
from corea.errors import ConfigError, DataError


def report(
    folder: Annotated[Path, typer.Argument(help="Where `corea compare` wrote its results.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The HTML page; the table goes beside it as .md. Default: in FOLDER."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make report.html and report.md from stored results."""
    from corea.evaluate.compare.report_page import page
    from corea.evaluate.compare.text import markdown

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


def read_results(folder: Path) -> dict[str, Any]:
    """The results in a comparison's folder, or in a results file itself."""
    from corea.evaluate.compare.session import RESULTS, VERSION

    path = folder if folder.is_file() else folder / RESULTS
    try:
        found = cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; run `corea compare CONFIG --out {folder}` first") from error
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot be read ({error}), expected results of `corea compare`; name the folder that it wrote",
            path=str(path),
        ) from error
    if found.get("version") != VERSION:
        raise DataError(
            f"got results of version {found.get('version')!r}, expected {VERSION}; run corea compare again, it asks "
            "no model for what is stored",
            path=str(path),
        )
    return found
