"""Settings -> objects. The only module that resolves names; all others receive built objects."""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, cast, get_type_hints

from corea.backends import BACKENDS
from corea.cascade import Cascade
from corea.config import CascadeSettings, Config, StageSettings, settings
from corea.costs.signal_calls import signal_calls
from corea.errors import ConfigError, unknown_name
from corea.models import BUNDLED
from corea.policies import POLICIES, PRE_POLICIES
from corea.prices import COUNTED_AS_FREE, Price, PriceTable, is_local
from corea.prompts import Prompt, is_prompt_file, load_prompt
from corea.protocols import Backend, Policy, PrePolicy, Signal
from corea.registry import resolve
from corea.secrets import shown
from corea.signals import SIGNALS, VALIDATORS
from corea.signals.agreement import Agreement
from corea.signals.tokens import with_logprobs
from corea.signals.validators import Validated
from corea.stage import Mode, Stage
from corea.types import Sampling

PATH_FIELDS = ("folder", "path")
FAILURES_OF_SEVERAL = 3  # that open a breaker, where another server can answer
IN_PROCESS = ("onnx", "hf", "fake")  # kinds of backends whose models run in this process


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltCascade:
    """A cascade with the parts that commands need by name.

    Args:
        backends: Of its stages.
        uncalibrated: The cascade as it is without its calibration artefact.
    """

    name: str
    cascade: Cascade
    backends: Mapping[str, Backend]
    prices: PriceTable
    uncalibrated: Cascade


class BackendCache:
    """Builds each backend once: cascades with equal settings share it, also after a configuration is reloaded."""

    def __init__(self) -> None:
        self._made: dict[str, Backend] = {}
        self._used: dict[str, Backend] = {}

    def get(self, config: Config, stage: str) -> Backend:
        """The backend of one stage."""
        return self.of(config, f"stages.{stage}.backend", config.stages[stage].backend)

    def of(self, config: Config, where: str, options: Mapping[str, Any]) -> Backend:
        """The backend that a table describes."""
        said = _hash([str(config.base), options])
        if said not in self._used:
            self._used[said] = self._made.get(said) or _make_backend(config, where, options)
        return self._used[said]

    def begin(self) -> None:
        """Starts recording which backends are used."""
        self._used = {}

    def end(self) -> tuple[Backend, ...]:
        """The backends used since `begin`; unused ones are dropped, to be closed by their last user."""
        self._made = dict(self._used)
        return tuple(self._used.values())


def _hash(options: Any) -> str:
    """A hash of the options that reveals no key pasted into them."""
    return sha256(json.dumps(options, sort_keys=True, default=str).encode()).hexdigest()


def build_all(config: Config, backends: BackendCache) -> tuple[dict[str, Cascade], tuple[Backend, ...]]:
    """Every cascade of a configuration, over shared backends, and those backends."""
    backends.begin()
    cascades = {name: build(config, name, backends=backends).cascade for name in config.cascades}
    return cascades, backends.end()


def build(
    config: Config, name: str | None = None, *, need_prices: bool = True, backends: BackendCache | None = None
) -> BuiltCascade:
    """The cascade of a configuration, ready to answer. No server is contacted and no model loaded yet.

    Args:
        name: The cascade's name; by default the first.
        need_prices: False accepts a model without a price; its costs are then unknown (None). A self-hosted model
            without a price is free, and every trace is flagged.
        backends: Shared by several cascades.

    Raises:
        ConfigError: A name is unknown, an option does not fit, a price is missing, or the calibration artefact
            belongs to another configuration.
    """
    name, wanted = config.cascade(name)
    prices = PriceTable(config.prices)
    backends = backends or BackendCache()
    made = {stage: backends.get(config, stage) for stage in wanted.stages}
    stages = tuple(
        _stage(config, stage, backends, prices, wanted.mode, need_prices=need_prices, last=stage == wanted.stages[-1])
        for stage in wanted.stages
    )
    plain = Cascade(stages=stages, name=name, on_last_down=wanted.on_last_down, flags=_flags(stages))
    cascade = plain if wanted.calibration is None else _calibrated(config, wanted, plain)
    return BuiltCascade(name=name, cascade=cascade, backends=made, prices=prices, uncalibrated=plain)


def _make_backend(config: Config, where: str, table: Mapping[str, Any]) -> Backend:
    options = dict(table)
    if options.get("kind") == "openai" and isinstance(urls := options.get("base_url"), list):
        return _deployments(config, where, options, cast(list[Any], urls))
    for key in PATH_FIELDS:
        if isinstance(options.get(key), str):
            options[key] = str(config.path(options[key]))
    return cast(Backend, make(f"{config.source}: {where}", options, BACKENDS))


def _deployments(config: Config, where: str, options: Mapping[str, Any], urls: list[Any]) -> Backend:
    """One backend over the same model at several addresses."""
    if not urls:
        raise ConfigError(f"{config.source}: {where}.base_url: got an empty list, expected an address or several")
    each = {"breaker_failures": FAILURES_OF_SEVERAL, **options}
    made = [_make_backend(config, where, {**each, "base_url": url}) for url in urls]  # which checks each address
    first: Any = made[0]
    return resolve(where, "corea.backends.openai.deployments:Deployments", {})(first.settings, urls)


def make(where: str, options: Mapping[str, Any], table: Mapping[str, str], **injected: Any) -> Any:
    """An object of a class in a table: `kind` names the class, the other keys are its settings.

    A dataclass takes them as its fields; any other class takes one settings dataclass, the type of its first
    parameter. `injected` sets fields of these names where the class has them.
    """
    made = resolve(f"{where}.kind", str(options["kind"]), table)
    rest = {key: value for key, value in options.items() if key != "kind"}
    if is_dataclass(made):
        own = {f.name for f in fields(made)}
        return settings(
            where,
            cast(type[Any], made),
            rest,
            **{k: v for k, v in injected.items() if k in own and k not in rest},
        )
    parameters = list(inspect.signature(made).parameters)
    hint = get_type_hints(made.__init__).get(parameters[0]) if parameters else None
    if hint is None or not is_dataclass(hint):
        if unknown := [key for key in rest if key not in parameters]:
            raise unknown_name(f"{where}: key", unknown[0], parameters)
        return made(**rest)
    return made(settings(where, cast(type[Any], hint), rest))


def price_of(config: Config, stage: StageSettings, backend: Backend, prices: PriceTable) -> Price:
    """The price of a stage's model, by the name that the stage gives it, else by the backend's model and address."""
    return _price(stage.price, stage.backend, backend, prices)


def _price(name: str | None, options: Mapping[str, Any], backend: Backend, prices: PriceTable) -> Price:
    if name is not None:
        return prices.lookup(name)
    url = options.get("base_url")
    url = cast(list[str], url)[0] if isinstance(url, list) and url else url
    if options["kind"] in IN_PROCESS:
        return prices.lookup_self_hosted(backend.model, in_process=True)
    if isinstance(url, str) and is_local(url):
        return prices.lookup_self_hosted(backend.model)
    return prices.lookup(backend.model, api_url=cast(str | None, url))


def _flags(stages: tuple[Stage, ...]) -> tuple[str, ...]:
    """A flag for each model without a price that is counted as free."""
    free = [stage.backend.model for stage in stages if stage.price is not None and stage.price.assumed_free]
    for stage in stages:
        if stage.signal_price is not None and stage.signal_price.assumed_free:
            free += [call.backend.model for call in signal_calls(stage.signal)]
        if stage.second_price is not None and stage.second_price.assumed_free:
            free += [call.backend.model for call in signal_calls(stage.second_opinion)]
    return tuple(f"{COUNTED_AS_FREE}: {model}" for model in dict.fromkeys(free))


def _stage(
    config: Config,
    name: str,
    backends: BackendCache,
    prices: PriceTable,
    mode: Mode,
    *,
    need_prices: bool,
    last: bool,
) -> Stage:
    declared, where = config.stages[name], f"{config.source}: stages.{name}"
    backend = backends.get(config, name)

    def priced(look: Callable[[], Price]) -> Price | None:
        try:
            return look()
        except ConfigError:
            if need_prices:
                raise
            return None

    price, signal, signal_price = priced(lambda: price_of(config, declared, backend, prices)), None, None
    if not last:
        options, checker = _checker(config, name, backends, _default_signal(declared, mode))
        asked = checker.backend if checker else backend
        signal = None if options is None else make(f"{where}.signal", options, SIGNALS, backend=asked)
        signal = _validated(config, where, declared, signal, backend, mode)
        if checker is not None:
            signal_price = priced(lambda: _price(checker.price, checker.options, checker.backend, prices))
    second = None if last else _second_opinion(config, name, backends)
    policy = None if last else _policy(where, declared)
    pre_policy = None
    if declared.pre_policy is not None:
        pre_policy = cast(PrePolicy, make(f"{where}.pre_policy", declared.pre_policy, PRE_POLICIES))
    prompt = _prompt(config, declared.prompt or ("plain" if last or mode is Mode.CHAT else "default"))
    if mode is Mode.CHAT:
        _check_chat(where, declared, signal, prompt, backend)
    return Stage(
        name=name,
        backend=backend,
        sampling=with_logprobs(declared.sampling, signal),
        signal=signal,
        policy=policy,
        pre_policy=pre_policy,
        prompt=prompt,
        price=price,
        signal_price=signal_price,
        on_error=declared.on_error,
        pass_draft=declared.pass_draft,
        confidence_first=declared.confidence_first,
        batch=declared.batch,
        keep_logprobs=declared.sampling.logprobs or declared.sampling.top_logprobs > 0,
        mode=mode,
        second_opinion=None if second is None else Agreement(second.backend, 1, _greedy(declared.sampling)),
        second_price=None if second is None else priced(
            lambda: _price(second.price, second.options, second.backend, prices)
        ),
    )  # fmt: skip


def _greedy(sampling: Sampling) -> Sampling:
    return Sampling(max_tokens=sampling.max_tokens, temperature=0)


def _second_opinion(config: Config, name: str, backends: BackendCache) -> "_Checker | None":
    asked, where = config.stages[name].second_opinion, f"stages.{name}.second_opinion"
    if asked == name:
        raise ConfigError(f"{config.source}: {where}: got the stage itself, expected another model; name another stage")
    if asked is None:
        return None
    table = dict(asked) if isinstance(asked, Mapping) else asked
    price = table.pop("price", None) if isinstance(table, dict) else None
    return _other_model(config, name, where, table, price, backends)


def _default_signal(declared: StageSettings, mode: Mode) -> dict[str, Any] | None:
    """The signal of a stage that names none; None: its validators alone."""
    if declared.validators:
        return None
    return {"kind": "verbalized" if mode is Mode.ANSWER else "mean_token_probability"}


def _validated(
    config: Config, where: str, declared: StageSettings, inner: Signal | None, backend: Backend, mode: Mode
) -> Signal | None:
    """The signal with the stage's validators."""
    if not declared.validators:
        return inner
    if declared.confidence_first:
        raise ConfigError(
            f"{where}: got confidence_first and validators, expected one of them; a draft is validated when it ends, "
            "and confidence_first passes it on before"
        )
    others, weights = dict[str, Signal](), dict[str, float]()
    for each in declared.validators:
        options = {key: value for key, value in each.items() if key not in ("name", "weight")}
        at, name, weight = f"{where}.validators", str(each.get("name", each["kind"])), each.get("weight", 1.0)
        if name in others:
            raise ConfigError(f"{at}: got two named {name!r}, expected distinct names; give one a name = ...")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight <= 1:
            raise ConfigError(f"{at}.{name}: got weight {shown(weight)}, expected a number above 0, at most 1")
        options |= {key: str(config.path(options[key])) for key in PATH_FIELDS if isinstance(options.get(key), str)}
        injected = {"visible": mode is Mode.ANSWER, "folder": str(config.base), "backend": backend}
        others[name], weights[name] = make(f"{at}.{name}", options, VALIDATORS, **injected), float(weight)
    return Validated(inner, others, weights)


def _check_chat(where: str, declared: StageSettings, signal: Any, prompt: Prompt, backend: Any) -> None:
    """Refuses what `mode = "chat"` cannot work with: tags, and signals that read a short answer."""
    if declared.confidence_first or prompt.tags or getattr(backend, "writes_tags", False):
        raise ConfigError(
            f"{where}: got {'a model' if not (declared.confidence_first or prompt.tags) else 'a prompt'} with tags, "
            'which mode = "chat" would show to the client; expected prompt = "plain", or mode = "answer"'
        )
    if declared.second_opinion is not None:
        raise ConfigError(
            f"{where}.second_opinion: got it in a chat, whose text has no short answer to compare; leave it out, or "
            'set mode = "answer"'
        )
    inner = signal.inner if isinstance(signal, Validated) else signal
    for each in (inner, *(signal.others.values() if isinstance(signal, Validated) else ())):
        if getattr(each, "reads_tags", False) or getattr(each, "reads_answer", False):
            raise ConfigError(
                f"{where}.signal: got {type(each).__name__}, which reads a stated number or a short answer that a chat "
                'has not; expected one of mean_token_probability, self_check, validators, or mode = "answer"'
            )


class _Checker(NamedTuple):
    """Another model that a signal asks: its backend, the backend's options and its name in the price table."""

    backend: Backend
    options: Mapping[str, Any]
    price: str | None


def _checker(
    config: Config, name: str, backends: BackendCache, default: dict[str, Any] | None
) -> tuple[dict[str, Any] | None, _Checker | None]:
    """The options of a signal, and the model that it asks if not its stage's.

    `backend` names a stage of the configuration, in this cascade or not, or is a table as in a stage; `price` is then
    the model's name in the price table.
    """
    declared = config.stages[name].signal or default
    if declared is None:
        return None, None
    options = dict(declared)
    where = f"stages.{name}.signal.backend"
    asked, price = options.pop("backend", None), options.pop("price", None)
    if asked is None:
        if price is not None:
            raise ConfigError(
                f"{config.source}: stages.{name}.signal.price: got it without a backend, expected both; "
                "a signal that asks its own stage's model has that stage's price"
            )
        return options, None
    return options, _other_model(config, name, where, asked, price, backends)


def _other_model(
    config: Config, name: str, where: str, asked: Any, price: str | None, backends: BackendCache
) -> _Checker | None:
    """The model that a stage's name or a table means; None for the stage's own."""
    if isinstance(asked, str):
        if asked not in config.stages:
            raise unknown_name(f"{config.source}: {where}", asked, list(config.stages))
        stage = config.stages[asked]
        backend = backends.get(config, asked)
        return None if asked == name else _Checker(backend, stage.backend, price or stage.price)
    if not isinstance(asked, Mapping) or "kind" not in asked:
        raise ConfigError(
            f'{config.source}: {where}: got {shown(asked)}, expected the name of a stage, or a table with kind = "..."'
        )
    table = cast(Mapping[str, Any], asked)
    return _Checker(backends.of(config, where, table), table, price)


def _policy(where: str, declared: StageSettings) -> Policy:
    options = declared.policy or {"kind": "threshold", "tau": 0.8}
    return cast(Policy, make(f"{where}.policy", options, POLICIES))


def _prompt(config: Config, name: str) -> Prompt:
    return load_prompt(str(config.path(name)) if is_prompt_file(name) else name)


def _calibrated(config: Config, wanted: CascadeSettings, cascade: Cascade) -> Cascade:
    from corea.calibrate.binding import bind  # sklearn-free; kept out of every other start

    assert wanted.calibration is not None
    return bind(cascade, config.path(wanted.calibration), force=wanted.force)


def bundled_config(overrides: tuple[str, ...] = ()) -> Config:
    """The configuration of the bundled pair, which needs no file."""
    from corea.config import load_config

    return load_config(BUNDLED, [_from_here(override) for override in overrides])


def _from_here(override: str) -> str:
    """An override with its path, if it is one, relative to the working folder: the file is in the package."""
    key, _, value = override.partition("=")
    name, path = key.strip().rpartition(".")[2], value.strip().strip("\"'")
    is_path = name in (*PATH_FIELDS, "calibration", "questions") or (name == "prompt" and is_prompt_file(path))
    return f"{key}={Path(path).absolute()}" if path and is_path else override
