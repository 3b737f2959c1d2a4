"""`corea calibrate plan`: how many questions to label, before any is labelled."""

from dataclasses import asdict
from typing import Annotated

import typer

from corea.cli.console import percent, print_json
from corea.cli.options import SHARE, JsonOption


def plan(
    slm_accuracy: Annotated[float, typer.Option(metavar=SHARE, help="Estimated accuracy of the small model.")],
    llm_accuracy: Annotated[float, typer.Option(metavar=SHARE, help="Estimated accuracy of the large model.")],
    auroc: Annotated[
        float, typer.Option(metavar=SHARE, help="AUROC of the small model's confidence; 0.7 is usual.")
    ] = 0.7,
    max_drop: Annotated[
        float, typer.Option(metavar=SHARE, help="Largest accuracy loss to the large model; .02: 2 points.")
    ] = 0.02,
    delta: Annotated[float, typer.Option(metavar=SHARE, help="Failure probability of the guarantee.")] = 0.05,
    power: Annotated[float, typer.Option(metavar=SHARE, help="Probability that so many labels certify it.")] = 0.8,
    coverage: Annotated[
        float | None,
        typer.Option(metavar=SHARE, help="Share of answers to keep. Default: what the drop allows, with room."),
    ] = None,
    agreement: Annotated[
        float,
        typer.Option(
            metavar=SHARE, help="Where the large model errs: 0 where the small one does too, 1 independently."
        ),
    ] = 0.5,
    json: JsonOption = False,
) -> None:
    """Estimate how many labels `corea calibrate --max-drop` will need."""
    from corea.calibrate.sample_size import labels_needed

    needed = labels_needed(
        slm_accuracy=slm_accuracy, llm_accuracy=llm_accuracy, auroc=auroc, drop=max_drop, delta=delta, power=power,
        coverage=coverage, agreement=agreement,
    )  # fmt: skip
    if json:
        print_json(asdict(needed))
        return
    lost, gained = percent(needed.loss), percent(needed.gain)
    if needed.labels is None:
        print(
            f"no number of labels is likely to certify it: at {percent(needed.coverage)} kept, {lost} of the answers "
            f"would be lost and {gained} gained; a larger drop, a lower coverage or a better signal is needed"
        )
        return
    print(
        f"about {needed.labels:,} labelled questions, to keep {percent(needed.coverage)} of the small model's answers "
        f"at {100 * max_drop:g} points, with probability {power:g}; assumed there: {lost} lost, {gained} gained"
    )
