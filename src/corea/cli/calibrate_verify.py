"""`corea calibrate verify`: how often the guarantee holds, over many calibrations drawn from one's own recordings."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corea.cli.calibrate_options import MapOption, PeopleOptions, StoreOptions
from corea.cli.calibrate_store import verify_stored
from corea.cli.console import EXIT_FAILED, print_json
from corea.cli.options import FILE, NAME, JsonOption, RowOptions, TargetOptions, spread
from corea.cli.rows import read_questions, read_rows, rows_for, usd_per_mtok
from corea.errors import ConfigError

if TYPE_CHECKING:
    from corea.calibrate import Calibration
    from corea.calibrate.coverage import CoverageResult
    from corea.evaluate.promise import PromiseTest


@spread
def verify(
    rows: RowOptions,
    targets: TargetOptions,
    store: StoreOptions,
    people: PeopleOptions,
    calibration: Annotated[
        Path | None,
        typer.Option(metavar=FILE, help="Artefact: its targets are the default, and rows of other models are refused."),
    ] = None,
    fresh: Annotated[
        list[Path] | None,
        typer.Option(metavar=FILE, help="New labelled rows of both models: test --calibration itself on them."),
    ] = None,
    cascade: Annotated[str | None, typer.Option(metavar=NAME, help="With --from-store: the cascade.")] = None,
    n: Annotated[int, typer.Option(help="Questions in a calibration set.")] = 500,
    draws: Annotated[int, typer.Option(help="Calibration sets.")] = 1000,
    map: MapOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the draws.")] = 0,
    json: JsonOption = False,
) -> None:
    """Calibrate on many sets drawn from recorded rows, and judge each on all of the rows; or test one calibration.

    Without targets, hard ones are tried. Exit code 1 where a guarantee is broken more often than delta allows. With
    --fresh, exit code 1 where an exact test shows that a target of the calibration is missed on the new rows, beyond
    chance; 0 where its targets are confirmed there, or the rows are too few to say. With --from-store, the same on the
    decisions that the calibration made on questions that the audit drew. A calibration made with a judge is tested on
    people's labels of fresh pairs: --select-for-labelling writes them, --labels reads them.
    """
    if store.from_store is not None:
        verify_stored(calibration, store.from_store, cascade, store.since, json=json)
        return
    if fresh:
        _verify_fresh(calibration, fresh, rows, people, seed=seed, json=json)
        return
    if people != PeopleOptions():
        raise ConfigError(
            "calibrate verify: got --labels, --verdicts, --select-for-labelling or --count, expected --fresh with them"
        )
    _draw(rows, targets, calibration, n=n, draws=draws, map_kind=map or "auto", seed=seed, json=json)


def _draw(
    rows: RowOptions, targets: TargetOptions, calibration: Path | None, *, n: int, draws: int, map_kind: str, seed: int,
    json: bool,
) -> None:  # fmt: skip
    """Many calibrations of sets drawn from recorded rows, each judged on all of the rows."""
    from corea.calibrate import FitOptions, Targets
    from corea.calibrate.coverage import coverage, hard_targets
    from corea.evaluate.promise import check_models

    if not rows.traces or not rows.reference:
        raise ConfigError("calibrate verify: got no population, expected --traces and --reference")
    found = None if calibration is None else _artefact(calibration)
    population = read_rows(rows)
    if found is not None:
        check_models(found, population, f"calibrate verify: {calibration}")
    delta = targets.delta
    if delta is None:
        delta = 0.05 if found is None else found.guarantee.targets.delta
    given = {
        "max_drop": targets.max_drop, "max_risk": targets.max_risk, "max_cost_usd": targets.max_cost,
        "value_usd": targets.value, "abstain_usd": targets.abstain_cost,
    }  # fmt: skip
    wanted = hard_targets(population, delta=delta)
    if any(value is not None for value in given.values()):
        wanted = {"as asked": Targets(**given, delta=delta, cost_cap_usd=targets.cost_cap)}
    elif found is not None:
        wanted = {"as calibrated": replace(found.guarantee.targets, delta=delta)}
    results = coverage(population, wanted, n=n, draws=draws, options=FitOptions(map=map_kind), seed=seed)
    if json:
        print_json({"rows": len(population), "targets": [each.as_dict() for each in results]})
    else:
        print(f"population {len(population):,} rows, {draws:,} sets of {n:,} questions, delta {delta:g}")
        print("\n".join(coverage_lines(results)))
    if not all(each.holds for each in results):
        raise typer.Exit(EXIT_FAILED)


def _verify_fresh(
    path: Path | None, fresh: list[Path], rows: RowOptions, people: PeopleOptions, *, seed: int, json: bool
) -> None:
    from corea.calibrate import load
    from corea.evaluate.promise import retest

    if path is None:
        raise ConfigError("calibrate verify --fresh: got no --calibration, expected the file to test; name it")
    found = load(path)
    if found.judged:
        result = _people(found, fresh, rows, people, seed=seed)
    elif people != PeopleOptions():
        raise ConfigError(
            f"calibrate verify --fresh: {path} was made without a judge, expected graded rows; leave --labels, "
            "--verdicts, --select-for-labelling and --count out"
        )
    else:
        rows = replace(rows, traces=fresh, reference=fresh)
        result = retest(found, read_rows(*rows_for(found, rows)))
    if result is None:
        return
    if json:
        print_json({**asdict(result), "contradicted": result.contradicted})
    else:
        print(f"{result.n:,} fresh questions")
        for name, verdict in result.verdicts.items():
            p_missed, p_met = result.p_missed[name], result.p_met[name]
            print(f"  {name:12}{verdict:>8}   p {p_missed:.3g} of being missed, {p_met:.3g} of being met")
        print(f"  guarantee   {found.guarantee.statement}")
        for note in result.notes:
            print(f"  note: {note}")
    if result.contradicted:
        raise typer.Exit(EXIT_FAILED)


def _people(
    found: "Calibration", fresh: list[Path], rows: RowOptions, people: PeopleOptions, *, seed: int
) -> "PromiseTest | None":
    """The test on people's labels; None where pairs to label were written."""
    from corea.evaluate.judged_promise import fresh_pairs, pairs_to_label, retest_preferences
    from corea.evaluate.preferences import with_labels, write_pairs

    if rows.questions is None:
        raise ConfigError("calibrate verify --fresh: got no --questions, expected the file of the fresh questions")
    pairs = fresh_pairs(found, fresh, read_questions(rows.questions), usd_per_mtok(rows.price))
    table, path = pairs.table, people.select_for_labelling
    if path is not None:
        ids = pairs_to_label(found, table, people.count, seed=seed)
        write_pairs(path, table, ids, seed=seed, calibration=found.digest)
        print(
            f'{len(ids)} pairs to label: {path}; people set "better" to first, second or tie, from the top and without '
            f"a gap; then run the same command with --labels {path}, without --select-for-labelling"
        )
        return None
    if people.verdicts is not None:
        table = pairs.judged(people.verdicts, found.apply(table).kept)
    if people.labels is not None:
        table = with_labels(table, people.labels, calibration=found.digest)
    return retest_preferences(found, table)


def _artefact(path: Path) -> "Calibration":
    """The artefact, if recorded rows can test it.

    Raises:
        ConfigError: It is about people's preferences.
    """
    from corea.calibrate import load

    found = load(path)
    if found.judged:
        raise ConfigError(
            f"calibrate verify: {path} is about people's preferences, which recorded rows do not hold, expected fresh "
            "answers and people's labels; give --fresh and --labels"
        )
    return found


def coverage_lines(results: "list[CoverageResult]") -> list[str]:
    """One line for each guarantee: how often it was certified and broken, and the mean saving."""
    return [
        f"{each.name:22} broken {each.broken_share:6.1%}  certified {each.certified / each.draws:6.1%}  "
        f"saving {each.saving:6.1%}  {'holds' if each.holds else 'BROKEN TOO OFTEN'}: {each.guarantee}"
        for each in results
    ]
