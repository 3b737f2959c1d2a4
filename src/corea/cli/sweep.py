"""`corea sweep`: whether the promises are kept, over many calibrations drawn from one's own recordings."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corea.cli.calibrate import PRICE_HELP, read_pairs
from corea.cli.console import JsonOption, print_json
from corea.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from corea.calibrate.tables import Pairs

WORLD_ROWS = 20_000


def sweep(
    traces: Annotated[list[Path] | None, typer.Option(help="Rows of the small model, as of `corea calibrate`.")] = None,
    reference: Annotated[list[Path] | None, typer.Option(help="Rows of the large model.")] = None,
    world: Annotated[str, typer.Option(help="A simulated population instead, such as ties.")] = "",
    n: Annotated[int, typer.Option(help="Questions in a calibration set.")] = 500,
    draws: Annotated[int, typer.Option(help="Calibration sets.")] = 1000,
    max_drop: Annotated[
        float | None, typer.Option(help="As of `corea calibrate`; without any goal, hard ones.")
    ] = None,
    max_risk: Annotated[float | None, typer.Option(help="Share of the kept answers that may be wrong.")] = None,
    max_cost: Annotated[float | None, typer.Option(help="Mean USD a question.")] = None,
    value: Annotated[float | None, typer.Option(help="What an error costs, in USD.")] = None,
    cost_cap: Annotated[float | None, typer.Option(help="USD that no question exceeds with both models asked.")] = None,
    delta: Annotated[float, typer.Option(help="Chance that a promise may be broken.")] = 0.05,
    power: Annotated[
        bool, typer.Option("--power", help="Also what other ways to choose save, for --max-drop.")
    ] = False,
    slm: Annotated[str, typer.Option(help="The small model's name, where --traces holds several.")] = "",
    llm: Annotated[str, typer.Option(help="The large model's name, where --reference holds several.")] = "",
    variant: Annotated[str, typer.Option(help="Which variant of the small model's rows.")] = "",
    llm_variant: Annotated[str, typer.Option(help="Which variant of the large model's rows.")] = "",
    price: Annotated[list[str] | None, typer.Option(help=PRICE_HELP)] = None,
    signals: Annotated[str, typer.Option(help="Columns to use, comma separated; default: all there are.")] = "",
    group: Annotated[str, typer.Option(help="The column that holds the slice of a row.")] = "category",
    map: Annotated[str, typer.Option(help="auto, identity, linear or trees.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    json: JsonOption = False,
) -> None:
    """Try the promises out: calibrate on many sets drawn from these rows, and judge each on all of the rows.

    Exit code 1 where a promise is broken more often than delta allows.
    """
    from corea.calibrate.fit import Options
    from corea.calibrate.goals import Goals
    from corea.calibrate.rivals import power as compare
    from corea.calibrate.sweep import edge_goals
    from corea.calibrate.sweep import sweep as run

    if world:
        population = _world(world)
    elif traces and reference:
        population = read_pairs(
            traces, reference, slm=slm, llm=llm, variant=variant, llm_variant=llm_variant, price=price,
            signals=signals, group=group,
        )  # fmt: skip
    else:
        raise ConfigError("sweep: got no population, expected --traces and --reference, or --world NAME")
    asked = {"max_drop": max_drop, "max_risk": max_risk, "max_cost_usd": max_cost, "value_usd": value}
    if any(goal is not None for goal in asked.values()):
        goals = {"as asked": Goals(**asked, delta=delta, cost_cap_usd=cost_cap)}
    else:
        goals = edge_goals(population, delta=delta)
    options = Options(map=map)
    kept = run(population, goals, n=n, draws=draws, options=options, seed=seed)
    drops = (0.02 if max_drop is None else max_drop,)
    rivals = (
        compare(population, n=n, drops=drops, draws=draws, delta=delta, options=options, seed=seed) if power else []
    )
    if json:
        print_json({
            "rows": len(population), "goals": [each.as_dict() for each in kept],
            "power": [each.as_dict() for each in rivals],
        })  # fmt: skip
    else:
        print(f"population {len(population):,} rows, {draws:,} sets of {n:,} questions, delta {delta:g}")
        for each in kept:
            print(
                f"{each.goal:22} broken {each.broken_share:6.1%}  certified {each.certified / draws:6.1%}  "
                f"saving {each.saving:6.1%}  {'holds' if each.holds else 'BROKEN TOO OFTEN'}: {each.promise}"
            )
        for each in rivals:
            print(
                f"{each.method:22} {each.share:6.1%} of the oracle-threshold's saving of {each.oracle_saving:.1%}, "
                f"broken {each.broken:6.1%}"
            )
    if not all(each.holds for each in kept):
        raise typer.Exit(1)


def _world(name: str) -> "Pairs":
    from corea.calibrate.worlds import WORLDS, world

    if name not in WORLDS:
        raise unknown_name("sweep --world", name, list(WORLDS))
    how: dict[str, Any] = WORLDS[name]
    return world(WORLD_ROWS, **how)
