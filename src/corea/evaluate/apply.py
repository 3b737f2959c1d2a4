"""Applies a calibration artefact to labelled rows that it has not seen, and says whether its promises held there."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from corea.calibrate.artefact import Calibration, differences
from corea.calibrate.cuts import Sample
from corea.calibrate.outcome import applied, figures
from corea.calibrate.tables import Pairs
from corea.errors import ConfigError
from corea.evaluate.sources import Answer, in_common
from corea.metrics.score_map import apply_map
from corea.types import Question


def apply_calibration(found: Calibration, pairs: Pairs, *, force: bool = False) -> dict[str, Any]:
    """Figures of the cascade with this artefact on these rows.

    Returns:
        n, pass_at_1, llm_pass_at_1, slm_pass_at_1, drop, mean_cost_usd, llm_mean_cost_usd, slm_mean_cost_usd, saving,
        llm_share as numbers, the same with 95 % intervals under `intervals`, the verdict, and `kept_promises`: for
        each goal whether these rows keep it (their own noise included).

    Raises:
        ConfigError: The rows are of other models than the artefact is for.
        DataError: A column that the map reads is not there.
    """
    differing = differences(found.binding, {"slm": pairs.slm, "llm": pairs.llm})
    if differing and not force:
        raise ConfigError(f"calibration: {'; '.join(differing)}; use rows of these models, or give --force")
    sample = Sample.of(pairs, apply_map(found.map, pairs.inputs()))
    kept, cost, correct = applied(sample, found.threshold, found.groups)
    intervals = figures(pairs, kept, cost, correct)
    flat = {name: each["value"] if isinstance(each, dict) else each for name, each in intervals.items()}
    wrong = float(1 - pairs.slm_correct[kept].mean()) if np.any(kept) else 0.0
    return {
        **flat,
        "selective_risk": wrong,
        "verdict": found.verdict,
        "kept_promises": _kept_promises(found, flat, wrong, pairs),
        "intervals": intervals,
        "notes": [*pairs.notes, *(f"forced: {each}" for each in differing)],
    }


def _kept_promises(found: Calibration, flat: Mapping[str, Any], wrong: float, pairs: Pairs) -> dict[str, bool]:
    goals = found.guarantee["goals"]
    kept: dict[str, bool] = {}
    if "max_drop" in goals:
        kept["max_drop"] = flat["drop"] <= goals["max_drop"]
    if "max_risk" in goals:
        kept["max_risk"] = wrong <= goals["max_risk"]
    if "max_cost_usd" in goals:
        kept["max_cost_usd"] = flat["mean_cost_usd"] <= goals["max_cost_usd"]
    if "value_usd" in goals and "abstain_usd" not in goals:
        ours = flat["mean_cost_usd"] + goals["value_usd"] * (1 - flat["pass_at_1"])
        kept["value_usd"] = ours <= flat["llm_mean_cost_usd"] + goals["value_usd"] * (1 - flat["llm_pass_at_1"])
    return kept


def pairs_of_answers(
    small: Mapping[str, Answer],
    large: Mapping[str, Answer],
    *,
    slm: str,
    llm: str,
    questions: Mapping[str, Question] | None = None,
    notes: tuple[str, ...] = (),
) -> Pairs:
    """The calibration table of two graded sets of answers (see `corea.evaluate.sources.read_answers`).

    Raises:
        ConfigError: A cost is not known.
        DataError: They have no question in common, or the table cannot be learnt from.
    """
    ids = in_common(small, [large])
    for name, answers in ((slm, small), (llm, large)):
        if any(answers[key].cost_usd is None for key in ids):
            raise ConfigError(f"calibrate: the cost of {name} is not known; give --price {name}=IN/OUT")
    confidence = np.array([np.nan if (c := small[key].confidence) is None else c for key in ids])
    categories = [small[key].category for key in ids]
    table = Pairs(
        ids=np.array(ids, dtype=object),
        signals={"confidence": confidence},
        slm_correct=np.array([small[key].correct for key in ids]),
        llm_correct=np.array([large[key].correct for key in ids]),
        slm_cost=np.array([small[key].cost_usd for key in ids], dtype=float),
        llm_cost=np.array([large[key].cost_usd for key in ids], dtype=float),
        category=np.array(categories, dtype=object) if any(categories) else None,
        slm=slm,
        llm=llm,
        notes=notes,
    )
    table.check()
    return table
