"""The table: every method on one dataset, with intervals and paired tests against COREA's row.

Thresholds and classifiers come from the calibration split; every figure is of the evaluation split.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from corea.evaluate.thresholds import filled
from corea.metrics import (
    Interval,
    cost_interval,
    mcnemar_test,
    mean_difference_interval,
    paired_share_interval,
    permutation_test,
    saving_interval,
    share_interval,
)
from corea.metrics.arrays import Floats
from recipes.paper.answers import Pair, Part, joined
from recipes.paper.apply_methods import PAPERS_RULE, SeedSplit, play
from recipes.paper.methods import Method, methods
from recipes.paper.quality import auroc_difference_interval, score_quality
from recipes.paper.scores import NotRun

PERMUTATIONS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """Figures of a threshold on the evaluation split.

    Args:
        max_drop: The largest drop that the threshold was chosen for on the calibration split; None for the
            paper's rule of thumb, the LLM's own pass@1 there.
        taus: The thresholds, one for each part; none where nothing was fitted.
        drop: LLM's pass@1 minus this one's; positive is a loss.
        saving: 1 - cost / the LLM's cost.
    """

    max_drop: float | None
    taus: tuple[float, ...]
    accuracy: Interval
    cost_usd: Interval
    llm_share: Interval
    drop: Interval
    saving: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """Differences of one row to COREA's on the same questions, with intervals, and paired tests.

    Args:
        p_accuracy: McNemar's exact test.
        p_cost: Sign-flip permutation test of the mean cost.
        auroc: Of the scores, each for its own small model's answers; None for a model alone.
    """

    accuracy: Interval
    p_accuracy: float
    cost_share: Interval
    p_cost: float
    auroc: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One method on one dataset, or the reason why it was not run.

    Args:
        at: Operating points by drop; a model alone has one, without a threshold.
        trained: Training runs behind the row.
        quality: ECE (10 bins), AUROC, Brier, AURC of the score for the small model's answers.
        per_seed: For each seed's questions (and training runs) alone: pass@1, LLM%, saving, drop, ECE, AUROC.
        unstated: Questions without a score; they are deferred, and left out of `quality`.
    """

    method: str
    not_run: str | None = None
    role: str = ""
    score: str | None = None
    trained: int = 1
    at: tuple[OperatingPoint, ...] = ()
    rule: OperatingPoint | None = None
    quality: Mapping[str, Interval] = field(default_factory=dict[str, Interval])
    unstated: int = 0
    distinct: int = 0
    against: PairedDifference | None = None
    per_seed: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    curve: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A baseline and its figures."""

    name: str
    at: OperatingPoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All methods on one dataset."""

    dataset: str
    fit: int
    judged: int
    cells: tuple[Cell, ...]
    bounds: tuple[Bound, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodOutcome:
    """One method at the threshold of its row, question by question: (N,) arrays, for tests and figures."""

    method: Method
    right: Floats
    cost: Floats
    keep: Floats
    score: Floats
    own_right: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonInputs:
    """The inputs of the cells of one dataset.

    Args:
        parts: The splits; several where models were trained with several seeds, and then nothing is fitted across them.
        missing: By role, the reason why a model is not available.
        trained: By role, how many training runs it has.
        seed_of: (N,) the seed that each judged question was drawn with, in the order of the parts.
    """

    dataset: str
    parts: tuple[SeedSplit, ...]
    missing: Mapping[str, str]
    trained: Mapping[str, int]
    reference: str
    operate_at: float
    max_drops: tuple[float, ...]
    seed_of: Floats

    @property
    def judged(self) -> Part:
        """The evaluation questions of all parts."""
        return joined([part.judged for part in self.parts])


def make_table(
    inputs: ComparisonInputs, extra: dict[str, str], ours: str, *, on_row: Callable[[str], None] = lambda name: None
) -> tuple[Table, dict[str, MethodOutcome]]:
    """The table, and the outcome of each method that was run."""
    wanted = methods(extra, ours)
    wanted.sort(key=lambda m: m.name != inputs.reference)  # the reference of the paired tests comes first
    played: dict[str, MethodOutcome] = {}
    cells: dict[str, Cell] = {}
    for method in wanted:
        on_row(method.name)
        try:
            cells[method.name] = _cell(inputs, method, played)
        except NotRun as reason:
            cells[method.name] = Cell(method=method.name, role=method.role, score=method.score, not_run=str(reason))
    ordered = [cells[m.name] for m in methods(extra, ours)]
    table = Table(
        dataset=inputs.dataset,
        fit=sum(len(part.fitting) for part in inputs.parts),
        judged=sum(len(part.judged) for part in inputs.parts),
        cells=tuple(ordered),
        bounds=tuple(_bounds(inputs, played)),
    )
    return table, played


def _cell(inputs: ComparisonInputs, method: Method, played: dict[str, MethodOutcome]) -> Cell:
    for role in (method.role, "llm"):
        if role in inputs.missing:
            raise NotRun(inputs.missing[role])
    if method.score is None:
        return _alone(inputs, method, played)
    found = play(inputs.parts, method, inputs.max_drops)
    pair, score = found.pair, found.pair.confidence
    at = {drop: _outcome(method, pair, rule.keep) for drop, rule in found.rules.items()}
    points = {drop: _point(at[drop], pair, drop, rule.taus) for drop, rule in found.rules.items()}
    own = played[method.name] = at[inputs.operate_at]
    return Cell(
        method=method.name,
        role=method.role,
        score=method.score,
        trained=inputs.trained.get(method.role, 1),
        at=tuple(points[drop] for drop in inputs.max_drops),
        rule=points[PAPERS_RULE],
        quality=score_quality(score, pair.small_correct),
        unstated=int(np.isnan(score).sum()),
        distinct=len(np.unique(score[~np.isnan(score)])),
        against=_against(inputs, own, played),
        per_seed=_per_seed(inputs, own),
        curve=_curve(pair, before=method.before),
    )


def _outcome(method: Method, pair: Pair, keep: Floats) -> MethodOutcome:
    return MethodOutcome(
        method=method,
        right=np.where(keep > 0, pair.small_correct, pair.large_correct),
        cost=np.where(keep > 0, pair.small_cost, pair.large_cost + (0.0 if method.before else 1.0) * pair.small_cost),
        keep=keep,
        score=pair.confidence,
        own_right=pair.small_correct,
    )


def _point(own: MethodOutcome, pair: Pair, max_drop: float | None, taus: tuple[float, ...]) -> OperatingPoint:
    return OperatingPoint(
        max_drop=max_drop,
        taus=taus,
        accuracy=share_interval(own.right),
        cost_usd=cost_interval(own.cost),
        llm_share=share_interval(1 - own.keep),
        drop=paired_share_interval(pair.large_correct, own.right),
        saving=saving_interval(own.cost, pair.large_cost),
    )


def _alone(inputs: ComparisonInputs, method: Method, played: dict[str, MethodOutcome]) -> Cell:
    own, pair = _by_itself(inputs, method)
    played[method.name] = own
    return Cell(
        method=method.name,
        role=method.role,
        trained=inputs.trained.get(method.role, 1),
        at=(_point(own, pair, inputs.operate_at, ()),),
        against=_against(inputs, own, played),
        per_seed=_per_seed(inputs, own),
    )


def _by_itself(inputs: ComparisonInputs, method: Method) -> tuple[MethodOutcome, Pair]:
    own, large = (inputs.judged.answers[role] for role in (method.role, "llm"))
    nothing = np.full(len(own.correct), np.nan)
    keep = np.full(len(own.correct), float(method.role != "llm"))
    outcome = MethodOutcome(
        method=method, right=own.correct, cost=own.cost_usd, keep=keep, score=nothing, own_right=own.correct
    )
    pair = Pair(
        confidence=nothing, small_correct=own.correct, large_correct=large.correct, small_cost=own.cost_usd,
        large_cost=large.cost_usd,
    )  # fmt: skip
    return outcome, pair


def _against(
    inputs: ComparisonInputs, own: MethodOutcome, played: Mapping[str, MethodOutcome]
) -> PairedDifference | None:
    reference = played.get(inputs.reference)
    if reference is None or reference is own:
        return None
    large = float(inputs.judged.answers["llm"].cost_usd.mean()) or float("nan")
    gap: Interval | None = None
    if own.method.score is not None and reference.method.score is not None:
        gap = auroc_difference_interval((own.score, own.own_right), (reference.score, reference.own_right))
    return PairedDifference(
        accuracy=paired_share_interval(own.right, reference.right),
        p_accuracy=mcnemar_test(own.right, reference.right),
        cost_share=_scaled(mean_difference_interval(own.cost, reference.cost), 1 / large),
        p_cost=permutation_test(own.cost, reference.cost, resamples=PERMUTATIONS),
        auroc=gap,
    )


def _scaled(found: Interval, by: float) -> Interval:
    return Interval(by * found.value, by * found.low, by * found.high)


def _per_seed(inputs: ComparisonInputs, own: MethodOutcome) -> dict[str, dict[str, float]]:
    seeds = np.unique(inputs.seed_of)
    if len(seeds) < 2:
        return {}
    large, large_right = inputs.judged.answers["llm"].cost_usd, inputs.judged.answers["llm"].correct
    found: dict[str, dict[str, float]] = {}
    for seed in seeds:
        at = inputs.seed_of == seed
        quality = score_quality(own.score[at], own.own_right[at])
        found[str(int(seed))] = {
            "accuracy": float(own.right[at].mean()),
            "llm_share": 1 - float(own.keep[at].mean()),
            "saving": 1 - float(own.cost[at].mean() / large[at].mean()),
            "drop": float((large_right[at] - own.right[at]).mean()),
            **{name: quality[name].value for name in ("ece", "auroc")},
        }
    return found


def _curve(pair: Pair, *, before: bool, points: int = 60) -> dict[str, tuple[float, ...]]:
    """Cost and accuracy at every threshold, thinned; with a router the small model is paid only where it is asked."""
    order = np.argsort(-filled(pair.confidence), kind="stable")
    ends = np.flatnonzero(np.diff(filled(pair.confidence)[order], append=-2.0) != 0) + 1
    ends = np.concatenate([[0], ends])
    ends = ends[np.unique(np.linspace(0, len(ends) - 1, min(points, len(ends))).astype(int))]
    n = len(order)

    def kept_sum(x: Floats) -> Floats:
        return np.concatenate([[0.0], np.cumsum(x[order])])[ends] / n

    paid = kept_sum(pair.small_cost) if before else float(pair.small_cost.mean())
    cost = paid + pair.large_cost.mean() - kept_sum(pair.large_cost)
    accuracy = pair.large_correct.mean() + kept_sum(pair.small_correct - pair.large_correct)
    return {"cost_usd": tuple(map(float, cost)), "accuracy": tuple(map(float, accuracy))}


def _bounds(inputs: ComparisonInputs, played: Mapping[str, MethodOutcome]) -> list[Bound]:
    """Random deferral at COREA's rate, the best single model (chosen on the calibration split), and the oracle."""
    reference = played.get(inputs.reference)
    if reference is None:
        reference = next((p for p in played.values() if p.method.score is not None), None)
    if reference is None:
        return []
    role = reference.method.role
    single = _best_single(inputs)
    _, pair = _by_itself(inputs, reference.method)
    alone, _ = _by_itself(inputs, Method(name=single, role=single))
    share = float(1 - reference.keep.mean())
    at_random = MethodOutcome(
        method=reference.method,
        right=(1 - share) * pair.small_correct + share * pair.large_correct,
        cost=pair.small_cost + share * pair.large_cost,
        keep=np.full(len(pair), 1 - share),
        score=pair.confidence,
        own_right=pair.small_correct,
    )
    knowing = _outcome(Method(name="oracle", role=role), pair, (pair.small_correct >= pair.large_correct).astype(float))
    return [
        Bound(name=name, at=_point(outcome, pair, None, ()))
        for name, outcome in (
            (f"random, {100 * share:.0f} % to the LLM as {reference.method.name}", at_random),
            (f"best single ({single})", alone),
            (f"oracle on {role}", knowing),
        )
    ]


def _best_single(inputs: ComparisonInputs) -> str:
    """The role that was right most often on the calibration splits; the cheaper of equals."""
    there = joined([part.fitting for part in inputs.parts]).answers
    return max(there, key=lambda role: (there[role].correct.mean(), -there[role].cost_usd.mean()))
