"""The test of a calibration's guarantee on what a cascade has decided, where some outcomes are known only in part."""

from dataclasses import dataclass

from corea.calibrate.artefact import Calibration
from corea.calibrate.rules import CascadeAnswers, ScoredTable
from corea.calibrate.targets import broken_pvalues, target_pvalues
from corea.errors import ConfigError
from corea.evaluate.promise import BROKEN, verdicts_of
from corea.records.table import OutcomeTable

Decided = tuple[OutcomeTable, CascadeAnswers]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedTest:
    """A guarantee on the decisions of a running cascade.

    Args:
        verdicts: By target: "met" where the guarantee is confirmed even at the worst of what is not known, "broken"
            where it is refuted even at the best, else "open".
        p_missed, p_met: By target, the p-value of its being missed, at the worst, and of its being met, at the best.
    """

    verdicts: dict[str, str]
    p_missed: dict[str, float]
    p_met: dict[str, float]

    @property
    def broken(self) -> bool:
        """True where a target is missed beyond chance."""
        return BROKEN in self.verdicts.values()


def recertify(found: Calibration, worst: Decided, best: Decided) -> DecidedTest:
    """The targets of an artefact on distinct questions on which it decided.

    Args:
        worst, best: The same questions, with the largest and the smallest loss that is possible.

    Raises:
        ConfigError: The artefact guarantees nothing, or has a target that needs every cost of the last model.
    """
    targets, cap = found.guarantee.targets, found.guarantee.cost_cap_usd or 0.0
    if not found.certified:
        raise ConfigError("calibration: is infeasible and guarantees nothing; expected a certified one")
    if targets.value_usd is not None:
        raise ConfigError(
            "calibration: guarantees --value, which decisions alone do not show; expected --max-drop, --max-risk or "
            "--max-cost; use `corea calibrate verify --fresh`"
        )
    missed = target_pvalues(targets, ScoredTable.of(worst[0]), worst[1], cap_usd=cap)
    met = broken_pvalues(targets, ScoredTable.of(best[0]), best[1], cap_usd=cap)
    if cap and (worst[1].cost_usd > cap * (1 + 1e-9)).any():
        missed |= {name: 1.0 for name in missed if "cost" in name}
    return DecidedTest(verdicts=verdicts_of(missed, met, targets.delta), p_missed=missed, p_met=met)
