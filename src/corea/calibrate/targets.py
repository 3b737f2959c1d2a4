"""What a user wants promised, and the p-value of each promise being broken at a cut."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from corea.calibrate.exact_tests import exact_drop_pvalue, mean_pvalue, share_pvalue
from corea.calibrate.rules import Cut, Sample
from corea.calibrate.tables import Pairs
from corea.errors import ConfigError
from corea.money import read_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Goals:
    """One or several goals; those set hold jointly.

    Args:
        max_drop: Accuracy of the cascade >= accuracy of the LLM - max_drop.
        max_risk: Share of the kept answers that are wrong <= max_risk.
        max_cost_usd: Mean cost of a question <= max_cost_usd.
        value_usd: What an error costs; then mean cost + value * error rate (+ abstentions) is made small, and it is
            promised to be at most that of the LLM alone.
        abstain_usd: What a question costs that a person answers; allows abstaining, needs `value_usd`.
        delta: The chance, over the questions that calibrate, that a promise is broken; for all goals together.
        cost_cap_usd: No question costs more than this with both models asked. A mean of unbounded costs cannot be
            promised at any sample size; None: three times the dearest question seen, and the report says so.
    """

    max_drop: float | None = None
    max_risk: float | None = None
    max_cost_usd: float | None = None
    value_usd: float | None = None
    abstain_usd: float | None = None
    delta: float = 0.05
    cost_cap_usd: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.delta < 1:
            raise ConfigError(f"delta: got {self.delta}, expected a chance between 0 and 1, such as 0.05")
        if self.max_drop is not None and not -1 < self.max_drop < 1:
            raise ConfigError(f"max-drop: got {self.max_drop}, expected a share such as 0.02 for 2 points")
        if self.max_risk is not None and not 0 < self.max_risk < 1:
            raise ConfigError(f"max-risk: got {self.max_risk}, expected a share between 0 and 1, such as 0.1")
        for name in ("max_cost_usd", "value_usd", "abstain_usd", "cost_cap_usd"):
            if (amount := getattr(self, name)) is not None:
                read_usd(name.replace("_", "-"), amount)
        if self.max_drop is None and self.max_risk is None and self.max_cost_usd is None and self.value_usd is None:
            raise ConfigError("goal: got none, expected one of --max-drop, --max-risk, --max-cost, --value; give one")
        if self.abstain_usd is not None and self.value_usd is None:
            raise ConfigError("abstain-usd: got no --value beside it, expected what an error costs; give --value USD")

    @property
    def only_cost(self) -> bool:
        """Whether nothing but the cost is bounded: then accuracy is what is made large."""
        return (
            self.max_cost_usd is not None and self.max_drop is None and self.max_risk is None and self.value_usd is None
        )

    @property
    def needs_cap(self) -> bool:
        """Whether a mean of costs is promised, which needs a bound on one question's."""
        return self.max_cost_usd is not None or self.value_usd is not None

    def as_dict(self) -> dict[str, float]:
        """The goals that are set, by name, as the artefact stores them."""
        names = ("max_drop", "max_risk", "max_cost_usd", "value_usd", "abstain_usd")
        return {name: float(value) for name in names if (value := getattr(self, name)) is not None}

    @property
    def target(self) -> str:
        """What a map should order answers by: the chance of being wrong where nothing else is bounded, else regret."""
        others = (self.max_drop, self.max_cost_usd, self.value_usd)
        return "risk" if all(goal is None for goal in others) else "regret"

    def cap(self, pairs: Pairs) -> float:
        """The bound on one question's cost."""
        if self.cost_cap_usd is not None:
            return self.cost_cap_usd
        return 3.0 * float((pairs.slm_cost + pairs.llm_cost).max())

    def words(self) -> str:
        """The promise, in one clause."""
        parts: list[str] = []
        if self.max_drop is not None:
            parts.append(f"accuracy is at most {100 * self.max_drop:g} points below the large model's")
        if self.max_risk is not None:
            parts.append(f"at most {100 * self.max_risk:g} % of the kept answers are wrong")
        if self.max_cost_usd is not None:
            parts.append(f"the mean cost is at most {self.max_cost_usd:g} USD a question")
        if self.value_usd is not None:
            people = "" if self.abstain_usd is None else f" and {self.abstain_usd:g} USD a question left to a person"
            parts.append(f"cost with {self.value_usd:g} USD an error{people} is at most the large model's")
        return " and ".join(parts)


def goal_pvalues(goals: Goals, sample: Sample, cut: Cut, *, cap_usd: float) -> dict[str, float]:
    """p-value of each goal being broken at a cut; jointly they hold where each is at most delta, uncorrected.

    The null is that some goal is broken, a union: rejecting it at level delta needs each part rejected at delta.

    Source: Berger 1982, Technometrics 24(4) (intersection-union tests).
    """
    kept = sample.kept(cut)
    found: dict[str, float] = {}
    if goals.max_drop is not None:
        found["max_drop"] = drop_pvalue(sample, cut, goals.max_drop)
    if goals.max_risk is not None:
        found["max_risk"] = share_pvalue(
            int((kept & (sample.correct(cut) < 0.5)).sum()), int(kept.sum()), goals.max_risk
        )
    if goals.max_cost_usd is not None:
        found["max_cost"] = mean_pvalue(sample.cost(cut), goals.max_cost_usd, low=0.0, high=cap_usd, delta=goals.delta)
    if goals.value_usd is not None:
        more = objective(goals, sample, cut) - objective(goals, sample, None)
        reach = cap_usd + goals.value_usd + (goals.abstain_usd or 0.0)
        found["value"] = mean_pvalue(more, 0.0, low=-reach, high=reach, delta=goals.delta)
    return found


def drop_pvalue(sample: Sample, cut: Cut, drop: float) -> float:
    """p-value of the cascade's accuracy being `drop` or more below the LLM's."""
    gap = sample.pairs.llm_correct - sample.correct(cut)
    return exact_drop_pvalue(int((gap > 0.5).sum()), int((gap < -0.5).sum()), len(sample), drop)


def objective(goals: Goals, sample: Sample, cut: Cut | None) -> Any:
    """(N,) cost + value of an error + price of an abstention, in USD; `cut` None is the LLM alone."""
    value = goals.value_usd or 0.0
    if cut is None:
        return sample.pairs.llm_cost + value * (1 - sample.pairs.llm_correct)
    out = sample.cost(cut) + value * (1 - sample.correct(cut))
    return out + (goals.abstain_usd or 0.0) * np.asarray(sample.abstained(cut), dtype=np.float64)
