"""The table `[calibrate]` of a configuration: defaults of `corea calibrate`."""

from dataclasses import dataclass, fields
from decimal import Decimal

from corea.calibrate.prepare import FitOptions
from corea.calibrate.targets import Targets


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
        return FitOptions(**{name: getattr(self, name) for name in names})
