"""`corea calibrate`: thresholds with a guarantee, from labelled questions; and its subcommands."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corea.cli.calibrate_options import LabelOptions, MethodOptions, ModelOptions, StoreOptions, merged, refuse_unread
from corea.cli.calibrate_plan import plan
from corea.cli.calibrate_store import stored_table
from corea.cli.calibrate_verify import verify
from corea.cli.console import EXIT_FAILED, print_json
from corea.cli.options import FILE, ConfigOptions, ForceOption, JsonOption, RowOptions, TargetOptions, spread
from corea.cli.rows import read_rows, rows_for
from corea.errors import ConfigError, DataError

if TYPE_CHECKING:
    from corea.calibrate import Calibration, OutcomeTable, Targets
    from corea.calibrate.artefact import StageBinding
    from corea.calibrate.settings import CalibrateSettings

MAX_BYTES = 50_000_000  # of a file beside --out that may be a calibration

app: typer.Typer = typer.Typer(invoke_without_command=True)
app.command("plan")(plan)
app.command("verify")(verify)


@app.callback()
@spread
def calibrate(
    context: typer.Context,
    rows: RowOptions,
    targets: TargetOptions,
    method: MethodOptions,
    labels: LabelOptions,
    models: ModelOptions,
    store: StoreOptions,
    configuration: ConfigOptions,
    out: Annotated[Path, typer.Option("--out", metavar=FILE, help="Artefact to write.")] = Path("calibration.json"),
    report: Annotated[Path | None, typer.Option(metavar=FILE, help="Also write a report as one HTML file.")] = None,
    json: JsonOption = False,
) -> None:
    """Find a threshold that meets the targets, with a finite-sample guarantee, or report that there is none.

    Reads recorded rows (--traces and --reference), or what a gateway's audit drew (--from-store), or asks the models of
    the configuration. Defaults come from the table [calibrate] of corea.toml. INFEASIBLE is a result, not an error: the
    exit code is 0, and the artefact makes a cascade defer everything.
    """
    if context.invoked_subcommand is not None:
        return
    if bool(rows.traces) != bool(rows.reference):
        raise ConfigError("calibrate: got one of --traces and --reference, expected both, or neither to ask models")
    if store.from_store is None:
        refuse_unread(rows, method, models, labels)
    elif rows.traces:
        raise ConfigError("calibrate: got --from-store and --traces, expected one source of rows; leave one out")
    settings = merged(_config(configuration, recorded=bool(rows.traces)), rows, targets, method, models, labels)
    wanted, options = settings.targets, settings.options  # checked before any model is asked
    if rows.traces:
        rows = replace(rows, group=settings.group)
        table = read_rows(rows, method.tier or (), labelled=not options.few_labels)
        if table.categories is None and settings.group != "category":
            raise ConfigError(f"--group: no row has a column {settings.group!r}, expected one of every row; name it")
        binding: tuple[StageBinding, ...] = ()
    elif store.from_store is not None:
        table, binding = stored_table(store.from_store, store.since, models.cascade, settings, configuration)
    else:
        table, binding, wanted = _asked(settings, configuration, models, out, quiet=json)
        if labels.labels is not None:
            from corea.evaluate.preferences import with_labels

            table = with_labels(table, labels.labels)
    if labels.select_for_labelling is not None:
        _write_ids(labels.select_for_labelling, table, settings, labels.count)
        return
    from corea.calibrate import fit
    from corea.evaluate.plain_baseline import RECORDED, with_plain_baseline

    older = _older(method.map_from or [], rows, table) if method.map_from else None
    found = fit(table, wanted, options, older=older, binding=binding)
    found = with_plain_baseline(found, table, without=RECORDED if rows.traces or store.from_store else "")
    write_calibration(found, out, report, json=json)


def _counted(found: "Calibration", out: Path) -> "Calibration":
    """The calibration with its attempts counted: those that the folder of `out` shows."""
    from corea.calibrate import load
    from corea.calibrate.fitting import counted

    earlier: list[Calibration] = []
    for path in out.parent.glob("*.json"):
        with suppress(ConfigError, DataError, OSError):  # of another version, or no calibration
            earlier += [load(path)] if path.stat().st_size <= MAX_BYTES else []
    return counted(found, earlier)


def _older(paths: list[Path], rows: RowOptions, table: "OutcomeTable") -> "OutcomeTable | Calibration":
    """A calibration, or recorded rows of the same models with the same columns."""
    from corea.calibrate import load

    if len(paths) == 1 and paths[0].suffix == ".json":
        return load(paths[0])
    *first, last = (model.name for model in table.models)
    signals = ",".join(table.first.signals)
    rows = replace(rows, traces=paths, reference=paths, slm=first[0], llm=last, signals=rows.signals or signals)
    return read_rows(rows, first if len(first) > 1 else (), labelled=False)


def _config(configuration: ConfigOptions, *, recorded: bool) -> Any:
    """The configuration; None for recorded rows where no file is named or found."""
    from corea.cli.configuration import DEFAULT, find_config

    if recorded and configuration.config is None and not configuration.set_ and not DEFAULT.exists():
        return None
    return find_config(configuration.config, configuration.set_)[0]


def _asked(
    settings: "CalibrateSettings", configuration: ConfigOptions, models: ModelOptions, out: Path, *, quiet: bool
) -> "tuple[OutcomeTable, tuple[StageBinding, ...], Targets]":
    from corea.cli.calibrate_live import live_table

    return live_table(
        settings, configuration, models, answers=models.answers or out.with_suffix(".answers"), quiet=quiet
    )  # fmt: skip


def write_calibration(found: "Calibration", out: Path, report: Path | None, *, json: bool = False) -> None:
    """Writes the artefact and the report, and prints the result.

    Raises:
        ConfigError: The report needs a package that is missing; the artefact is written. DataError: Neither can be.
    """
    from corea.report.calibration import calibration_lines
    from corea.report.html import calibration_page

    found, path = _counted(found, out), out
    try:
        found.save(out)
        if report is not None:
            path = report
            report.write_text(calibration_page(found), encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot be written ({error}); name another --out or --report", path=str(path)) from error
    if json:
        plain = {name: value for name, value in found.as_dict().items() if name != "report"}
        for stage in plain["stages"]:
            del stage["map"], stage["probability"], stage["router"]
        print_json({**plain, "out": str(out)})
        return
    print("\n".join([*calibration_lines(found), "", f"artefact   {out}"]))
    if report is not None:
        print(f"report     {report}")


def _write_ids(path: Path, table: "OutcomeTable", settings: "CalibrateSettings", count: int) -> None:
    from corea.calibrate import select_for_labelling
    from corea.evaluate.preferences import write_pairs

    ids = select_for_labelling(table, settings.targets, count, settings.options)
    drop = f"they are for --max-drop {settings.targets.max_drop:g}: at a larger one they certify no more"
    if settings.judged:
        write_pairs(path, table, ids, seed=settings.seed)
        print(
            f'{len(ids)} pairs to label: {path}; people set "better" to first, second or tie, from the top and without '
            f"a gap; then run the same command with --labels {path}, without --select-for-labelling; {drop}"
        )
        return
    try:
        path.write_text("".join(f"{key}\n" for key in ids), encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot be written ({error}); name another --select-for-labelling", path=str(path)) from error
    print(
        f"{len(ids)} ids to label: {path}; then run the same command with the labels, without --select-for-labelling; "
        f"{drop}"
    )


@app.command("apply")
@spread
def apply(
    calibration: Annotated[Path, typer.Argument(metavar=FILE, help="Artefact of `corea calibrate`.")],
    rows: RowOptions,
    force: ForceOption = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 where rows contradict the guarantee.")] = False,
    json: JsonOption = False,
) -> None:
    """Apply an artefact to other recorded rows: the cascade's figures there, and the targets that they meet."""
    from corea.calibrate import load
    from corea.evaluate.apply import apply_calibration

    if not rows.traces or not rows.reference:
        raise ConfigError("calibrate apply: got no rows of one model, expected --traces and --reference")
    found = load(calibration)
    table = read_rows(*rows_for(found, rows), labelled=not found.judged)
    figures = apply_calibration(found, table, force=force)
    if json:
        print_json(figures)
    else:
        _show_applied(found, figures)
    if strict and figures["contradicted"]:
        raise typer.Exit(EXIT_FAILED)


def _show_applied(found: "Calibration", figures: "dict[str, Any]") -> None:
    if figures["headline"]:
        print(figures["headline"])
    print(f"{figures['n']:,} questions, {found.verdict}: {found.sentence}")
    for name, each in figures["intervals"].items():
        if isinstance(each, dict):
            print(f"  {name:20}{each['value']:>12.6g}   (95 %: {each['low']:.6g} - {each['high']:.6g})")
    for name, met in figures["targets_met"].items():
        print(f"  {name:20}{'met' if met else 'not met':>12} on these rows")
    for note in figures["notes"]:
        print(f"  note: {note}")
