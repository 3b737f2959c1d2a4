"""`--from-store` of `corea calibrate` and `corea calibrate verify`: the random sample that a gateway's audit drew."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import typer

from corea.cli.audit import opened
from corea.cli.console import EXIT_FAILED, print_json
from corea.cli.options import ConfigOptions
from corea.errors import ConfigError, DataError

if TYPE_CHECKING:
    from corea.calibrate.artefact import StageBinding
    from corea.calibrate.settings import CalibrateSettings
    from corea.gateway.audit.sample import StoredSample
    from corea.records.table import OutcomeTable

UNLABELLED = "an open one counts as lost to confirm the guarantee, and as not lost to refute it"


def stored_table(
    store: str, since: str | None, cascade: str | None, settings: "CalibrateSettings", configuration: ConfigOptions
) -> "tuple[OutcomeTable, tuple[StageBinding, ...]]":
    """The drawn questions of a cascade of a configuration, and its binding.

    Raises:
        ConfigError, DataError: See `corea.gateway.audit.sample`.
    """
    from dataclasses import replace

    from corea.build import build
    from corea.calibrate.binding import binding_of
    from corea.cli.configuration import find_config

    config, _ = find_config(configuration.config, configuration.set_)
    name, chosen = config.cascade(cascade)
    built = build(replace(config, cascades={**config.cascades, name: replace(chosen, calibration=None)}), name)
    binding = binding_of(built.cascade)
    if len(binding) != 2:
        raise ConfigError(f"--from-store: cascade {name} has {len(binding)} stages, expected two; calibrate on rows")
    sample = read(store, name, since)
    table = sample.to_calibrate(
        risk=settings.targets.max_risk is not None, names=[each.model for each in binding]
    )  # fmt: skip
    return replace(table, notes=(*notes_of(sample), *table.notes)), binding


def verify_stored(path: Path | None, store: str, cascade: str | None, since: str | None, *, json: bool) -> None:
    """Tests an artefact on the questions that the audit drew and that it decided.

    Raises:
        ConfigError, DataError: There is no artefact, or no such question.
    """
    from corea.calibrate import load
    from corea.evaluate.recertify import recertify

    if path is None:
        raise ConfigError("calibrate verify --from-store: got no --calibration, expected the file to test; name it")
    found, drawn = load(path), read(store, cascade, since)
    store = _shown(store)
    decided = drawn.decided_by(found.digest)
    if not len(decided):
        raise DataError(
            f"{store}: this calibration decided none of the {len(drawn):,} drawn questions of {drawn.cascade}, "
            "expected some; name the one that `corea serve` uses"
        )
    shared = found.data.has(np.array(decided.prints, dtype=object), len(decided))
    fresh = decided.take(np.flatnonzero(~shared))
    if not len(fresh):
        raise DataError(f"{store}: all {len(decided):,} drawn questions calibrated, expected fresh ones")
    _, at = np.unique(fresh.clusters, return_index=True)
    distinct = fresh.take(np.sort(at))
    result = recertify(found, distinct.decided(worst=True), distinct.decided(worst=False))
    left = {"shared": int(shared.sum()), "repeated": len(fresh) - len(distinct), "other": len(drawn) - len(decided)}
    if json:
        print_json(
            {"cascade": drawn.cascade, "n": len(distinct), "open": distinct.open, "left_out": left,
             "probability": drawn.probability, "chosen_labels_unused": drawn.chosen_labels,
             **asdict(result), "broken": result.broken}
        )  # fmt: skip
    else:
        print(f"{len(distinct):,} drawn questions of {drawn.cascade}, each with probability {drawn.probability:g}")
        for name, verdict in result.verdicts.items():
            p_missed, p_met = result.p_missed[name], result.p_met[name]
            print(f"  {name:12}{verdict:>8}   p {p_missed:.3g} of being missed, {p_met:.3g} of being met")
        print(f"  guarantee   {found.guarantee.statement}")
        for note in (*_left_out(left), *notes_of(distinct)):
            print(f"  note: {note}")
    if result.broken:
        raise typer.Exit(EXIT_FAILED)


def read(store: str, cascade: str | None, since: str | None) -> "StoredSample":
    """The sample of a database.

    Raises:
        ConfigError: The date is none, or the database cannot be used.
        DataError: No question was drawn.
    """
    from corea.gateway.audit.sample import read_sample

    with opened(store, None, None) as connection:
        return read_sample(connection, cascade, since=_seconds(since))


def _shown(store: str) -> str:
    """A store without user and password."""
    from corea.gateway.billing.postgres import shown

    return shown(store) if "://" in store else store


def _seconds(since: str | None) -> float:
    try:
        return 0.0 if since is None else datetime.fromisoformat(since).replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise ConfigError(f"--since: got {since!r}, expected a date such as 2026-01-31 (UTC)") from error


def notes_of(sample: "StoredSample") -> list[str]:
    """Remarks on what is not known of a sample, and on labels that were not used."""
    notes: list[str] = []
    if sample.open:
        notes.append(
            f"{sample.open:,} kept questions have answers that differ and no label of a reviewer: {UNLABELLED}"
        )
    if sample.in_flight:
        notes.append(f"{sample.in_flight:,} further questions were being asked")
    if sample.chosen_labels:
        notes.append(
            f"{sample.chosen_labels:,} labels that people chose to send, or of questions that were not drawn, are not "
            "used: not a random sample"
        )
    return notes


def _left_out(left: dict[str, int]) -> list[str]:
    why = {
        "shared": "also calibrated", "repeated": "repeat a question",
        "other": "were decided by another calibration, or by none",
    }  # fmt: skip
    return [f"{count:,} left out, as they {why[name]}" for name, count in left.items() if count]
