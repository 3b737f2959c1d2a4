"""`corea calibrate plan`: what so many labels will save, from rows at hand or from assumptions."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corea.cli.calibrate_options import MapOption
from corea.cli.console import percent, print_json
from corea.cli.options import SHARE, JsonOption, RowOptions, TargetOptions, spread
from corea.cli.rows import read_rows
from corea.errors import ConfigError

if TYPE_CHECKING:
    from corea.records.table import OutcomeTable

ASSUMED = "Assumptions, without rows"


def _assumed(metavar: str | None, text: str) -> Any:
    return typer.Option(metavar=metavar, help=text, rich_help_panel=ASSUMED, show_default=False)


@spread
def plan(
    rows: RowOptions,
    targets: TargetOptions,
    slm_accuracy: Annotated[float | None, _assumed(SHARE, "Estimated accuracy of the small model.")] = None,
    llm_accuracy: Annotated[float | None, _assumed(SHARE, "Estimated accuracy of the large model.")] = None,
    auroc: Annotated[
        float, _assumed(SHARE, "AUROC of the small model's confidence. Default: .7, which is usual.")
    ] = 0.7,
    agreement: Annotated[
        float,
        _assumed(SHARE, "Where the large model errs: 0 where the small one does too, 1 independently. Default: 0.5."),
    ] = 0.5,
    cost_ratio: Annotated[float, _assumed("NUMBER", "Cost of a large answer over a small one. Default: 20.")] = 20.0,
    map: MapOption = None,
    draws: Annotated[int, typer.Option(min=1, help="Sets of each size.")] = 100,
    seed: Annotated[int, typer.Option(help="Random seed of the sets.")] = 0,
    json: JsonOption = False,
) -> None:
    """Show what `corea calibrate` would save with so many labels, over sets drawn from rows or from an assumed pair.

    An estimate, not a guarantee. Without targets, --max-drop 0.02 is planned for.
    """
    from corea.calibrate import FitOptions, Targets
    from corea.calibrate.label_plan import assumed_pair, plan_labels

    given = {
        "max_drop": targets.max_drop, "max_risk": targets.max_risk, "max_cost_usd": targets.max_cost,
        "value_usd": targets.value, "abstain_usd": targets.abstain_cost,
    }  # fmt: skip
    if all(value is None for value in given.values()):
        given["max_drop"] = 0.02
    delta = 0.05 if targets.delta is None else targets.delta
    wanted = Targets(**given, delta=delta, cost_cap_usd=targets.cost_cap)
    if rows.traces or rows.reference:
        table = _recorded(rows)
        source = f"drawn from {len(table):,} rows of {table.first.name} and {table.last.name}"
    else:
        if slm_accuracy is None or llm_accuracy is None:
            raise ConfigError(
                "calibrate plan: got neither rows nor both accuracies, expected --traces and --reference, or "
                "--slm-accuracy and --llm-accuracy"
            )
        table = assumed_pair(
            slm_accuracy=slm_accuracy, llm_accuracy=llm_accuracy, auroc=auroc, agreement=agreement,
            cost_ratio=cost_ratio,
        )  # fmt: skip
        source = (
            f"simulated: accuracies {slm_accuracy:g} and {llm_accuracy:g}, AUROC {auroc:g}, cost 1 to {cost_ratio:g}"
        )
    plans = plan_labels(table, wanted, FitOptions(map=map or "auto"), draws=draws, seed=seed)
    if json:
        print_json({"source": source, "draws": draws, "guarantee": wanted.words(), "plan": [asdict(p) for p in plans]})
        return
    print(f"{wanted.words()}, at delta {wanted.delta:g}; {draws:,} sets of each size, {source}\n")
    print(f"{'labels':>8}{'certified':>12}{'saving, median':>17}   8 of 10 sets")
    for each in plans:
        low, high = percent(each.saving_low), percent(each.saving_high)
        line = f"{each.labels:>8,}{percent(each.certified):>12}{percent(each.saving):>17}   {low} to {high}"
        print(line, flush=True)


def _recorded(rows: RowOptions) -> "OutcomeTable":
    if not rows.traces or not rows.reference:
        raise ConfigError("calibrate plan: got one of --traces and --reference, expected both, or neither")
    return read_rows(rows)
