"""Settings of a comparison, from a TOML file that `models.py` reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from corea.errors import ConfigError, unknown_name
from corea.types import Sampling
from recipes.paper.methods import TITLES, methods, names


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """One model, `[models.ROLE]`; the roles of the paper are slm, rlvr, brier, l1, llm, any other is a further model.

    Args:
        backend: Its `kind` and that backend's own settings. {seed} in one of them stands for the seed of a training
            run: the model is then one for each of the comparison's seeds, and answers the questions that go with it.
        signals: Kinds, or tables with a `kind` and options; the first is what the stored rows call `confidence`.
        price: The fields of `corea.prices.Price`; without it the model's name is looked up in the public list.
        title: Name of a further model in the tables; its role by default.
        probe: True if hidden states are stored too (backend kind "hf"); or, where a server answers, the settings of a
            backend of kind "hf" with the same weights, which reads them from the stored answers.
    """

    backend: Mapping[str, Any]
    prompt: str = "default"
    sampling: Sampling = Sampling(temperature=0.0)
    signals: tuple[Any, ...] = ()
    price: Mapping[str, Any] | None = None
    title: str = ""
    probe: bool | Mapping[str, Any] = False

    @property
    def by_seed(self) -> bool:
        """True if there is one model for each seed."""
        return any("{seed}" in value for value in self.backend.values() if isinstance(value, str))

    def of_seed(self, seed: int) -> "ModelSettings":
        """The model that was trained with a seed."""
        named = {k: v.replace("{seed}", str(seed)) if isinstance(v, str) else v for k, v in self.backend.items()}
        return replace(self, backend=named)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSettings:
    """One dataset, `[datasets."NAME"]`.

    Args:
        kind: A name of `corea.datasets.DATASETS`, or "package.module:Class".
        options: Its own options, such as a path.
        judge: The evaluation split.
        fit: The split that thresholds and classifiers are fitted on; None halves `judge` by a hash of each question.
        fit_share: The share that goes to fitting then.
        fit_on: Another dataset of the comparison, whose questions of `fit` fit this one's thresholds and classifiers;
            all of `judge` is then judged.
        group: Datasets of one group have a mean in the results.
        trained_on: Training data of the models, of the same kind of dataset, for the contamination guard: tables
            of a `split`, and of options over `options`.
        seeded: The dataset draws other questions with each of the run's seeds (its option `seed`).
        limit: Maximum number of questions of each split, the first by hash; 0: all.
    """

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    judge: str = "test"
    fit: str | None = None
    fit_share: float = 0.5
    fit_on: str | None = None
    group: str = ""
    trained_on: tuple[Mapping[str, Any], ...] = ()
    seeded: bool = False
    limit: int = 0

    def __post_init__(self) -> None:
        if self.fit == self.judge:
            raise ConfigError(
                f"datasets: fit: got {self.fit!r}, which is the split that is judged; expected another, or none "
                "(a part of the questions is then set aside for fitting)"
            )
        if self.fit is not None and self.fit_on is not None:
            raise ConfigError(f"datasets: fit_on: got {self.fit_on!r} beside fit {self.fit!r}, expected one of them")
        if any("split" not in trained for trained in self.trained_on):
            raise ConfigError('datasets: trained_on: got a table without split, expected one such as split = "train"')
        if not 0.05 <= self.fit_share <= 0.95:
            raise ConfigError(f"datasets: fit_share: got {self.fit_share}, expected a share from 0.05 to 0.95")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareSettings:
    """A whole comparison.

    Args:
        reference: COREA's row: every other is tested against it, question by question.
        ours: The role that our further signals are measured on.
        operate_at: The drop that each threshold is chosen for, as a share; accuracy, cost and LLM% are shown there.
        max_drops: The drops that savings are given for.
        seeds: Random seeds with which the questions of seeded datasets are drawn.
        runs: The training run that answers the questions of each seed, where a model is one for each: its own seed,
            in the order of `seeds`; empty: the same numbers.
    """

    models: Mapping[str, ModelSettings]
    datasets: Mapping[str, DatasetSettings]
    name: str = "comparison"
    reference: str = "L1-SLM-Verb"
    ours: str = "l1"
    operate_at: float = 0.02
    max_drops: tuple[float, ...] = (0.01, 0.02)
    seeds: tuple[int, ...] = (1, 2, 3)
    runs: tuple[int, ...] = ()
    concurrency: int = 32
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what, drops in (("operate_at", (self.operate_at,)), ("max_drops", self.max_drops)):
            if not drops or not all(0 <= d < 1 for d in drops):
                raise ConfigError(f"{what}: got {drops}, expected shares from 0 to 1; 2 points are 0.02")
        if self.operate_at not in self.max_drops:
            raise ConfigError(f"operate_at: got {self.operate_at}, expected one of max_drops {list(self.max_drops)}")
        if "llm" not in self.models or len(self.models) < 2:
            raise ConfigError(f"models: got {list(self.models)}, expected llm and at least one small model")
        if not self.datasets:
            raise ConfigError('datasets: got none, expected at least one; add [datasets."NAME"] with a kind')
        for name, dataset in self.datasets.items():
            has_own = [other for other, d in self.datasets.items() if d.fit_on is None]
            if dataset.fit_on is not None and dataset.fit_on not in has_own:
                raise unknown_name(f"datasets.{name}.fit_on", dataset.fit_on, has_own)
        apart = [role for role, m in self.models.items() if m.by_seed]
        fixed = [name for name, d in self.datasets.items() if not d.seeded]
        if apart and fixed:
            raise ConfigError(
                f"datasets: {fixed[0]!r} draws the same questions with every seed, and models.{apart[0]} is one for "
                "each {seed}; expected seeded = true, or one comparison for each training run"
            )
        if not self.seeds:
            raise ConfigError("seeds: got none, expected at least one")
        if self.runs and len(self.runs) != len(self.seeds):
            raise ConfigError(f"runs: got {len(self.runs)} for {len(self.seeds)} seeds, expected one for each, or none")
        if self.ours not in {*TITLES, *self.models} - {"llm"}:
            raise unknown_name("ours", self.ours, sorted({*TITLES, *self.models} - {"llm"}))
        rows = names(methods(self.extra, self.ours))
        if self.reference not in rows:
            raise unknown_name("reference", self.reference, rows)

    @property
    def run_of(self) -> dict[int, int]:
        """The seed of the training run that answers each seed's questions."""
        return dict(zip(self.seeds, self.runs or self.seeds, strict=True))

    def only(self, seeds: Sequence[int]) -> "CompareSettings":
        """The settings with some of its seeds; a seed that is not listed is its own training run."""
        return replace(self, seeds=tuple(seeds), runs=tuple(self.run_of.get(seed, seed) for seed in seeds))

    @property
    def extra(self) -> dict[str, str]:
        """Further small models: role -> title."""
        return {role: m.title or role for role, m in self.models.items() if role not in TITLES}
