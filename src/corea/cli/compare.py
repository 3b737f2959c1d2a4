"""`corea compare`: the paper's comparison on models and datasets of your own, from one TOML file."""

import asyncio
import hashlib
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from corea.cli.console import print_json
from corea.cli.options import JsonOption
from corea.errors import ConfigError
from corea.evaluate.compare.asking import Model
from corea.evaluate.compare.settings import CompareSettings, DatasetSettings, ModelSettings
from corea.protocols import Backend, Signal


def compare(
    config: Annotated[Path, typer.Argument(help="The comparison's TOML file; see configs/compare/.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for traces and results.")] = Path("out/compare"),
    data: Annotated[
        Path | None, typer.Option(envvar="COREA_DATA", help="What {data} in the file stands for: a folder.")
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many questions of each part; 0: as the file says.")] = 0,
    seeds: Annotated[
        list[int] | None, typer.Option("--seed", help="Only these seeds of the file's; may be repeated.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
    json: JsonOption = False,
) -> None:
    """Run every row of the comparison; what is stored is not asked again. `corea report OUT` then makes the page."""
    from corea.evaluate.compare.asked import load_parts
    from corea.evaluate.compare.provenance import provenance
    from corea.evaluate.compare.session import RESULTS
    from corea.evaluate.compare.session import compare as run

    text, settings, base = read_settings(config, data)
    if limit:
        capped = {name: replace(d, limit=limit) for name, d in settings.datasets.items()}
        settings = replace(settings, datasets=capped)
    if seeds:
        settings = settings.only(seeds)
    models, missing = open_models(settings, base, out / "traces")
    asked = [load_parts(name, located(base, declared), settings.seeds) for name, declared in settings.datasets.items()]
    made_by = provenance(
        command=_command(config, out, data, limit, seeds or []),
        config=text,
        config_sha256=hashlib.sha256(text.encode()).hexdigest(),
    )
    with _Bars(quiet or json) as bars:
        results = asyncio.run(run(settings, models, missing, asked, out, made_by, hooks=bars.hooks()))
    if json:
        print_json({"results": str(out / RESULTS), "model_calls": results["model_calls"]})
        return
    from corea.evaluate.compare.text import tables

    print(tables(results))
    print(f"{results['model_calls']:,} answers were asked for; results: {out / RESULTS}; a page: corea report {out}")


def _command(config: Path, out: Path, data: Path | None, limit: int, seeds: Sequence[int]) -> str:
    """The command that remakes the results; the folder of data is named by its variable, as it differs by machine."""
    words = ["corea", "compare", str(config), "--out", str(out), *(["--limit", str(limit)] if limit else [])]
    words += [word for seed in seeds for word in ("--seed", str(seed))]
    return ("COREA_DATA=... " if data is not None else "") + shlex.join(words)


def read_settings(path: Path, data: Path | None = None) -> tuple[str, CompareSettings, Path]:
    """A comparison's file: its text, its settings, and the folder that relative paths start from."""
    from corea.config import settings

    try:
        text = path.read_text(encoding="utf-8")
        tree = tomllib.loads(text if data is None else text.replace("{data}", str(data.resolve())))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; configs/compare/ has examples") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path}: cannot be read ({why}), expected a TOML file as in configs/compare/") from error
    if "{data}" in text and data is None:
        raise ConfigError(f"{path}: names files in {{data}}; say where that is with --data FOLDER (or COREA_DATA)")
    models = {
        role: settings(f"{path}: models.{role}", ModelSettings, table) for role, table in tree.pop("models", {}).items()
    }
    datasets = {
        name: settings(f"{path}: datasets.{name}", DatasetSettings, table)
        for name, table in tree.pop("datasets", {}).items()
    }
    return text, settings(str(path), CompareSettings, tree, models=models, datasets=datasets), path.parent


def located(base: Path, declared: DatasetSettings) -> DatasetSettings:
    """The same dataset, its paths as meant by the file that named them."""

    def there(options: Mapping[str, Any]) -> Mapping[str, Any]:
        path = options.get("path")
        return {**options, "path": str(base / path)} if isinstance(path, str) else options

    return replace(declared, options=there(declared.options), trained_on=tuple(map(there, declared.trained_on)))


def open_models(settings: CompareSettings, base: Path, folder: Path) -> tuple[list[Model], dict[str, str]]:
    """The models that are there, and by role why the others are not. Nothing is loaded yet."""
    from corea.evaluate.compare.methods import TITLES

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

    Questions that go with a run that is not there are answered by the first that is.
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
    from corea.backends import BACKENDS
    from corea.build import make
    from corea.evaluate.compare.store import Identity, Shelf, revision_of
    from corea.prices import PriceTable, read_price
    from corea.prompts import load_prompt
    from corea.signals import SIGNALS

    where = f"models.{role}"
    options = dict(declared.backend)
    for key in ("folder", "path", "name"):
        named = options.get(key)
        if isinstance(named, str) and (key != "name" or (base / named).exists() or named.startswith((".", "/"))):
            if key == "name" and options.get("kind") == "replay":
                continue  # there it is what the model is called
            options[key] = str(base / named)
            if not Path(options[key]).exists():
                raise ConfigError(f"{where}.backend.{key}: got {named!r}, which is not there")
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

    return Model(
        role=role, shelf=Shelf(folder, identity), open=open_it, sampling=sampling, prompt=prompt, price=price,
        probe=declared.probe,
    )  # fmt: skip


def _with_logprobs(declared: ModelSettings, signals: Mapping[str, Mapping[str, Any]]) -> Any:
    """The sampling with the log-probabilities that the signals read; a local model is scored exactly instead."""
    wants = any(name in ("mean_token_probability", "answer_token_probability") for name in signals)
    if wants or ("expected" in signals and declared.backend.get("kind") == "openai"):
        top = 20 if "expected" in signals and declared.backend.get("kind") == "openai" else 0
        return replace(declared.sampling, logprobs=True, top_logprobs=max(top, declared.sampling.top_logprobs))
    return declared.sampling


class _Bars:
    """One bar a phase, on standard error."""

    def __init__(self, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=quiet or not console.is_terminal,
        )
        self.tasks: Sequence[Any] = []

    def __enter__(self) -> "_Bars":
        self.bars.start()
        return self

    def __exit__(self, *ended: object) -> None:
        self.bars.stop()

    def hooks(self) -> Any:
        """What the comparison tells its progress."""
        from corea.evaluate.compare.session import Hooks

        def phase(what: str, steps: int) -> None:
            self.tasks = [*self.tasks, self.bars.add_task(what, total=steps or None)]
            if not steps:
                self.bars.update(self.tasks[-1], total=1, completed=1)

        def step() -> None:
            self.bars.advance(self.tasks[-1])

        return Hooks(phase=phase, step=step)
