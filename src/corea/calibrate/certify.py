"""Calibrates: splits the rows, fits a map on one part, certifies a cut on the other, and reports.

The rows that fit the map, lay out the candidate cuts and choose the categories to skip (part A) are not rows of the
test (part B). So given A, the rows of B are independent draws, and every p-value holds at its sample size. A is the
smaller part: the width of the promise falls with the root of B, the map hardly improves after a thousand rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from corea.calibrate.artefact import CERTIFIED, INFEASIBLE, Calibration, now
from corea.calibrate.ltt import fixed_sequence
from corea.calibrate.maps import Stored, fit_probability, fit_score
from corea.calibrate.outcome import (
    Found,
    advice_of,
    applied,
    data_of,
    figures,
    guarantee_of,
    held_out_report,
    left_to_people,
    sentence_of,
    threshold_dict,
)
from corea.calibrate.rules import NOTHING, Cut, Sample, cuts_at
from corea.calibrate.sample_size import FIT_SHARE
from corea.calibrate.signal_quality import signal_health
from corea.calibrate.tables import Pairs
from corea.calibrate.targets import Goals, goal_pvalues, objective
from corea.errors import ConfigError
from corea.metrics.score_map import apply_map

PLAIN_SHARE, PLAIN_ROWS = 0.1, 200  # a plain signal fits nothing: part A then only lays out the cuts
ENOUGH_ROWS, LEAST_SHARE = 800, 0.15  # a blend's part A is FIT_SHARE until it has so many rows, then at least this
STEPS = ((1500, 0.005), (500, 0.01), (0, 0.02))  # rows of the test, share of the answers between two cuts
EVERY = [float(c) for c in np.arange(0.02, 1.01, 0.02)]  # shares kept, among which the best uncertified point is
LOOKS = 25  # cuts looked at on part A to find the safest
SKIP_SHRINK = 20.0
GROUP_ROWS = 30
AnyCut = TypeVar("AnyCut")  # a cut of two tiers, or a combination of those of several
TEST = "exact paired test, binomial test, betting on bounded means; fixed-sequence Learn then Test"
IN_EACH_SLICE = ", in each slice that has a threshold, in all of them together"
LEFT_NOTE = "answers left to a person count as right; their price is in the total, not in the cost or the saving"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to calibrate; the defaults are those of the measured runs in docs/guarantee.md.

    Args:
        map: "auto", "identity", "linear" or "trees" (see `maps.fit_score`).
        probability: "auto", "isotonic", "platt" or "beta".
        pre_policy: Whether categories may be skipped, where asking the small model does not pay.
        by_group: One threshold for each category, with one joint guarantee.
        fit_share: Part A's share of the rows; None: 0.3 for a blend, falling to 0.15 beyond 800 rows, and 0.1 (at most
            200 rows) for a plain signal.
        seed: Of the split and of the folds.
    """

    map: str = "auto"
    probability: str = "auto"
    pre_policy: bool = True
    by_group: bool = False
    fit_share: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.map not in ("auto", "identity", "linear", "trees"):
            raise ConfigError(f"map: got {self.map!r}, expected auto, identity, linear or trees")
        if self.probability not in ("auto", "isotonic", "platt", "beta"):
            raise ConfigError(f"probability: got {self.probability!r}, expected auto, isotonic, platt or beta")
        if self.fit_share is not None and not 0 < self.fit_share < 1:
            raise ConfigError(f"fit-share: got {self.fit_share}, expected a share between 0 and 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A map and both parts of the rows, scored; all that does not depend on what is promised.

    Args:
        fit: Part A with cross-fitted scores. `test`: part B.
    """

    map: Stored
    fit: Sample
    test: Sample


def certify(pairs: Pairs, goals: Goals, options: Options = Options()) -> Found:
    """Fits, tests and chooses: all that the guarantee is about."""
    ready = prepare(pairs, options, target=goals.target)
    return certify_prepared(ready, goals, options, cap_usd=goals.cap(pairs))


def prepare(pairs: Pairs, options: Options = Options(), *, target: str = "regret") -> Prepared:
    """Splits the rows, fits the map on part A and scores both parts; `target` as in `maps.fit_score`."""
    order = np.random.default_rng(options.seed).permutation(len(pairs))
    n_fit = _fit_rows(pairs, options)
    part_a, part_b = pairs.take(order[:n_fit]), pairs.take(order[n_fit:])
    kind = options.map
    if kind == "auto" and n_fit == _plain_rows(len(pairs), options) and options.fit_share is None:
        kind = "identity"
    stored, crossed = fit_score(part_a, kind=kind, seed=options.seed, target=target)
    return Prepared(
        map=stored, fit=Sample.of(part_a, crossed), test=Sample.of(part_b, apply_map(stored, part_b.inputs()))
    )


def certify_prepared(ready: Prepared, goals: Goals, options: Options = Options(), *, cap_usd: float) -> Found:
    """Lays out the cuts on part A, tests them on part B and chooses; `cap_usd` as `Goals.cap` gives it."""
    path = candidates(ready.fit, goals, options, n_test=len(ready.test), cap_usd=cap_usd)
    return choose(path, goals, ready.fit, ready.test, ready.map, cap_usd=cap_usd)


def _plain_rows(n: int, options: Options) -> int:
    return max(10, min(PLAIN_ROWS, round(PLAIN_SHARE * n)))


def _fit_rows(pairs: Pairs, options: Options) -> int:
    n = len(pairs)
    if options.fit_share is not None:
        return min(max(10, round(options.fit_share * n)), n - 5)
    several = len(pairs.signals) > 1 or pairs.completion_tokens is not None or pairs.category is not None
    blend = options.map in ("linear", "trees") or (options.map == "auto" and several and FIT_SHARE * n >= 60)
    return min(round(FIT_SHARE * n), max(ENOUGH_ROWS, round(LEAST_SHARE * n))) if blend else _plain_rows(n, options)


def candidates(fit: Sample, goals: Goals, options: Options, *, n_test: int, cap_usd: float) -> list[Cut]:
    """The cuts to be tested, in the order of the test, from part A alone."""
    step = next(step for rows, step in STEPS if n_test >= rows)
    cuts = cuts_at(fit.score, [float(c) for c in np.arange(step, 1 + step / 2, step)])
    if options.pre_policy:
        cuts = [replace(cut, skip=categories_to_skip(fit, cut)) for cut in cuts]
    if goals.abstain_usd is not None:
        cuts = [_with_abstention(goals, fit, cut) for cut in cuts]
    if goals.only_cost:
        return [*reversed(cuts), NOTHING]
    if not cuts:
        return cuts
    alone = float(fit.pairs.llm_cost.mean())
    start = next((i for i, cut in enumerate(cuts) if fit.cost(cut).mean() < alone), 0)  # what cannot save is not tried
    if goals.max_risk is not None:  # too few kept answers can show no share of wrong ones, however few
        enough = 2 * np.log(goals.delta) / np.log1p(-goals.max_risk) / n_test
        start = next((i for i, cut in enumerate(cuts) if fit.kept(cut).mean() >= enough), len(cuts) - 1)
    if goals.max_risk is not None or goals.max_cost_usd is not None or goals.value_usd is not None:
        every = max(1, (len(cuts) - start) // LOOKS)
        worst = [max(goal_pvalues(goals, fit, cut, cap_usd=cap_usd).values()) for cut in cuts[start::every]]
        start += every * int(np.argmin(worst))  # safest first, then bolder
    return cuts[start:]


def categories_to_skip(fit: Sample, cut: Cut) -> tuple[str, ...]:
    """The categories where asking the small model costs more than its kept answers save, at this cut."""
    pairs, at = fit.pairs, fit.slice_of
    if len(fit.slices) < 2 or not pairs.slm_cost.sum() > 0:
        return ()
    keeps = fit.kept(cut) * pairs.llm_cost
    count = np.bincount(at, minlength=len(fit.slices)) + SKIP_SHRINK
    saved = np.bincount(at, weights=keeps, minlength=len(fit.slices)) + SKIP_SHRINK * keeps.mean()
    spent = np.bincount(at, weights=pairs.slm_cost, minlength=len(fit.slices)) + SKIP_SHRINK * pairs.slm_cost.mean()
    skip = np.asarray(saved / count <= spent / count)
    return () if skip.all() else tuple(name for name, skipped in zip(fit.slices, skip, strict=True) if skipped)


def _with_abstention(goals: Goals, fit: Sample, cut: Cut) -> Cut:
    """The cut with the lower threshold that makes the objective least on part A."""
    levels = np.unique(np.quantile(fit.score[~np.isnan(fit.score)], np.linspace(0, 0.5, 21)))
    options = [cut, *(replace(cut, abstain_below=float(t)) for t in levels if t <= min(cut.tau, 1.0))]
    return min(options, key=lambda each: float(objective(goals, fit, each).mean()))


def choose(path: Sequence[Cut], goals: Goals, fit: Sample, test: Sample, stored: Stored, *, cap_usd: float) -> Found:
    """Tests along the path on part B and takes the best of what is certified."""
    seen: dict[Cut, dict[str, float]] = {}

    def worst(cut: Cut) -> float:
        seen[cut] = goal_pvalues(goals, test, cut, cap_usd=cap_usd)
        return max(seen[cut].values())

    certified = fixed_sequence(path, worst, delta=goals.delta)
    alone = float(test.pairs.llm_cost.mean())
    any_cost = goals.only_cost or goals.value_usd is not None
    useful = [cut for cut in certified if any_cost or test.cost(cut).mean() < alone]

    def key(cut: Cut) -> float:
        if goals.only_cost:
            return -float(test.correct(cut).mean())
        return float((test.cost(cut) if goals.value_usd is None else objective(goals, test, cut)).mean())

    cut = min(useful, key=key) if useful else None
    passed = set(certified)
    left = [each for each in path if each not in passed]
    near = None if cut is not None or not path else best_uncertified(goals, test, [*left, *cuts_at(test.score, EVERY)])
    return Found(
        cut=cut,
        near=near,
        map=stored,
        fit=fit,
        test=test,
        pvalues=seen.get(cut, {}) if cut else {},
        tried=len(seen),
        cap_usd=cap_usd,
    )


def best_uncertified(goals: Goals, rows: Any, path: Sequence[AnyCut]) -> AnyCut:
    """Of the cuts that save on these rows the cheapest that seems to keep its promise, or the one nearest to it."""

    def excess(cut: AnyCut) -> float:
        found, kept = [0.0], rows.kept(cut)
        if goals.max_drop is not None:
            found.append(float((rows.pairs.llm_correct - rows.correct(cut)).mean()) - 0.75 * goals.max_drop)
        if goals.max_risk is not None and kept.any():
            found.append(float((1 - rows.correct(cut))[kept].mean()) - 0.9 * goals.max_risk)
        return max(found)

    saving = [cut for cut in path if rows.cost(cut).mean() < rows.pairs.llm_cost.mean()]
    return min(saving or path, key=lambda cut: (round(excess(cut), 4), float(rows.cost(cut).mean())))


# --- the whole ------------------------------------------------------------------------------------------------------


def calibrate(
    pairs: Pairs,
    goals: Goals,
    options: Options = Options(),
    *,
    binding: Mapping[str, Any] | None = None,
    clock: Callable[[], str] = now,
) -> Calibration:
    """A calibration artefact for these goals.

    Args:
        pairs: Labelled questions; independent draws of what the cascade will be asked.
        binding: What the artefact is for; by default the two models' names.
        clock: Gives the date.

    Raises:
        ConfigError, DataError: See `Pairs.check`, `Goals`, `Options`.
    """
    pairs.check()
    groups: dict[str, Any] = {}
    if options.by_group:
        found, groups = certify_groups(pairs, goals, options)
    else:
        found = certify(pairs, goals, options)
    threshold = None if found.cut is None else threshold_dict(found.cut)
    certified = threshold is not None or any(each["threshold"] for each in groups.values())
    kept, cost, correct = applied(found.test, threshold, groups)
    left = left_to_people(found.test, threshold, groups)
    probability, crossed = fit_probability(found.fit.score, found.fit.pairs.slm_correct, kind=options.probability)
    calibration = Calibration(
        verdict=CERTIFIED if certified else INFEASIBLE,
        threshold=threshold,
        guarantee=guarantee_of(found, goals, n=len(pairs), test=TEST, where=IN_EACH_SLICE if groups else ""),
        expected=figures(found.test.pairs, kept, cost, correct, left, goals.as_dict()),
        binding={"slm": pairs.slm, "llm": pairs.llm, **(binding or {})},
        map={**found.map, "needs_answer": pairs.needs_answer},
        probability=probability,
        health=signal_health(pairs.confidence, pairs.slm_correct),
        report=held_out_report(found, groups, probability, crossed, kept, cost, correct),
        data=data_of(pairs, pairs.notes if left is None else (*pairs.notes, LEFT_NOTE), options.seed),
        groups=groups,
        created=clock(),
    )
    advice = () if certified else advice_of(found, goals, calibration)
    return replace(calibration, advice=advice, sentence=sentence_of(calibration, goals, found))


def certify_groups(pairs: Pairs, goals: Goals, options: Options) -> tuple[Found, dict[str, Any]]:
    """A threshold for each category, each certified at delta / groups on its own rows: jointly valid (Bonferroni).

    Returns:
        The certification of all rows without its cut, and by category {n_test, threshold}; threshold None: not one.
    """
    if pairs.category is None:
        raise ConfigError("by-group: the rows have no category, expected one; name the column with --group")
    whole = certify(pairs, goals, replace(options, pre_policy=False))
    names = sorted(set(whole.test.pairs.category.astype(str).tolist()))  # type: ignore[union-attr]
    each_goal = replace(goals, delta=goals.delta / len(names))
    found: dict[str, Any] = {}
    for name in names:
        parts = [
            sample.take(np.flatnonzero(sample.pairs.category.astype(str) == name))  # type: ignore[union-attr]
            for sample in (whole.fit, whole.test)
        ]
        n = len(parts[1])
        cut = None
        if n >= GROUP_ROWS and len(parts[0]) >= 10:
            path = candidates(parts[0], each_goal, replace(options, pre_policy=False), n_test=n, cap_usd=whole.cap_usd)
            cut = choose(path, each_goal, parts[0], parts[1], whole.map, cap_usd=whole.cap_usd).cut
        found[name] = {"n_test": n, "threshold": None if cut is None else threshold_dict(cut)}
    return replace(whole, cut=None, near=whole.near or whole.cut), found
