"""`corea audit`: state and evidence of the audit of `corea serve`."""

import json as json_lines
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corea.cli.console import EXIT_FAILED, print_json
from corea.cli.options import FILE, NAME, ConfigOption, JsonOption, SetOption
from corea.errors import ConfigError, DataError, unknown_name

if TYPE_CHECKING:
    from corea.gateway.audit.evidence import AuditEvidence, CascadeEvidence
    from corea.gateway.billing.connection import SqlConnection

StoreArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="STORE", help="The database: a file, or postgresql://.... Default: that of [gateway.storage]."
    ),
]


def audit(
    store: StoreArgument = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    acknowledge: Annotated[
        bool,
        typer.Option(
            "--acknowledge", help="Acknowledge the alarms: the detectors start again, and nothing is deferred."
        ),
    ] = False,
    cascade: Annotated[str | None, typer.Option(metavar=NAME, help="Only this cascade.")] = None,
    select_for_labelling: Annotated[
        Path | None,
        typer.Option(metavar=FILE, help="Write the drawn questions that reviewers should label, as JSON lines."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show what the audit of a gateway has found: by source the rate, the evidence of a change, and the alarm.

    Exit code 1 where an alarm stands. A running server follows an acknowledgement within two seconds.
    """
    from corea.gateway.audit.evidence import evidence_of

    with opened(store, config, set_) as connection:
        if acknowledge:
            _acknowledge(connection, cascade)
        if select_for_labelling is not None:
            _write_list(connection, select_for_labelling, cascade)
        found = evidence_of(connection)
    found.cascades = [each for each in found.cascades if cascade in (None, each.cascade)]
    _show(found, json=json)
    if any(each.alarm is not None for each in found.cascades):
        raise typer.Exit(EXIT_FAILED)


@contextmanager
def opened(store: str | None, config_path: Path | None, overrides: list[str] | None) -> "Iterator[SqlConnection]":
    """The database of a gateway, which must be there.

    Args:
        store: A file or a URL; None: that of the configuration.

    Raises:
        ConfigError: It is not, or cannot be used.
    """
    from corea.cli.configuration import find_config, find_gateway, state_folder
    from corea.gateway.billing.storage import open_database
    from corea.gateway.ops.settings import POSTGRES, GatewayStorage

    if store is None:
        config, bundled = find_config(config_path, overrides)
        storage = find_gateway(config).storage
        path = state_folder(config, bundled=bundled) / (storage.path or "corea.db") if storage.url is None else None
    elif store.startswith(POSTGRES):
        storage, path = GatewayStorage(url=store), None
    else:
        storage, path = GatewayStorage(), Path(store)
    if path is not None and not path.is_file():
        raise ConfigError(f"{path}: no such file, expected the database of `corea serve`; name it")
    with open_database(storage, path) as connection:
        yield connection


def _acknowledge(connection: "SqlConnection", cascade: str | None) -> None:
    """Acknowledges the alarms of a cascade, or of all."""
    from corea.gateway.audit.store import LOCK, acknowledge, monitor_rows
    from corea.gateway.billing.connection import transaction

    with transaction(connection, LOCK):
        rows = monitor_rows(connection)
        names = [row.cascade for row in rows]
        if cascade is not None and cascade not in names:
            raise unknown_name("--cascade", cascade, names)
        for row in rows:
            if row.alarm is not None and cascade in (None, row.cascade):
                acknowledge(connection, row.cascade, time.time())


def _write_list(connection: "SqlConnection", path: Path, cascade: str | None) -> None:
    """Writes the questions to label, with their texts where these are stored."""
    from corea.gateway.audit.evidence import to_label
    from corea.gateway.audit.store import drawn_rows, label_rows

    rows = [row for row in drawn_rows(connection) if cascade in (None, row.cascade)]
    lines: list[str] = []
    for row in to_label(rows, label_rows(connection)):
        found = connection.execute("SELECT prompt FROM decisions WHERE trace_id = ?", (row.trace_id,)).fetchone()
        said = {
            "trace_id": row.trace_id, "cascade": row.cascade, "kept": row.kept, "prompt": found[0] if found else None,
            "small": row.served, "large": row.reference,
        }  # fmt: skip
        lines.append(json_lines.dumps(said, ensure_ascii=False) + "\n")
    try:
        path.write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot be written ({error}); name another --select-for-labelling", path=str(path)) from error


def _show(found: "AuditEvidence", *, json: bool) -> None:
    from msgspec import to_builtins

    if json:
        print_json(to_builtins(found))
    elif not found.cascades:
        print("no evidence yet: no question was drawn, compared or labelled")
    for each in found.cascades if not json else ():
        print("\n".join(_lines(each)))


def _lines(found: "CascadeEvidence") -> list[str]:
    alarm = "no alarm" if found.alarm is None else f"ALARM of {found.alarm} at {_time(found.alarmed_at)}"
    since = "" if found.since is None else f", watched since {_time(found.since)}"
    lines = [f"{found.cascade}: {alarm}{since}"]
    for each in found.sources:
        rate = "-" if each.rate is None else f"{each.rate:.1%}"
        bounds = f"{_share(each.low)} to {_share(each.high)}" if each.evidence is not None else ""
        evidence = "" if each.evidence is None else f"evidence {each.evidence:.3g} of {each.every:g}"
        alarmed = f", alarm at {each.alarmed_at:,}" if each.alarm else ""
        lines.append(f"  {each.source:18}{each.n:>8,}{rate:>9}  {bounds:20}{evidence}{alarmed}")
        lines.append(f"    {each.meaning}")
    states = ", ".join(f"{count:,} {state}" for state, count in sorted(found.drawn.items())) or "none"
    lines.append(f"  drawn kept answers: {states}; ${found.cost_usd}, on no client's key")
    if short := sum(day.over_budget for day in found.days):
        lines.append(f"  the budget ended before the day on {short:,} days: lower gateway.audit.share, or raise it")
    if found.to_label:
        lines.append(f"  {found.to_label:,} kept answers wait for a reviewer: corea audit --select-for-labelling FILE")
    return lines


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _share(bound: float | None) -> str:
    return "-" if bound is None else f"{bound:.1%}"
