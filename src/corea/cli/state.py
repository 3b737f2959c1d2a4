"""`corea state`: the database of `corea serve`, its copies and its contents."""

import re
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corea.cli.console import print_json
from corea.cli.options import ConfigOption, JsonOption, SetOption
from corea.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from corea.gateway.billing.state import StateSummary

DAY_SECONDS = 86_400
POSTGRES = re.compile(r"(^|/)postgres(ql)?(\+\w+)?:/")  # a URL, also one that was taken for a relative path
state: typer.Typer = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="The database of `corea serve`: copy, restore, export, prune."
)
FileOption = Annotated[Path | None, typer.Option("--state", help="The database. Default: path of [gateway.storage].")]


@state.command()
def backup(
    target: Annotated[Path, typer.Argument(help="The file to write; it must not exist.")],
    config: ConfigOption = None,
    set_: SetOption = None,
    file: FileOption = None,
    json: JsonOption = False,
) -> None:
    """Write a complete copy of one moment, also while the server runs; a plain copy of the file would not be one."""
    from corea.gateway.billing import state as care
    from corea.gateway.billing.postgres_state import backup_command

    path = _place(file, config, set_)
    if isinstance(path, str):
        raise _own_tool("backup", backup_command(path, target))
    _show(care.backup(path, target), json)


@state.command()
def restore(
    source: Annotated[Path, typer.Argument(help="A copy made by `corea state backup`.")],
    config: ConfigOption = None,
    set_: SetOption = None,
    file: FileOption = None,
) -> None:
    """Put a copy in the place of the database, which is kept under another name. The server must be stopped."""
    from corea.gateway.billing import state as care
    from corea.gateway.billing.postgres_state import restore_command

    path = _place(file, config, set_)
    if isinstance(path, str):
        raise _own_tool("restore", restore_command(path, source), "stop all servers, then ")
    kept = care.restore(path, source)
    print(f"{path} is now the copy {source}." + (f" The one before it is {kept}." if kept else ""))
    newest = care.summary(path).newest_decision
    if newest is not None:
        print(f"Its last decision is of {_time(newest)}: later spending is not in it, so check the budgets.")


@state.command()
def export(
    table: Annotated[str, typer.Argument(help="decisions, keys or key_changes.")] = "decisions",
    config: ConfigOption = None,
    set_: SetOption = None,
    file: FileOption = None,
    since: Annotated[str | None, typer.Option(help="Only rows from this date or time on (UTC), as 2026-12-31.")] = None,
    texts: Annotated[bool, typer.Option("--texts", help="With the stored prompts and answers.")] = False,
) -> None:
    """Print the rows of a table, a line of JSON each, the oldest first; a key's hash is left out."""
    from corea.gateway.billing import postgres_state
    from corea.gateway.billing import state as care

    if table not in care.TABLES:
        raise unknown_name("table", table, list(care.TABLES))
    start, place = None if since is None else _read_time(since), _place(file, config, set_)
    if isinstance(place, str):
        rows = postgres_state.export(place, table, since=start, texts=texts)
    else:
        rows = care.export(place, table, since=start, texts=texts)
    for row in rows:
        print_json(row)


@state.command()
def prune(
    older_than_days: Annotated[float, typer.Option(min=0, help="Age from which decisions are deleted.")],
    config: ConfigOption = None,
    set_: SetOption = None,
    file: FileOption = None,
    compact: Annotated[
        bool, typer.Option("--compact", help="Also shrink the file; the server must be stopped.")
    ] = False,
) -> None:
    """Delete old decisions, also while the server runs. Spending and the record of changes stay."""
    from corea.gateway.billing import postgres_state
    from corea.gateway.billing import state as care

    path, before = _place(file, config, set_), time.time() - older_than_days * DAY_SECONDS
    if isinstance(path, str):
        if compact:
            raise _own_tool("prune --compact", postgres_state.vacuum_command(path))
        print(f"{postgres_state.prune(path, before):,} decisions were deleted.")
        return
    deleted = care.prune(path, before)
    print(f"{deleted:,} decisions were deleted.")
    if compact:
        care.compact(path)
        print(f"{path} has {path.stat().st_size:,} bytes now.")


@state.command()
def version(
    config: ConfigOption = None, set_: SetOption = None, file: FileOption = None, json: JsonOption = False
) -> None:
    """Show the version and contents of the database, without a change to it."""
    from corea.gateway.billing import postgres_state
    from corea.gateway.billing import state as care

    place = _place(file, config, set_)
    _show(postgres_state.summary(place) if isinstance(place, str) else care.summary(place), json)


def _own_tool(command: str, words: str, first: str = "") -> ConfigError:
    """The error of what PostgreSQL's own tools do better."""
    return ConfigError(
        f"corea state {command}: got a PostgreSQL database, expected an SQLite file; {first}run: {words}"
    )


def _place(file: Path | None, config_path: Path | None, overrides: list[str] | None) -> Path | str:
    """The database: a file, or PostgreSQL's URL.

    Raises:
        ConfigError: It is a temporary file, or a URL where a path is expected.
    """
    from corea.cli.configuration import find_config, find_gateway, state_folder

    if file is not None:
        return file
    config, bundled = find_config(config_path, overrides)
    storage = find_gateway(config).storage
    stored = storage.path
    if storage.url is not None:
        return storage.url
    if POSTGRES.search(stored):
        raise ConfigError("gateway.storage.path: got an address, expected a file; set gateway.storage.url to it")
    if not stored:
        raise ConfigError('gateway.storage.path: got "", a temporary file, expected a database that stays')
    return state_folder(config, bundled=bundled) / stored


def _show(found: "StateSummary", json: bool) -> None:
    if json:
        print_json(asdict(found))
        return
    last = f", the last of {_time(found.newest_decision)}" if found.newest_decision is not None else ""
    print(
        f"{found.path}: version {found.version} of {found.newest}, {found.size_bytes:,} bytes, {found.keys:,} keys "
        f"that have spent ${found.spent_usd}, {found.decisions:,} decisions{last}"
    )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _read_time(text: str) -> float:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"--since: got {text!r}, expected a date or time such as 2026-12-31 or 2026-12-31T18:00"
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
