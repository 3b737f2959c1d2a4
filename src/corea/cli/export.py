"""`corea export`: a trained folder in the form that the embedded backend runs, proven to answer alike."""

from pathlib import Path
from typing import Annotated

import typer

from corea.cli.console import print_json
from corea.cli.options import JsonOption


def export(
    folder: Annotated[Path, typer.Argument(help="Hugging Face folder of the trained model.")],
    out: Annotated[Path, typer.Argument(help="Folder to write; an earlier export is replaced.")],
    precision: Annotated[
        str, typer.Option(help="float32, float16 (stored half, computed in float32), int8 or int4.")
    ] = "float32",
    check: Annotated[
        int, typer.Option(min=0, max=500, help="Bundled questions that both forms must answer alike.")
    ] = 200,
    allow_difference: Annotated[bool, typer.Option(help="Report a difference instead of refusing it.")] = False,
    json: JsonOption = False,
) -> None:
    """Turn a trained model into the embedded ONNX form, and prove that both give the same greedy answers."""
    from corea.demo import bundled_questions
    from corea.train.export import export as convert

    questions = bundled_questions("export", check)
    report = convert(folder, out, precision=precision, questions=questions, must_be_equal=not allow_difference)
    if json:
        print_json(report.as_dict())
    else:
        print(f"{report.folder}: {report.bytes / 1e6:.1f} MB")
        if report.proof:
            print(f"{report.proof.equal} of {report.proof.questions} greedy answers are the same, to the letter")
