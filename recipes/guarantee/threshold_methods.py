"""What a certificate costs: the saving of each way to choose a threshold, beside the oracle-threshold's.

All ways see the same calibration sets, map and cuts. The oracle-threshold is the cheapest of these cuts that keeps the
promise on the population, so it shares the map's errors but none of the threshold's.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from corea.calibrate.certify import Options, Prepared, candidates, prepare
from corea.calibrate.exact_tests import DROP_TESTS
from corea.calibrate.ltt import fixed_sequence
from corea.calibrate.rules import Cut, Sample
from corea.calibrate.tables import Pairs
from corea.calibrate.targets import Goals
from corea.metrics.arrays import Floats
from corea.metrics.score_map import apply_map

DEFAULTS = Options()
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
    population: Pairs,
    *,
    n: int,
    drops: Sequence[float] = (0.02, 0.05),
    draws: int = 200,
    delta: float = 0.05,
    options: Options = DEFAULTS,
    seed: int = 0,
) -> list[Power]:
    """Each test by fixed sequence, a threshold that just looks right on the rows of the test, and the published rule
    (keep where the first signal is at least the LLM's accuracy there)."""
    whole = Sample.of(population, population.confidence)
    methods = [*DROP_TESTS, PLAIN, PUBLISHED]
    outcomes: dict[tuple[float, str], list[tuple[float, float] | None]] = {(d, m): [] for d in drops for m in methods}
    oracle: dict[float, list[float]] = {d: [] for d in drops}
    for draw in range(draws):
        rows = population.take(np.random.default_rng([seed, draw]).integers(len(population), size=n))
        ready = prepare(rows, replace(options, seed=draw))
        scored = replace(whole, score=apply_map(ready.map, population.inputs()))
        for drop in drops:
            goals = Goals(max_drop=drop, delta=delta)
            path = candidates(ready.fit, goals, options, n_test=len(ready.test), cap_usd=1.0)
            truth = {cut: _outcome(scored, cut) for cut in path}
            oracle[drop].append(max((s for s, lost in truth.values() if lost <= drop), default=0.0))
            for method, choice in _choices(ready, path, drop, delta).items():
                outcomes[drop, method].append(None if choice is None else truth[choice])
            outcomes[drop, PUBLISHED].append(_published(whole, ready.test))
    return [
        _power(method, n, drop, outcomes[drop, method], float(np.mean(oracle[drop])))
        for drop in drops
        for method in methods
    ]


def _choices(ready: Prepared, path: Sequence[Cut], drop: float, delta: float) -> dict[str, Cut | None]:
    test = ready.test
    alone = float(test.pairs.llm_cost.mean())
    cost = {cut: float(test.cost(cut).mean()) for cut in path}
    counts = {cut: _losses_gains(test, cut) for cut in path}

    def cheapest(cuts: Sequence[Cut]) -> Cut | None:
        return min((cut for cut in cuts if cost[cut] < alone), key=lambda cut: cost[cut], default=None)

    def tested(pvalue: Callable[[int, int, int, float], float]) -> Cut | None:
        return cheapest(fixed_sequence(path, lambda cut: pvalue(*counts[cut], len(test), drop), delta=delta))

    found = {name: tested(pvalue) for name, pvalue in DROP_TESTS.items()}
    found[PLAIN] = cheapest([cut for cut in path if counts[cut][0] - counts[cut][1] <= drop * len(test)])
    return found


def _losses_gains(test: Sample, cut: Cut) -> tuple[int, int]:
    gap = test.pairs.llm_correct - test.correct(cut)
    return int((gap > 0.5).sum()), int((gap < -0.5).sum())


def _outcome(sample: Sample, cut: Cut) -> tuple[float, float]:
    """Saving and drop of a cut on a population."""
    pairs = sample.pairs
    saving = 1 - float(sample.cost(cut).mean() / pairs.llm_cost.mean())
    return saving, float((pairs.llm_correct - sample.correct(cut)).mean())


def _published(plain: Sample, test: Sample) -> tuple[float, float]:
    return _outcome(plain, Cut(tau=float(test.pairs.llm_correct.mean())))


def _power(method: str, n: int, drop: float, outcomes: Sequence[tuple[float, float] | None], oracle: float) -> Power:
    savings: Floats = np.array([0.0 if each is None else each[0] for each in outcomes])
    broken = np.array([each is not None and each[1] > drop + 1e-12 for each in outcomes])
    saving = float(savings.mean())
    return Power(
        method=method, n=n, max_drop=drop, draws=len(outcomes), share=saving / oracle if oracle > 0 else 0.0,
        saving=saving, oracle_saving=oracle, chosen=float(np.mean([each is not None for each in outcomes])),
        broken=float(broken.mean()),
    )  # fmt: skip
