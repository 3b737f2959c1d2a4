"""Paths: the candidate rules in the order in which they will be tested, laid out on the rows that fit alone.

For two models the path goes from keeping few answers to keeping many. For more, a path of combinations is laid out for
each choice of the stages that are asked at all: from keeping nothing, the threshold moves that saves most for what it
loses; the choice that promises least cost on these rows is taken. Each combination is later tested as a whole, so that
one test at the full level is made at a time, however many thresholds there are.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from corea.calibrate.rules import NOTHING, Rules, ScoredTable, ThresholdRule, rules_at
from corea.calibrate.targets import Targets, target_pvalues

STEPS = ((1500, 0.005), (500, 0.01), (0, 0.02))  # rows of the test, share of the answers between two rules
LOOKS = 25  # rules looked at on the fitting rows to find the safest
SKIP_SHRINK = 20.0
ROUTE_STEP = 0.05  # of the questions, between two thresholds of the router
STEP = 0.01  # of coverage, between two rungs of a stage of several
AHEAD = (1, 4, 8)  # rungs
REACH = 0.02  # of drop on the fitting rows beyond the target: further on nothing could pass
SEEMS = 0.2  # p-value on the fitting rows under which a target seems met


def candidate_path(
    fit: ScoredTable, targets: Targets, *, n_test: int, cap_usd: float, pre_policy: bool = True
) -> list[Rules]:
    """The rules to be tested, in the order of the test.

    Args:
        fit: The rows that fitted the map, with cross-fitted scores. `n_test`: how many others test.
        cap_usd: As `Targets.cap` gives it.
        pre_policy: Admits rules that skip a stage in categories where it does not pay.
    """
    if len(fit.scores) > 1:
        return _joint_path(fit, targets, cap_usd=cap_usd, pre_policy=pre_policy)
    step = next(step for rows, step in STEPS if n_test >= rows)
    if fit.routes is not None:
        return _routed_path(fit, step, targets.max_drop or 0.0)
    rules = _ladder(fit, 0, step, pre_policy=pre_policy)
    if targets.abstain_usd is not None:
        rules = [_with_abstention(targets, fit, rule) for rule in rules]
    if targets.only_cost:
        return [(rule,) for rule in (*reversed(rules), NOTHING)]
    path: list[Rules] = [(rule,) for rule in rules]
    return path[_start(path, targets, fit, n_test, cap_usd) :] if path else path


def _ladder(fit: ScoredTable, stage: int, step: float, *, pre_policy: bool) -> list[ThresholdRule]:
    """A stage's rules in equal steps of coverage."""
    rules = rules_at(fit.scores[stage], [float(c) for c in np.arange(step, 1 + step / 2, step)])
    if not pre_policy:
        return rules
    return [replace(rule, skip_categories=categories_to_skip(fit, stage, rule)) for rule in rules]


def _start(path: Sequence[Rules], targets: Targets, fit: ScoredTable, n_test: int, cap_usd: float) -> int:
    """The place on the path where the test begins: rules that cannot save, or cannot be certified, are not tried."""
    outcomes = [fit.outcome(rules) for rules in path]
    alone = float(fit.table.last.cost_usd.mean())
    start = next((i for i, outcome in enumerate(outcomes) if outcome.cost_usd.mean() < alone), 0)
    if targets.max_risk is not None:  # too few kept answers can show no share of wrong ones, however few
        enough = 2 * np.log(targets.delta) / np.log1p(-targets.max_risk) / n_test
        start = next((i for i, outcome in enumerate(outcomes) if outcome.kept.mean() >= enough), len(path) - 1)
    if targets.max_risk is not None or targets.max_cost_usd is not None or targets.value_usd is not None:
        every = max(1, (len(path) - start) // LOOKS)
        worst = [_worst(targets, fit, outcome, cap_usd) for outcome in outcomes[start::every]]
        start += every * int(np.argmin(worst))  # safest first, then bolder
    return start


def _worst(targets: Targets, fit: ScoredTable, outcome: Any, cap_usd: float) -> float:
    return max(target_pvalues(targets, fit, outcome, cap_usd=cap_usd).values())


def categories_to_skip(fit: ScoredTable, stage: int, rule: ThresholdRule) -> tuple[str, ...]:
    """The categories where asking a stage costs more than its kept answers save, with this rule."""
    cost, at, count_of = fit.table.models[stage].cost_usd, fit.slice_of, len(fit.slices)
    if count_of < 2 or not cost.sum() > 0:
        return ()
    keeps = fit.kept(stage, rule) * fit.table.last.cost_usd
    count = np.bincount(at, minlength=count_of) + SKIP_SHRINK
    saved = np.bincount(at, weights=keeps, minlength=count_of) + SKIP_SHRINK * keeps.mean()
    spent = np.bincount(at, weights=cost, minlength=count_of) + SKIP_SHRINK * cost.mean()
    skip = np.asarray(saved / count <= spent / count)
    return () if skip.all() else tuple(name for name, skipped in zip(fit.slices, skip, strict=True) if skipped)


def _with_abstention(targets: Targets, fit: ScoredTable, rule: ThresholdRule) -> ThresholdRule:
    """The rule with the lower threshold that minimises the objective on these rows."""
    score = fit.scores[0]
    levels = np.unique(np.quantile(score[~np.isnan(score)], np.linspace(0, 0.5, 21)))
    options = [rule, *(replace(rule, abstain_below=float(t)) for t in levels if t <= min(rule.limit, 1.0))]
    return min(options, key=lambda each: float(targets.total_usd(fit.outcome((each,))).mean()))


# --- a router before the first model --------------------------------------------------------------------------------


def _routed_path(fit: ScoredTable, step: float, max_drop: float) -> list[Rules]:
    """Pairs of the router's threshold and the score's: one step at a time, more is asked or more of the asked is kept.

    As in `_greedy_path`, the step that saves most for what it loses; each rule keeps all that the one before it keeps.
    """
    first, last, routes = fit.table.first, fit.table.last, fit.routes
    assert routes is not None  # by the caller
    rules = _ladder(fit, 0, step, pre_policy=False)
    levels = np.unique(np.quantile(routes, np.arange(0, 1, ROUTE_STEP)))[::-1]
    keeps = np.stack([fit.kept(0, rule) for rule in rules])
    asks = routes >= levels[:, None]
    gap = (keeps * (last.correct - first.correct)) @ asks.T / len(fit)
    cost = (asks @ first.cost_usd - (keeps * last.cost_usd) @ asks.T) / len(fit)
    at, path = (0, 0), list[Rules]()
    while gap[at] <= max_drop + REACH:
        if cost[at] < 0:
            path.append((replace(rules[at[0]], ask_above=float(levels[at[1]])),))
        steps: list[tuple[float, tuple[int, int]]] = []
        for ahead in AHEAD:
            for move, then in (((1, 0), (at[0] + ahead, at[1])), ((0, 1), (at[0], at[1] + ahead))):
                if then[0] < len(rules) and then[1] < len(levels):
                    steps.append(((cost[at] - cost[then]) / max(gap[then] - gap[at], 1e-4 * ahead), move))
        if not steps:
            break
        move = max(steps)[1]
        at = (at[0] + move[0], at[1] + move[1])
    return path


# --- three and more models ------------------------------------------------------------------------------------------


def _joint_path(fit: ScoredTable, targets: Targets, *, cap_usd: float, pre_policy: bool) -> list[Rules]:
    choices = [set(chosen) for size in fit.stages for chosen in itertools.combinations(fit.stages, size + 1)]
    ladders = [[NOTHING, *_ladder(fit, stage, STEP, pre_policy=pre_policy)] for stage in fit.stages]
    paths = [_greedy_path(fit, ladders, asked, targets.max_drop) for asked in choices]
    path, worst = min(
        ((path, [_worst(targets, fit, fit.outcome(rules), cap_usd) for rules in path]) for path in paths),
        key=lambda each: _prospect(targets, fit, *each),
    )
    if targets.only_cost:
        return path[::-1]
    if targets.max_risk is None and targets.max_cost_usd is None and targets.value_usd is None:
        return path
    return path[int(np.argmin(worst)) :]  # safest first, then bolder


def _prospect(targets: Targets, fit: ScoredTable, path: Sequence[Rules], worst: Sequence[float]) -> tuple[bool, float]:
    """A path's least objective on these rows among the combinations that seem to meet the targets.

    Where none seems to, the least p-value instead; such paths come last.
    """
    seems = [rules for rules, p in zip(path, worst, strict=True) if p <= SEEMS]
    if not seems:
        return True, min(worst, default=1.0)
    return False, min(float(targets.objective(fit, fit.outcome(rules)).mean()) for rules in seems)


def _greedy_path(
    fit: ScoredTable, ladders: Sequence[Sequence[ThresholdRule]], asked: set[int], max_drop: float | None
) -> list[Rules]:
    """Combinations that keep more and more, one rung at one stage at a time: the one that saves most for what it loses.

    Savings and losses are read some rungs ahead too, as one rung on few rows is mostly noise.
    """
    masks = [[(fit.asked(stage, rule), fit.kept(stage, rule)) for rule in rules] for stage, rules in enumerate(ladders)]

    def at(rungs: Sequence[int]) -> tuple[float, float]:
        return _gap_and_cost(fit, [masks[s][r] if s in asked else None for s, r in enumerate(rungs)])

    rungs, found = [0] * len(ladders), list[Rules]()
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


def _gap_and_cost(fit: ScoredTable, parts: Sequence[tuple[Any, Any] | None]) -> tuple[float, float]:
    """Mean of (last correct - answer correct) and mean USD; `parts` by stage: (N,) asked and kept; None: not asked."""
    last = fit.table.last
    left = np.ones(len(fit), dtype=bool)
    gap = cost = 0.0
    for model, part in zip(fit.table.stages, parts, strict=True):
        if part is None:
            continue
        asked, keep = part
        cost += float(model.cost_usd[left & asked].sum())
        here = left & keep
        gap += float((last.correct - model.correct)[here].sum())
        left = left & ~keep
    cost += float(last.cost_usd[left].sum())
    return gap / len(fit), cost / len(fit)
