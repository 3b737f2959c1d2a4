"""`corea export`: a trained model in the form that the embedded backend runs, with its answers compared."""

from pathlib import Path
from typing import Annotated

import typer

from corea.cli.console import print_json
from corea.cli.options import FILE, FOLDER, NAME, JsonOption


def export(
    folder: Annotated[Path, typer.Argument(metavar=FOLDER, help="Hugging Face folder of the trained model.")],
    out: Annotated[Path, typer.Argument(metavar=FOLDER, help="Folder to write; an earlier export is replaced.")],
    precision: Annotated[
        str,
        typer.Option(metavar=NAME, help="float32, float16 (stored as half, computed in float32), int8 or int4."),
    ] = "float32",
    check: Annotated[
        int, typer.Option(min=0, max=500, help="Questions on which both forms must give the same answer.")
    ] = 200,
    questions: Annotated[
        Path | None,
        typer.Option(metavar=FILE, help="Your own questions for that, as JSON lines or CSV; by default bundled ones."),
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="The longest answer compared.")] = 256,
    allow_difference: Annotated[
        bool, typer.Option("--allow-difference", help="Report differing answers instead of refusing the export.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Convert a trained model to the embedded ONNX form, and check that both give the same greedy answers."""
    from corea.datasets.local import read_labelled
    from corea.demo import bundled_questions
    from corea.train.export import export as convert

    own = list(read_labelled(str(questions), labelled=False).values())[:check] if questions else None
    asked = bundled_questions("export", check) if own is None else own
    report = convert(
        folder, out, precision=precision, questions=asked, max_tokens=max_tokens, must_be_equal=not allow_difference
    )
    if json:
        print_json(report.as_dict())
        return
    print(f"{report.folder}: {report.bytes / 1e6:.1f} MB")
    if proof := report.proof:
        print(f"{proof.equal} of {proof.questions} greedy answers are identical")
        if proof.graded:
            print(f"right: {proof.right} of {proof.graded} before, {proof.right_exported} exported")
