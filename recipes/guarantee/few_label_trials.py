"""Trials of few-label calibration: the rows of a table are the population, so the truth of every guarantee is known."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from corea.calibrate.certify import Selection, certify, fixed_sequence, select_for_labelling
from corea.calibrate.exact_tests import exact_drop_pvalue
from corea.calibrate.paths import candidate_path
from corea.calibrate.prepare import FitOptions
from corea.calibrate.rules import Rules, ScoredTable
from corea.calibrate.targets import Targets
from corea.errors import ConfigError, DataError
from corea.metrics.score_map import ScoreMap
from corea.records.table import OutcomeTable

LINEAR = FitOptions(map="linear", few_labels=True)  # some hundred times faster to fit than trees


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One way of spending the labels: its certificate, judged on the whole population.

    Args:
        saving: 0 where nothing was certified. `drop`: the true one, 0 there.
        broken: True where the guarantee does not hold over the population.
    """

    certified: bool
    saving: float
    drop: float
    broken: bool


REFUSED = Trial(certified=False, saving=0.0, drop=0.0, broken=False)


def few_label_trial(
    population: ScoredTable, targets: Targets, *, n: int, gold: int, seed: int, options: FitOptions = LINEAR
) -> dict[str, Trial]:
    """One draw of n rows with `gold` labels, spent in three ways.

    Returns:
        "ppi": labels where the answers differ (`select_for_labelling`); "ppi random": on rows drawn from all; "gold
        alone": the same random labels, map and path, tested without the unlabelled rows.
    """
    if targets.max_drop is None:
        raise ConfigError("few_label_trial: got no max_drop, expected one")
    rng = np.random.default_rng(seed)
    at = rng.integers(len(population), size=n)
    rows = replace(population.table.take(at), ids=np.array([f"d{seed}-{i}" for i in range(n)], dtype=object))
    options = replace(options, seed=seed)
    wanted = set(select_for_labelling(rows, targets, gold, options))
    chosen = np.array([key in wanted for key in rows.ids])
    by_chance = np.isin(np.arange(n), rng.permutation(n)[:gold])
    near, random = (_found(hidden_labels(rows, known), targets, options) for known in (chosen, by_chance))
    return {
        "ppi": judge(population, targets, near.rules, near.prepared.maps[0]) if near else REFUSED,
        "ppi random": judge(population, targets, random.rules, random.prepared.maps[0]) if random else REFUSED,
        "gold alone": judge(population, targets, _gold_alone(random, targets), random.prepared.maps[0])
        if random
        else REFUSED,
    }


def _found(rows: OutcomeTable, targets: Targets, options: FitOptions) -> Selection | None:
    """The certification; None where the labels are refused, as an honest sample is once in a thousand times."""
    try:
        return certify(rows, targets, options)
    except DataError:
        return None


def hidden_labels(rows: OutcomeTable, gold: Any) -> OutcomeTable:
    """The rows with the labels of these (N,) only."""
    first, last = (np.where(gold, model.correct, np.nan) for model in (rows.first, rows.last))
    return rows.change(0, correct=first).change(-1, correct=last)


def _gold_alone(found: Selection, targets: Targets) -> Rules | None:
    """The rules that the exact paired test certifies on the gold rows alone, along the same path."""
    if found.labels is None:
        raise ConfigError("few_label_trial: got a certification with a label on every row, expected few labels")
    test = found.test.take(np.flatnonzero(found.labels.gold))

    def pvalue(rules: Rules) -> float:
        gap = test.table.last.correct - test.outcome(rules).correct
        return exact_drop_pvalue(int((gap > 0.5).sum()), int((gap < -0.5).sum()), len(test), targets.max_drop or 0.0)

    path = candidate_path(found.fit, targets, n_test=len(found.test), cap_usd=found.cap_usd)
    certified = fixed_sequence(path, pvalue, delta=targets.delta) if len(test) else []
    cost = {rules: float(found.test.outcome(rules).cost_usd.mean()) for rules in certified}
    useful = [rules for rules in certified if cost[rules] < found.test.table.last.cost_usd.mean()]
    return min(useful, key=lambda rules: cost[rules], default=None)


def judge(population: ScoredTable, targets: Targets, rules: Rules | None, stored: ScoreMap) -> Trial:
    """Rules with their map on the whole population."""
    if rules is None:
        return REFUSED
    answers, last = population.with_maps((stored,)).outcome(rules), population.table.last
    drop = float((last.correct - answers.correct).mean())
    saving = 1 - float(answers.cost_usd.mean() / last.cost_usd.mean())
    return Trial(certified=True, saving=saving, drop=drop, broken=drop > (targets.max_drop or 0.0))
