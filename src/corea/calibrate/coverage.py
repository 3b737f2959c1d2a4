"""Tries the promises out: calibrates on many sets drawn from a population, and judges each on all of the population.

The population is a table of recorded or simulated answers, and the truth is a quantity over all its rows. The sets are
drawn with replacement, so that their rows are independent draws. Each is calibrated as a user's own would be: map,
cuts, categories to skip, test and choice. A promise is broken where a certified cut breaks it on the population.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from corea.calibrate.certify import Options, Prepared, certify_prepared, prepare
from corea.calibrate.rules import Cut, Sample, cuts_at
from corea.calibrate.tables import Pairs
from corea.calibrate.targets import Goals, objective
from corea.errors import ConfigError
from corea.metrics.score_map import apply_map

DEFAULTS = Options()
EDGE_COVERAGE = 0.5
LEAST_DROP, LEAST_RISK = 0.01, 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How often one goal's promise was kept.

    Args:
        goal: Its name. `promise`: it in words.
        n: Questions in a calibration set.
        draws: Calibration sets. `certified`: those that promised something. `broken`: those whose promise is false.
        saving: Mean share of the LLM's cost saved on the population, infeasible counting as 0.
        holds: Whether the share broken is at most delta, within Monte-Carlo error (2.33 standard errors).
    """

    goal: str
    promise: str
    n: int
    draws: int
    certified: int
    broken: int
    delta: float
    saving: float

    @property
    def broken_share(self) -> float:
        return self.broken / self.draws

    @property
    def holds(self) -> bool:
        return self.broken_share <= self.delta + 2.33 * math.sqrt(self.delta * (1 - self.delta) / self.draws)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        shares = {"broken_share": self.broken_share, "certified_share": self.certified / self.draws}
        return {**asdict(self), **shares, "holds": self.holds}


def edge_goals(population: Pairs, *, delta: float = 0.05) -> dict[str, Goals]:
    """Goals that are hard to keep: about what keeping half of the answers by the first signal comes to.

    With an inverted signal keeping all of them is better: then just less than that. Several at once are somewhat
    looser, or none would ever be certified. Costs are promised with the population's dearest question as the cap, and
    "max-cost, cap assumed" without. A person costs what the large model and its errors come to on average.
    """
    sample = Sample.of(population, population.confidence)
    half, everything = cuts_at(sample.score, [EDGE_COVERAGE, 1.0])
    cost = sample.cost(half)

    def drop_of(cut: Cut) -> float:
        return float((population.llm_correct - sample.correct(cut)).mean())

    def risk_of(cut: Cut) -> float:
        return float(1 - population.slm_correct[sample.kept(cut)].mean())

    drop = max(LEAST_DROP, min(drop_of(half), 0.99 * drop_of(everything)))
    risk = max(LEAST_RISK, min(risk_of(half), 0.99 * risk_of(everything)))
    saved = max(float((population.llm_cost - cost).mean()), 1e-3 * float(population.llm_cost.mean()))
    mean, cap = float(cost.mean()), float((population.slm_cost + population.llm_cost).max())
    value = 0.7 * saved / drop
    alone = float((population.llm_cost + value * (1 - population.llm_correct)).mean())
    return {
        "max-drop": Goals(max_drop=drop, delta=delta),
        "max-risk": Goals(max_risk=risk, delta=delta),
        "max-cost": Goals(max_cost_usd=mean, delta=delta, cost_cap_usd=cap),
        "max-cost, cap assumed": Goals(max_cost_usd=mean, delta=delta),
        "value": Goals(value_usd=value, delta=delta, cost_cap_usd=cap),
        "value, abstaining": Goals(value_usd=value, abstain_usd=alone, delta=delta, cost_cap_usd=cap),
        "drop, risk and cost": Goals(
            max_drop=1.5 * drop, max_risk=1.15 * risk, max_cost_usd=1.3 * mean, delta=delta, cost_cap_usd=cap
        ),
    }


def sweep(
    population: Pairs,
    goals: Mapping[str, Goals],
    *,
    n: int = 500,
    draws: int = 1000,
    options: Options = DEFAULTS,
    seed: int = 0,
) -> list[Kept]:
    """How often each goal's promise is broken, over calibration sets of n questions drawn with replacement.

    Raises:
        ConfigError: n or draws is too small.
    """
    if n < 20 or draws < 1:
        raise ConfigError(f"sweep: got n = {n} and draws = {draws}, expected at least 20 questions and one draw")
    whole = Sample.of(population, population.confidence)
    certified, broken = dict.fromkeys(goals, 0), dict.fromkeys(goals, 0)
    saved = dict.fromkeys(goals, 0.0)
    for draw in range(draws):
        rows = population.take(np.random.default_rng([seed, draw]).integers(len(population), size=n))
        if rows.slm_correct.min() == rows.slm_correct.max():
            continue  # a user's such table is refused: nothing is promised
        ready: dict[str, Prepared] = {}
        scored: dict[str, Sample] = {}
        for name, goal in goals.items():
            target = goal.target
            if target not in ready:
                ready[target] = prepare(rows, replace(options, seed=draw), target=target)
            cut = certify_prepared(ready[target], goal, options, cap_usd=goal.cap(rows)).cut
            if cut is None:
                continue
            if target not in scored:
                scored[target] = replace(whole, score=apply_map(ready[target].map, population.inputs()))
            certified[name] += 1
            broken[name] += bool(broken_promises(goal, scored[target], cut))
            saved[name] += 1 - float(scored[target].cost(cut).mean() / population.llm_cost.mean())
    return [
        Kept(
            goal=name, promise=goal.words(), n=n, draws=draws, certified=certified[name], broken=broken[name],
            delta=goal.delta, saving=saved[name] / draws,
        )
        for name, goal in goals.items()
    ]  # fmt: skip


def broken_promises(goals: Goals, population: Sample, cut: Cut) -> Sequence[str]:
    """The goals that a cut does not keep on a population."""
    pairs, kept, found = population.pairs, population.kept(cut), list[str]()
    tiny = 1e-12  # rounding of the sums
    if goals.max_drop is not None and (pairs.llm_correct - population.correct(cut)).mean() > goals.max_drop + tiny:
        found.append("max_drop")
    if goals.max_risk is not None and kept.any() and 1 - pairs.slm_correct[kept].mean() > goals.max_risk + tiny:
        found.append("max_risk")
    if goals.max_cost_usd is not None and population.cost(cut).mean() > goals.max_cost_usd * (1 + tiny):
        found.append("max_cost_usd")
    if goals.value_usd is not None:
        alone = objective(goals, population, None).mean()
        if objective(goals, population, cut).mean() > alone * (1 + tiny):
            found.append("value_usd")
    return found
