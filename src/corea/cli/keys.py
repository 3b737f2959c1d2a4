"""`corea keys`: API keys of `corea serve`, with budgets and rate limits."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from corea.cli.console import amount, print_json, usd
from corea.cli.options import ConfigOption, JsonOption, SetOption
from corea.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from corea.gateway.billing.keys import KeyConnection

T = TypeVar("T")
keys: typer.Typer = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="API keys of `corea serve`.")
KeyArgument = Annotated[str, typer.Argument(help="Its id, which `corea keys list` shows, or its name.")]
StateOption = Annotated[Path | None, typer.Option(help="The database file. Default: path of [gateway.storage].")]


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="A name for the key, such as its user's.")],
    config: ConfigOption = None,
    set_: SetOption = None,
    state: StateOption = None,
    policy: Annotated[str | None, typer.Option(help="Policy of [gateway.policies] for its requests.")] = None,
    budget_usd: Annotated[str | None, typer.Option(help="Budget of the key's whole life.")] = None,
    budget_day_usd: Annotated[str | None, typer.Option(help="Budget per day (UTC).")] = None,
    budget_week_usd: Annotated[str | None, typer.Option(help="Budget per week, from Monday.")] = None,
    budget_month_usd: Annotated[str | None, typer.Option(help="Budget per calendar month.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option("--rpm", min=1, help="Requests per minute.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option("--tpm", min=1, help="Tokens per minute.")] = None,
    cascade: Annotated[list[str] | None, typer.Option(help="Allow only this cascade; may be repeated.")] = None,
    json: JsonOption = False,
) -> None:
    """Create a key and print it, once: only its hash is stored. A running server accepts it at once."""
    from corea.gateway.billing.keys import KeyLimits, create_key

    if not name.strip():
        raise ConfigError("name: got an empty one, expected a name for the key")
    limits = KeyLimits(
        cascades=tuple(cascade) if cascade else None,
        policy=policy,
        budget_usd=amount(budget_usd) if budget_usd is not None else None,
        budget_day_usd=amount(budget_day_usd) if budget_day_usd is not None else None,
        budget_week_usd=amount(budget_week_usd) if budget_week_usd is not None else None,
        budget_month_usd=amount(budget_month_usd) if budget_month_usd is not None else None,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
    )
    with _file(state, config, set_, cascade, policy) as connection:
        key, secret = create_key(connection, name, limits)
    if json:
        print_json({**_as_dict(key), "key": secret})
    else:
        print(f"{secret}\n{key.name} ({key.id}): {_limits(key)}. Copy the key now; it is not shown again.")


@keys.command("list")
def list_(
    config: ConfigOption = None, set_: SetOption = None, state: StateOption = None, json: JsonOption = False
) -> None:
    """List all keys with their limits and spending."""
    from corea.gateway.billing.keys import list_keys

    with _file(state, config, set_) as connection:
        found = list_keys(connection)
    if json:
        print_json({"keys": [_as_dict(key) for key in found]})
        return
    for key in found:
        revoked = f", revoked {_date(key.revoked_at)}" if key.revoked_at is not None else ""
        print(
            f"{key.id}  {key.name}: {usd(key.spent_usd)} in {key.requests:,} requests, {_limits(key)}, "
            f"made {_date(key.created_at)}{revoked}"
        )
    if not found:
        print("No keys: `corea serve` listens on loopback only and needs none.")


@keys.command("set")
def set_limits(
    key: KeyArgument,
    config: ConfigOption = None,
    set_: SetOption = None,
    state: StateOption = None,
    policy: Annotated[str | None, typer.Option(help="Policy of [gateway.policies], or `none`.")] = None,
    budget_usd: Annotated[str | None, typer.Option(help="Budget of the key's whole life, or `none`.")] = None,
    budget_day_usd: Annotated[str | None, typer.Option(help="Budget per day (UTC), or `none`.")] = None,
    budget_week_usd: Annotated[str | None, typer.Option(help="Budget per week, from Monday, or `none`.")] = None,
    budget_month_usd: Annotated[str | None, typer.Option(help="Budget per calendar month, or `none`.")] = None,
    requests_per_minute: Annotated[str | None, typer.Option("--rpm", help="Requests per minute, or `none`.")] = None,
    tokens_per_minute: Annotated[str | None, typer.Option("--tpm", help="Tokens per minute, or `none`.")] = None,
    cascade: Annotated[
        list[str] | None, typer.Option(help="Allow only this cascade; may be repeated; `all` allows all.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Change the given limits of a key; a running server applies them to its next request."""
    from corea.gateway.billing.keys import KeyLimits, named_key, set_limits

    cascades = None if cascade == ["all"] else cascade
    named = None if policy == "none" else policy
    with _file(state, config, set_, cascades, named) as connection:
        was = named_key(connection, key)
        if was.revoked_at is not None:
            raise ConfigError(f"key {key!r}: it was revoked, for good; `corea keys create` makes another")
        own = tuple(sorted(was.cascades)) if was.cascades is not None else None
        limits = KeyLimits(
            cascades=own if cascade is None else tuple(cascades) if cascades else None,
            policy=_changed(policy, was.policy, str),
            budget_usd=_changed(budget_usd, was.budget_usd, amount),
            budget_day_usd=_changed(budget_day_usd, was.budget_day_usd, amount),
            budget_week_usd=_changed(budget_week_usd, was.budget_week_usd, amount),
            budget_month_usd=_changed(budget_month_usd, was.budget_month_usd, amount),
            requests_per_minute=_changed(requests_per_minute, was.requests_per_minute, partial(_per_minute, "--rpm")),
            tokens_per_minute=_changed(tokens_per_minute, was.tokens_per_minute, partial(_per_minute, "--tpm")),
        )
        now = set_limits(connection, was.id, limits)
    if json:
        print_json(_as_dict(now))
    else:
        print(f"{now.name} ({now.id}): {_limits(now)}; it has spent {usd(now.spent_usd)}.")


@keys.command()
def revoke(
    key: KeyArgument,
    config: ConfigOption = None,
    set_: SetOption = None,
    state: StateOption = None,
) -> None:
    """Revoke a key; a running server refuses its next request."""
    from corea.gateway.billing.keys import named_key, revoke_key

    with _file(state, config, set_) as connection:
        ended = revoke_key(connection, named_key(connection, key).id)
    print(f"{ended.name} ({ended.id}) is revoked; it had spent {usd(ended.spent_usd)}.")


@keys.command()
def correct(
    key: KeyArgument,
    spent_usd: Annotated[str, typer.Option(help="Their part that was really spent, by the provider's bill.")] = "0",
    config: ConfigOption = None,
    set_: SetOption = None,
) -> None:
    """Correct what was booked as spent for servers that died (with PostgreSQL), where the bill shows less."""
    from corea.gateway.billing.keys import correct_leases, named_key, read_key

    with _file(None, config, set_) as connection:
        if isinstance(connection, sqlite3.Connection):
            raise ConfigError("gateway.storage.url: is not set; only a PostgreSQL database has leases of dead servers")
        found = named_key(connection, key)
        freed = correct_leases(connection, found.id, amount(spent_usd))
        now = read_key(connection, found.id) or found
    print(
        f"{now.name} ({now.id}): {usd(freed)} booked of dead servers is free again; it has spent {usd(now.spent_usd)}."
    )


@contextmanager
def _file(
    state: Path | None,
    config_path: Path | None,
    overrides: list[str] | None,
    cascades: list[str] | None = None,
    policy: str | None = None,
) -> "Iterator[KeyConnection]":
    from corea.gateway.billing.database import connect
    from corea.gateway.billing.postgres import connected

    if state is None:
        from corea.cli.configuration import find_config, find_gateway, state_folder

        config, bundled = find_config(config_path, overrides)
        for name in cascades or ():
            config.cascade(name)  # an unknown one is an error
        settings = find_gateway(config)
        if policy is not None and policy not in settings.policies:
            raise unknown_name("--policy", policy, list(settings.policies))
        if settings.storage.url is not None:
            with connected(settings.storage.url) as shared:
                yield shared
            return
        if not settings.storage.path:
            raise ConfigError('gateway.storage.path: got "", expected a file; keys would be deleted with the server')
        state = state_folder(config, bundled=bundled) / settings.storage.path
    connection = connect(state)
    try:
        yield connection
    except sqlite3.Error as error:
        raise ConfigError(f"{state}: {error}; is another program holding it?") from error
    finally:
        connection.close()


def _per_minute(option: str, text: str) -> int:
    try:
        limit = int(text)
    except ValueError:
        limit = 0
    if limit < 1:
        raise ConfigError(f"{option}: got {text!r}, expected a whole number of at least 1, or `none` for no limit")
    return limit


def _changed(given: str | None, was: T | None, read: Callable[[str], T]) -> T | None:
    """The new value of a limit; `none` removes it."""
    if given is None:
        return was
    return None if given == "none" else read(given)


def _limits(key: Any) -> str:
    budgets = [("budget", key.budget_usd)]
    budgets += [(f"per {period}", getattr(key, f"budget_{period}_usd")) for period in ("day", "week", "month")]
    parts = [f"{name} {usd(limit)}" for name, limit in budgets if limit is not None] or ["no budget"]
    if key.policy is not None:
        parts.append(f"policy {key.policy}")
    if key.requests_per_minute is not None:
        parts.append(f"{key.requests_per_minute:,} requests/min")
    if key.tokens_per_minute is not None:
        parts.append(f"{key.tokens_per_minute:,} tokens/min")
    parts.append("only " + ", ".join(sorted(key.cascades)) if key.cascades is not None else "all cascades")
    return ", ".join(parts)


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _as_dict(key: Any) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
        "cascades": sorted(key.cascades) if key.cascades is not None else None,
        "policy": key.policy,
        "budget_usd": key.budget_usd,
        "budget_day_usd": key.budget_day_usd,
        "budget_week_usd": key.budget_week_usd,
        "budget_month_usd": key.budget_month_usd,
        "spent_usd": key.spent_usd,
        "tokens": key.tokens,
        "requests": key.requests,
        "requests_per_minute": key.requests_per_minute,
        "tokens_per_minute": key.tokens_per_minute,
    }
