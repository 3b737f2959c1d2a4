"""Certifies rules: tests a path of rules on rows that fitted nothing (see `prepare`), and selects the best.

One selection serves two models and more, and full and few labels: the path and the p-value differ, nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from corea.calibrate.few_labels import FewLabels
from corea.calibrate.paths import candidate_path
from corea.calibrate.prepare import DEFAULTS, FitOptions, FittedMaps, Prepared, prepare, prepare_parts, split
from corea.calibrate.rules import GroupRule, Rules, ScoredTable, rules_at
from corea.calibrate.targets import PValues, Targets, target_pvalues
from corea.errors import ConfigError
from corea.records.table import OutcomeTable

COVERAGES = [float(c) for c in np.arange(0.02, 1.01, 0.02)]  # among which the best uncertified rule is looked for
GROUP_ROWS = 30
Candidate = TypeVar("Candidate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The outcome of a certification, before any report.

    Args:
        rules: The chosen rules; None when infeasible.
        best_uncertified: The best rules that were not certified; None where something was, or none could be tried.
        pvalues: Of the chosen rules, by target. `tested`: how many rules were.
        groups: By category, where asked for: its own threshold takes the place of `rules`.
        labels: With few labels: which rows of the test have one, and how answers compare.
    """

    rules: Rules | None
    best_uncertified: Rules | None
    prepared: Prepared
    pvalues: Mapping[str, float]
    tested: int
    cap_usd: float
    groups: Mapping[str, GroupRule] = field(default_factory=dict[str, GroupRule])
    labels: FewLabels | None = None
    notes: tuple[str, ...] = ()

    @property
    def fit(self) -> ScoredTable:
        """The rows that fitted the maps."""
        return self.prepared.fit

    @property
    def test(self) -> ScoredTable:
        """The rows that tested."""
        return self.prepared.test


def certify(
    table: OutcomeTable,
    targets: Targets,
    options: FitOptions = DEFAULTS,
    *,
    older: OutcomeTable | None = None,
    fitted: FittedMaps | None = None,
) -> Selection:
    """Fits, tests and selects: all that the guarantee is about.

    Args:
        older: Other labelled rows of the same models: they fit maps and router and lay out the path, so that all rows
            of `table` test. They need not be drawn as those are, and share no question with them.
        fitted: Maps that none of these rows fitted; a tenth of the rows, at most 200, then lay out the path.

    Raises:
        ConfigError, DataError: Targets and options that do not fit together; see `FewLabels.of`.
    """
    _check_options(table, targets, options, older, fitted)
    if options.by_group:
        return _certify_groups(table, targets, options)
    if not options.few_labels:
        prepared = prepare(table, options, target=targets.score_target, older=older, fitted=fitted)
        return certify_prepared(prepared, targets, options, cap_usd=targets.cap(table))
    table = table.distinct()
    labels = FewLabels.of(table, targets)
    part_a, part_b = split(table, options, held_out=labels.held_out)
    notes = labels.notes(part_a)
    proxy = labels.proxy(table)
    prepared = prepare_parts(proxy.take(part_a), table.take(part_b), options, targets.score_target)
    labels = labels.take(part_b)
    labels.check_scores(prepared.test)
    found = certify_prepared(prepared, targets, options, cap_usd=targets.cap(table), labels=labels)
    return replace(found, notes=(*notes, *labels.limit_notes(prepared.test, prepared.fit, targets)))


def _check_options(
    table: OutcomeTable, targets: Targets, options: FitOptions, older: OutcomeTable | None, fitted: FittedMaps | None
) -> None:
    if len(table.models) > 2 and (targets.abstain_usd is not None or options.few_labels or options.router):
        raise ConfigError(
            "calibrate: got three or more models, expected two with --abstain-cost, --few-labels or --router"
        )
    if (options.router or (fitted and fitted.router)) and not targets.only_drop:
        raise ConfigError("router: got other targets than --max-drop, expected that one alone; drop them, or --router")
    if (older or fitted) and (options.few_labels or options.by_group):
        raise ConfigError("map-from: got --few-labels or --by-group too, expected neither; drop one")
    if fitted is not None and len(fitted.maps) != len(table.stages):
        raise ConfigError(f"map-from: got {len(fitted.maps)} maps, expected {len(table.stages)}, one a stage")
    for own, other in zip(older.models if older else (), table.models, strict=False):
        if own.name != other.name or list(own.signals) != list(other.signals):
            raise ConfigError(
                f"map-from: got rows of {own.name} with {', '.join(own.signals) or 'no signal'}, expected {other.name} "
                f"with {', '.join(other.signals) or 'no signal'}, as in the new rows"
            )


def select_for_labelling(table: OutcomeTable, targets: Targets, count: int, options: FitOptions) -> list[str]:
    """Ids whose labels are worth most: drawn at random from the rows of the test that differ and might be kept.

    Calibrate afterwards with the same rows, targets and options, so that the same rows test.

    Args:
        table: Labels may be missing. `count`: how many ids at most.

    Raises:
        ConfigError: There is no `max_drop`: only it is certified from differing answers.
    """
    if targets.max_drop is None:
        raise ConfigError("select-for-labelling: got no --max-drop, expected one: only it needs differing answers")
    table = table.distinct()
    labels = FewLabels.of(table, targets)
    part_a, part_b = split(table, replace(options, few_labels=True))
    prepared = prepare_parts(labels.proxy(table).take(part_a), table.take(part_b), options, targets.score_target)
    asked = labels.take(part_b).worth(prepared.test, prepared.fit, targets)
    chosen = np.random.default_rng([options.seed, 1]).permutation(asked)[:count]
    return [str(prepared.test.table.ids[i]) for i in chosen]


# --- the selection --------------------------------------------------------------------------------------------------


def certify_prepared(
    prepared: Prepared,
    targets: Targets,
    options: FitOptions = DEFAULTS,
    *,
    cap_usd: float,
    labels: FewLabels | None = None,
) -> Selection:
    """Lays out the path on the fit split, tests it on the other and selects; `cap_usd` as `Targets.cap` gives it."""
    path = candidate_path(
        prepared.fit, targets, n_test=len(prepared.test), cap_usd=cap_usd,
        pre_policy=options.pre_policy and prepared.categories is not None,
    )  # fmt: skip
    if labels is not None:
        lowest = labels.least_labelled(prepared.test)
        path = labels.worth_testing(path, prepared.fit, targets, lowest=lowest)
    return select(path, targets, prepared, cap_usd=cap_usd, labels=labels)


def select(
    path: Sequence[Rules], targets: Targets, prepared: Prepared, *, cap_usd: float, labels: FewLabels | None = None
) -> Selection:
    """Tests along the path on the test split and takes the best of the certified rules.

    Args:
        labels: With few labels; then its p-values take the place of those that need a label on every row.
    """
    test = prepared.test
    pvalues = _pvalues(targets, cap_usd, labels)
    seen: dict[Rules, dict[str, float]] = {}

    def worst(rules: Rules) -> float:
        seen[rules] = pvalues(test, test.outcome(rules))
        return max(seen[rules].values())

    certified = fixed_sequence(path, worst, delta=targets.delta)
    best = _best(certified, targets, test, labels)
    passed = set(certified)
    left = [rules for rules in path if rules not in passed]
    near = None
    if best is None and labels is not None:
        near = left[0] if left else None
    elif best is None and path:
        more = [(rule,) for rule in rules_at(test.scores[0], COVERAGES)] if len(test.scores) == 1 else []
        near = best_uncertified(targets, test, [*left, *more] or path)
    return Selection(
        rules=best, best_uncertified=near, prepared=prepared, pvalues=seen[best] if best else {}, tested=len(seen),
        cap_usd=cap_usd, labels=labels,
    )  # fmt: skip


def _pvalues(targets: Targets, cap_usd: float, labels: FewLabels | None) -> PValues:
    if labels is not None:
        return lambda rows, outcome: labels.pvalues(targets, rows, outcome, cap_usd=cap_usd)
    return lambda rows, outcome: target_pvalues(targets, rows, outcome, cap_usd=cap_usd)


def _best(certified: Sequence[Rules], targets: Targets, test: ScoredTable, labels: FewLabels | None) -> Rules | None:
    """Of the certified rules those that save, and of these the one with the least objective."""
    alone = float(test.table.last.cost_usd.mean())
    any_cost = targets.only_cost or targets.value_usd is not None
    outcomes = {rules: test.outcome(rules) for rules in certified}
    useful = [rules for rules, outcome in outcomes.items() if any_cost or outcome.cost_usd.mean() < alone]

    def key(rules: Rules) -> float:
        outcome = outcomes[rules]
        if labels is None:
            return float(targets.objective(test, outcome).mean())
        cost = float(outcome.cost_usd.mean())  # accuracy is not known: within a cost alone, defer all that it allows
        return -cost if targets.only_cost else cost

    return min(useful, key=key, default=None)


def fixed_sequence(
    candidates: Sequence[Candidate], pvalue: Callable[[Candidate], float], *, delta: float
) -> list[Candidate]:
    """The candidates certified before the first failure, each tested at the full level.

    Valid where the order was fixed without the rows of the test: the probability that any certified candidate misses
    its target is at most delta, since to err, the first one in the order that does must be rejected at level delta. So
    any of those returned may be chosen afterwards, by looking.

    Source: Angelopoulos et al. 2021, arXiv:2110.01052 (Learn then Test), sec. 3; Maurer et al. 1995 (fixed sequence).
    """
    found: list[Candidate] = []
    for candidate in candidates:
        if pvalue(candidate) > delta:
            break
        found.append(candidate)
    return found


def best_uncertified(targets: Targets, rows: ScoredTable, path: Sequence[Rules]) -> Rules:
    """Of the rules that save on these rows the cheapest that seems to meet the targets, or the one nearest to that."""
    last = rows.table.last
    outcomes = {rules: rows.outcome(rules) for rules in path}

    def excess(rules: Rules) -> float:
        outcome, found = outcomes[rules], [0.0]
        if targets.max_drop is not None:
            found.append(float((last.correct - outcome.correct).mean()) - 0.75 * targets.max_drop)
        if targets.max_risk is not None and outcome.kept.any():
            found.append(float((1 - outcome.correct)[outcome.kept].mean()) - 0.9 * targets.max_risk)
        return max(found)

    saving = [rules for rules in path if outcomes[rules].cost_usd.mean() < last.cost_usd.mean()]
    return min(saving or path, key=lambda rules: (round(excess(rules), 4), float(outcomes[rules].cost_usd.mean())))


# --- one threshold for each category --------------------------------------------------------------------------------


def _certify_groups(table: OutcomeTable, targets: Targets, options: FitOptions) -> Selection:
    """A threshold for each category, each certified at delta / groups on its own rows: jointly valid (Bonferroni)."""
    if len(table.models) > 2:
        raise ConfigError("by-group: got three or more models, expected two")
    if table.categories is None:
        named = table.category_column
        raise ConfigError(f"by-group: the rows have no {named}, expected one; name the column with --group")
    options = replace(options, pre_policy=False, by_group=False, use_category=True)
    whole = certify(table, targets, options)
    names = whole.prepared.categories or ()
    each_target = replace(targets, delta=targets.delta / len(names))
    groups: dict[str, GroupRule] = {}
    for name in names:
        fit, test = whole.fit.in_slice(name), whole.test.in_slice(name)
        threshold = None
        if len(test) >= GROUP_ROWS and len(fit) >= 10:
            part = replace(whole.prepared, categories=None, fit=fit, test=test)
            found = certify_prepared(part, each_target, options, cap_usd=whole.cap_usd)
            threshold = None if found.rules is None else found.rules[0]
        groups[name] = GroupRule(n_test=len(test), threshold=threshold)
    return replace(whole, rules=None, best_uncertified=whole.best_uncertified or whole.rules, groups=groups)
