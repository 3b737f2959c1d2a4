"""`corea calibrate`: a threshold with a guarantee, from labelled questions."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corea.cli.console import ConfigOption, JsonOption, SetOption, amount, print_json
from corea.cli.rows import (
    FILE,
    NAME,
    USD,
    CostCapOption,
    DeltaOption,
    GraderOption,
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
    names_of,
)
from corea.errors import ConfigError, DataError

if TYPE_CHECKING:
    from corea.calibrate.artefact import Calibration
    from corea.calibrate.certify import Options
    from corea.calibrate.tables import Pairs
    from corea.calibrate.targets import Goals


def calibrate(
    traces: Annotated[
        list[Path] | None,
        typer.Option(
            metavar=FILE,
            help="Rows or a run of the small model, JSON lines; may be repeated. Without: the models are asked.",
        ),
    ] = None,
    reference: Annotated[
        list[Path] | None, typer.Option(metavar=FILE, help="The same of the large model; may be repeated.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar=FILE, help="Where the artefact goes.")] = Path("calibration.json"),
    max_drop: MaxDropOption = None,
    max_risk: MaxRiskOption = None,
    max_cost: MaxCostOption = None,
    value: ValueOption = None,
    abstain_cost: Annotated[
        float | None, typer.Option(metavar=USD, help="What a question costs that a person answers; with --value.")
    ] = None,
    cost_cap: CostCapOption = None,
    delta: DeltaOption = 0.05,
    slm: SlmOption = "",
    llm: LlmOption = "",
    variant: VariantOption = "",
    llm_variant: LlmVariantOption = "",
    price: PriceOption = None,
    signals: SignalsOption = "",
    map: MapOption = "auto",
    probability: Annotated[
        str, typer.Option(metavar=NAME, help="Map to a chance: auto, isotonic, platt or beta.")
    ] = "auto",
    group: GroupOption = "category",
    by_group: Annotated[bool, typer.Option("--by-group", help="One threshold a slice, jointly valid.")] = False,
    pre_policy: Annotated[
        bool, typer.Option(help="May skip the small model in categories where it does not pay.")
    ] = True,
    questions: Annotated[
        Path | None,
        typer.Option(metavar=FILE, help="Questions with references: to be asked, or those of the runs in --traces."),
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    cascade: Annotated[
        str | None, typer.Option(metavar=NAME, help="Which cascade of the configuration; default: the first.")
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder of the answers, to go on from. Default: beside --out."),
    ] = None,
    budget_usd: Annotated[
        str | None, typer.Option(metavar=USD, help="Stop asking before more than this is spent, over all starts.")
    ] = None,
    concurrency: Annotated[int | None, typer.Option(help="Questions under way at once.")] = None,
    also: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="Further signals to measure on the answers, comma separated; they cost nothing.",
            show_default=False,
        ),
    ] = "",
    grader: GraderOption = None,
    tier: Annotated[
        list[str] | None,
        typer.Option(metavar=NAME, help="A model before the last, small to large; repeated, for three and more."),
    ] = None,
    label_poor: Annotated[
        bool, typer.Option("--label-poor", help="Rows may lack labels: the large model's answer is the reference.")
    ] = False,
    to_label: Annotated[
        Path | None, typer.Option(metavar=FILE, help="With --label-poor: write the ids worth labelling there, and end.")
    ] = None,
    gold: Annotated[int, typer.Option(help="With --to-label: how many.")] = 200,
    report: Annotated[Path | None, typer.Option(metavar=FILE, help="Also write a report as one HTML file.")] = None,
    seed: Annotated[int, typer.Option(help="Of the split into rows that fit and rows that test.")] = 0,
    json: JsonOption = False,
) -> None:
    """Find a threshold that keeps a promise, with a finite-sample guarantee, or say that there is none.

    INFEASIBLE is an answer, not an error: the exit code is 0, and the artefact makes a cascade defer everything.
    """
    from corea.calibrate.certify import Options
    from corea.calibrate.targets import Goals

    goals = Goals(
        max_drop=max_drop, max_risk=max_risk, max_cost_usd=max_cost, value_usd=value, abstain_usd=abstain_cost,
        delta=delta, cost_cap_usd=cost_cap,
    )  # fmt: skip
    options = Options(map=map, probability=probability, pre_policy=pre_policy, by_group=by_group, seed=seed)
    binding: dict[str, Any] = {}
    if traces and reference:
        tables = RowsAsked(
            traces=traces, reference=reference, llm=llm, variant=variant, llm_variant=llm_variant, price=price,
            signals=signals, group=group, questions=questions, labelled=not label_poor,
            grader=grader,
        ).of_models(tier or [slm])  # fmt: skip
    elif traces or reference:
        raise ConfigError("calibrate: got one of --traces and --reference, expected both, or neither to ask models")
    else:
        from corea.cli.calibrate_live import Live, live_tables

        live = Live(
            config=config, set_=set_, cascade=cascade, questions=questions,
            answers=answers or out.with_suffix(".answers"),
            budget_usd=None if budget_usd is None else amount(budget_usd), concurrency=concurrency,
            also=names_of(also), grader=grader, labelled=not label_poor, quiet=json,
        )  # fmt: skip
        tables, binding = live_tables(live)
    if to_label is not None:
        _write_ids(to_label, tables, goals, options, gold)
        return
    found = _calibrated(tables, goals, options, binding, label_poor=label_poor)
    _write(replace(found, data={**found.data, "group": group}), out, report, json=json)


def _write(found: "Calibration", out: Path, report: Path | None, *, json: bool) -> None:
    """The artefact and the report to their files, and what was found to the terminal."""
    from corea.report.calibration import calibration_lines
    from corea.report.html import calibration_page

    path = out
    try:
        found.write(out)
        if report is not None:
            path = report
            report.write_text(calibration_page(found), encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot be written ({error}); name another --out or --report", path=str(path)) from error
    if json:
        print_json({**{k: v for k, v in found.as_dict().items() if k not in ("map", "report")}, "out": str(out)})
        return
    print("\n".join([*calibration_lines(found), "", f"artefact   {out}"]))
    if report is not None:
        print(f"report     {report}")


def _calibrated(
    tables: "list[Pairs]", goals: "Goals", options: "Options", binding: dict[str, Any], *, label_poor: bool
) -> "Calibration":
    if label_poor:
        from corea.calibrate.few_labels import calibrate_poor

        if len(tables) > 1:
            raise ConfigError("--label-poor: got three or more models, expected two; label every row, or name two")
        return calibrate_poor(tables[0], goals, options, binding=binding)
    if len(tables) > 1:
        from corea.calibrate.paths import calibrate_tiers, common_rows

        return calibrate_tiers(common_rows(tables), goals, options, binding=binding)
    from corea.calibrate.certify import calibrate as run

    return run(tables[0], goals, options, binding=binding)


def _write_ids(path: Path, tables: "list[Pairs]", goals: "Goals", options: "Options", count: int) -> None:
    from corea.calibrate.few_labels import labels_wanted

    ids = labels_wanted(tables[0], goals, count, options)
    try:
        path.write_text("".join(f"{key}\n" for key in ids), encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot be written ({error}); name another --to-label", path=str(path)) from error
    print(f"{len(ids)} ids to label: {path}; then start the same command with the labels and without --to-label")


def show_calibration(calibration: Path, rows: RowsAsked, *, force: bool = False, json: bool = False) -> None:
    """What `corea eval --calibration` prints."""
    from corea.calibrate.artefact import Calibration
    from corea.evaluate.apply import apply_calibration

    found = Calibration.read(calibration)
    rows = replace(
        rows, llm=rows.llm or found.binding["llm"], signals=rows.signals or ",".join(found.data["signals"]),
        group=found.data.get("group", "category"),
    )  # fmt: skip
    tables = rows.of_models([part["model"] for part in found.tiers] or [rows.slm or found.binding["slm"]])
    figures = apply_calibration(found, tables, force=force)
    if json:
        print_json(figures)
        return
    print(f"{figures['n']:,} questions, {found.verdict}: {found.sentence}")
    for name, each in figures["intervals"].items():
        if isinstance(each, dict):
            print(f"  {name:20}{each['value']:>12.6g}   (95 %: {each['low']:.6g} - {each['high']:.6g})")
    for name, kept in figures["kept_promises"].items():
        print(f"  {name:20}{'kept' if kept else 'not kept':>12} on these rows")
    for note in figures["notes"]:
        print(f"  note: {note}")
