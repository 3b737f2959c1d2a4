"""What a certification found, in figures, tables and words: all of it on the rows of the test, unless it says so."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from corea.calibrate.artefact import Calibration
from corea.calibrate.cuts import Cut, Sample
from corea.calibrate.goals import Goals
from corea.calibrate.health import signal_health
from corea.calibrate.maps import Stored
from corea.calibrate.power import labels_for_cut, labels_for_risk
from corea.calibrate.tables import Pairs
from corea.metrics import best_single, cascade_frontier, mean_interval, oracle_point, ratio_interval
from corea.metrics.arrays import Floats
from corea.metrics.calibration import expected_calibration_error, reliability_bins
from corea.metrics.score_map import apply_map


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The outcome of the certification alone, before any report.

    Args:
        cut: The chosen cut; None when infeasible.
        near: The best cut that was not certified, by part A; None where there was none to try.
        fit: Part A with cross-fitted scores. `test`: part B.
    """

    cut: Cut | None
    near: Cut | None
    map: Stored
    fit: Sample
    test: Sample
    pvalues: Mapping[str, float]
    tried: int
    cap_usd: float


def threshold_dict(cut: Cut) -> dict[str, Any]:
    """A cut as the artefact stores it."""
    return {
        "tau": cut.tau,
        "tie_keep": cut.tie_keep,
        "skip_categories": list(cut.skip),
        "abstain_below": cut.abstain_below,
    }


def figures(pairs: Pairs, kept: Any, cost: Floats, correct: Floats, left: Any = None) -> dict[str, Any]:
    """What a cascade came to on these rows, each as {value, low, high} at 95 % (normal intervals).

    Args:
        left: (N,) whether a person should answer, where some cut abstains; counted right, and no large model's.
    """
    saved = ratio_interval(cost, pairs.llm_cost)
    drop = mean_interval(pairs.llm_correct - correct)
    means = {
        "pass_at_1": correct, "llm_pass_at_1": pairs.llm_correct, "slm_pass_at_1": pairs.slm_correct,
        "mean_cost_usd": cost, "llm_mean_cost_usd": pairs.llm_cost, "slm_mean_cost_usd": pairs.slm_cost,
        "llm_share": 1.0 - np.asarray(kept, dtype=np.float64) - (0.0 if left is None else left),
    }  # fmt: skip
    if left is not None:
        means["abstained_share"] = np.asarray(left, dtype=np.float64)
    found: dict[str, Any] = {"n": len(pairs)}
    for name, values in means.items():
        each = mean_interval(values)
        found[name] = {"value": each.value, "low": each.low, "high": each.high}
    found["saving"] = {"value": 1 - saved.value, "low": 1 - saved.high, "high": 1 - saved.low}
    found["drop"] = {"value": drop.value, "low": drop.low, "high": drop.high}
    return found


def applied(test: Sample, threshold: Mapping[str, Any] | None, groups: Mapping[str, Any]) -> tuple[Any, Floats, Floats]:
    """Kept, cost and correctness (N,) of an artefact's thresholds on a sample; without one all goes to the LLM."""
    pairs, cut = test.pairs, None if threshold is None else cut_of(threshold)
    if not groups:
        if cut is None:
            return np.zeros(len(test), dtype=bool), pairs.llm_cost, pairs.llm_correct
        return np.asarray(test.kept(cut)), test.cost(cut), test.correct(cut)
    kept, cost, correct = np.zeros(len(test), dtype=bool), pairs.llm_cost.copy(), pairs.llm_correct.copy()
    names = np.full(len(pairs), "", dtype=object) if pairs.category is None else pairs.category.astype(str)
    for name, each in groups.items():
        at = np.flatnonzero(names == name)
        if each["threshold"] is None or not len(at):
            continue
        own = cut_of(each["threshold"])
        part = test.take(at)
        kept[at], cost[at], correct[at] = part.kept(own), part.cost(own), part.correct(own)
    return kept, cost, correct


def left_to_people(test: Sample, threshold: Mapping[str, Any] | None, groups: Mapping[str, Any]) -> Any:
    """(N,) whether neither model answers; None where no cut of the artefact abstains."""
    parts = {name: each["threshold"] for name, each in groups.items()} if groups else {"": threshold}
    cuts = {name: cut_of(part) for name, part in parts.items() if part is not None}
    if all(cut.abstain_below is None for cut in cuts.values()):
        return None
    if not groups:
        return np.asarray(test.abstained(cuts[""]))
    out = np.zeros(len(test), dtype=bool)
    names = np.full(len(test), "", dtype=object) if test.pairs.category is None else test.pairs.category.astype(str)
    for name, cut in cuts.items():
        out = out | (np.asarray(test.abstained(cut)) & (names == name))
    return out


def cut_of(threshold: Mapping[str, Any]) -> Cut:
    """A cut from an artefact's threshold."""
    return Cut(
        tau=threshold["tau"],
        tie_keep=threshold["tie_keep"],
        skip=tuple(threshold.get("skip_categories", ())),
        abstain_below=threshold.get("abstain_below"),
    )


def held_out_report(
    found: Found,
    cut: Cut | None,
    groups: Mapping[str, Any],
    probability: Stored,
    crossed: Floats,
    kept: Any,
    cost: Floats,
    correct: Floats,
) -> dict[str, Any]:
    """Figures for the report: reliability before and after, baselines, the frontier, and the categories."""
    test, pairs = found.test, found.test.pairs
    raw, after = pairs.confidence, apply_map(probability, {"confidence": test.score})
    arrays = (pairs.slm_correct, pairs.llm_correct, pairs.slm_cost, pairs.llm_cost)
    filled = np.where(np.isnan(test.score), -1.0, test.score)
    frontier = cascade_frontier(filled, *arrays)
    thin = np.unique(np.linspace(0, len(frontier.tau) - 1, 101).astype(int))
    oracle, single = oracle_point(*arrays), best_single(*arrays)
    tau = float(pairs.llm_correct.mean())
    with np.errstate(invalid="ignore"):
        published = np.asarray(pairs.confidence >= tau)
    return {
        "reliability_before": _bars(raw, pairs.slm_correct),
        "reliability_after": _bars(after, pairs.slm_correct),
        "ece_before": _ece(raw, pairs.slm_correct), "ece_after": _ece(after, pairs.slm_correct),
        "ece_after_crossfitted_on_fit_rows": _ece(crossed, found.fit.pairs.slm_correct),
        "map_health": signal_health(test.score, pairs.slm_correct),
        "frontier": {
            "coverage": frontier.coverage[thin].tolist(), "accuracy": frontier.accuracy[thin].tolist(),
            "cost_usd": frontier.cost_usd[thin].tolist(),
        },
        "oracle": {"accuracy": oracle.accuracy, "cost_usd": oracle.cost_usd},
        "best_single": {
            "model": pairs.slm if single.coverage == 1 else pairs.llm, "accuracy": single.accuracy,
            "cost_usd": single.cost_usd,
        },
        "published_rule": {
            "tau": tau,
            "accuracy": float(np.where(published, pairs.slm_correct, pairs.llm_correct).mean()),
            "cost_usd": float((pairs.slm_cost + pairs.llm_cost * ~published).mean()),
        },
        "random_at_same_share": {
            "accuracy": float(
                pairs.llm_correct.mean() + np.mean(kept) * (pairs.slm_correct - pairs.llm_correct).mean()
            ),
        },
        "categories": _categories(found, cut, groups, kept, cost, correct),
    }  # fmt: skip


def _categories(
    found: Found, cut: Cut | None, groups: Mapping[str, Any], kept: Any, cost: Floats, correct: Floats
) -> list[dict[str, Any]]:
    pairs = found.test.pairs
    if pairs.category is None:
        return []
    names = pairs.category.astype(str)
    rows: list[dict[str, Any]] = []
    for name in sorted(set(names.tolist())):
        at = names == name
        drop = mean_interval((pairs.llm_correct - correct)[at])
        rows.append({
            "category": name, "n": int(at.sum()), "pass_at_1": float(correct[at].mean()),
            "llm_pass_at_1": float(pairs.llm_correct[at].mean()), "slm_pass_at_1": float(pairs.slm_correct[at].mean()),
            "llm_share": float(1 - np.mean(kept[at])),
            "saving": float(1 - cost[at].sum() / pairs.llm_cost[at].sum()) if pairs.llm_cost[at].sum() > 0 else 0.0,
            "drop": drop.value, "drop_low": drop.low, "drop_high": drop.high,
            "skipped": bool(cut is not None and name in cut.skip),
            "threshold": (groups.get(name) or {}).get("threshold"),
        })  # fmt: skip
    return rows


def _bars(confidence: Floats, correct: Floats) -> list[dict[str, float]]:
    there = ~np.isnan(confidence)
    if not there.any():
        return []
    bars = reliability_bins(np.clip(confidence[there], 0, 1), correct[there])
    return [{"confidence": b.confidence, "accuracy": b.accuracy, "count": b.count} for b in bars]


def _ece(confidence: Floats, correct: Floats) -> float | None:
    there = ~np.isnan(confidence)
    return expected_calibration_error(np.clip(confidence[there], 0, 1), correct[there]) if there.any() else None


def goal_dict(goals: Goals) -> dict[str, float]:
    names = ("max_drop", "max_risk", "max_cost_usd", "value_usd", "abstain_usd")
    return {name: float(value) for name in names if (value := getattr(goals, name)) is not None}


def needs_cap(goals: Goals) -> bool:
    return goals.max_cost_usd is not None or goals.value_usd is not None


def advice_of(found: Found, goals: Goals, calibration: Calibration) -> tuple[str, ...]:
    """What an engineer can do about INFEASIBLE."""
    said: list[str] = []
    near, fit = found.near, found.fit
    if near is None:
        said.append("no answer states a confidence, so there is no threshold to try: use another signal")
    else:
        gap = fit.pairs.llm_correct - fit.correct(near)
        loss, gain = float((gap > 0.5).mean()), float((gap < -0.5).mean())
        saving = 1 - float(fit.cost(near).mean() / fit.pairs.llm_cost.mean())
        said.append(
            f"best uncertified point (on the {len(fit)} rows of the fit): saves {100 * saving:.1f} % at a drop of "
            f"{100 * (loss - gain):.1f} points, keeping {100 * float(np.mean(fit.kept(near))):.0f} % of the answers"
        )
        if saving <= 0:
            said.append(
                "the small model costs more than what it keeps saves: a cheaper one, or another pair, is needed"
            )
        elif goals.max_drop is not None or goals.max_risk is not None:
            needed = _labels_for(found, near, goals)
            share = len(found.test) / (len(found.test) + len(fit))
            said.append(
                "more labels alone would probably not certify it" if needed is None
                else f"about {round(needed / share, -1):,.0f} labels would probably certify it (this run had "
                f"{len(found.test) + len(fit):,})"
            )  # fmt: skip
    if calibration.health["verdict"] in ("unusable", "weak"):
        said.append(
            f"the signal is {calibration.health['verdict']}: try expected confidence, token probability or agreement"
        )
    said.append("a larger drop, a trained small model (corea train) or another pair may help")
    return tuple(said)


def _labels_for(found: Found, near: Cut, goals: Goals) -> int | None:
    """Rows of the test that would probably certify this cut for the drop and the risk; None where none would."""
    fit, needed = found.fit, [0]
    if goals.max_drop is not None:
        gap = fit.pairs.llm_correct - fit.correct(near)
        loss, gain = float((gap > 0.5).mean()), float((gap < -0.5).mean())
        needed.append(labels_for_cut(loss, gain, drop=goals.max_drop, delta=goals.delta) or -1)
    kept = np.asarray(fit.kept(near))
    if goals.max_risk is not None:
        risk = float((fit.correct(near)[kept] < 0.5).mean()) if kept.any() else 1.0
        share = float(kept.mean())
        needed.append(labels_for_risk(risk, limit=goals.max_risk, kept=share, delta=goals.delta) or -1)
    return None if min(needed) < 0 else max(needed)


def sentence_of(calibration: Calibration, goals: Goals, found: Found) -> str:
    """What a manager needs."""
    n = len(found.test) + len(found.fit)
    if not calibration.certified:
        return f"INFEASIBLE: nothing that saves is certified on {n:,} questions; all go to {calibration.binding['llm']}"
    saving = calibration.expected["saving"]
    words = [f"saves {100 * saving['value']:.0f} % (95 %: {100 * saving['low']:.0f}-{100 * saving['high']:.0f})"]
    if goals.max_drop is not None:
        words.append(f"at most {100 * goals.max_drop:.1f} points below the large model")
    if goals.max_risk is not None:
        words.append(f"at most {100 * goals.max_risk:.1f} % of the kept answers wrong")
    if goals.max_cost_usd is not None:
        words.append(f"at most {goals.max_cost_usd:g} USD a question")
    if goals.value_usd is not None:
        words.append("total of cost and errors at most the large model's")
    return f"{' '.join(words[:2])}{''.join(' and ' + w for w in words[2:])}, certified on {n:,} questions"
