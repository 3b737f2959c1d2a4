"""Applies a calibration artefact to labelled rows that it has not seen, and says whether its targets are met there."""

from typing import Any

import numpy as np

from corea.calibrate.artefact import Calibration, StageBinding
from corea.calibrate.binding import differences
from corea.calibrate.held_out import estimates
from corea.errors import ConfigError
from corea.evaluate.judged_promise import unlabelled_estimates, unlabelled_promise
from corea.evaluate.promise import check_promise, deferred_outside
from corea.metrics import Interval
from corea.records.table import OutcomeTable

PEOPLE = "the guarantee is about people's preferences: `corea calibrate verify --fresh` tests it on their labels"


def apply_calibration(found: Calibration, table: OutcomeTable, *, force: bool = False) -> dict[str, Any]:
    """Figures of the cascade with this artefact on these rows.

    Args:
        table: The artefact's models, from small to large.

    Returns:
        n, pass_at_1, llm_pass_at_1, slm_pass_at_1, drop, mean_cost_usd, llm_mean_cost_usd, slm_mean_cost_usd, saving,
        llm_share as numbers, the same with 95 % intervals under `intervals`, the verdict; and of the `n_tested` rows
        that did not calibrate `targets_met` (their own noise included), the exact test's `verdicts`, the targets that
        it shows to be missed as `contradicted`, and `headline`, which says so. Of a calibration about people's
        preferences costs and shares alone: a grade is none.

    Raises:
        ConfigError: The rows are of other models than the artefact is for, or of fewer.
        DataError: A column that the map reads is missing.
    """
    models = [
        StageBinding(model=model.name, reported=model.reported, second_opinion=model.opinion_model)
        for model in table.models
    ]
    if len(models) != len(found.binding):
        raise ConfigError(f"calibration: got rows of {len(models)} models, expected {len(found.binding)}")
    differing = differences(found.binding, models)
    if differing and not force:
        raise ConfigError(f"calibration: {'; '.join(differing)}; use rows of these models, or give --force")
    answers = found.apply(table)
    notes: list[str] = []
    if found.judged:
        promise, intervals = unlabelled_promise(found, table), unlabelled_estimates(found, table, answers)
        notes.append(PEOPLE)
    else:
        promise = check_promise(found, table, answers)
        intervals = estimates(table, answers, found.guarantee.targets)
    if not answers.abstained.any() and "abstained_share" not in found.expected:
        intervals.pop("abstained_share", None)
    values = {name: each.value for name, each in intervals.items()}
    kept = answers.kept
    if not found.judged:
        values["selective_risk"] = float(1 - answers.correct[kept].mean()) if np.any(kept) else 0.0
    return {
        "n": len(table),
        **values,
        "verdict": found.verdict,
        "headline": promise.headline,
        "n_tested": promise.n,
        "targets_met": dict(promise.met),
        "verdicts": dict(promise.verdicts),
        "contradicted": promise.contradicted,
        "intervals": {"n": len(table), **{name: _plain(each) for name, each in intervals.items()}},
        "notes": [
            *table.notes,
            *deferred_outside(found, table),
            *promise.notes,
            *notes,
            *(f"forced: {each}" for each in differing),
        ],
    }


def _plain(each: Interval) -> dict[str, float]:
    return {"value": each.value, "low": each.low, "high": each.high}
