"""The price of a certificate: the saving of each way to choose a threshold, against the oracle-threshold's.

All ways see the same calibration sets, map and path. The oracle-threshold is the cheapest rule of the path that meets
the target on the population, so it shares the map's errors but none of the threshold's.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from corea.calibrate.certify import fixed_sequence
from corea.calibrate.paths import candidate_path
from corea.calibrate.prepare import FitOptions, Prepared, prepare
from corea.calibrate.rules import Rules, ScoredTable, ThresholdRule
from corea.calibrate.targets import Targets
from corea.metrics.arrays import Floats
from corea.metrics.score_map import apply_map
from corea.records.table import OutcomeTable
from recipes.guarantee.drop_tests import DROP_TESTS

DEFAULTS = FitOptions(use_category=True)
PLAIN, PUBLISHED = "validation set", "published rule"


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """One way to choose a threshold, over all calibration sets of n questions.

    Args:
        share: Its mean saving over the oracle-threshold's mean saving, choosing nothing counting as 0.
        chosen: Share of the sets where it chose something. `broken`: where that loses more than max_drop.
    """

    method: str
    n: int
    max_drop: float
    draws: int
    share: float
    saving: float
    oracle_saving: float
    chosen: float
    broken: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def power(
    population: OutcomeTable,
    *,
    n: int,
    drops: Sequence[float] = (0.02, 0.05),
    draws: int = 200,
    delta: float = 0.05,
    options: FitOptions = DEFAULTS,
    seed: int = 0,
) -> list[Power]:
    """Each test by fixed sequence, a threshold that just looks right on the rows of the test, and the published rule
    (keep where the first signal is at least the LLM's accuracy there)."""
    whole = ScoredTable.of(population, population.first.confidence)
    methods = [*DROP_TESTS, PLAIN, PUBLISHED]
    outcomes: dict[tuple[float, str], list[tuple[float, float] | None]] = {(d, m): [] for d in drops for m in methods}
    oracle: dict[float, list[float]] = {d: [] for d in drops}
    for draw in range(draws):
        rows = population.take(np.random.default_rng([seed, draw]).integers(len(population), size=n))
        ready = prepare(rows, replace(options, seed=draw))
        scored = replace(whole, scores=(apply_map(ready.maps[0], population.columns(0)),))
        for drop in drops:
            targets = Targets(max_drop=drop, delta=delta)
            path = candidate_path(
                ready.fit, targets, n_test=len(ready.test), cap_usd=1.0, pre_policy=options.pre_policy
            )
            truth = {rules: _outcome(scored, rules) for rules in path}
            oracle[drop].append(max((s for s, lost in truth.values() if lost <= drop), default=0.0))
            for method, choice in _choices(ready, path, drop, delta).items():
                outcomes[drop, method].append(None if choice is None else truth[choice])
            published = ThresholdRule(tau=float(ready.test.table.last.correct.mean()))
            outcomes[drop, PUBLISHED].append(_outcome(whole, (published,)))
    return [
        _power(method, n, drop, outcomes[drop, method], float(np.mean(oracle[drop])))
        for drop in drops
        for method in methods
    ]


def _choices(ready: Prepared, path: Sequence[Rules], drop: float, delta: float) -> dict[str, Rules | None]:
    test = ready.test
    alone = float(test.table.last.cost_usd.mean())
    cost = {rules: float(test.outcome(rules).cost_usd.mean()) for rules in path}
    counts = {rules: _losses_gains(test, rules) for rules in path}

    def cheapest(some: Sequence[Rules]) -> Rules | None:
        return min((rules for rules in some if cost[rules] < alone), key=lambda rules: cost[rules], default=None)

    def tested(pvalue: Callable[[int, int, int, float], float]) -> Rules | None:
        return cheapest(fixed_sequence(path, lambda rules: pvalue(*counts[rules], len(test), drop), delta=delta))

    found = {name: tested(pvalue) for name, pvalue in DROP_TESTS.items()}
    found[PLAIN] = cheapest([rules for rules in path if counts[rules][0] - counts[rules][1] <= drop * len(test)])
    return found


def _losses_gains(test: ScoredTable, rules: Rules) -> tuple[int, int]:
    gap = test.table.last.correct - test.outcome(rules).correct
    return int((gap > 0.5).sum()), int((gap < -0.5).sum())


def _outcome(rows: ScoredTable, rules: Rules) -> tuple[float, float]:
    """Saving and drop of rules on a population."""
    answers, last = rows.outcome(rules), rows.table.last
    saving = 1 - float(answers.cost_usd.mean() / last.cost_usd.mean())
    return saving, float((last.correct - answers.correct).mean())


def _power(method: str, n: int, drop: float, outcomes: Sequence[tuple[float, float] | None], oracle: float) -> Power:
    savings: Floats = np.array([0.0 if each is None else each[0] for each in outcomes])
    broken = np.array([each is not None and each[1] > drop + 1e-12 for each in outcomes])
    saving = float(savings.mean())
    return Power(
        method=method, n=n, max_drop=drop, draws=len(outcomes), share=saving / oracle if oracle > 0 else 0.0,
        saving=saving, oracle_saving=oracle, chosen=float(np.mean([each is not None for each in outcomes])),
        broken=float(broken.mean()),
    )  # fmt: skip
