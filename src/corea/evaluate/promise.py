"""The test of a calibration's guarantee on labelled rows that did not calibrate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from corea.calibrate.artefact import Calibration, StageBinding
from corea.calibrate.binding import differences
from corea.calibrate.held_out import estimates
from corea.calibrate.rules import CascadeAnswers, ScoredTable
from corea.calibrate.targets import broken_pvalues, target_pvalues
from corea.errors import ConfigError, DataError
from corea.metrics import Interval, share_interval
from corea.metrics.score_map import among, outside
from corea.records.table import OutcomeTable

MET, BROKEN, OPEN = "met", "broken", "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseTest:
    """A guarantee on rows that it was not made with.

    Args:
        n: Rows that test it. `shared`: others, which also calibrated and are left out.
        met: By target, True where the rows' own figure meets it; of the shared ones where there are no others.
        contradicted: Targets missed by more than the 95 % interval of these rows allows.
    """

    n: int
    shared: int
    met: Mapping[str, bool]
    contradicted: tuple[str, ...]

    @property
    def headline(self) -> str:
        """The line that comes before all others; "" where nothing is contradicted."""
        if not self.contradicted:
            return ""
        missed = ", ".join(self.contradicted)
        return f"THE GUARANTEE DOES NOT HOLD HERE: {missed} missed beyond chance on {self.n:,} rows; calibrate again"

    @property
    def notes(self) -> list[str]:
        """Remarks on the rows that calibrated too."""
        if not self.shared:
            return []
        if not self.n:
            return ["these are the very rows that calibrated: the figures are not of unseen ones, and test nothing"]
        return [
            f"{self.shared:,} of {self.shared + self.n:,} rows also calibrated: the guarantee is tested on the "
            f"{self.n:,} others, the other figures are of all"
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseVerdict:
    """A locked calibration, tested exactly on labelled rows that did not calibrate.

    Args:
        n: Distinct questions that tested. `shared`: rows left out, as they also calibrated.
        verdicts: By target: "met" where the rows confirm it at the calibration's confidence, "broken" where they show
            that it is missed (at delta over the number of targets), else "open".
        p_missed, p_met: By target, the p-value of its being missed, and of its being met.
    """

    n: int
    shared: int
    verdicts: Mapping[str, str]
    p_missed: Mapping[str, float]
    p_met: Mapping[str, float]

    @property
    def broken(self) -> bool:
        """True where a target is missed beyond chance."""
        return BROKEN in self.verdicts.values()


def retest(found: Calibration, table: OutcomeTable) -> PromiseVerdict:
    """The targets of an artefact on the rows of a table that did not calibrate; rows of one question count once.

    Raises:
        ConfigError: The artefact guarantees nothing, or is for other models.
        DataError: No row is left.
    """
    if not found.certified:
        raise ConfigError("calibration: is infeasible and guarantees nothing; expected a certified one")
    check_models(found, table)
    shared = np.full(len(table), table.digest == found.data.digest) | found.data.has(table.prints, len(table))
    if shared.all():
        raise DataError(f"all {len(table):,} rows calibrated, expected fresh ones; label others")
    rows = ScoredTable.of(table.take(np.flatnonzero(~shared)).distinct())
    answers, targets = found.apply(rows.table), found.guarantee.targets
    cap = found.guarantee.cost_cap_usd or targets.cap(rows.table)
    missed = target_pvalues(targets, rows, answers, cap_usd=cap)
    met = broken_pvalues(targets, rows, answers, cap_usd=cap)
    verdicts = {
        name: BROKEN if met[name] <= targets.delta / len(met) else MET if missed[name] <= targets.delta else OPEN
        for name in met
    }
    return PromiseVerdict(n=len(rows), shared=int(shared.sum()), verdicts=verdicts, p_missed=missed, p_met=met)


def check_models(found: Calibration, table: OutcomeTable, where: str = "calibration") -> None:
    """Refuses rows of other models than an artefact's.

    Raises:
        ConfigError: They differ, naming how.
    """
    models = [
        StageBinding(model=model.name, reported=model.reported, second_opinion=model.opinion_model)
        for model in table.models
    ]
    if differing := differences(found.binding, models):
        raise ConfigError(f"{where}: {'; '.join(differing)}; give rows of these models, or calibrate again")


def check_promise(found: Calibration, table: OutcomeTable, answers: CascadeAnswers) -> PromiseTest:
    """The guarantee of an artefact on the rows of a table that did not calibrate.

    Args:
        answers: The cascade's answers to these rows.
    """
    shared = np.full(len(table), table.digest == found.data.digest) | found.data.has(table.prints, len(table))
    fresh = np.flatnonzero(~shared)
    at = fresh if len(fresh) else np.arange(len(table))
    rows, given, targets = table.take(at), answers.take(at), found.guarantee.targets
    figures = estimates(rows, given, targets)
    none = Interval(0.0, 0.0, 0.0)  # nothing kept is nothing wrong
    risk = share_interval(1 - given.correct[given.kept]) if np.any(given.kept) else none
    limits = {
        "max_drop": (figures["drop"], targets.max_drop),
        "max_risk": (risk, targets.max_risk),
        "max_cost_usd": (figures["mean_cost_usd"], targets.max_cost_usd),
    }
    met = {name: each.value <= limit for name, (each, limit) in limits.items() if limit is not None}
    missed = [name for name, (each, limit) in limits.items() if limit is not None and each.low > limit]
    if targets.value_usd is not None:
        saved = figures["total_saving"]
        met["value_usd"] = saved.value >= 0
        missed += ["value_usd"] if saved.high < 0 else []
    return PromiseTest(
        n=len(fresh), shared=len(table) - len(fresh), met=met, contradicted=tuple(missed) if len(fresh) else ()
    )


def deferred_outside(found: Calibration, table: OutcomeTable) -> list[str]:
    """Counts the rows with an input unlike all that calibrated, by input."""
    counts: dict[str, Any] = {}
    for index, stage in enumerate(found.stages):
        for name, unlike in outside(stage.map, table.columns(index)).items():
            counts[name] = counts.get(name, False) | unlike
    if found.categories is not None:
        counts["category"] = ~among(table.categories, found.categories, len(table))
    words = {"category": "have a category that did not calibrate, or none"}
    return [
        f"{int(unlike.sum()):,} of {len(table):,} questions "
        f"{words.get(name, f'have {name} outside what calibrated, or none')}: all deferred"
        for name, unlike in counts.items()
        if unlike.any()
    ]
