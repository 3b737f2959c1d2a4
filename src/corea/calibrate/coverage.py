"""Coverage of the guarantee: calibrates on many sets drawn from a population, and judges each on all of it.

The population is a table of recorded or simulated answers, and the truth is a quantity over all its rows. The sets are
drawn with replacement, so that their rows are independent draws. Each is calibrated as a user's own would be: map,
path, categories to skip, test and selection. A guarantee is broken where certified rules miss a target on the
population.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from corea.calibrate.certify import certify_prepared
from corea.calibrate.prepare import DEFAULTS, FitOptions, FittedMaps, Prepared, prepare
from corea.calibrate.rules import Rules, ScoredTable, rules_at
from corea.calibrate.targets import Targets
from corea.errors import ConfigError
from corea.records.table import OutcomeTable

EDGE_COVERAGE = 0.5
LEAST_DROP, LEAST_RISK = 0.01, 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageResult:
    """How often the guarantee of some targets held.

    Args:
        name: Of the targets. `guarantee`: in words.
        n: Questions in a calibration set.
        draws: Calibration sets. `certified`: those with a guarantee. `broken`: those whose guarantee is false.
        saving: Mean share of the last model's cost saved on the population, infeasible counting as 0.
        holds: True where the share broken is at most delta, within Monte-Carlo error (2.33 standard errors).
    """

    name: str
    guarantee: str
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


def hard_targets(population: OutcomeTable, *, delta: float = 0.05) -> dict[str, Targets]:
    """Targets that are hard to meet: about what keeping half of the answers by the first signal comes to.

    With an inverted signal keeping all of them is better: then just less than that. Several at once are somewhat
    looser, or none would ever be certified. Costs are guaranteed with the population's largest as the cap. A
    person costs as much as the last model and its errors do on average.
    """
    rows = ScoredTable.of(population, population.first.confidence)
    last, cap = population.last, float((population.first.full_cost_usd + population.last.cost_usd).max())
    half, everything = (rows.outcome((rule,)) for rule in rules_at(rows.scores[0], [EDGE_COVERAGE, 1.0]))
    drops = [float((last.correct - each.correct).mean()) for each in (half, everything)]
    risks = [float(1 - population.first.correct[each.kept].mean()) for each in (half, everything)]
    drop = max(LEAST_DROP, min(drops[0], 0.99 * drops[1]))
    risk = max(LEAST_RISK, min(risks[0], 0.99 * risks[1]))
    saved = max(float((last.cost_usd - half.cost_usd).mean()), 1e-3 * float(last.cost_usd.mean()))
    mean, value = float(half.cost_usd.mean()), 0.7 * saved / drop
    alone = float((last.cost_usd + value * (1 - last.correct)).mean())
    return {
        "max-drop": Targets(max_drop=drop, delta=delta),
        "max-risk": Targets(max_risk=risk, delta=delta),
        "max-cost": Targets(max_cost_usd=mean, delta=delta, cost_cap_usd=cap),
        "value": Targets(value_usd=value, delta=delta, cost_cap_usd=cap),
        "value, abstaining": Targets(value_usd=value, abstain_usd=alone, delta=delta, cost_cap_usd=cap),
        "drop, risk and cost": Targets(
            max_drop=1.5 * drop, max_risk=1.15 * risk, max_cost_usd=1.3 * mean, delta=delta, cost_cap_usd=cap
        ),
    }


def coverage(
    population: OutcomeTable,
    targets: Mapping[str, Targets],
    *,
    n: int = 500,
    draws: int = 1000,
    options: FitOptions = DEFAULTS,
    seed: int = 0,
    judged: OutcomeTable | None = None,
    older: OutcomeTable | FittedMaps | None = None,
) -> list[CoverageResult]:
    """How often each guarantee is broken, over calibration sets of n questions drawn with replacement.

    Args:
        judged: The rows whose mean is the truth, such as traffic with new inputs; the population by default.
        older: Rows that fit the maps of every set, or maps, as in `certify`.

    Raises:
        ConfigError: n or draws is too small.
    """
    if n < 20 or draws < 1:
        raise ConfigError(f"coverage: got n = {n} and draws = {draws}, expected at least 20 questions and one draw")
    judged = population if judged is None else judged
    whole = ScoredTable.of(judged, judged.first.confidence)
    if isinstance(older, FittedMaps):
        whole = whole.with_maps(older.maps, older.categories, older.router)
    certified, broken = dict.fromkeys(targets, 0), dict.fromkeys(targets, 0)
    saved = dict.fromkeys(targets, 0.0)
    for draw in range(draws):
        rows = _draw(population, np.random.default_rng([seed, draw]), n)
        if rows.first.correct.min() == rows.first.correct.max():
            continue  # such a table of a user is refused: nothing is guaranteed
        ready: dict[str, tuple[Prepared, ScoredTable]] = {}
        for name, each in targets.items():
            if each.score_target not in ready:
                ready[each.score_target] = _prepared(rows, whole, replace(options, seed=draw), each.score_target, older)
            prepared, scored = ready[each.score_target]
            rules = certify_prepared(prepared, each, options, cap_usd=each.cap(rows)).rules
            if rules is None:
                continue
            certified[name] += 1
            broken[name] += bool(missed_targets(each, scored, rules))
            saved[name] += 1 - float(scored.outcome(rules).cost_usd.mean() / judged.last.cost_usd.mean())
    return [
        CoverageResult(
            name=name, guarantee=each.words(), n=n, draws=draws, certified=certified[name], broken=broken[name],
            delta=each.delta, saving=saved[name] / draws,
        )
        for name, each in targets.items()
    ]  # fmt: skip


def _draw(population: OutcomeTable, rng: np.random.Generator, n: int) -> OutcomeTable:
    """About n rows drawn with replacement: one by one, or whole clusters, each draw a cluster of its own."""
    if population.clusters is None:
        return population.take(rng.integers(len(population), size=n))
    _, at = np.unique(population.clusters.astype(str), return_inverse=True)
    members = np.split(np.argsort(at, kind="stable"), np.cumsum(np.bincount(at))[:-1])
    drawn = [members[i] for i in rng.integers(len(members), size=max(1, round(n * len(members) / len(population))))]
    names = np.repeat([str(i) for i in range(len(drawn))], [len(each) for each in drawn]).astype(object)
    return replace(population.take(np.concatenate(drawn)), clusters=names)


def _prepared(
    rows: OutcomeTable,
    whole: ScoredTable,
    options: FitOptions,
    target: str,
    older: OutcomeTable | FittedMaps | None,
) -> tuple[Prepared, ScoredTable]:
    """Maps fitted on one calibration set, and the population with their scores."""
    if isinstance(older, FittedMaps):
        return prepare(rows, options, target=target, fitted=older), whole
    prepared = prepare(rows, options, target=target, older=older)
    return prepared, whole.with_maps(prepared.maps, prepared.categories)


def missed_targets(targets: Targets, population: ScoredTable, rules: Rules) -> Sequence[str]:
    """The targets that rules miss on a population."""
    found, tiny = list[str](), 1e-12  # rounding of the sums
    answers, last = population.outcome(rules), population.table.last
    if targets.max_drop is not None and (last.correct - answers.correct).mean() > targets.max_drop + tiny:
        found.append("max_drop")
    kept = answers.kept
    if targets.max_risk is not None and kept.any() and 1 - answers.correct[kept].mean() > targets.max_risk + tiny:
        found.append("max_risk")
    if targets.max_cost_usd is not None and answers.cost_usd.mean() > targets.max_cost_usd * (1 + tiny):
        found.append("max_cost_usd")
    if targets.value_usd is not None:
        alone = targets.total_usd(population.last_alone()).mean()
        if targets.total_usd(answers).mean() > alone * (1 + tiny):
            found.append("value_usd")
    return found
