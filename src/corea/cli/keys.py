"""`corea keys`: API keys of `corea serve`, with budgets and rate limits."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corea.cli.console import amount, print_json, usd
from corea.cli.options import ConfigOption, JsonOption, SetOption
from corea.errors import ConfigError

if TYPE_CHECKING:
    from corea.gateway.billing.key_admin import KeyAdmin

BUDGET_FIELDS = ("budget_usd", "budget_day_usd", "budget_week_usd", "budget_month_usd")
keys: typer.Typer = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="API keys of `corea serve`.")
KeyArgument = Annotated[str, typer.Argument(help="Its id, which `corea keys list` shows, or its name.")]
StateOption = Annotated[Path | None, typer.Option(help="The database file. Default: path of [gateway.storage].")]
BudgetOption = Annotated[str | None, typer.Option(help="Budget of the whole life.")]
DayOption = Annotated[str | None, typer.Option(help="Budget per day (UTC).")]
WeekOption = Annotated[str | None, typer.Option(help="Budget per week, from Monday.")]
MonthOption = Annotated[str | None, typer.Option(help="Budget per calendar month.")]


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="A name for the key, such as its user's.")],
    config: ConfigOption = None,
    set_: SetOption = None,
    state: StateOption = None,
    policy: Annotated[str | None, typer.Option(help="Policy of [gateway.policies] for its requests.")] = None,
    budget_usd: BudgetOption = None,
    budget_day_usd: DayOption = None,
    budget_week_usd: WeekOption = None,
    budget_month_usd: MonthOption = None,
    requests_per_minute: Annotated[int | None, typer.Option("--rpm", min=1, help="Requests per minute.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option("--tpm", min=1, help="Tokens per minute.")] = None,
    cascade: Annotated[list[str] | None, typer.Option(help="Allow only this cascade; may be repeated.")] = None,
    group: Annotated[str | None, typer.Option(help="A group, whose budgets it shares, by its id or name.")] = None,
    json: JsonOption = False,
) -> None:
    """Create a key and print it, once: only its hash is stored. A running server accepts it at once."""
    from corea.gateway.billing.keys import KeyLimits

    limits = KeyLimits(
        cascades=tuple(cascade) if cascade else None,
        policy=policy,
        **_budgets(budget_usd, budget_day_usd, budget_week_usd, budget_month_usd),
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
    )
    with _admin(state, config, set_) as admin:
        if group is not None:
            limits = replace(limits, group_id=admin.find_group(group))
        key, secret = admin.create(name, limits)
    _show_new(key, secret, json)


@keys.command("group")
def make_group(
    name: Annotated[str, typer.Argument(help="A name for the group, such as a team's.")],
    config: ConfigOption = None,
    set_: SetOption = None,
    state: StateOption = None,
    budget_usd: BudgetOption = None,
    budget_day_usd: DayOption = None,
    budget_week_usd: WeekOption = None,
    budget_month_usd: MonthOption = None,
    json: JsonOption = False,
) -> None:
    """Create a group of keys with shared budgets, which hold beside those of each key. `set` and `revoke` take it."""
    from corea.gateway.billing.key_admin import key_fields
    from corea.gateway.billing.keys import KeyLimits, Role

    limits = KeyLimits(**_budgets(budget_usd, budget_day_usd, budget_week_usd, budget_month_usd))
    with _admin(state, config, set_) as admin:
        made, _ = admin.create(name, limits, Role.GROUP)
    if json:
        print_json(key_fields(made))
    else:
        print(f"Group {made.name} ({made.id}): {_limits(made)}. `corea keys create NAME --group {made.id}` adds a key.")


@keys.command("admin")
def make_admin(
    name: Annotated[str, typer.Argument(help="A name for the key, such as its administrator's.")],
    config: ConfigOption = None,
    set_: SetOption = None,
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Create an admin key, which manages keys over HTTP (below /admin) and asks no model, and print it, once."""
    from corea.gateway.billing.keys import Role

    with _admin(state, config, set_) as admin:
        key, secret = admin.create(name, role=Role.ADMIN)
    _show_new(key, secret, json)


@keys.command()
def history(
    key: Annotated[str | None, typer.Argument(help="Only of this key.")] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """List the changes of keys: when, by whom, and each value before and after; the newest first."""
    from corea.gateway.billing.keys import named_key

    with _admin(state, config, set_) as admin:
        found = admin.changes(named_key(admin.connection, key).id if key is not None else None)
    if json:
        print_json({"changes": [asdict(each) for each in found]})
        return
    for each in found:
        changed = ", ".join(f"{field} {before} -> {after}" for field, (before, after) in each.changes.items())
        print(f"{_date(each.at)}  {each.actor}  {each.action} {each.key_id}: {changed}")


@keys.command("list")
def list_(
    config: ConfigOption = None, set_: SetOption = None, state: StateOption = None, json: JsonOption = False
) -> None:
    """List all keys with their limits and spending."""
    from corea.gateway.billing.key_admin import key_fields
    from corea.gateway.billing.keys import list_keys

    with _admin(state, config, set_) as admin:
        found = list_keys(admin.connection)
    if json:
        print_json({"keys": [key_fields(key) for key in found]})
        return
    for key in found:
        revoked = f", revoked {_date(key.revoked_at)}" if key.revoked_at is not None else ""
        role = "" if key.role == "key" else f"{key.role} "
        print(
            f"{key.id}  {role}{key.name}: {usd(key.spent_usd)} in {key.requests:,} requests, {_limits(key)}, "
            f"made {_date(key.created_at)}{revoked}"
        )
    if not any(key.role == "key" for key in found):
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
    group: Annotated[str | None, typer.Option(help="A group, whose budgets it shares, or `none`.")] = None,
    json: JsonOption = False,
) -> None:
    """Change the given limits of a key or group; a running server applies them to its next request."""
    from corea.gateway.billing.key_admin import key_fields

    budgets = (budget_usd, budget_day_usd, budget_week_usd, budget_month_usd)
    texts = {"policy": policy, **dict(zip(BUDGET_FIELDS, budgets, strict=True))}
    texts |= {"requests_per_minute": requests_per_minute, "tokens_per_minute": tokens_per_minute, "group_id": group}
    with _admin(state, config, set_) as admin:
        read: dict[str, Callable[[str], object]] = {
            "policy": str,
            **dict.fromkeys(BUDGET_FIELDS, amount),
            "requests_per_minute": partial(_per_minute, "--rpm"),
            "tokens_per_minute": partial(_per_minute, "--tpm"),
            "group_id": admin.find_group,
        }
        given = {field: text for field, text in texts.items() if text is not None}
        changed = {field: None if text == "none" else read[field](text) for field, text in given.items()}
        if cascade:
            changed["cascades"] = None if cascade == ["all"] else tuple(cascade)
        now = admin.change(key, changed)
    if json:
        print_json(key_fields(now))
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
    with _admin(state, config, set_) as admin:
        ended = admin.revoke(key)
    print(f"{ended.name} ({ended.id}) is revoked; it had spent {usd(ended.spent_usd)}.")


@keys.command()
def correct(
    key: KeyArgument,
    spent_usd: Annotated[str, typer.Option(help="Their part that was really spent, by the provider's bill.")] = "0",
    config: ConfigOption = None,
    set_: SetOption = None,
) -> None:
    """Correct what was booked as spent for servers that died (with PostgreSQL), where the bill shows less."""
    with _admin(None, config, set_) as admin:
        now, freed = admin.correct(key, amount(spent_usd))
    print(
        f"{now.name} ({now.id}): {usd(freed)} booked of dead servers is free again; it has spent {usd(now.spent_usd)}."
    )


@contextmanager
def _admin(state: Path | None, config_path: Path | None, overrides: list[str] | None) -> "Iterator[KeyAdmin]":
    """Changes of the keys in the database; without a configuration, names in it are not checked."""
    from corea.gateway.billing.key_admin import KeyAdmin
    from corea.gateway.billing.storage import open_database
    from corea.gateway.ops.settings import GatewayStorage

    cascades, policies, storage = None, None, GatewayStorage()
    if state is None:
        from corea.cli.configuration import find_config, find_gateway, state_folder

        config, bundled = find_config(config_path, overrides)
        settings = find_gateway(config)
        cascades, policies = list(config.cascades), list(settings.policies)
        storage = settings.storage
        if storage.url is None and not storage.path:
            raise ConfigError('gateway.storage.path: got "", expected a file; keys would be deleted with the server')
        state = state_folder(config, bundled=bundled) / storage.path if storage.url is None else None
    with open_database(storage, state) as connection:
        yield KeyAdmin(connection, f"{_user()} (corea keys)", cascades, policies)


def _user() -> str:
    """The user of the operating system."""
    try:
        return getuser()
    except (OSError, KeyError):  # a container's, without a name
        return f"uid {os.getuid()}"


def _budgets(*texts: str | None) -> dict[str, Any]:
    """Budgets by their fields, in the order of `BUDGET_FIELDS`."""
    return {field: None if text is None else amount(text) for field, text in zip(BUDGET_FIELDS, texts, strict=True)}


def _show_new(key: Any, secret: str, json: bool) -> None:
    from corea.gateway.billing.key_admin import key_fields

    if json:
        print_json({**key_fields(key), "key": secret})
    else:
        what = "manages keys over HTTP" if key.role == "admin" else _limits(key)
        print(f"{secret}\n{key.name} ({key.id}): {what}. Copy the key now; it is not shown again.")


def _per_minute(option: str, text: str) -> int:
    try:
        limit = int(text)
    except ValueError:
        limit = 0
    if limit < 1:
        raise ConfigError(f"{option}: got {text!r}, expected a whole number of at least 1, or `none` for no limit")
    return limit


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
    if key.group_id is not None:
        parts.append(f"group {key.group_id}")
    parts.append("only " + ", ".join(sorted(key.cascades)) if key.cascades is not None else "all cascades")
    return ", ".join(parts)


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
