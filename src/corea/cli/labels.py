"""`corea labels`: how many questions to label, before any is."""

from dataclasses import asdict
from typing import Annotated

import typer

from corea.cli.console import JsonOption, percent, print_json
from corea.cli.rows import SHARE


def labels(
    slm_accuracy: Annotated[float, typer.Option(metavar=SHARE, help="Share that the small model gets right, about.")],
    llm_accuracy: Annotated[float, typer.Option(metavar=SHARE, help="Share that the large model gets right, about.")],
    auroc: Annotated[
        float, typer.Option(metavar=SHARE, help="Of the small model's confidence for being right; 0.7 is usual.")
    ] = 0.7,
    max_drop: Annotated[
        float, typer.Option(metavar=SHARE, help="Points below the large model that are allowed; .02 is 2.")
    ] = 0.02,
    delta: Annotated[float, typer.Option(metavar=SHARE, help="Chance that the promise is broken.")] = 0.05,
    power: Annotated[float, typer.Option(metavar=SHARE, help="Chance that so many labels certify it.")] = 0.8,
    coverage: Annotated[
        float | None,
        typer.Option(metavar=SHARE, help="Share of answers to be kept; default: what the drop allows, with room."),
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

    plan = labels_needed(
        slm_accuracy=slm_accuracy, llm_accuracy=llm_accuracy, auroc=auroc, drop=max_drop, delta=delta, power=power,
        coverage=coverage, agreement=agreement,
    )  # fmt: skip
    if json:
        print_json(asdict(plan))
        return
    if plan.labels is None:
        print(
            f"no number of labels is likely to certify it: at {percent(plan.coverage)} kept, {percent(plan.loss)} of "
            f"the answers would be lost and {percent(plan.gain)} gained; a larger drop, a lower coverage or a better "
            "signal is needed"
        )
        return
    print(
        f"about {plan.labels:,} labelled questions, to keep {percent(plan.coverage)} of the small model's answers at "
        f"{100 * max_drop:g} points, with probability {power:g}; assumed there: {percent(plan.loss)} lost, "
        f"{percent(plan.gain)} gained"
    )
