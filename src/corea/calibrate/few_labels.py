"""Label-poor calibration: the large model's answers as reference on all rows, corrected by few gold labels.

Where the two answers are the same, keeping the small model's changes nothing: the drop there is 0, known without any
label. So with D the drop of one row, K that an answer is kept and X that the two differ,

    mean D = P(K and X) * mean(D | K and X)

The first factor is seen on all rows; only the second needs gold labels. This is prediction-powered inference with the
prediction "D = 1 where kept and different": the correction D - prediction is 0 on all other rows, so gold labels are
best spent where the answers differ (`labels_wanted`), and a few hundred do for many thousand rows.

Finite samples: but for a tenth of delta, P(K and X) is under its exact upper bound u (all rows); a broken promise
mean D >= d then means mean(D | K and X) >= d / u, which the exact paired test rejects on the gold rows among the kept
and different at the rest of the level. If u < d nothing needs labelling at all: the promise holds whoever is right.
Where gold labels were drawn from all rows, the exact paired test on those rows takes the place of the conditional one:
it sees the same few differing rows, and loses less to their being few.

Source: Angelopoulos et al. 2023, arXiv:2301.09633 (prediction-powered inference), and arXiv:2311.01453 (PPI++); here
with exact tests in the place of their normal intervals, and the nuisance as Berger and Boos 1994 (JASA 89(427)).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from corea.calibrate.artefact import CERTIFIED, INFEASIBLE, Calibration, now
from corea.calibrate.certify import Options, candidates
from corea.calibrate.exact_tests import exact_drop_pvalue, mean_pvalue, share_lower, share_pvalue, share_upper
from corea.calibrate.ltt import fixed_sequence
from corea.calibrate.maps import Stored, fit_probability, fit_score
from corea.calibrate.outcome import data_of, guarantee_of, threshold_dict
from corea.calibrate.rules import Cut, Sample
from corea.calibrate.sample_size import FIT_SHARE, labels_for_cut
from corea.calibrate.signal_quality import signal_health
from corea.calibrate.tables import Pairs
from corea.calibrate.targets import Goals
from corea.errors import ConfigError, DataError
from corea.metrics import mean_interval, ratio_interval
from corea.metrics.score_map import apply_map

SHARE_RISK = 0.1  # of delta: the chance that P(K and X) is outside its bound
WORTH_LABELLING = 8.0  # rows are labelled up to a share kept and different of so many times the drop
SURE, ENOUGH_GOLD = 0.7, 20  # of the drop: no label is needed; gold labels expected among the kept and different
DEFAULTS = Options()
TEST = (
    "share of kept answers that differ, exact bound on all rows; exact paired test on the gold rows among them; "
    "fixed-sequence Learn then Test"
)
HEALTH_NOTE = "the signal's health is for agreement with the large model"


def poor_drop_pvalue(
    different: int, n: int, losses: int, gains: int, gold: int, drop: float, *, delta: float = 0.05, within: bool = True
) -> float:
    """p-value of "the cascade's accuracy is `drop` or more below the large model's", at level `delta` only.

    Args:
        different: Of all n rows, those kept where the two answers differ.
        losses, gains: Of the gold rows, those kept where only the large, or only the small model is right.
        gold: Labelled rows: `within` those kept and different, else of all rows, labelled at random.
        delta: The level it will be held against: a tenth of it is spent on the share of different answers.
    """
    risk = SHARE_RISK * delta
    share = share_upper(different, n, risk) if drop > 0 else share_lower(different, n, risk)
    if share < drop:
        return risk
    limit = drop if not within else drop / share if share > 0 else 0.0
    if not gold or not -1 < limit < 1:
        return 1.0
    return min(1.0, risk + exact_drop_pvalue(losses, gains, gold, limit))


@dataclass(frozen=True, slots=True, kw_only=True)
class PoorFound:
    """The outcome of the certification alone.

    Args:
        fit: Part A; its `slm_correct` is agreement with the large model.
        test: Part B, correctness NaN where not labelled. `gold`: (N,) which of its rows are.
    """

    cut: Cut | None
    near: Cut | None
    map: Stored
    fit: Sample
    test: Sample
    gold: Any
    pvalues: Mapping[str, float]
    tried: int
    cap_usd: float
    notes: tuple[str, ...]


def certify_poor(pairs: Pairs, goals: Goals, options: Options = DEFAULTS) -> PoorFound:
    """Fits on agreement, tests with the gold labels, and chooses: all that the guarantee is about.

    Gold rows must be drawn at random: from all rows, or (no gold row agrees) from those whose answers differ.

    Raises:
        ConfigError: A goal that needs more labels. DataError: Rows that cannot be used.
    """
    gold, different = _checked(pairs, goals)
    only_different = bool(gold.any()) and not bool((gold & ~different).any())
    part_a, part_b = split(pairs, np.zeros_like(gold) if only_different else gold, options)
    notes: list[str] = []
    if lost := int(gold[part_a].sum()):
        notes.append(f"{lost} gold labels lie on rows that fitted the map and were not used; see --to-label")
    stored, fit = _fit(pairs, part_a, different, options, goals.target)
    rows = pairs.take(part_b)
    test = Sample.of(rows, apply_map(stored, rows.inputs()))
    cap = goals.cap(pairs)
    path = candidates(fit, goals, options, n_test=len(test), cap_usd=cap)
    if only_different:
        path = [cut for cut in path if worth_labelling(fit, goals)[0] <= cut.tau]
        if goals.max_risk is not None:
            raise ConfigError("label-poor: --max-risk needs gold labels drawn from all rows, got only differing ones")
    if only_different and goals.max_drop is not None:
        path = _worth_testing(path, goals.max_drop, fit, int(gold[part_b].sum()))
    return _choose(path, goals, fit, test, gold[part_b], different[part_b], stored, cap, tuple(notes))


def _checked(pairs: Pairs, goals: Goals) -> tuple[Any, Any]:
    """(N,) which rows have gold labels, and on which the answers differ (unknown answers count as such)."""
    if goals.value_usd is not None:
        raise ConfigError("label-poor: got --value, which needs a label on every row; use --max-drop, or label all")
    if pairs.agree is None or np.isnan(pairs.agree).all():
        raise DataError("label-poor: the rows have no answers to compare, expected the field answer in both files")
    if len(set(pairs.ids.tolist())) != len(pairs):
        raise DataError("calibrate: an id comes twice, expected each question once; drop the copies")
    gold = ~np.isnan(pairs.slm_correct) & ~np.isnan(pairs.llm_correct)
    different = ~(pairs.agree == 1)
    odd = gold & ~different & (pairs.slm_correct != pairs.llm_correct)
    if odd.any():
        raise DataError(
            f"label-poor: question {pairs.ids[np.flatnonzero(odd)[0]]!r}: the answers are the same but one label is "
            "right and one wrong, expected the same label; mend it"
        )
    labelled = replace(pairs, slm_correct=1.0 - different, llm_correct=np.ones(len(pairs)))
    labelled.check()
    return gold, different


def split(pairs: Pairs, keep_out: Any, options: Options) -> tuple[Any, Any]:
    """Rows that fit and rows that test, in random order; rows to be kept out of the fit all test."""
    order = np.random.default_rng(options.seed).permutation(len(pairs))
    n_fit = min(max(10, round((options.fit_share or FIT_SHARE) * len(pairs))), len(pairs) - 5)
    may_fit = order[~keep_out[order]]
    part_a = may_fit[:n_fit]
    return part_a, order[~np.isin(order, part_a)]


def _fit(pairs: Pairs, part_a: Any, different: Any, options: Options, target: str) -> tuple[Stored, Sample]:
    rows = pairs.take(part_a)
    rows = replace(rows, slm_correct=1.0 - different[part_a], llm_correct=np.ones(len(rows)))
    stored, crossed = fit_score(rows, kind=options.map, seed=options.seed, target=target)
    return stored, Sample.of(rows, crossed)


def worth_labelling(fit: Sample, goals: Goals) -> tuple[float, float]:
    """(score, share): scores under it are kept by no cut worth trying, and the share of rows above that differ."""
    limit = WORTH_LABELLING * max(goals.max_drop or 0.0, 0.0)
    order = np.argsort(-np.where(np.isnan(fit.score), -np.inf, fit.score), kind="stable")
    share = np.cumsum(fit.pairs.slm_correct[order] < 0.5) / len(fit)
    inside = np.flatnonzero((share <= limit) & ~np.isnan(fit.score[order]))
    at = int(inside[-1]) if len(inside) else 0
    return float(fit.score[order][at]), float(share[at])


def _worth_testing(path: Sequence[Cut], drop: float, fit: Sample, gold: int) -> list[Cut]:
    """The path without the cuts between those that need no label and those where enough labels are to be expected.

    One failure ends the sequence, and with a handful of labels a cut fails by bad luck.
    """
    share = [float((np.asarray(fit.kept(cut)) & (fit.pairs.slm_correct < 0.5)).mean()) for cut in path]
    rate = gold / max(share, default=1.0) if any(share) else 0.0
    worth = [s <= SURE * drop or s * rate >= ENOUGH_GOLD for s in share]
    return [cut for cut, good in zip(path, worth, strict=True) if good] or list(path)


def labels_wanted(pairs: Pairs, goals: Goals, count: int, options: Options = DEFAULTS) -> list[str]:
    """Ids whose labels are worth most: drawn at random from the rows of the test that differ and might be kept.

    Calibrate afterwards with the same rows, goals and options, so that the same rows test.
    """
    if goals.max_drop is None:
        raise ConfigError("to-label: got no --max-drop, expected one: only it is certified from differing answers")
    _, different = _checked(pairs, goals)
    part_a, part_b = split(pairs, np.zeros(len(pairs), dtype=bool), options)
    stored, fit = _fit(pairs, part_a, different, options, goals.target)
    rows = pairs.take(part_b)
    with np.errstate(invalid="ignore"):
        asked = different[part_b] & (apply_map(stored, rows.inputs()) >= worth_labelling(fit, goals)[0])
    at = np.flatnonzero(asked)
    chosen = np.random.default_rng([options.seed, 1]).permutation(at)[:count]
    return [str(rows.ids[i]) for i in chosen]


def _choose(
    path: Sequence[Cut],
    goals: Goals,
    fit: Sample,
    test: Sample,
    gold: Any,
    different: Any,
    stored: Stored,
    cap: float,
    notes: tuple[str, ...],
) -> PoorFound:
    seen: dict[Cut, dict[str, float]] = {}

    def worst(cut: Cut) -> float:
        seen[cut] = poor_pvalues(goals, test, gold, different, cut, cap_usd=cap)
        return max(seen[cut].values())

    certified = fixed_sequence(path, worst, delta=goals.delta)
    useful = [cut for cut in certified if goals.only_cost or test.cost(cut).mean() < test.pairs.llm_cost.mean()]
    sign = -1 if goals.only_cost else 1  # within a cost alone, defer all that it allows
    cut = min(useful, key=lambda each: sign * float(test.cost(each).mean()), default=None)
    left = [each for each in path if each not in certified]
    return PoorFound(
        cut=cut, near=None if cut is not None or not left else left[0], map=stored, fit=fit, test=test, gold=gold,
        pvalues=seen.get(cut, {}) if cut else {}, tried=len(seen), cap_usd=cap, notes=notes,
    )  # fmt: skip


def poor_pvalues(
    goals: Goals, test: Sample, gold: Any, different: Any, cut: Cut, *, cap_usd: float
) -> dict[str, float]:
    """p-value of each goal being broken at a cut; the cost needs no label, a risk those of the kept gold rows."""
    kept = np.asarray(test.kept(cut))
    found: dict[str, float] = {}
    if goals.max_drop is not None:
        losses, gains, labelled = _counts(test, kept & gold & different)
        within = not (gold & ~different).any()
        found["max_drop"] = poor_drop_pvalue(
            int((kept & different).sum()), len(test), losses, gains, labelled if within else int(gold.sum()),
            goals.max_drop, delta=goals.delta, within=within,
        )  # fmt: skip
    if goals.max_risk is not None:
        labelled = kept & gold
        wrong = int((test.pairs.slm_correct[labelled] < 0.5).sum())
        found["max_risk"] = share_pvalue(wrong, int(labelled.sum()), goals.max_risk)
    if goals.max_cost_usd is not None:
        found["max_cost"] = mean_pvalue(test.cost(cut), goals.max_cost_usd, low=0.0, high=cap_usd, delta=goals.delta)
    return found


def _counts(test: Sample, at: Any) -> tuple[int, int, int]:
    """Losses, gains and rows, of the rows named."""
    gap = (test.pairs.llm_correct - test.pairs.slm_correct)[at]
    return int((gap > 0.5).sum()), int((gap < -0.5).sum()), int(np.sum(at))


# --- the whole ------------------------------------------------------------------------------------------------------


def calibrate_poor(
    pairs: Pairs,
    goals: Goals,
    options: Options = DEFAULTS,
    *,
    binding: Mapping[str, Any] | None = None,
    clock: Callable[[], str] = now,
) -> Calibration:
    """A calibration artefact from few gold labels, or none.

    Args:
        pairs: Both models' correctness NaN where there is no label; `agree` says whether their answers are the same.

    Raises:
        ConfigError, DataError: See `certify_poor`.
    """
    found = certify_poor(pairs, goals, options)
    cut, fit = found.cut, found.fit
    probability, _ = fit_probability(fit.score, fit.pairs.slm_correct, kind=options.probability)
    labels = _labels(found, goals)
    calibration = Calibration(
        verdict=INFEASIBLE if cut is None else CERTIFIED,
        threshold=None if cut is None else threshold_dict(cut),
        guarantee=guarantee_of(found, goals, n=len(pairs), test=TEST, **labels),
        expected=poor_figures(found),
        binding={"slm": pairs.slm, "llm": pairs.llm, **(binding or {})},
        map={**found.map, "needs_answer": pairs.needs_answer},
        probability=probability,
        health=signal_health(fit.pairs.confidence, fit.pairs.slm_correct),
        report={},
        data=data_of(pairs, (*pairs.notes, *found.notes, HEALTH_NOTE), options.seed),
        created=clock(),
    )
    advice = () if cut is not None else _advice(found, goals, labels)
    return replace(calibration, advice=advice, sentence=_sentence(calibration, goals, labels))


def _labels(found: PoorFound, goals: Goals) -> dict[str, Any]:
    """How many gold labels were there, and how many the same test would need with labels alone."""
    cut = found.cut or found.near
    labels: dict[str, Any] = {"n_gold": int(np.sum(found.gold)), "gold_alone": None, "gold_saved": None}
    if cut is None or goals.max_drop is None:
        return labels
    kept = np.asarray(found.test.kept(cut))
    different = ~(found.test.pairs.agree == 1)  # pyright: ignore[reportOptionalMemberAccess]  # checked
    losses, gains, gold = _counts(found.test, kept & found.gold & different)
    share = float((kept & different).mean())
    labels |= {"n_gold_used": gold, "kept_and_different": share}
    if gold:
        loss, gain = share * losses / gold, share * gains / gold
        labels["gold_alone"] = labels_for_cut(loss, gain, drop=goals.max_drop, delta=goals.delta, power=0.5)
    elif found.cut is not None:  # no label was needed: as many as show the same with no loss seen
        labels["gold_alone"] = labels_for_cut(share / 2, share / 2, drop=goals.max_drop, delta=goals.delta, power=0.5)
    if labels["gold_alone"] is not None:
        labels["gold_saved"] = max(0, labels["gold_alone"] - labels["n_gold"])
    return labels


def poor_figures(found: PoorFound) -> dict[str, Any]:
    """What is known without all labels, each as {value, low, high} at 95 %: costs and shares from all rows of the test,
    the drop from the gold rows where answers differ, accuracies only where gold rows were drawn from all rows."""
    test, pairs = found.test, found.test.pairs
    kept = np.zeros(len(test), dtype=bool) if found.cut is None else np.asarray(test.kept(found.cut))
    cost = pairs.llm_cost if found.cut is None else test.cost(found.cut)
    different = ~(pairs.agree == 1)
    out: dict[str, Any] = {"n": len(test), "n_gold": int(np.sum(found.gold))}
    for name, values in (
        ("mean_cost_usd", cost), ("llm_mean_cost_usd", pairs.llm_cost), ("slm_mean_cost_usd", pairs.slm_cost),
        ("llm_share", 1.0 - kept), ("agreement", 1.0 - different),
    ):  # fmt: skip
        each = mean_interval(np.asarray(values, dtype=np.float64))
        out[name] = {"value": each.value, "low": each.low, "high": each.high}
    saved = ratio_interval(cost, pairs.llm_cost)
    out["saving"] = {"value": 1 - saved.value, "low": 1 - saved.high, "high": 1 - saved.low}
    share, at = float((kept & different).mean()), kept & different & found.gold
    if not share:
        out["drop"] = {"value": 0.0, "low": 0.0, "high": 0.0}
    elif at.any():
        gap = mean_interval((pairs.llm_correct - pairs.slm_correct)[at])
        out["drop"] = {"value": share * gap.value, "low": share * gap.low, "high": share * gap.high}
    else:  # nothing is labelled there: between all gains and all losses
        out["drop"] = {"value": share, "low": -share, "high": share}
    if (found.gold & ~different).any():
        for name, values in (("llm_pass_at_1", pairs.llm_correct), ("slm_pass_at_1", pairs.slm_correct)):
            each = mean_interval(values[found.gold])
            out[name] = {"value": each.value, "low": each.low, "high": each.high}
    return out


def _sentence(calibration: Calibration, goals: Goals, labels: Mapping[str, Any]) -> str:
    n, gold = calibration.guarantee["n"], labels["n_gold"]
    rows = f"{n:,} questions of which {gold:,} are labelled"
    if not calibration.certified:
        return f"INFEASIBLE: nothing that saves is certified on {rows}; all go to {calibration.binding['llm']}"
    saving = calibration.expected["saving"]
    alone = labels["gold_alone"]
    more = f" (labels alone: about {alone:,})" if alone is not None and alone > gold else ""
    return (
        f"saves {100 * saving['value']:.0f} % (95 %: {100 * saving['low']:.0f}-{100 * saving['high']:.0f}): "
        f"{goals.words()}; certified on {rows}{more}"
    )


def _advice(found: PoorFound, goals: Goals, labels: Mapping[str, Any]) -> tuple[str, ...]:
    """What an engineer can do about INFEASIBLE."""
    if found.near is None:
        return ("no answer has a confidence, so there is no threshold to try: use another signal",)
    kept = float(np.mean(found.test.kept(found.near)))
    said = [
        f"the first cut that failed keeps {100 * kept:.0f} % of the answers; "
        f"{100 * labels.get('kept_and_different', 0.0):.1f} % of all are kept and differ from the large model's"
    ]
    if goals.max_drop is not None:
        said.append(
            "label more of the answers that differ: --to-label FILE --gold N names those that help most"
            if labels["gold_alone"] is not None or not labels.get("n_gold_used")
            else "the labels say that keeping these answers loses more than allowed: more labels would not help"
        )
    said.append("a larger drop, another signal, a trained small model (corea train) or another pair may help")
    return tuple(said)
