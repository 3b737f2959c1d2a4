"""`corea export`: a trained model in the form that the embedded backend runs, with its answers compared."""

from pathlib import Path
from typing import Annotated

import typer

from corea.cli.console import print_json
from corea.cli.options import FOLDER, NAME, JsonOption


def export(
    folder: Annotated[Path, typer.Argument(metavar=FOLDER, help="Hugging Face folder of the trained model.")],
    out: Annotated[Path, typer.Argument(metavar=FOLDER, help="Folder to write; an earlier export is replaced.")],
    precision: Annotated[
        str,
        typer.Option(metavar=NAME, help="float32, float16 (stored as half, computed in float32), int8 or int4."),
    ] = "float32",
    check: Annotated[
        int, typer.Option(min=0, max=500, help="Bundled questions on which both forms must give the same answer.")
    ] = 200,
    allow_difference: Annotated[
        bool, typer.Option("--allow-difference", help="Report differing answers instead of refusing the export.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Convert a trained model to the embedded ONNX form, and check that both give the same greedy answers."""
    from corea.demo import bundled_questions
    from corea.train.export import export as convert

    questions = bundled_questions("export", check)
    report = convert(folder, out, precision=precision, questions=questions, must_be_equal=not allow_difference)
    if json:
        print_json(report.as_dict())
    else:
        print(f"{report.folder}: {report.bytes / 1e6:.1f} MB")
        if report.proof:
            print(f"{report.proof.equal} of {report.proof.questions} greedy answers are identical")
