"""The table `[calibrate]` of a configuration: defaults of `corea calibrate`."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Any

from corea.calibrate.prepare import FitOptions
from corea.calibrate.targets import Targets
from corea.types import Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """A model that compares the draft with the large model's answer, for answers that no grader can read.

    Args:
        backend: A stage's name, in a cascade or not, or a table as under a stage. None: there is no judge.
        price: The model's name in the price table; by default the stage's, or the model's own.
        prompt: A text file, relative to the configuration; None: the built-in one. It must hold `{question}`,
            `{answer_a}` and `{answer_b}` once each, and ask for a last line `Verdict: A`, `Verdict: B` or
            `Verdict: tie`.
        sampling: Of each of the two calls for a pair of answers; default `{max_tokens = 1024, temperature = 0}`.
    """

    backend: str | Mapping[str, Any] | None = None
    price: str | None = None
    prompt: str | None = None
    sampling: Sampling = Sampling(max_tokens=1024, temperature=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateSettings:
    """Targets, method and questions; an option of the command line replaces each.

    Args:
        max_drop, max_risk, max_cost_usd, value_usd, abstain_usd, cost_cap_usd, delta: As in `Targets`.
        map, probability, use_category, pre_policy, by_group, few_labels, router, seed: As in `FitOptions`.
        questions: The file of labelled questions that the models are asked; relative to the configuration.
        grader: One for all questions; by default each question's own.
        group: The column that holds a row's category.
        extra_signals: Further signals to measure on the answers, for the blend.
        budget_usd: For asking, over all starts.
    """

    max_drop: float | None = None
    max_risk: float | None = None
    max_cost_usd: float | None = None
    value_usd: float | None = None
    abstain_usd: float | None = None
    cost_cap_usd: float | None = None
    delta: float = 0.05
    map: str = "auto"
    probability: str = "auto"
    use_category: bool = False
    pre_policy: bool = True
    by_group: bool = False
    few_labels: bool = False
    router: bool = False
    seed: int = 0
    questions: str | None = None
    grader: str | None = None
    group: str = "category"
    extra_signals: tuple[str, ...] = ()
    budget_usd: Decimal | None = None
    judge: JudgeSettings = JudgeSettings()

    @property
    def judged(self) -> bool:
        """True where a judge is asked."""
        return self.judge.backend is not None

    @property
    def targets(self) -> Targets:
        """The targets.

        Raises:
            ConfigError: There are none, or they make no sense.
        """
        return Targets(**{each.name: getattr(self, each.name) for each in fields(Targets)})

    @property
    def options(self) -> FitOptions:
        """The method."""
        names = ("map", "probability", "use_category", "pre_policy", "by_group", "few_labels", "router", "seed")
        options = FitOptions(**{name: getattr(self, name) for name in names})
        return replace(options, few_labels=True) if self.judged else options
