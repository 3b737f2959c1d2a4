"""Three and more tiers: a threshold for each stage before the last, chosen jointly and certified as one cascade.

Part A fits a map for each stage, and lays out a path of combinations of thresholds: for each choice of the stages that
are asked at all, from keeping nothing, the threshold moves that saves most for what it loses; the choice that reaches
least on part A is taken. Part B tests along that path, each combination as a whole, with the tests and the fixed
sequence of two tiers. So however many thresholds there are, one test at the full level is made at a time, and the
promise is about the cascade that will run.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from corea.calibrate.artefact import CERTIFIED, INFEASIBLE, Calibration, now
from corea.calibrate.certify import TEST, Options, best_uncertified, categories_to_skip
from corea.calibrate.ltt import fixed_sequence
from corea.calibrate.maps import Stored, fit_probability, fit_score
from corea.calibrate.outcome import (
    Found,
    advice_of,
    cut_of,
    data_of,
    figures,
    guarantee_of,
    held_out_report,
    sentence_of,
    threshold_dict,
)
from corea.calibrate.rules import NOTHING, Cut, Sample, cuts_at
from corea.calibrate.sample_size import FIT_SHARE
from corea.calibrate.signal_quality import signal_health
from corea.calibrate.tables import Pairs
from corea.calibrate.targets import Goals, goal_pvalues, objective
from corea.errors import ConfigError, DataError
from corea.metrics.arrays import Floats
from corea.metrics.score_map import apply_map

DEFAULTS = Options()
STEP = 0.01  # of coverage, between two rungs of a stage
AHEAD = (1, 4, 8)  # rungs
REACH = 0.02  # of drop on part A beyond the one promised: further on nothing could pass
SEEMS = 0.2  # p-value on part A under which a goal seems kept
THE_PATH = "a path of joint thresholds that was laid out on other rows"
Cuts = tuple[Cut | None, ...]  # by stage before the last; None: it is not asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiered:
    """Rows of a cascade of S + 1 stages, as `Sample` is for two: `samples` by stage before the last, the same rows.

    `pairs` are the first stage's, for what the goals read of the last one.
    """

    samples: tuple[Sample, ...]

    @property
    def pairs(self) -> Pairs:
        return self.samples[0].pairs

    def __len__(self) -> int:
        return len(self.samples[0])

    def take(self, at: Any) -> "Tiered":
        """The rows at these places."""
        return Tiered(samples=tuple(sample.take(at) for sample in self.samples))

    def stage(self, cuts: Cuts) -> Any:
        """(N,) which stage answers; S is the last."""
        out = np.full(len(self), len(self.samples))
        for index in reversed(range(len(self.samples))):
            cut = cuts[index]
            if cut is not None:
                out = np.where(self.samples[index].kept(cut), index, out)
        return out

    def kept(self, cuts: Cuts) -> Any:
        """(N,) whether any stage before the last answers."""
        return self.stage(cuts) < len(self.samples)

    def abstained(self, cuts: Cuts) -> Any:
        """(N,) never: tiers know two outcomes."""
        return np.zeros(len(self), dtype=bool)

    def cost(self, cuts: Cuts) -> Floats:
        """(N,) USD: every stage that was asked, up to the one that answers."""
        stage = self.stage(cuts)
        out = np.where(stage == len(self.samples), self.pairs.llm_cost, 0.0)
        for index, sample in enumerate(self.samples):
            if (cut := cuts[index]) is not None:
                out = out + np.where((stage >= index) & sample.asked(cut), sample.pairs.slm_cost, 0.0)
        return out

    def correct(self, cuts: Cuts) -> Floats:
        """(N,) whether the answer that is returned is right."""
        every = [*(sample.pairs.slm_correct for sample in self.samples), self.pairs.llm_correct]
        return np.stack(every)[self.stage(cuts), np.arange(len(self))]


def check_tiers(tiers: Sequence[Pairs]) -> None:
    """Refuses tables that are not of one cascade.

    Raises:
        ConfigError: There are fewer than two, so that it is no tiered cascade.
        DataError: Their rows are not the same, or a table cannot be learnt from.
    """
    if len(tiers) < 2:
        raise ConfigError(f"tiers: got {len(tiers)} beside the last, expected two or more; give --tier for each")
    for pairs in tiers:
        pairs.check()
        if not np.array_equal(pairs.ids, tiers[0].ids):
            raise DataError(f"tiers: {pairs.slm} has other questions than {tiers[0].slm}, expected the same for all")


def common_rows(tiers: Sequence[Pairs]) -> list[Pairs]:
    """The tables with the rows that all of them have, in the order of the first; a note says how many were left out."""
    shared = set(tiers[0].ids.tolist()).intersection(*(pairs.ids.tolist() for pairs in tiers[1:]))
    keep = [key for key in tiers[0].ids.tolist() if key in shared]
    if not keep:
        raise DataError("tiers: no question is in all files, expected the same ids; check them")
    lost = max(len(pairs) for pairs in tiers) - len(keep)
    out: list[Pairs] = []
    for pairs in tiers:
        place = {key: i for i, key in enumerate(pairs.ids.tolist())}
        notes = pairs.notes + ((f"{lost} questions are not in every tier's rows and were left out",) if lost else ())
        out.append(replace(pairs.take(np.array([place[key] for key in keep])), notes=notes))
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTiers:
    """The outcome of the certification alone, before any report; see `corea.calibrate.outcome.Found`."""

    cuts: Cuts | None
    near: Cuts | None
    maps: tuple[Stored, ...]
    fit: Tiered
    test: Tiered
    pvalues: Mapping[str, float]
    tried: int
    cap_usd: float


def certify_tiers(tiers: Sequence[Pairs], goals: Goals, options: Options) -> FoundTiers:
    """Fits, tests and chooses jointly: all that the guarantee is about."""
    check_tiers(tiers)
    if goals.abstain_usd is not None or options.by_group:
        raise ConfigError("tiers: got --abstain-cost or --by-group, expected neither with three or more models")
    n = len(tiers[0])
    order = np.random.default_rng(options.seed).permutation(n)
    n_fit = min(max(10, round((options.fit_share or FIT_SHARE) * n)), n - 5)
    part_a, part_b = order[:n_fit], order[n_fit:]
    maps: list[Stored] = []
    fit: list[Sample] = []
    test: list[Sample] = []
    for pairs in tiers:
        a, b = pairs.take(part_a), pairs.take(part_b)
        stored, crossed = fit_score(a, kind=options.map, seed=options.seed, target=goals.target)
        maps.append(stored)
        fit.append(Sample.of(a, crossed))
        test.append(Sample.of(b, apply_map(stored, b.inputs())))
    fitted, tested = Tiered(samples=tuple(fit)), Tiered(samples=tuple(test))
    cap = goals.cost_cap_usd or 3.0 * float((sum(p.slm_cost for p in tiers) + tiers[0].llm_cost).max())
    path = candidate_tiers(fitted, goals, options, cap_usd=cap)
    return _choose(path, goals, fitted, tested, tuple(maps), cap)


def candidate_tiers(fit: Tiered, goals: Goals, options: Options, *, cap_usd: float) -> list[Cuts]:
    """The combinations to be tested, in the order of the test, from part A alone."""
    stages = range(len(fit.samples))
    every = [set(chosen) for size in stages for chosen in itertools.combinations(stages, size + 1)]
    ladders = [_ladder(sample, pre_policy=options.pre_policy) for sample in fit.samples]
    paths = [_path(fit, ladders, asked, goals.max_drop) for asked in every]
    path, worst = min(
        ((path, [max(_pvalues(goals, fit, cuts, cap_usd).values()) for cuts in path]) for path in paths),
        key=lambda each: _promise(goals, fit, *each),
    )
    if goals.only_cost:
        return path[::-1]
    if goals.max_risk is None and goals.max_cost_usd is None and goals.value_usd is None:
        return path
    return path[int(np.argmin(worst)) :]  # safest first, then bolder


def _promise(goals: Goals, fit: Tiered, path: Sequence[Cuts], worst: Sequence[float]) -> tuple[bool, float]:
    """What a path seems to reach on part A: the least cost (or error) of its combinations that seem to keep the goals;
    where none does, how near it comes."""
    seems = [cuts for cuts, p in zip(path, worst, strict=True) if p <= SEEMS]
    if not seems:
        return True, min(worst, default=1.0)
    return False, min(_key(goals, fit, cuts) for cuts in seems)


def _key(goals: Goals, rows: Tiered, cuts: Cuts) -> float:
    """What is made small."""
    if goals.only_cost:
        return -float(rows.correct(cuts).mean())
    if goals.value_usd is not None:
        return float(objective(goals, cast(Any, rows), cast(Any, cuts)).mean())
    return float(rows.cost(cuts).mean())


def _pvalues(goals: Goals, rows: Tiered, cuts: Cuts, cap_usd: float) -> dict[str, float]:
    """The goals ask of rows and cut only what `Tiered` answers for a combination as `Sample` does for one cut."""
    return goal_pvalues(goals, cast(Any, rows), cast(Any, cuts), cap_usd=cap_usd)


def _ladder(sample: Sample, *, pre_policy: bool) -> list[Cut]:
    """A stage's cuts, from keeping nothing on."""
    cuts = cuts_at(sample.score, [float(q) for q in np.arange(STEP, 1 + STEP / 2, STEP)])
    if pre_policy:
        cuts = [replace(cut, skip=categories_to_skip(sample, cut)) for cut in cuts]
    return [NOTHING, *cuts]


def _path(fit: Tiered, ladders: Sequence[Sequence[Cut]], asked: set[int], max_drop: float | None) -> list[Cuts]:
    """Combinations that keep more and more, a rung at one stage at a time: the one that saves most for what it loses.

    How much a rung saves and loses is read some rungs ahead too, as one rung on few rows is mostly noise.
    """
    masks = [[(sample.asked(cut), sample.kept(cut)) for cut in cuts]
             for sample, cuts in zip(fit.samples, ladders, strict=True)]  # fmt: skip

    def at(rungs: Sequence[int]) -> tuple[float, float]:
        return _gap_and_cost(fit, [masks[s][r] if s in asked else None for s, r in enumerate(rungs)])

    rungs, found = [0] * len(ladders), list[Cuts]()
    gap, cost = at(rungs)
    while max_drop is None or gap <= max_drop + REACH:
        steps: list[tuple[float, int]] = []
        for s in asked:
            for ahead in AHEAD:
                if rungs[s] + ahead < len(ladders[s]):
                    then_gap, then_cost = at([r + ahead * (s == t) for t, r in enumerate(rungs)])
                    steps.append(((cost - then_cost) / max(then_gap - gap, 1e-4 * ahead), s))
        if not steps:
            break
        rungs[max(steps)[1]] += 1
        gap, cost = at(rungs)
        found.append(tuple(ladders[s][r] if s in asked else None for s, r in enumerate(rungs)))
    return found


def _gap_and_cost(fit: Tiered, parts: Sequence[tuple[Any, Any] | None]) -> tuple[float, float]:
    """Mean of (last correct - answer correct) and mean USD; `parts` by stage: (N,) asked and kept; None: not asked."""
    left = np.ones(len(fit), dtype=bool)
    gap = cost = 0.0
    for sample, part in zip(fit.samples, parts, strict=True):
        if part is None:
            continue
        asked, keep = part
        cost += float(sample.pairs.slm_cost[left & asked].sum())
        here = left & keep
        gap += float((sample.pairs.llm_correct - sample.pairs.slm_correct)[here].sum())
        left = left & ~keep
    cost += float(fit.pairs.llm_cost[left].sum())
    return gap / len(fit), cost / len(fit)


def _choose(
    path: Sequence[Cuts], goals: Goals, fit: Tiered, test: Tiered, maps: tuple[Stored, ...], cap: float
) -> FoundTiers:
    seen: dict[Cuts, dict[str, float]] = {}

    def worst(cuts: Cuts) -> float:
        seen[cuts] = _pvalues(goals, test, cuts, cap)
        return max(seen[cuts].values())

    certified = fixed_sequence(path, worst, delta=goals.delta)
    alone = float(test.pairs.llm_cost.mean())
    any_cost = goals.only_cost or goals.value_usd is not None
    useful = [cuts for cuts in certified if any_cost or test.cost(cuts).mean() < alone]

    best = min(useful, key=lambda cuts: _key(goals, test, cuts)) if useful else None
    left = [cuts for cuts in path if cuts not in certified]
    return FoundTiers(
        cuts=best,
        near=None if best is not None or not path else best_uncertified(goals, test, left or list(path)),
        maps=maps,
        fit=fit,
        test=test,
        pvalues=seen.get(best, {}) if best else {},
        tried=len(seen),
        cap_usd=cap,
    )


def calibrate_tiers(
    tiers: Sequence[Pairs],
    goals: Goals,
    options: Options = DEFAULTS,
    *,
    binding: Mapping[str, Any] | None = None,
    clock: Callable[[], str] = now,
) -> Calibration:
    """A calibration artefact with a threshold for each stage before the last.

    Args:
        tiers: By stage before the last, from small to large: its table against the last. All have the same rows.
        binding: What the artefact is for; by default the models' names.

    Raises:
        ConfigError, DataError: See `check_tiers`, `Goals`, `Options`.
    """
    found = certify_tiers(tiers, goals, options)
    cuts: Cuts = found.cuts or (None,) * len(tiers)
    kept, cost, correct = (f(cuts) for f in (found.test.kept, found.test.cost, found.test.correct))
    parts, crossed = _stages(tiers, found, cuts, options)
    first = Found(
        cut=None, near=None, map=found.maps[0], fit=found.fit.samples[0], test=found.test.samples[0],
        pvalues=found.pvalues, tried=found.tried, cap_usd=found.cap_usd,
    )  # fmt: skip
    names = {f"tier{i + 1}" if i else "slm": pairs.slm for i, pairs in enumerate(tiers)}
    notes = dict.fromkeys(note for pairs in tiers for note in pairs.notes)
    calibration = Calibration(
        verdict=INFEASIBLE if found.cuts is None else CERTIFIED,
        threshold=parts[0]["threshold"],
        guarantee=guarantee_of(found, goals, n=len(tiers[0]), test=f"{TEST} along {THE_PATH}"),
        expected=figures(found.test.pairs, kept, cost, correct, goals=goals.as_dict()),
        binding={**names, "llm": tiers[0].llm, **(binding or {})},
        map=parts[0]["map"],
        probability=parts[0]["probability"],
        health=parts[0]["health"],
        report=held_out_report(first, {}, parts[0]["probability"], crossed, kept, cost, correct),
        data=data_of(tiers[0], list(notes), options.seed, digests=[pairs.digest for pairs in tiers]),
        tiers=parts,
        created=clock(),
    )
    advice = () if found.cuts is not None else advice_of(cast(Any, found), goals, calibration)
    return replace(calibration, advice=advice, sentence=sentence_of(calibration, goals, first))


def _stages(
    tiers: Sequence[Pairs], found: FoundTiers, cuts: Cuts, options: Options
) -> tuple[tuple[dict[str, Any], ...], Floats]:
    """What the artefact says of each stage before the last, and the first one's cross-fitted chances of being right."""
    probabilities = [fit_probability(s.score, s.pairs.slm_correct, kind=options.probability) for s in found.fit.samples]
    answering = found.test.stage(cuts)
    parts = tuple(
        {
            "model": pairs.slm,
            "threshold": None if cut is None else threshold_dict(cut),
            "map": {**found.maps[i], "needs_answer": pairs.needs_answer},
            "probability": probabilities[i][0],
            "health": signal_health(pairs.confidence, pairs.slm_correct),
            "answers": float((answering == i).mean()),
        }
        for i, (pairs, cut) in enumerate(zip(tiers, cuts, strict=True))
    )
    return parts, probabilities[0][1]


def tiers_applied(found: Calibration, tiers: Sequence[Pairs]) -> tuple[Any, Floats, Floats]:
    """Kept before the last stage, cost and correctness (N,) of an artefact's thresholds on rows of these tiers."""
    samples = [Sample.of(p, apply_map(part["map"], p.inputs())) for p, part in zip(tiers, found.tiers, strict=True)]
    rows = Tiered(samples=tuple(samples))
    cuts: Cuts = tuple(None if part["threshold"] is None else cut_of(part["threshold"]) for part in found.tiers)
    return rows.kept(cuts), rows.cost(cuts), rows.correct(cuts)
