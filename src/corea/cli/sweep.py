"""`corea sweep`: whether the promises are kept, over many calibrations drawn from one's own recordings."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corea.cli.console import JsonOption, print_json
from corea.cli.rows import (
    FILE,
    CostCapOption,
    DeltaOption,
    GroupOption,
    LlmOption,
    LlmVariantOption,
    MapOption,
    MaxCostOption,
    MaxDropOption,
    MaxRiskOption,
    PriceOption,
    RowsAsked,
    SignalsOption,
    SlmOption,
    ValueOption,
    VariantOption,
)
from corea.errors import ConfigError

if TYPE_CHECKING:
    from corea.calibrate.coverage import Kept


def sweep(
    traces: Annotated[
        list[Path] | None, typer.Option(metavar=FILE, help="Rows of the small model, as of `corea calibrate`.")
    ] = None,
    reference: Annotated[list[Path] | None, typer.Option(metavar=FILE, help="Rows of the large model.")] = None,
    n: Annotated[int, typer.Option(help="Questions in a calibration set.")] = 500,
    draws: Annotated[int, typer.Option(help="Calibration sets.")] = 1000,
    max_drop: MaxDropOption = None,
    max_risk: MaxRiskOption = None,
    max_cost: MaxCostOption = None,
    value: ValueOption = None,
    cost_cap: CostCapOption = None,
    delta: DeltaOption = 0.05,
    slm: SlmOption = "",
    llm: LlmOption = "",
    variant: VariantOption = "",
    llm_variant: LlmVariantOption = "",
    price: PriceOption = None,
    signals: SignalsOption = "",
    group: GroupOption = "category",
    map: MapOption = "auto",
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    json: JsonOption = False,
) -> None:
    """Try the promises out: calibrate on many sets drawn from these rows, and judge each on all of the rows.

    Without any goal, hard ones are tried. Exit code 1 where a promise is broken more often than delta allows.
    """
    from corea.calibrate.certify import Options
    from corea.calibrate.coverage import edge_goals
    from corea.calibrate.coverage import sweep as run
    from corea.calibrate.targets import Goals

    if not traces or not reference:
        raise ConfigError("sweep: got no population, expected --traces and --reference")
    population = RowsAsked(
        traces=traces, reference=reference, slm=slm, llm=llm, variant=variant, llm_variant=llm_variant,
        price=price, signals=signals, group=group,
    ).pairs()  # fmt: skip
    asked = {"max_drop": max_drop, "max_risk": max_risk, "max_cost_usd": max_cost, "value_usd": value}
    if any(goal is not None for goal in asked.values()):
        goals = {"as asked": Goals(**asked, delta=delta, cost_cap_usd=cost_cap)}
    else:
        goals = edge_goals(population, delta=delta)
    options = Options(map=map)
    kept = run(population, goals, n=n, draws=draws, options=options, seed=seed)
    if json:
        print_json({"rows": len(population), "goals": [each.as_dict() for each in kept]})
    else:
        print(f"population {len(population):,} rows, {draws:,} sets of {n:,} questions, delta {delta:g}")
        print("\n".join(lines_of(kept)))
    if not all(each.holds for each in kept):
        raise typer.Exit(1)


def lines_of(kept: "list[Kept]") -> list[str]:
    """One line for each goal: how often it was certified and broken, and what was saved."""
    return [
        f"{each.goal:22} broken {each.broken_share:6.1%}  certified {each.certified / each.draws:6.1%}  "
        f"saving {each.saving:6.1%}  {'holds' if each.holds else 'BROKEN TOO OFTEN'}: {each.promise}"
        for each in kept
    ]
