"""The test of a calibration's guarantee on labelled rows that did not calibrate."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from corea.calibrate.artefact import Calibration, StageBinding
from corea.calibrate.binding import differences
from corea.calibrate.held_out import estimates
from corea.calibrate.rules import CascadeAnswers, ScoredTable, unlike_rows
from corea.calibrate.targets import Targets, broken_pvalues, target_pvalues
from corea.errors import ConfigError, DataError
from corea.records.table import OutcomeTable

MET, BROKEN, OPEN = "met", "broken", "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseTest:
    """A guarantee on labelled rows that it was not made with; rows of one question count once.

    Args:
        n: Distinct questions that test it. `shared`: rows that also calibrated and are left out.
        met: By target, True where the rows' own figure meets it; of the shared ones where there are no others.
        verdicts: By target: "met" where the rows confirm it at the calibration's confidence, "broken" where an exact
            test shows that it is missed (at delta over the number of targets), else "open". Empty where n is 0.
        p_missed, p_met: By target, the p-value of its being missed, and of its being met.
        over_cap: Rows that cost more than the bound that a guarantee of costs assumes: it then confirms nothing.
        labels: People's labels that test it, of the `to_label` kept answers that differ; None: every row has a grade.
    """

    n: int
    shared: int
    met: Mapping[str, bool]
    verdicts: Mapping[str, str]
    p_missed: Mapping[str, float]
    p_met: Mapping[str, float]
    over_cap: int = 0
    labels: int | None = None
    to_label: int = 0

    @property
    def contradicted(self) -> list[str]:
        """The targets that are missed beyond chance."""
        return [name for name, verdict in self.verdicts.items() if verdict == BROKEN]

    @property
    def headline(self) -> str:
        """The line that comes before all others; "" where nothing is contradicted."""
        if not self.contradicted:
            return ""
        missed = ", ".join(self.contradicted)
        return f"THE GUARANTEE DOES NOT HOLD HERE: {missed} missed beyond chance on {self.n:,} rows; calibrate again"

    @property
    def notes(self) -> list[str]:
        """Remarks on rows that calibrated too, and on those outside the conditions."""
        notes: list[str] = []
        if self.labels is not None and self.n:
            notes.append(
                f"people labelled {self.labels:,} of the {self.to_label:,} kept drafts that differ from the large "
                "model's answer" + ("" if self.labels else "; label some with --select-for-labelling")
            )
        if self.over_cap:
            notes.append(
                f"{self.over_cap:,} questions cost more than the guarantee assumes at most: it says nothing of the cost"
            )
        if self.shared and not self.n:
            notes.append(
                "these are the very rows that calibrated: the figures are not of unseen ones, and test nothing"
            )
        elif self.shared:
            notes.append(
                f"{self.shared:,} of {self.shared + self.n:,} rows also calibrated: the guarantee is tested on the "
                f"{self.n:,} others, the other figures are of all"
            )
        return notes


def check_promise(found: Calibration, table: OutcomeTable, answers: CascadeAnswers | None = None) -> PromiseTest:
    """The guarantee of an artefact on the rows of a table that did not calibrate.

    Args:
        answers: The cascade's answers to these rows; by default, those that the artefact decides.
    """
    shared = np.full(len(table), table.digest == found.data.digest) | found.data.has(table.prints, len(table))
    answers = found.apply(table) if answers is None else answers
    fresh = np.flatnonzero(~shared)
    at = table.first_of_cluster(fresh) if len(fresh) else np.arange(len(table))
    rows, given, targets = (
        ScoredTable.of(replace(table.take(at), clusters=None)),
        answers.take(at),
        found.guarantee.targets,
    )
    cap, over = found.guarantee.cost_cap_usd or 0.0, 0
    missed, met, verdicts = dict[str, float](), dict[str, float](), dict[str, str]()
    if len(fresh):
        missed = target_pvalues(targets, rows, given, cap_usd=cap)
        met = broken_pvalues(targets, rows, given, cap_usd=cap)
        if targets.needs_cap and (over := int((given.cost_usd > cap * (1 + 1e-9)).sum())):
            missed |= {name: 1.0 for name in missed if name.endswith("_usd")}
        verdicts = verdicts_of(missed, met, targets.delta)
    return PromiseTest(
        n=len(at) if len(fresh) else 0, shared=int(shared.sum()), met=_met(targets, rows.table, given),
        verdicts=verdicts, p_missed=missed, p_met=met, over_cap=over,
    )  # fmt: skip


def verdicts_of(missed: Mapping[str, float], met: Mapping[str, float], delta: float) -> dict[str, str]:
    """The verdict on each target, as in `PromiseTest`, from the p-values of its being missed and of its being met."""
    return {
        name: BROKEN if met[name] <= delta / len(met) else MET if missed[name] <= delta else OPEN for name in met
    }  # fmt: skip


def _met(targets: Targets, table: OutcomeTable, answers: CascadeAnswers) -> dict[str, bool]:
    figures, kept = estimates(table, answers, targets), answers.kept
    wrong = float(1 - answers.correct[kept].mean()) if np.any(kept) else 0.0  # nothing kept is nothing wrong
    limits = {
        "max_drop": (figures["drop"].value, targets.max_drop),
        "max_risk": (wrong, targets.max_risk),
        "max_cost_usd": (figures["mean_cost_usd"].value, targets.max_cost_usd),
    }
    met = {name: value <= limit for name, (value, limit) in limits.items() if limit is not None}
    return met if targets.value_usd is None else met | {"value_usd": figures["total_saving"].value >= 0}


def retest(found: Calibration, table: OutcomeTable) -> PromiseTest:
    """`check_promise` of a certified artefact, on rows of its models of which some are fresh.

    Raises:
        ConfigError: The artefact guarantees nothing, or is for other models.
        DataError: No row is left.
    """
    if not found.certified:
        raise ConfigError("calibration: is infeasible and guarantees nothing; expected a certified one")
    check_models(found, table)
    result = check_promise(found, table)
    if not result.n:
        raise DataError(f"all {len(table):,} rows calibrated, expected fresh ones; label others")
    return result


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


def deferred_outside(found: Calibration, table: OutcomeTable) -> list[str]:
    """Counts the rows with an input unlike all that calibrated, by input."""
    counts = unlike_rows(table, [stage.map for stage in found.stages], found.categories)
    words = {"category": "have a category that did not calibrate, or none"}
    return [
        f"{int(unlike.sum()):,} of {len(table):,} questions "
        f"{words.get(name, f'have {name} outside what calibrated, or none')}: all deferred"
        for name, unlike in counts.items()
        if unlike.any()
    ]
