"""Configuration: a TOML file and overrides, converted to the settings that each part declares.

This module reads, applies `--set a.b=value`, refuses unknown keys and names the faulty one. Settings are documented
where they are declared; `corea.build` makes live objects of them.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

import msgspec

from corea.cascade import OnLastDown
from corea.errors import ConfigError, unknown_name
from corea.money import read_usd
from corea.secrets import HIDDEN, marked, may_be_key, shown
from corea.stage import Batch, Mode, OnError
from corea.types import Sampling

T = TypeVar("T")
Table = dict[str, Any]
NO_KEYS = ("kind", "model", "replies", "folder", "path")  # of a backend's table: fields that never hold a key
NESTED = ("backend", "signal", "policy", "pre_policy")


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSettings:
    """Settings of `[stages.NAME]`.

    Args:
        backend: Its `kind` (a name in BACKENDS, or "module:Class") and that backend's own settings.
        signal: Its `kind` and options; a bare string is a kind. Default: the validators alone, if there are any, else
            `verbalized`, or `mean_token_probability` in a cascade of `mode = "chat"`. `backend` in it names another
            model to ask, at that model's price: a stage (which need not be in a cascade), or a table as under a stage,
            with `price` if the price table has another name for it.
        validators: Checks of a draft: each a signal's `kind` and options, with `name` (default: the kind) and `weight`,
            the share of the confidence that a failure takes away. 1, the default, defers what fails.
        second_opinion: Another model that is asked the same question, where a calibration reads whether the answers
            agree: the name of a stage, or a table as under `backend` in a signal. It may write as much as the stage.
        policy: Its `kind` and options; `threshold = 0.8` is short for `{kind = "threshold", tau = 0.8}`, the default.
        pre_policy: Its `kind` and options; sees the question alone and may skip the stage.
        prompt: A built-in prompt's name, or a path (relative to the file that says so). None: "default" before the last
            stage, and for the last one, or in `mode = "chat"`, "plain": it is asked as the client asked.
        price: Name of the model in the price table; by default the backend's model.
        on_error: Reaction if this stage is down: ask the next stage, or fail the question.
        pass_draft: Show this stage's text to the next stage.
        confidence_first: Decide as soon as a confidence is stated before the answer; needs a prompt that asks for it.
        batch: `corea run` asks by the provider's batch API, at a lower price and within a day; a question that fails
            there twice then fails here, or with `live` is asked live. `file`: by a program that reads and writes files.
    """

    backend: Mapping[str, Any]
    sampling: Sampling = Sampling()
    signal: Mapping[str, Any] | None = None
    validators: tuple[Mapping[str, Any], ...] = ()
    second_opinion: str | Mapping[str, Any] | None = None
    policy: Mapping[str, Any] | None = None
    pre_policy: Mapping[str, Any] | None = None
    prompt: str | None = None
    price: str | None = None
    on_error: OnError = OnError.NEXT
    pass_draft: bool = False
    confidence_first: bool = False
    batch: Batch = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeSettings:
    """Settings of `[cascade]` or `[cascades.NAME]`: stages in order, small to large.

    Args:
        mode: `answer`: short answers that can be graded, with a stated or expected confidence. `chat`: open-ended text,
            code, conversations: no prompt is added, no answer is read from the text, no tag is removed.
        stages: Names of stages in order, small to large; by default all, in the order of their tables.
        on_last_down: If the last stage is down: `fail`, or `best`: return the deferred answer with the highest
            confidence, with status `fallback` in the trace.
        calibration: Path of a file written by `corea calibrate`; its map and thresholds then decide. One made for other
            models, prompts, sampling or signals is refused, naming the difference.
        force: Run although the calibration does not match; recorded in every trace.
    """

    mode: Mode = Mode.ANSWER
    stages: tuple[str, ...] = ()
    on_last_down: OnLastDown = OnLastDown.FAIL
    calibration: str | None = None
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """Defaults of `corea run`.

    Args:
        concurrency: Questions in flight at once.
        budget_usd: A run stops before more than this is spent, over all its starts.
        requests_per_minute: The most requests to a server, retries included, over all workers of a run. By server: the
            host of `base_url`, with its port if that names one.
        batch_poll_seconds: Between two looks at batches under way.
    """

    concurrency: int = 32
    budget_usd: Decimal | None = None
    requests_per_minute: Mapping[str, float] = field(default_factory=dict[str, float])
    batch_poll_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not self.batch_poll_seconds > 0:
            raise ConfigError(f"batch_poll_seconds: got {self.batch_poll_seconds}, expected more than 0")
        for server, limit in self.requests_per_minute.items():
            if not limit > 0:
                raise ConfigError(f"requests_per_minute.{server}: got {limit}, expected more than 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole configuration.

    Args:
        prices: USD per million tokens and the like, by model; see `corea.prices`.
        gateway: Read by `corea.gateway`. `calibrate`: by `corea.calibrate.settings`.
        base: The folder of relative paths.
    """

    stages: Mapping[str, StageSettings]
    cascades: Mapping[str, CascadeSettings]
    prices: Mapping[str, Any] = field(default_factory=dict[str, Any])
    run: RunSettings = RunSettings()
    gateway: Mapping[str, Any] = field(default_factory=dict[str, Any])
    calibrate: Mapping[str, Any] = field(default_factory=dict[str, Any])
    base: Path = Path()
    source: str = ""

    def cascade(self, name: str | None = None) -> tuple[str, CascadeSettings]:
        """A cascade by name; by default the first."""
        if name is None:
            return next(iter(self.cascades.items()))
        if name not in self.cascades:
            raise unknown_name(f"{self.source}: cascade", name, list(self.cascades))
        return name, self.cascades[name]

    def path(self, path: str) -> Path:
        """A path, relative to the configuration file."""
        return self.base / path


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Reads a configuration file.

    Args:
        overrides: "a.b=value" each; the value is read as TOML, else as a plain string.

    Raises:
        ConfigError: The file cannot be read or is not TOML, or a key is unknown, missing or of the wrong type.
    """
    path = Path(path)
    tree = read_toml(path, "write one with `corea init`, or name yours with --config")
    try:
        return parse_config(_marked(tree), overrides, source=str(path), base=path.parent)
    except RecursionError:
        raise ConfigError(f"{path}: got tables nested too deeply; correct it there") from None


def read_toml(path: Path, advice: str) -> Table:
    """A TOML file as a table.

    Args:
        advice: Ending of the message if there is no such file.

    Raises:
        ConfigError: The file cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; {advice}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: got text that is not UTF-8 ({error.reason}); save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}), expected a TOML file; name yours") from error
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits, which Python refuses
        raise ConfigError(f"{path}: not TOML ({error}); correct it there") from error


def parse_config(tree: Table, overrides: Sequence[str] = (), *, source: str = "config", base: Path = Path()) -> Config:
    """Reads a configuration from a table; see `load_config`."""
    tree = _marked(tree)
    overlay(tree, map(marked, overrides))
    tree = _marked(tree)
    known = ("cascade", "cascades", "stages", "prices", "run", "gateway", "calibrate")
    for key in tree:
        if key not in known:
            raise unknown_name(f"{source}: key", key, known)
    stages = {name: _stage(f"{source}: stages.{name}", value) for name, value in _table(source, tree, "stages").items()}
    if not stages:
        raise ConfigError(
            f"{source}: got no [stages.NAME], expected at least one; `corea init` writes a file to start from"
        )
    return Config(
        stages=stages,
        cascades=_cascades(source, tree, list(stages)),
        prices=_table(source, tree, "prices"),
        run=settings(f"{source}: run", RunSettings, _table(source, tree, "run")),
        gateway=_table(source, tree, "gateway"),
        calibrate=_table(source, tree, "calibrate"),
        base=base,
        source=source,
    )


def _marked(table: Table) -> Table:
    """A copy in which possible keys in a backend's table are `Secret`s, which no traceback shows."""
    return {key: _marked_backend(value) if key == "backend" else _marked_below(value) for key, value in table.items()}


def _marked_below(value: Any) -> Any:
    return _marked(cast(Table, value)) if isinstance(value, dict) else value


def _marked_backend(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {marked(key): item if key in NO_KEYS else marked(item) for key, item in cast(Table, value).items()}


def settings(where: str, kind: type[T], table: Mapping[str, Any], **given: Any) -> T:
    """A settings dataclass from a table, with unknown keys refused and values checked against the declared types.

    Args:
        where: The table's name, for messages.
        given: Fields set by the caller, which the table may not hold.

    Raises:
        ConfigError: A key is unknown, missing, of the wrong type, or refused by the settings themselves.
    """
    assert is_dataclass(kind)
    hints = get_type_hints(kind)
    names = [f.name for f in fields(kind) if f.init and f.name not in given]
    values: Table = {}
    for key, value in table.items():
        if key not in names:
            for name in names:
                if is_dataclass(hints[name]) and key in hints[name].__dataclass_fields__:
                    raise ConfigError(f"{where}: key: got {key!r}, which is in its table {name}; write {name}.{key}")
            raise unknown_name(f"{where}.{key}" if not names else f"{where}: key", key, names)
        values[key] = _converted(f"{where}.{key}", value, hints[key])
    for f in fields(kind):
        required = f.init and f.default is MISSING and f.default_factory is MISSING
        if required and f.name not in values and f.name not in given:
            raise ConfigError(f"{where}: {f.name} is missing; add {f.name} = ...")
    try:
        return kind(**values, **given)
    except (ValueError, TypeError) as error:
        raise ConfigError(str(error) if str(error).startswith(where) else f"{where}: {error}") from error


def _converted(where: str, value: Any, hint: Any) -> Any:
    """A setting's value in its declared type; every Decimal setting is an amount of money, every dataclass a table."""
    if is_dataclass(hint) and isinstance(value, dict):
        return settings(where, cast(type[Any], hint), cast(Table, value))
    if get_origin(hint) is Mapping and is_dataclass(kind := get_args(hint)[1]) and isinstance(value, dict):
        return {name: _converted(f"{where}.{name}", each, kind) for name, each in cast(Table, value).items()}
    if hint in (Decimal, Decimal | None):
        return read_usd(where, value)
    try:
        return msgspec.convert(value, hint, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        fault = _plain(error).replace(str(value), HIDDEN) if may_be_key(str(value)) else _plain(error)
    raise ConfigError(
        f"{where}: got {shown(value)}{_expected(hint) or '; ' + fault}"
    )  # not from the error, which repeats the value


def _decode(kind: Any, value: Any) -> Any:
    if kind is Path:
        return Path(value)
    raise NotImplementedError(f"expected {kind}")  # the form msgspec asks for


def _expected(kind: Any) -> str:
    """The values of an enumeration; "" for other types, which msgspec's message names."""
    return f", expected one of {', '.join(kind)}" if isinstance(kind, type) and issubclass(kind, StrEnum) else ""


def _plain(error: msgspec.ValidationError) -> str:
    message = str(error).removesuffix(" - at `$`")
    return message[0].lower() + message[1:]


def _stage(where: str, value: Any) -> StageSettings:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: got {shown(value)}, expected a table; write [stages.NAME]")
    table: Table = dict(value)
    known = ["threshold", *(f.name for f in fields(StageSettings))]
    for key in table:
        if key not in known:
            raise unknown_name(f"{where}: key", key, known)
    if "threshold" in table:
        if "policy" in table:
            raise ConfigError(f"{where}: got threshold and policy, expected one; threshold is short for a policy")
        table["policy"] = {"kind": "threshold", "tau": table.pop("threshold")}
    for key in NESTED:
        nested: Any = table.get(key)
        if isinstance(nested, str):
            nested = table[key] = {"kind": nested}
        if nested is not None and (not isinstance(nested, dict) or "kind" not in nested):
            raise ConfigError(f'{where}.{key}: got {shown(nested)}, expected a table with kind = "..."')
    table["validators"] = [_validator(f"{where}.validators", each) for each in _list(where, table, "validators")]
    sampling = table.pop("sampling", {})
    if "backend" not in table:
        raise ConfigError(f'{where}: backend is missing; add [stages.NAME.backend] with kind = "openai" or another')
    return settings(where, StageSettings, table, sampling=settings(f"{where}.sampling", Sampling, sampling))


def _list(where: str, table: Table, key: str) -> list[Any]:
    value = table.get(key, [])
    if not isinstance(value, list):
        raise ConfigError(f"{where}.{key}: got {shown(value)}, expected a list; write [[{key}]] as a table of its own")
    return cast(list[Any], value)


def _validator(where: str, value: Any) -> Any:
    table: Any = {"kind": value} if isinstance(value, str) else value
    if not isinstance(table, dict) or "kind" not in table:
        raise ConfigError(f'{where}: got {shown(value)}, expected a table with kind = "..."')
    return cast(Table, table)


def _cascades(source: str, tree: Table, stages: list[str]) -> dict[str, CascadeSettings]:
    tables = dict(_table(source, tree, "cascades"))
    if "cascade" in tree or not tables:
        first: Table = dict(_table(source, tree, "cascade"))
        tables = {str(first.pop("name", "corea")): first, **tables}
    cascades: dict[str, CascadeSettings] = {}
    for name, table in tables.items():
        where = f"{source}: cascade {name}"
        cascade = settings(where, CascadeSettings, table if "stages" in table else {**table, "stages": stages})
        for stage in cascade.stages:
            if stage not in stages:
                raise unknown_name(f"{where}: stages", stage, stages)
        cascades[name] = cascade
    return cascades


def _table(source: str, tree: Table, key: str) -> Table:
    value = tree.get(key, {})
    if not isinstance(value, dict):
        raise ConfigError(f"{source}: {key}: got {shown(value)}, expected a table; write [{key}]")
    return value  # pyright: ignore[reportUnknownVariableType]  # TOML tables have string keys


def overlay(tree: Table, overrides: Iterable[str]) -> None:
    """Sets values in a table, as `--set a.b=value` gives them: TOML, or else a plain string.

    Raises:
        ConfigError: An override has no key or no value, or its path leads through something that is not a table.
    """
    for override in overrides:
        dotted, separator, text = override.partition("=")
        if not separator or not dotted.strip():
            raise ConfigError(f"--set: got {shown(override)}, expected a.b=value")
        try:
            value: Any = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        *parents, last = dotted.strip().split(".")
        here: Any = tree
        for parent in parents:
            here = here.setdefault(parent, {})
            if not isinstance(here, dict):
                raise ConfigError(f"--set {dotted}: {parent} is not a table, but {shown(here)}")
        here[last] = value
