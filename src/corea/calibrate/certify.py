"""Certifies rules: splits the rows, fits maps on one part, tests a path of rules on the other, and selects the best.

The rows that fit the maps and lay out the path (fit split) are not rows of the test (test split). So given the fit
split, the rows of the test are independent draws, and every p-value holds at its sample size. The fit split is the
smaller one: the width of the guarantee falls with the root of the test rows, the map hardly improves after a thousand.

One selection serves two models and more, and full and few labels: the path and the p-value differ, nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from corea.calibrate.few_labels import FewLabels, worth_labelling
from corea.calibrate.maps import fit_score, several_columns
from corea.calibrate.paths import candidate_path
from corea.calibrate.router import fit_router
from corea.calibrate.rules import GroupRule, Rules, ScoredTable, rules_at
from corea.calibrate.sample_size import FIT_SHARE
from corea.calibrate.targets import PValues, Targets, target_pvalues
from corea.errors import ConfigError, DataError
from corea.metrics.score_map import ScoreMap
from corea.policies.router import QuestionModel
from corea.records.table import OutcomeTable

PLAIN_SHARE, PLAIN_ROWS = 0.1, 200  # a plain signal fits nothing: the fit split then only lays out the path
ENOUGH_ROWS, LEAST_SHARE = 800, 0.15  # a blend's fit split is FIT_SHARE until it has so many rows, then at least this
COVERAGES = [float(c) for c in np.arange(0.02, 1.01, 0.02)]  # among which the best uncertified rule is looked for
GROUP_ROWS = 30
Candidate = TypeVar("Candidate")


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """Settings of a calibration; the defaults are those of the measured runs in docs/guarantee.md.

    Args:
        map: "auto", "identity", "linear" or "trees" (see `maps.fit_score`).
        probability: "auto", "isotonic", "platt" or "beta".
        use_category: Maps and rules may read a question's category. Every question must then carry one, which those of
            the gateway and of `corea ask` do not: what has none that calibrated is deferred.
        pre_policy: Then admits rules that skip a stage in categories where it does not pay.
        by_group: One threshold for each category, with one joint guarantee.
        few_labels: Rows may lack labels: the last model's answer is the reference (see `few_labels`).
        router: A model of the question's text decides where the first model is asked at all; its threshold and that of
            the score are tested together.
        fit_share: The fit split's share of the rows; None: 0.3 with a router; 0.3 for a blend, falling to 0.15 beyond
            800 rows; and 0.1 (at most 200 rows) for a plain signal.
        seed: Random seed of the split and of the folds.
    """

    map: str = "auto"
    probability: str = "auto"
    use_category: bool = False
    pre_policy: bool = True
    by_group: bool = False
    few_labels: bool = False
    router: bool = False
    fit_share: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.map not in ("auto", "identity", "linear", "trees"):
            raise ConfigError(f"map: got {self.map!r}, expected auto, identity, linear or trees")
        if self.probability not in ("auto", "isotonic", "platt", "beta"):
            raise ConfigError(f"probability: got {self.probability!r}, expected auto, isotonic, platt or beta")
        if self.fit_share is not None and not 0 < self.fit_share < 1:
            raise ConfigError(f"fit-share: got {self.fit_share}, expected a share between 0 and 1")
        if self.seed < 0:
            raise ConfigError(f"seed: got {self.seed}, expected a whole number of at least 0")
        if self.by_group and self.few_labels:
            raise ConfigError("by-group: got few labels too, expected a label on every row; label all, or drop one")
        if self.router and (self.by_group or self.few_labels):
            raise ConfigError("router: got --by-group or --few-labels too, expected neither; drop one")


DEFAULTS = FitOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Maps and both splits of the rows, scored; independent of the targets' levels.

    Args:
        maps: By stage before the last.
        categories: Those that fitted, where maps or rules may read the category; any other is deferred.
        fit: Fit split with cross-fitted scores. `test`: the test split.
        router: Where asked for.
    """

    maps: tuple[ScoreMap, ...]
    categories: tuple[str, ...] | None
    fit: ScoredTable
    test: ScoredTable
    router: QuestionModel | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedMaps:
    """Maps that were fitted on rows that are not at hand: those of an artefact; fields as in `Prepared`."""

    maps: tuple[ScoreMap, ...]
    categories: tuple[str, ...] | None
    router: QuestionModel | None

    def prepared(self, fit: OutcomeTable, test: OutcomeTable) -> Prepared:
        """Both parts, scored."""
        first, second = (ScoredTable.mapped(rows, self.maps, self.categories, self.router) for rows in (fit, test))
        return Prepared(maps=self.maps, categories=self.categories, fit=first, test=second, router=self.router)


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
    prepared = _prepared(proxy.take(part_a), table.take(part_b), options, targets.score_target)
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
    prepared = _prepared(labels.proxy(table).take(part_a), table.take(part_b), options, targets.score_target)
    least, _ = worth_labelling(prepared.fit, targets)
    with np.errstate(invalid="ignore"):
        asked = labels.different[part_b] & (prepared.test.scores[0] >= least)
    chosen = np.random.default_rng([options.seed, 1]).permutation(np.flatnonzero(asked))[:count]
    return [str(prepared.test.table.ids[i]) for i in chosen]


# --- the split ------------------------------------------------------------------------------------------------------


def split(table: OutcomeTable, options: FitOptions, *, held_out: Any = None) -> tuple[Any, Any]:
    """Row indices that fit and that test, in random order.

    Args:
        held_out: (N,) True for rows that must not fit; they all test.
    """
    order, n_fit = np.random.default_rng(options.seed).permutation(len(table)), _fit_rows(table, options)
    if table.clusters is not None:
        return _split_clusters(table.clusters[order].astype(str), order, n_fit)
    if held_out is None or not held_out.any():
        return order[:n_fit], order[n_fit:]
    part_a = order[~held_out[order]][:n_fit]
    return part_a, order[~np.isin(order, part_a)]


def _split_clusters(clusters: Any, order: Any, n_fit: int) -> tuple[Any, Any]:
    """The split in which no cluster is on both sides; `clusters` in the order given."""
    _, first, at = np.unique(clusters, return_index=True, return_inverse=True)
    sizes = np.bincount(at)
    rank = np.argsort(first)  # clusters as they come in the random order
    fits = np.zeros(len(sizes), dtype=bool)
    fits[rank[np.cumsum(sizes[rank]) <= n_fit]] = True
    return order[fits[at]], order[~fits[at]]


def _plain_rows(n: int) -> int:
    return max(10, min(PLAIN_ROWS, round(PLAIN_SHARE * n)))


def _fit_rows(table: OutcomeTable, options: FitOptions) -> int:
    n, table = len(table), readable(table, options)
    if options.router and options.fit_share is None:
        return round(FIT_SHARE * n)
    if options.fit_share is not None or options.few_labels or len(table.models) > 2:
        return min(max(10, round((options.fit_share or FIT_SHARE) * n)), n - 5)
    several = several_columns(table, 0) and FIT_SHARE * n >= 60
    if options.map in ("linear", "trees") or (options.map == "auto" and several):
        return min(round(FIT_SHARE * n), max(ENOUGH_ROWS, round(LEAST_SHARE * n)))
    return _plain_rows(n)


def prepare(
    table: OutcomeTable,
    options: FitOptions = DEFAULTS,
    *,
    target: str = "regret",
    older: OutcomeTable | None = None,
    fitted: FittedMaps | None = None,
) -> Prepared:
    """Splits the rows, fits the maps on the fit split and scores both parts; `target` as in `maps.fit_score`.

    Args:
        older, fitted: Take the place of the fit split, as in `certify`.
    """
    if older is not None:
        return _prepared(apart_from(older, table), table, options, target)
    if fitted is not None:
        share = options.fit_share or _plain_rows(len(table)) / len(table)
        part_a, part_b = split(table, replace(options, fit_share=share))
        return fitted.prepared(table.take(part_a), table.take(part_b))
    part_a, part_b = split(table, options)
    plain = options.fit_share is None and not options.router and len(table.models) == 2
    if options.map == "auto" and plain and _fit_rows(table, options) == _plain_rows(len(table)):
        options = replace(options, map="identity")
    return _prepared(table.take(part_a), table.take(part_b), options, target)


def _prepared(fit: OutcomeTable, test: OutcomeTable, options: FitOptions, target: str) -> Prepared:
    rows = readable(fit, options)
    categories = None if rows.categories is None else tuple(sorted({str(c) for c in rows.categories if c is not None}))
    fitted = [
        fit_score(rows, stage, kind=options.map, seed=options.seed, target=target) for stage in range(len(fit.stages))
    ]
    maps = tuple(stored for stored, _ in fitted)
    scored = ScoredTable.of(fit, *(score for _, score in fitted))
    router = None
    if options.router:
        router, routes = fit_router(fit, seed=options.seed)
        scored = replace(scored, routes=routes)
    return Prepared(
        maps=maps, categories=categories, fit=scored, router=router,
        test=ScoredTable.mapped(test, maps, categories, router),
    )  # fmt: skip


def apart_from(older: OutcomeTable, table: OutcomeTable) -> OutcomeTable:
    """The older rows without those whose id or text is among the new ones, with a note on how many were left out.

    Raises:
        DataError: None is left.
    """
    shared = np.isin(older.ids.astype(str), table.ids.astype(str))
    if older.texts is not None and table.texts is not None:
        shared |= np.isin(older.texts.astype(str), [str(text) for text in table.texts if text is not None])
    if shared.all():
        raise DataError("map-from: every one of its questions is among the new rows, expected others; drop --map-from")
    note = f"{int(shared.sum()):,} of the older rows are among the new ones and were left out"
    return replace(older.take(np.flatnonzero(~shared)), notes=(*older.notes, *([note] if shared.any() else [])))


def readable(table: OutcomeTable, options: FitOptions) -> OutcomeTable:
    """The table with what maps and rules may read: without the categories, unless they are to be used."""
    return table if options.use_category else replace(table, categories=None)


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
