"""Trials of label-poor calibration: the rows of a table are the population, so the truth of every promise is known."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from corea.calibrate.certify import Options, candidates
from corea.calibrate.exact_tests import exact_drop_pvalue
from corea.calibrate.few_labels import PoorFound, certify_poor, labels_wanted
from corea.calibrate.ltt import fixed_sequence
from corea.calibrate.rules import Cut, Sample
from corea.calibrate.tables import Pairs
from corea.calibrate.targets import Goals
from corea.errors import ConfigError
from corea.metrics.score_map import apply_map

LINEAR = Options(map="linear")  # some hundred times faster to fit than trees


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What one way of spending the labels certified, judged on the whole population.

    Args:
        saving: 0 where nothing was certified. `drop`: the true one, 0 there.
        broken: Whether the promise is not kept over the population.
    """

    certified: bool
    saving: float
    drop: float
    broken: bool


def few_label_trial(
    population: Pairs, goals: Goals, *, n: int, gold: int, seed: int, options: Options = LINEAR
) -> dict[str, Trial]:
    """One draw of n rows with `gold` labels, spent in three ways.

    Returns:
        "ppi": labels where the answers differ (`labels_wanted`); "ppi random": on rows drawn from all; "gold alone":
        the same random labels, map and cuts, tested without the unlabelled rows.
    """
    if goals.max_drop is None:
        raise ConfigError("few_label_trial: got no max_drop, expected one")
    rng = np.random.default_rng(seed)
    at = rng.integers(len(population), size=n)
    rows = replace(population.take(at), ids=np.array([f"d{seed}-{i}" for i in range(n)], dtype=object))
    options = replace(options, seed=seed)
    wanted = set(labels_wanted(rows, goals, gold, options))
    chosen = np.array([key in wanted for key in rows.ids])
    by_chance = np.isin(np.arange(n), rng.permutation(n)[:gold])
    near, random = (certify_poor(_hidden(rows, known), goals, options) for known in (chosen, by_chance))
    return {
        "ppi": _judged(population, goals, near.cut, near.map),
        "ppi random": _judged(population, goals, random.cut, random.map),
        "gold alone": _judged(population, goals, _gold_alone(random, goals, options), random.map),
    }


def _hidden(rows: Pairs, gold: Any) -> Pairs:
    return replace(
        rows,
        slm_correct=np.where(gold, rows.slm_correct, np.nan),
        llm_correct=np.where(gold, rows.llm_correct, np.nan),
    )


def _gold_alone(found: PoorFound, goals: Goals, options: Options) -> Cut | None:
    """What the exact paired test certifies on the gold rows alone, along the same path."""
    test = found.test.take(np.flatnonzero(found.gold))
    limit = goals.max_drop or 0.0

    def pvalue(cut: Cut) -> float:
        gap = test.pairs.llm_correct - test.correct(cut)
        return exact_drop_pvalue(int((gap > 0.5).sum()), int((gap < -0.5).sum()), len(test), limit)

    path = candidates(found.fit, goals, options, n_test=len(found.test), cap_usd=found.cap_usd)
    certified = fixed_sequence(path, pvalue, delta=goals.delta) if len(test) else []
    useful = [cut for cut in certified if found.test.cost(cut).mean() < found.test.pairs.llm_cost.mean()]
    return min(useful, key=lambda cut: float(found.test.cost(cut).mean()), default=None)


def _judged(population: Pairs, goals: Goals, cut: Cut | None, stored: Any) -> Trial:
    if cut is None:
        return Trial(certified=False, saving=0.0, drop=0.0, broken=False)
    every = Sample.of(population, apply_map(stored, population.inputs()))
    drop = float((population.llm_correct - every.correct(cut)).mean())
    saving = 1 - float(every.cost(cut).mean() / population.llm_cost.mean())
    return Trial(certified=True, saving=saving, drop=drop, broken=drop > (goals.max_drop or 0.0))
