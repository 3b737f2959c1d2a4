"""A comparison's file and its models: read, located, and made ready to be asked; nothing is loaded yet."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from corea.backends import BACKENDS
from corea.build import make
from corea.config import settings as checked_settings
from corea.errors import ConfigError
from corea.prices import PriceTable, read_price
from corea.prompts import load_prompt
from corea.protocols import Backend, Signal
from corea.signals import SIGNALS
from corea.types import Sampling
from recipes.paper.answer_cache import AnswerCache, Identity, revision_of
from recipes.paper.collect import Model
from recipes.paper.methods import TITLES
from recipes.paper.settings import CompareSettings, DatasetSettings, ModelSettings

NOTHING: Mapping[str, str] = {}
PLACE = re.compile(r"\{([a-z_]+)\}")


def read_settings(
    path: Path, data: Path | None = None, values: Mapping[str, str] = NOTHING
) -> tuple[str, CompareSettings, Path]:
    """A comparison's file: its text, its settings, and the folder that relative paths start from.

    Args:
        values: Of further names in braces.

    Raises:
        ConfigError: It cannot be read, is not such a file, or has a name in braces without a value.
    """
    try:
        text = path.read_text(encoding="utf-8")
        filled = text if data is None else text.replace("{data}", str(data.resolve()))
        for name, value in values.items():
            filled = filled.replace(f"{{{name}}}", value)
        tree = tomllib.loads(filled)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; recipes/paper/configs/ has examples") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"{path}: cannot be read ({why}), expected a TOML file as in recipes/paper/configs/"
        ) from error
    if "{data}" in text and data is None:
        raise ConfigError(f"{path}: names files in {{data}}; say where that is with --data FOLDER (or COREA_DATA)")
    if left := sorted(set(PLACE.findall(re.sub(r"(?m)#.*$", "", filled))) - {"seed", "data"}):
        raise ConfigError(f"{path}: names {{{left[0]}}}, expected its value; give it with --set {left[0]}=VALUE")
    models = {
        role: checked_settings(f"{path}: models.{role}", ModelSettings, table)
        for role, table in tree.pop("models", {}).items()
    }
    datasets = {
        name: checked_settings(f"{path}: datasets.{name}", DatasetSettings, table)
        for name, table in tree.pop("datasets", {}).items()
    }
    return text, checked_settings(str(path), CompareSettings, tree, models=models, datasets=datasets), path.parent


def located(base: Path, declared: DatasetSettings) -> DatasetSettings:
    """The dataset with its paths resolved relative to the file that names them."""

    def there(options: Mapping[str, Any]) -> Mapping[str, Any]:
        path = options.get("path")
        return {**options, "path": str(base / path)} if isinstance(path, str) else options

    return replace(declared, options=there(declared.options), trained_on=tuple(map(there, declared.trained_on)))


def open_models(settings: CompareSettings, base: Path, folder: Path) -> tuple[list[Model], dict[str, str]]:
    """The available models, and by role the reason why others are not available. Nothing is loaded yet."""

    found: list[Model] = []
    missing = {role: f"[models.{role}] is not in the configuration" for role in TITLES if role not in settings.models}
    for role, declared in settings.models.items():
        try:
            found += _runs(role, declared, settings, base, folder)
        except ConfigError as error:
            missing[role] = str(error)
    if not any(model.role == "llm" for model in found):
        raise ConfigError(f"models.llm: is not there: {missing['llm']}")
    return found, missing


def _runs(role: str, declared: ModelSettings, settings: CompareSettings, base: Path, folder: Path) -> list[Model]:
    """A role's model, or one for each training run, where its backend's settings name {seed}.

    Questions of a run that is not available are answered by the first available one.
    """
    if not declared.by_seed:
        return [_model(role, declared, base, folder)]
    there: dict[int, Model] = {}
    why = ""
    for run in settings.run_of.values():
        try:
            there[run] = _model(role, declared.of_seed(run), base, folder)
        except ConfigError as error:
            why = why or str(error)
    if not there:
        raise ConfigError(why)
    first = min(there)
    answers = {seed: run if run in there else first for seed, run in settings.run_of.items()}
    return [
        replace(model, trained=run, seeds=frozenset(seed for seed, by in answers.items() if by == run))
        for run, model in there.items()
    ]


def _model(role: str, declared: ModelSettings, base: Path, folder: Path) -> Model:

    where = f"models.{role}"
    options = _there(f"{where}.backend", declared.backend, base)
    signals = {
        s if isinstance(s, str) else s["kind"]: {"kind": s} if isinstance(s, str) else dict(s) for s in declared.signals
    }
    prompt = load_prompt(str(base / declared.prompt) if "/" in declared.prompt else declared.prompt)
    sampling = _with_logprobs(declared, signals)
    model_name = str(options.get("model") or options.get("name") or options.get("folder") or role)
    named = Path(model_name).name if Path(model_name).exists() else model_name
    price = read_price(named, declared.price) if declared.price is not None else PriceTable().lookup(named)
    identity = Identity(
        model=named,
        revision=revision_of(options),
        prompt_sha256=prompt.sha256,
        sampling={k: v for k, v in asdict(sampling).items() if v not in (None, (), {})},
        signals=signals,
    )

    def open_it() -> tuple[Backend, Mapping[str, Signal]]:
        backend: Backend = make(f"{where}.backend", options, BACKENDS)
        return backend, {n: make(f"{where}.signals.{n}", o, SIGNALS, backend=backend) for n, o in signals.items()}

    def open_probe() -> Backend:
        if isinstance(declared.probe, bool):
            return open_it()[0]
        backend: Backend = make(f"{where}.probe", _there(f"{where}.probe", declared.probe, base), BACKENDS)
        return backend

    return Model(
        role=role, cache=AnswerCache(folder, identity), open=open_it, sampling=sampling, prompt=prompt, price=price,
        probe=open_probe if declared.probe else None,
    )  # fmt: skip


def _there(where: str, backend: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """A backend's settings with their paths resolved.

    Raises:
        ConfigError: Something that they name is not there.
    """
    options = dict(backend)
    for key in ("folder", "path", "name"):
        named = options.get(key)
        if isinstance(named, str) and (key != "name" or (base / named).exists() or named.startswith((".", "/"))):
            if key == "name" and options.get("kind") == "replay":
                continue  # there it is the name of the model
            options[key] = str(base / named)
            if not Path(options[key]).exists():
                raise ConfigError(f"{where}.{key}: got {named!r}, which is not there")
    return options


def _with_logprobs(declared: ModelSettings, signals: Mapping[str, Mapping[str, Any]]) -> Sampling:
    """The sampling with the log-probabilities that the signals read; a local model is scored exactly instead."""
    wants = any(name in ("mean_token_probability", "answer_token_probability") for name in signals)
    if wants or ("expected" in signals and declared.backend.get("kind") == "openai"):
        top = 20 if "expected" in signals and declared.backend.get("kind") == "openai" else 0
        return replace(declared.sampling, logprobs=True, top_logprobs=max(top, declared.sampling.top_logprobs))
    return declared.sampling
