"""Prepares a certification: splits the rows, fits maps (and a router) on one part, and scores both.

The rows that fit the maps and lay out the path (fit split) are not rows of the test (test split). So given the fit
split, the rows of the test are independent draws, and every p-value holds at its sample size. The fit split is the
smaller one: the width of the guarantee falls with the root of the test rows, the map hardly improves after a thousand.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from corea.calibrate.maps import fit_score, several_columns
from corea.calibrate.router import fit_router
from corea.calibrate.rules import ScoredTable
from corea.calibrate.sample_size import FIT_SHARE
from corea.errors import ConfigError, DataError
from corea.metrics.score_map import ScoreMap
from corea.policies.router import QuestionModel
from corea.records.table import OutcomeTable

PLAIN_SHARE, PLAIN_ROWS = 0.1, 200  # a plain signal fits nothing: the fit split then only lays out the path
ENOUGH_ROWS, LEAST_SHARE = 800, 0.15  # a blend's fit split is FIT_SHARE until it has so many rows, then at least this


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
        return prepare_parts(apart_from(older, table), table, options, target)
    if fitted is not None:
        share = options.fit_share or _plain_rows(len(table)) / len(table)
        part_a, part_b = split(table, replace(options, fit_share=share))
        return fitted.prepared(table.take(part_a), table.take(part_b))
    part_a, part_b = split(table, options)
    plain = options.fit_share is None and not options.router and len(table.models) == 2
    if options.map == "auto" and plain and _fit_rows(table, options) == _plain_rows(len(table)):
        options = replace(options, map="identity")
    return prepare_parts(table.take(part_a), table.take(part_b), options, target)


def prepare_parts(fit: OutcomeTable, test: OutcomeTable, options: FitOptions, target: str) -> Prepared:
    """The maps and the router fitted on `fit`, and the rows of both parts with their scores.

    Args:
        target: The labels that the maps are fitted to, as in `prepare`.
    """
    rows = readable(fit, options)
    categories = None if rows.categories is None else tuple(sorted({str(c) for c in rows.categories if c is not None}))
    fitted = [
        fit_score(rows, stage, kind=options.map, seed=options.seed, target=target) for stage in range(len(fit.stages))
    ]
    maps = tuple(stored for stored, _ in fitted)
    scored = ScoredTable.of(fit, *(score for _, score in fitted)).with_opinions(maps)
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
