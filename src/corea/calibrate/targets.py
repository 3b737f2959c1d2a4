"""Targets that a calibration guarantees, and the p-value of each one being missed with given rules."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from corea.calibrate.exact_tests import exact_drop_pvalue, mean_pvalue, share_pvalue
from corea.calibrate.rules import CascadeAnswers, ScoredTable
from corea.errors import ConfigError
from corea.metrics.arrays import Floats
from corea.money import read_usd
from corea.records.table import OutcomeTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """One or several targets; those set hold jointly.

    Args:
        max_drop: Accuracy of the cascade >= accuracy of the last model - max_drop.
        max_risk: Share of the kept answers that are wrong <= max_risk.
        max_cost_usd: Mean cost of a question <= max_cost_usd.
        value_usd: Cost of an error; then mean cost + value * error rate (+ abstentions) is minimised, and guaranteed to
            be at most that of the last model alone.
        abstain_usd: Cost of an answer by a person; allows abstaining, needs `value_usd`.
        delta: Failure probability over the questions that calibrate, for all targets together.
        cost_cap_usd: Largest cost of any question that asks every model; `max_cost_usd` and `value_usd` need it, as a
            mean of unbounded costs cannot be guaranteed at any sample size.
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
            raise ConfigError(f"delta: got {self.delta}, expected a probability between 0 and 1, such as 0.05")
        if self.max_drop is not None and not -1 < self.max_drop < 1:
            raise ConfigError(f"max-drop: got {self.max_drop}, expected a share such as 0.02 for 2 points")
        if self.max_risk is not None and not 0 < self.max_risk < 1:
            raise ConfigError(f"max-risk: got {self.max_risk}, expected a share between 0 and 1, such as 0.1")
        for name in ("max_cost_usd", "value_usd", "abstain_usd", "cost_cap_usd"):
            if (amount := getattr(self, name)) is not None:
                read_usd(name.replace("_", "-"), amount)
                if name in ("max_cost_usd", "cost_cap_usd") and not amount:
                    said = name.replace("_", "-")
                    raise ConfigError(f"{said}: got {amount:g}, expected an amount in USD above 0, such as 2.50")
        if self.max_drop is None and self.max_risk is None and self.max_cost_usd is None and self.value_usd is None:
            raise ConfigError("targets: got none, expected one of --max-drop, --max-risk, --max-cost, --value")
        if self.abstain_usd is not None and self.value_usd is None:
            raise ConfigError("abstain-usd: got no --value beside it, expected the cost of an error; give --value USD")

    @property
    def only_cost(self) -> bool:
        """True where nothing but the cost is bounded: then accuracy is maximised."""
        return (
            self.max_cost_usd is not None and self.max_drop is None and self.max_risk is None and self.value_usd is None
        )

    @property
    def only_drop(self) -> bool:
        """True where nothing but the drop is bounded."""
        others = (self.max_risk, self.max_cost_usd, self.value_usd)
        return self.max_drop is not None and all(target is None for target in others)

    @property
    def needs_cap(self) -> bool:
        """True where a mean of costs is guaranteed, which needs a bound on one question's."""
        return self.max_cost_usd is not None or self.value_usd is not None

    @property
    def score_target(self) -> str:
        """The order of answers that a map should learn: "risk" where nothing but the risk is bounded, else "regret"."""
        others = (self.max_drop, self.max_cost_usd, self.value_usd)
        return "risk" if all(target is None for target in others) else "regret"

    def cap(self, table: OutcomeTable) -> float:
        """The bound on one question's cost, in USD; 0 where no mean of costs is guaranteed.

        Raises:
            ConfigError: There is none although one is needed, or a question of the table costs more.
        """
        if not self.needs_cap:
            return 0.0
        most = float(sum((model.full_cost_usd for model in table.models), np.zeros(len(table))).max())
        if self.cost_cap_usd is None:
            raise ConfigError(
                "cost-cap: got none, expected the most that one question can cost in USD if every model is asked: a "
                f"mean of unbounded costs cannot be guaranteed; give --cost-cap (the most here is {most:.4g})"
            )
        if most > self.cost_cap_usd * (1 + 1e-9):
            raise ConfigError(
                f"cost-cap: got {self.cost_cap_usd:.4g} USD, and a question costs {most:.4g}, expected no question to "
                "cost more; raise it"
            )
        return self.cost_cap_usd

    def objective(self, rows: ScoredTable, outcome: CascadeAnswers) -> Floats:
        """(N,) the quantity to minimise: minus accuracy within a cost alone, else the cost, with errors if priced."""
        if self.only_cost:
            return -outcome.correct
        return outcome.cost_usd if self.value_usd is None else self.total_usd(outcome)

    def total_usd(self, outcome: CascadeAnswers) -> Floats:
        """(N,) cost + value of an error + price of an abstention, in USD."""
        out = outcome.cost_usd + (self.value_usd or 0.0) * (1 - outcome.correct)
        return out if self.abstain_usd is None else out + self.abstain_usd * outcome.abstained

    def words(self, new_inputs: float | None = None, *, preferences: bool = False) -> str:
        """The guarantee, in one clause.

        Args:
            new_inputs: As in `condition`.
            preferences: Labels are people's, between the two answers.
        """
        parts: list[str] = []
        if preferences and self.max_drop is not None:
            parts.append(
                "of all questions, those where people prefer the large model's answer to the kept draft exceed those "
                f"where they prefer the draft by at most {100 * self.max_drop:g} points"
            )
        if preferences and self.max_risk is not None:
            parts.append(f"people prefer the large model's answer to at most {100 * self.max_risk:g} % of kept drafts")
        if self.max_drop is not None and not preferences:
            parts.append(f"accuracy is at most {100 * self.max_drop:g} points below the large model's")
        if self.max_risk is not None and not preferences:
            parts.append(f"at most {100 * self.max_risk:g} % of the kept answers are wrong")
        if self.max_cost_usd is not None:
            parts.append(f"the mean cost is at most {self.max_cost_usd:g} USD a question")
        if self.value_usd is not None:
            people = "" if self.abstain_usd is None else f" and {self.abstain_usd:g} USD a question left to a person"
            parts.append(f"cost with {self.value_usd:g} USD an error{people} is at most the large model's")
        return " and ".join(parts) + self.condition(new_inputs)

    def condition(self, new_inputs: float | None = None) -> str:
        """The conditions under which a mean cost is guaranteed; "" without one.

        Args:
            new_inputs: Share of questions with inputs unlike all that calibrated, at most: they are all deferred.
        """
        if not self.needs_cap or self.cost_cap_usd is None:
            return ""
        cap = f", if no question costs more than {self.cost_cap_usd:.4g} USD"
        if new_inputs is None:
            return cap
        return f"{cap} and at most {math.ceil(1000 * new_inputs) / 10:g} % have inputs unlike those that calibrated"


PValues = Callable[[ScoredTable, CascadeAnswers], dict[str, float]]


def target_pvalues(targets: Targets, rows: ScoredTable, outcome: CascadeAnswers, *, cap_usd: float) -> dict[str, float]:
    """p-value of each target being missed; jointly they hold where each is at most delta, without a correction.

    The null is that some target is missed, a union: rejecting it at level delta needs each part rejected at delta.

    Args:
        cap_usd: As `Targets.cap` gives it; costs above it count as it.

    Source: Berger 1982, Technometrics 24(4) (intersection-union tests).
    """
    if rows.table.clusters is not None:
        return _clustered_pvalues(targets, rows, outcome, cap_usd)
    found: dict[str, float] = {}
    if targets.max_drop is not None:
        gap = rows.table.last.correct - outcome.correct
        losses, gains = int((gap > 0.5).sum()), int((gap < -0.5).sum())
        found["max_drop"] = exact_drop_pvalue(losses, gains, len(rows), targets.max_drop)
    if targets.max_risk is not None:
        kept = outcome.kept
        wrong = int((kept & (outcome.correct < 0.5)).sum())
        found["max_risk"] = share_pvalue(wrong, int(kept.sum()), targets.max_risk)
    if targets.max_cost_usd is not None:
        found["max_cost_usd"] = cost_pvalue(targets, outcome, cap_usd)
    if targets.value_usd is not None:
        more = targets.total_usd(outcome) - targets.total_usd(rows.last_alone())
        reach = cap_usd + targets.value_usd + (targets.abstain_usd or 0.0)
        found["value_usd"] = mean_pvalue(more, 0.0, low=-reach, high=reach, delta=targets.delta)
    return found


def broken_pvalues(targets: Targets, rows: ScoredTable, outcome: CascadeAnswers, *, cap_usd: float) -> dict[str, float]:
    """p-value of each target being met, by its name in `Targets`: the tests of `target_pvalues`, the other way round.

    Rows are independent. A small one shows that the target is missed on the questions that these were drawn from.
    """
    found: dict[str, float] = {}
    if targets.max_drop is not None:
        gap = rows.table.last.correct - outcome.correct
        losses, gains = int((gap > 0.5).sum()), int((gap < -0.5).sum())
        found["max_drop"] = exact_drop_pvalue(gains, losses, len(rows), -targets.max_drop)
    if targets.max_risk is not None:
        right = int((outcome.kept & (outcome.correct > 0.5)).sum())
        found["max_risk"] = share_pvalue(right, int(outcome.kept.sum()), 1 - targets.max_risk)
    for name, (excess, low, high) in _excess(targets, rows, outcome, cap_usd).items():
        if name in ("max_cost_usd", "value_usd"):
            found[name] = mean_pvalue(-np.clip(excess, low, high), 0.0, low=-high, high=-low, delta=targets.delta)
    return found


def _clustered_pvalues(
    targets: Targets, rows: ScoredTable, outcome: CascadeAnswers, cap_usd: float
) -> dict[str, float]:
    """The p-values where only clusters of rows are independent: of the sums over each cluster, by betting.

    A target is missed where the mean excess of a row is at least 0, so where the mean sum of a cluster is; a sum is
    within the size of the largest cluster times the bounds of one row, whatever the dependence within.

    Source: Waudby-Smith and Ramdas 2024, arXiv:2010.09686, for the sums of independent clusters.
    """
    _, at = np.unique(np.asarray(rows.table.clusters).astype(str), return_inverse=True)
    most = int(np.bincount(at).max())
    found: dict[str, float] = {}
    for name, (excess, low, high) in _excess(targets, rows, outcome, cap_usd).items():
        sums = np.bincount(at, weights=np.clip(excess, low, high))
        found[name] = mean_pvalue(sums, 0.0, low=low * most, high=high * most, delta=targets.delta)
    return found


def _excess(
    targets: Targets, rows: ScoredTable, outcome: CascadeAnswers, cap_usd: float
) -> dict[str, tuple[Floats, float, float]]:
    """(N,) excess of each row over a target and its bounds, by target; missed where its mean is 0 or more."""
    found: dict[str, tuple[Floats, float, float]] = {}
    if (drop := targets.max_drop) is not None:
        found["max_drop"] = rows.table.last.correct - outcome.correct - drop, -1 - drop, 1 - drop
    if (risk := targets.max_risk) is not None:
        found["max_risk"] = np.where(outcome.kept, 1 - outcome.correct - risk, 0.0), -risk, 1 - risk
    if (cost := targets.max_cost_usd) is not None:
        found["max_cost_usd"] = outcome.cost_usd - cost, -cost, cap_usd - cost
    if targets.value_usd is not None:
        reach = cap_usd + targets.value_usd + (targets.abstain_usd or 0.0)
        found["value_usd"] = targets.total_usd(outcome) - targets.total_usd(rows.last_alone()), -reach, reach
    return found


def cost_pvalue(targets: Targets, outcome: CascadeAnswers, cap_usd: float) -> float:
    """p-value of the mean cost exceeding its target."""
    return mean_pvalue(outcome.cost_usd, targets.max_cost_usd or 0.0, low=0.0, high=cap_usd, delta=targets.delta)
