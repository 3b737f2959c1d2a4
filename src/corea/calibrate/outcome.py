"""What a certification found, in figures, tables and words: all of it on the rows of the test, unless it says so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from corea.calibrate.artefact import Calibration
from corea.calibrate.maps import Stored
from corea.calibrate.rules import Cut, Sample
from corea.calibrate.sample_size import labels_for_cut, labels_for_risk
from corea.calibrate.signal_quality import signal_health
from corea.calibrate.tables import Pairs
from corea.calibrate.targets import Goals
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


def guarantee_of(found: Any, goals: Goals, *, n: int, test: str, where: str = "", **more: Any) -> dict[str, Any]:
    """The artefact's guarantee.

    Args:
        found: A `Found`, or that of tiers or few labels.
        n: Questions in all. `test`: how it was tested. `where`: what the promise is limited to, in words.
    """
    return {
        "goals": goals.as_dict(), "delta": goals.delta, "confidence": 1 - goals.delta,
        "promise": f"{goals.words()}{where}, with probability {1 - goals.delta:g} over the questions that calibrated",
        "test": test, "n": n, "n_fit": len(found.fit), "n_test": len(found.test), "p_values": dict(found.pvalues),
        "cuts_tested": found.tried, "cost_cap_usd": found.cap_usd if goals.needs_cap else None, **more,
        "holds_for": "questions drawn as these were, the same models, prompts and sampling",
    }  # fmt: skip


def data_of(pairs: Pairs, notes: Sequence[str], seed: int, **more: Any) -> dict[str, Any]:
    """What the artefact says of the rows."""
    return {
        "digest": pairs.digest, "n": len(pairs), "signals": list(pairs.signals), "notes": list(notes), "seed": seed,
        **more,
    }  # fmt: skip


def figures(
    pairs: Pairs, kept: Any, cost: Floats, correct: Floats, left: Any = None, goals: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """What a cascade came to on these rows, each as {value, low, high} at 95 % (normal intervals).

    Args:
        left: (N,) whether a person should answer, where some cut abstains; counted right, and no large model's.
        goals: As the artefact stores them; with `value_usd` errors and people are priced too: `total_usd`,
            `llm_total_usd` and `total_saving`.
    """
    means = {
        "pass_at_1": correct, "llm_pass_at_1": pairs.llm_correct, "slm_pass_at_1": pairs.slm_correct,
        "mean_cost_usd": cost, "llm_mean_cost_usd": pairs.llm_cost, "slm_mean_cost_usd": pairs.slm_cost,
        "llm_share": 1.0 - np.asarray(kept, dtype=np.float64) - (0.0 if left is None else left),
    }  # fmt: skip
    if left is not None:
        means["abstained_share"] = np.asarray(left, dtype=np.float64)
    ratios = {"saving": (cost, pairs.llm_cost)}
    if goals and (value := goals.get("value_usd")) is not None:
        people = 0.0 if left is None else goals.get("abstain_usd", 0.0) * means["abstained_share"]
        total, alone = cost + value * (1 - correct) + people, pairs.llm_cost + value * (1 - pairs.llm_correct)
        means |= {"total_usd": total, "llm_total_usd": alone}
        ratios["total_saving"] = (total, alone)
    found: dict[str, Any] = {"n": len(pairs)}
    found |= {name: _interval(mean_interval(values)) for name, values in means.items()}
    for name, (ours, theirs) in ratios.items():
        share = ratio_interval(ours, theirs)
        found[name] = {"value": 1 - share.value, "low": 1 - share.high, "high": 1 - share.low}
    return found | {"drop": _interval(mean_interval(pairs.llm_correct - correct))}


def _interval(found: Any) -> dict[str, float]:
    return {"value": found.value, "low": found.low, "high": found.high}


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
        "categories": _categories(found, groups, kept, cost, correct),
    }  # fmt: skip


def _categories(
    found: Found, groups: Mapping[str, Any], kept: Any, cost: Floats, correct: Floats
) -> list[dict[str, Any]]:
    pairs, cut = found.test.pairs, found.cut
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


def advice_of(found: Found, goals: Goals, calibration: Calibration) -> tuple[str, ...]:
    """What an engineer can do about INFEASIBLE."""
    said = ["no answer states a confidence, so there is no threshold to try: use another signal"]
    if found.near is not None:
        said = _nearest(found, found.near, goals)
    if calibration.health["verdict"] in ("unusable", "weak"):
        said.append(
            f"the signal is {calibration.health['verdict']}: try expected confidence, token probability or agreement"
        )
    said.append("a larger drop, a trained small model (corea train) or another pair may help")
    return tuple(said)


def _nearest(found: Found, near: Cut, goals: Goals) -> list[str]:
    """The best uncertified cut by the rows of the test, and whether more labels would certify it."""
    test = found.test
    loss, gain, saving = _losses(test, near)
    said = [
        f"best uncertified point (on the {len(test):,} rows of the test): saves {100 * saving:.1f} % at a drop of "
        f"{100 * (loss - gain):.1f} points, keeping {100 * float(np.mean(test.kept(near))):.0f} % of the answers"
    ]
    if saving <= 0:
        said.append("the small model costs more than what it keeps saves: a cheaper one, or another pair, is needed")
    elif goals.max_drop is not None or goals.max_risk is not None:
        needed, n = _labels_for(test, near, goals), len(test) + len(found.fit)
        said.append(
            "more labels alone would probably not certify it" if needed is None
            else f"about {round(needed * n / len(test), -1):,.0f} labels would probably certify it (this run had {n:,})"
        )  # fmt: skip
    return said


def _losses(rows: Sample, cut: Cut) -> tuple[float, float, float]:
    """Shares lost and gained against the LLM, and the saving."""
    gap = rows.pairs.llm_correct - rows.correct(cut)
    saving = 1 - float(rows.cost(cut).mean() / rows.pairs.llm_cost.mean())
    return float((gap > 0.5).mean()), float((gap < -0.5).mean()), saving


def _labels_for(rows: Sample, near: Cut, goals: Goals) -> int | None:
    """Rows of the test that would probably certify this cut for the drop and the risk; None where none would."""
    needed = [0]
    if goals.max_drop is not None:
        loss, gain, _ = _losses(rows, near)
        needed.append(labels_for_cut(loss, gain, drop=goals.max_drop, delta=goals.delta) or -1)
    kept = np.asarray(rows.kept(near))
    if goals.max_risk is not None:
        risk = float((rows.correct(near)[kept] < 0.5).mean()) if kept.any() else 1.0
        share = float(kept.mean())
        needed.append(labels_for_risk(risk, limit=goals.max_risk, kept=share, delta=goals.delta) or -1)
    return None if min(needed) < 0 else max(needed)


def sentence_of(calibration: Calibration, goals: Goals, found: Found) -> str:
    """What a manager needs."""
    n, large = len(found.test) + len(found.fit), calibration.binding["llm"]
    if not calibration.certified:
        return f"INFEASIBLE: nothing that saves is certified on {n:,} questions; all go to {large}"
    promised: list[str] = []
    if goals.max_drop is not None:
        promised.append(f"at most {100 * goals.max_drop:.1f} points below the large model")
    if goals.max_risk is not None:
        promised.append(f"at most {100 * goals.max_risk:.1f} % of the kept answers wrong")
    if goals.max_cost_usd is not None:
        promised.append(f"at most {goals.max_cost_usd:g} USD a question")
    if goals.value_usd is not None:
        promised.append("the total at most the large model's")
    words = f"{_gained(calibration.expected, goals)} {' and '.join(promised)}{_slices(calibration.groups)}"
    return f"{words}, certified on {n:,} questions"


def _gained(expected: Mapping[str, Any], goals: Goals) -> str:
    """What the cascade is for: right answers within a cost, a lower total where errors are priced, else a saving."""

    def percent(name: str) -> str:
        each = expected[name]
        return f"{100 * each['value']:.0f} % (95 %: {100 * each['low']:.0f}-{100 * each['high']:.0f})"

    if goals.only_cost:
        return f"{percent('pass_at_1')} right, the large model {100 * expected['llm_pass_at_1']['value']:.0f} %,"
    if "total_saving" not in expected:
        return f"saves {percent('saving')}"
    people = "" if goals.abstain_usd is None else ", people"
    left = expected.get("abstained_share", {"value": 0.0})["value"]
    asked = f", leaving {100 * left:.0f} % to a person," if left else ","
    return f"saves {percent('total_saving')} of cost{people} and errors, {percent('saving')} of cost alone{asked}"


def _slices(groups: Mapping[str, Any]) -> str:
    """Which slices a promise is for, where each has its own."""
    if not groups:
        return ""
    kept = sum(each["threshold"] is not None for each in groups.values())
    left = len(groups) - kept
    return f" in each of {kept} slices{f' ({left} others are all deferred)' if left else ''}"
