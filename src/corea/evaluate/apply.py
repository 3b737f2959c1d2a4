"""Applies a calibration artefact to labelled rows that it has not seen, and says whether its targets are met there."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from corea.calibrate.artefact import Calibration, StageBinding
from corea.calibrate.binding import differences
from corea.calibrate.held_out import estimates
from corea.calibrate.rules import CascadeAnswers
from corea.errors import ConfigError
from corea.metrics import Interval, share_interval
from corea.metrics.score_map import among
from corea.records.table import OutcomeTable


def apply_calibration(found: Calibration, table: OutcomeTable, *, force: bool = False) -> dict[str, Any]:
    """Figures of the cascade with this artefact on these rows.

    Args:
        table: The artefact's models, from small to large.

    Returns:
        n, pass_at_1, llm_pass_at_1, slm_pass_at_1, drop, mean_cost_usd, llm_mean_cost_usd, slm_mean_cost_usd, saving,
        llm_share as numbers, the same with 95 % intervals under `intervals`, the verdict, and `targets_met`: for
        each target whether these rows meet it (their own noise included), and `contradicted`: those of drop, risk and
        cost that are missed by more than the 95 % interval of these rows allows.

    Raises:
        ConfigError: The rows are of other models than the artefact is for, or of fewer.
        DataError: A column that the map reads is missing.
    """
    models = [StageBinding(model=model.name, reported=model.reported) for model in table.models]
    if len(models) != len(found.binding):
        raise ConfigError(f"calibration: got rows of {len(models)} models, expected {len(found.binding)}")
    differing = differences(found.binding, models)
    if differing and not force:
        raise ConfigError(f"calibration: {'; '.join(differing)}; use rows of these models, or give --force")
    answers = found.apply(table)
    intervals = estimates(table, answers, found.guarantee.targets)
    if not answers.abstained.any() and "abstained_share" not in found.expected:
        intervals.pop("abstained_share", None)
    values = {name: each.value for name, each in intervals.items()}
    kept = answers.kept
    wrong = float(1 - answers.correct[kept].mean()) if np.any(kept) else 0.0
    same = table.digest == found.data.digest
    return {
        "n": len(table),
        **values,
        "selective_risk": wrong,
        "verdict": found.verdict,
        "targets_met": _met(found, values, wrong),
        "contradicted": _contradicted(found, answers, intervals),
        "intervals": {"n": len(table), **{name: _plain(each) for name, each in intervals.items()}},
        "notes": [
            *table.notes,
            *_deferred_unknown(found, table),
            *(["these are the very rows that calibrated: the figures are not of unseen ones"] if same else []),
            *(f"forced: {each}" for each in differing),
        ],
    }


def _deferred_unknown(found: Calibration, table: OutcomeTable) -> list[str]:
    """Counts the questions that are deferred because their category did not calibrate."""
    if found.categories is None:
        return []
    other = int((~among(table.categories, found.categories, len(table))).sum())
    text = f"{other:,} of {len(table):,} questions have a category that did not calibrate, or none: all deferred"
    return [text] if other else []


def _plain(each: Interval) -> dict[str, float]:
    return {"value": each.value, "low": each.low, "high": each.high}


def _contradicted(found: Calibration, answers: CascadeAnswers, intervals: Mapping[str, Interval]) -> list[str]:
    targets, kept = found.guarantee.targets, answers.kept
    lows: dict[str, tuple[float, float | None]] = {
        "max_drop": (intervals["drop"].low, targets.max_drop),
        "max_cost_usd": (intervals["mean_cost_usd"].low, targets.max_cost_usd),
        "max_risk": (share_interval(1 - answers.correct[kept]).low if np.any(kept) else 0.0, targets.max_risk),
    }
    return [name for name, (low, limit) in lows.items() if limit is not None and low > limit]


def _met(found: Calibration, values: Mapping[str, float], wrong: float) -> dict[str, bool]:
    targets = found.guarantee.targets
    met: dict[str, bool] = {}
    if targets.max_drop is not None:
        met["max_drop"] = values["drop"] <= targets.max_drop
    if targets.max_risk is not None:
        met["max_risk"] = wrong <= targets.max_risk
    if targets.max_cost_usd is not None:
        met["max_cost_usd"] = values["mean_cost_usd"] <= targets.max_cost_usd
    if targets.value_usd is not None:
        met["value_usd"] = values["total_usd"] <= values["llm_total_usd"]
    return met
