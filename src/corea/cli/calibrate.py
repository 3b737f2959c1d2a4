"""`corea calibrate`: a threshold with a guarantee, from labelled questions."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corea.cli.console import ConfigOption, JsonOption, SetOption, amount, print_json
from corea.errors import ConfigError, DataError

if TYPE_CHECKING:
    from corea.calibrate.artefact import Calibration
    from corea.calibrate.fit import Options
    from corea.calibrate.goals import Goals
    from corea.calibrate.tables import Pairs

PRICE_HELP = "NAME=IN/OUT in USD per million prompt and completion tokens; may be repeated."


def calibrate(
    traces: Annotated[
        list[Path] | None,
        typer.Option(
            help="Rows or a run of the small model, JSON lines; may be repeated. Without: the models are asked."
        ),
    ] = None,
    reference: Annotated[list[Path] | None, typer.Option(help="The same of the large model; may be repeated.")] = None,
    out: Annotated[Path, typer.Option(help="Where the artefact goes.")] = Path("calibration.json"),
    max_drop: Annotated[
        float | None, typer.Option(help="Accuracy at most so far below the large model; .02 is 2 points.")
    ] = None,
    max_risk: Annotated[float | None, typer.Option(help="Share of the kept answers that may be wrong.")] = None,
    max_cost: Annotated[float | None, typer.Option(help="Mean USD a question.")] = None,
    value: Annotated[float | None, typer.Option(help="What an error costs, in USD.")] = None,
    abstain_cost: Annotated[
        float | None, typer.Option(help="What a question costs that a person answers; with --value.")
    ] = None,
    cost_cap: Annotated[float | None, typer.Option(help="USD that no question exceeds with both models asked.")] = None,
    delta: Annotated[float, typer.Option(help="Chance that a promise is broken.")] = 0.05,
    slm: Annotated[str, typer.Option(help="The small model's name, where --traces holds several.")] = "",
    llm: Annotated[str, typer.Option(help="The large model's name, where --reference holds several.")] = "",
    variant: Annotated[str, typer.Option(help="Which variant of the small model's rows.")] = "",
    llm_variant: Annotated[str, typer.Option(help="Which variant of the large model's rows.")] = "",
    price: Annotated[list[str] | None, typer.Option(help=PRICE_HELP)] = None,
    signals: Annotated[str, typer.Option(help="Columns to use, comma separated; default: all there are.")] = "",
    map: Annotated[str, typer.Option(help="auto, identity (the first signal as it is), linear or trees.")] = "auto",
    probability: Annotated[str, typer.Option(help="Map to a chance: auto, isotonic, platt or beta.")] = "auto",
    group: Annotated[str, typer.Option(help="The column that holds the slice of a row.")] = "category",
    by_group: Annotated[bool, typer.Option("--by-group", help="One threshold a slice, jointly valid.")] = False,
    pre_policy: Annotated[
        bool, typer.Option(help="May skip the small model in categories where it does not pay.")
    ] = True,
    questions: Annotated[
        Path | None, typer.Option(help="Questions with references: to be asked, or those of the runs in --traces.")
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    cascade: Annotated[str | None, typer.Option(help="Which cascade of the configuration; default: the first.")] = None,
    answers: Annotated[
        Path | None, typer.Option(help="Folder of the answers, to go on from. Default: beside --out.")
    ] = None,
    budget_usd: Annotated[
        str | None, typer.Option(help="Stop asking before more than this is spent, over all starts.")
    ] = None,
    concurrency: Annotated[int | None, typer.Option(help="Questions under way at once.")] = None,
    also: Annotated[
        str, typer.Option(help="Further signals to measure on the answers, comma separated; they cost nothing.")
    ] = "",
    grader: Annotated[str | None, typer.Option(help="One grader for all questions; default: each one's own.")] = None,
    tier: Annotated[
        list[str] | None, typer.Option(help="Models before the last, small to large, where there are several.")
    ] = None,
    label_poor: Annotated[
        bool, typer.Option("--label-poor", help="Rows may lack labels: the large model's answer is the reference.")
    ] = False,
    to_label: Annotated[
        Path | None, typer.Option(help="With --label-poor: write the ids worth labelling there, and end.")
    ] = None,
    gold: Annotated[int, typer.Option(help="With --to-label: how many.")] = 200,
    report: Annotated[Path | None, typer.Option(help="Also write a report as one HTML file.")] = None,
    seed: Annotated[int, typer.Option(help="Of the split into rows that fit and rows that test.")] = 0,
    json: JsonOption = False,
) -> None:
    """Find a threshold that keeps a promise, with a finite-sample guarantee, or say that there is none.

    INFEASIBLE is an answer, not an error: the exit code is 0, and the artefact makes a cascade defer everything.
    """
    from corea.calibrate.fit import Options
    from corea.calibrate.goals import Goals
    from corea.calibrate.page import html
    from corea.calibrate.report import terminal_lines

    goals = Goals(
        max_drop=max_drop,
        max_risk=max_risk,
        max_cost_usd=max_cost,
        value_usd=value,
        abstain_usd=abstain_cost,
        delta=delta,
        cost_cap_usd=cost_cap,
    )
    options = Options(map=map, probability=probability, pre_policy=pre_policy, by_group=by_group, seed=seed)
    binding: dict[str, Any] = {}
    if traces or reference:
        if not traces or not reference:
            raise ConfigError("calibrate: got one of --traces and --reference, expected both, or neither to ask models")
        tables = [
            read_pairs(
                traces, reference, slm=name, llm=llm, variant=variant, llm_variant=llm_variant, price=price,
                signals=signals, group=group, questions=questions, labelled=not label_poor,
            )
            for name in tier or [slm]
        ]  # fmt: skip
    else:
        from corea.cli.calibrate_live import Live, live_tables

        tables, binding = live_tables(
            Live(
                config=config,
                set_=set_,
                cascade=cascade,
                questions=questions,
                answers=answers or out.with_suffix(".answers"),
                budget_usd=None if budget_usd is None else amount(budget_usd),
                concurrency=concurrency,
                also=names_of(also),
                grader=grader,
                labelled=not label_poor,
                quiet=json,
            )
        )
    if to_label is not None:
        _write_ids(to_label, tables, goals, options, gold)
        return
    found = _calibrated(tables, goals, options, binding, label_poor=label_poor)
    found = replace(found, data={**found.data, "group": group})
    try:
        found.write(out)
        if report is not None:
            report.write_text(html(found), encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot be written ({error}); name another --out or --report", path=str(out)) from error
    if json:
        print_json({**{k: v for k, v in found.as_dict().items() if k not in ("map", "report")}, "out": str(out)})
        return
    print("\n".join([*terminal_lines(found), "", f"artefact   {out}"]))
    if report is not None:
        print(f"report     {report}")


def _calibrated(
    tables: "list[Pairs]", goals: "Goals", options: "Options", binding: dict[str, Any], *, label_poor: bool
) -> "Calibration":
    if label_poor:
        from corea.calibrate.poor import calibrate_poor

        if len(tables) > 1:
            raise ConfigError("--label-poor: got three or more models, expected two; label every row, or name two")
        return calibrate_poor(tables[0], goals, options, binding=binding)
    if len(tables) > 1:
        from corea.calibrate.tiers import calibrate_tiers, common_rows

        return calibrate_tiers(common_rows(tables), goals, options, binding=binding)
    from corea.calibrate.fit import calibrate as run

    return run(tables[0], goals, options, binding=binding)


def _write_ids(path: Path, tables: "list[Pairs]", goals: "Goals", options: "Options", count: int) -> None:
    from corea.calibrate.poor import labels_wanted

    ids = labels_wanted(tables[0], goals, count, options)
    try:
        path.write_text("".join(f"{key}\n" for key in ids), encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot be written ({error}); name another --to-label", path=str(path)) from error
    print(f"{len(ids)} ids to label: {path}; then start the same command with the labels and without --to-label")


def names_of(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def read_pairs(
    traces: list[Path],
    reference: list[Path],
    *,
    slm: str = "",
    llm: str = "",
    variant: str = "",
    llm_variant: str = "",
    price: list[str] | None = None,
    signals: str = "",
    group: str = "category",
    questions: Path | None = None,
    labelled: bool = True,
) -> "Pairs":
    """The calibration table that these options of the command line name."""
    from corea.calibrate.tables import load_pairs

    names = list(names_of(signals)) or None
    if questions is None:
        return load_pairs(
            traces, reference, slm=slm, llm=llm, variant=variant, llm_variant=llm_variant,
            prices=dict(parse_price(p) for p in price or []), signals=names, group=group, labelled=labelled,
        )  # fmt: skip
    if len(traces) > 1 or len(reference) > 1:
        raise ConfigError("--questions: got several files of a model, expected one run each; join them first")
    from corea.cli.eval import parse_price as parse
    from corea.cli.eval import read_questions
    from corea.evaluate.apply import pairs_of_answers
    from corea.evaluate.sources import Choice, read_answers
    from corea.prices import PriceTable

    known, prices = read_questions(questions), PriceTable(dict(map(parse, price))) if price else None
    small, large = (
        read_answers(path, questions=known, choice=Choice(name, kind), prices=prices)
        for path, name, kind in ((traces[0], slm, variant), (reference[0], llm, llm_variant))
    )
    return pairs_of_answers(small, large, slm=slm, llm=llm)


def parse_price(text: str) -> tuple[str, tuple[float, float]]:
    """A price as NAME=IN/OUT, in USD per million tokens."""
    name, _, amounts = text.rpartition("=")
    into, _, out = amounts.partition("/")
    try:
        found = float(into), float(out)
    except ValueError:
        found = (-1.0, -1.0)
    if not name or not all(0 <= amount < float("inf") for amount in found):
        raise ConfigError(f"--price: got {text!r}, expected NAME=IN/OUT in USD per million tokens, such as m=0.15/0.60")
    return name, found


def show_calibration(
    calibration: Path,
    traces: list[Path],
    reference: list[Path],
    *,
    force: bool = False,
    json: bool = False,
    slm: str = "",
    llm: str = "",
    variant: str = "",
    llm_variant: str = "",
    price: list[str] | None = None,
    signals: str = "",
    questions: Path | None = None,
) -> None:
    """What `corea eval --calibration` prints."""
    from corea.calibrate.artefact import Calibration
    from corea.evaluate.apply import apply_calibration

    found = Calibration.read(calibration)
    names = [part["model"] for part in found.tiers] or [slm or found.binding["slm"]]
    tables = [
        read_pairs(
            traces, reference, slm=name, llm=llm or found.binding["llm"], variant=variant, llm_variant=llm_variant,
            price=price, signals=signals or ",".join(found.data["signals"]),
            group=found.data.get("group", "category"), questions=questions,
        )
        for name in names
    ]  # fmt: skip
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
