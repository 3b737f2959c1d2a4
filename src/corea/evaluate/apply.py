"""Applies a calibration artefact to labelled rows that it has not seen, and says whether its promises held there."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from corea.calibrate.artefact import Calibration, differences
from corea.calibrate.outcome import applied, figures, left_to_people
from corea.calibrate.paths import common_rows, tiers_applied
from corea.calibrate.rules import Sample
from corea.calibrate.tables import Pairs
from corea.errors import ConfigError
from corea.metrics.score_map import apply_map
from corea.records.table import OutcomeTable


def apply_calibration(found: Calibration, tables: Pairs | Sequence[Pairs], *, force: bool = False) -> dict[str, Any]:
    """Figures of the cascade with this artefact on these rows.

    Args:
        tables: The first stage's table against the last; for an artefact of tiers, one for each before the last.

    Returns:
        n, pass_at_1, llm_pass_at_1, slm_pass_at_1, drop, mean_cost_usd, llm_mean_cost_usd, slm_mean_cost_usd, saving,
        llm_share as numbers, the same with 95 % intervals under `intervals`, the verdict, and `kept_promises`: for
        each goal whether these rows keep it (their own noise included).

    Raises:
        ConfigError: The rows are of other models than the artefact is for, or of fewer.
        DataError: A column that the map reads is not there.
    """
    tables = [tables] if isinstance(tables, Pairs) else list(tables)
    if len(tables) != max(1, len(found.tiers)):
        raise ConfigError(f"calibration: got rows of {len(tables)} models before the last, expected {len(found.tiers)}")
    given = {"llm": tables[0].llm, **{f"tier{i + 1}" if i else "slm": pairs.slm for i, pairs in enumerate(tables)}}
    differing = differences(found.binding, given)
    if differing and not force:
        raise ConfigError(f"calibration: {'; '.join(differing)}; use rows of these models, or give --force")
    left = None
    if found.tiers:
        tables = common_rows(tables)
        kept, cost, correct = tiers_applied(found, tables)
    else:
        sample = Sample.of(tables[0], apply_map(found.map, tables[0].inputs()))
        kept, cost, correct = applied(sample, found.threshold, found.groups)
        left = left_to_people(sample, found.threshold, found.groups)
    pairs = tables[0]
    intervals = figures(pairs, kept, cost, correct, left, found.guarantee["goals"])
    flat = {name: each["value"] if isinstance(each, dict) else each for name, each in intervals.items()}
    wrong = float(1 - correct[kept].mean()) if np.any(kept) else 0.0
    return {
        **flat,
        "selective_risk": wrong,
        "verdict": found.verdict,
        "kept_promises": _kept_promises(found, flat, wrong),
        "intervals": intervals,
        "notes": [*pairs.notes, *_same_rows(found, pairs), *(f"forced: {each}" for each in differing)],
    }


def _same_rows(found: Calibration, pairs: Pairs) -> list[str]:
    same = pairs.digest != "" and pairs.digest == found.data.get("digest")
    return ["these are the very rows that calibrated: the figures are not of unseen ones"] if same else []


def _kept_promises(found: Calibration, flat: Mapping[str, Any], wrong: float) -> dict[str, bool]:
    goals = found.guarantee["goals"]
    kept: dict[str, bool] = {}
    if "max_drop" in goals:
        kept["max_drop"] = flat["drop"] <= goals["max_drop"]
    if "max_risk" in goals:
        kept["max_risk"] = wrong <= goals["max_risk"]
    if "max_cost_usd" in goals:
        kept["max_cost_usd"] = flat["mean_cost_usd"] <= goals["max_cost_usd"]
    if "value_usd" in goals:
        kept["value_usd"] = flat["total_usd"] <= flat["llm_total_usd"]
    return kept


def pairs_of_table(table: OutcomeTable) -> list[Pairs]:
    """Each stage before the last against the last, as `corea.calibrate` reads them."""
    last = table.last
    return [
        Pairs(
            ids=table.ids, signals=stage.signals, slm_correct=stage.correct, llm_correct=last.correct,
            slm_cost=stage.cost_usd, llm_cost=last.cost_usd, completion_tokens=stage.completion_tokens,
            category=table.categories, agree=stage.agreement, slm=stage.name, llm=last.name, notes=table.notes,
            signal=stage.signal_kind, needs_answer=stage.needs_answer, digest=table.digest,
        )
        for stage in table.stages
    ]  # fmt: skip
