"""The thresholds of a calibration artefact: one for all questions, or one for each category."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from corea.errors import ConfigError
from corea.metrics.score_map import ScoreMap, apply_map, inputs_of
from corea.policies.threshold import Threshold
from corea.types import Confidence, Decision, Question

DEFER_ALL = Threshold(tau=math.inf, tie_fraction=0.0)


class ThresholdRule(msgspec.Struct, frozen=True, kw_only=True):
    """Keep where the score is above tau, and a fraction of those at tau.

    Args:
        tau: In [0, 1]; infinity, which is null in JSON, keeps nothing.
        tie_fraction: The fraction kept of the scores that equal tau.
        skip_categories: Categories in which the model is not asked at all.
        abstain_below: Scores under it are left to a person; None: none are.
        ask_above: The router's score of a question below which the model is not asked; None: there is no router.
    """

    tau: float | None
    tie_fraction: float = 1.0
    skip_categories: tuple[str, ...] = ()
    abstain_below: float | None = None
    ask_above: float | None = None

    @property
    def limit(self) -> float:
        """tau as a number."""
        return math.inf if self.tau is None else self.tau

    @property
    def policy(self) -> Threshold:
        """The policy that decides by this rule."""
        return Threshold(tau=self.limit, tie_fraction=self.tie_fraction, abstain_below=self.abstain_below)


class GroupRule(msgspec.Struct, frozen=True, kw_only=True):
    """The threshold of one category, and the rows that tested it; without one everything is deferred there."""

    n_test: int
    threshold: ThresholdRule | None


class _Stage(msgspec.Struct):
    map: ScoreMap
    categories: tuple[str, ...] | None
    threshold: ThresholdRule | None


class _Artefact(msgspec.Struct):
    stages: tuple[_Stage, ...]
    groups: dict[str, GroupRule] = {}


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Thresholds by category, and one for the rest; over a score that a `CalibratedSignal` gives.

    Args:
        path: The artefact; then its first stage's map is applied here, to one confidence and the category. None: the
            confidence is the mapped score already (as `corea.calibrate.binding.bind` arranges).
        categories: Read from the artefact: a question of another category, or of none, is deferred; None: not read.

    Raises:
        ConfigError: The artefact is not there, or its map reads more than a confidence and a category.
    """

    path: str | None = None
    default: Threshold = DEFER_ALL
    by_category: Mapping[str, Threshold] = field(default_factory=dict[str, Threshold])
    stored: ScoreMap | None = None
    categories: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.path is None:
            return
        try:
            found = msgspec.json.decode(Path(self.path).read_bytes(), type=_Artefact)
            first = found.stages[0]
        except (OSError, ValueError, IndexError) as error:
            raise ConfigError(
                f"policy calibrated, path: {self.path} is not a calibration ({error}); make one with `corea calibrate`"
            ) from error
        if lacking := set(inputs_of(first.map)) - {"confidence", "category"}:
            raise ConfigError(
                f"policy calibrated: the map of {self.path} reads {', '.join(sorted(lacking))}, a policy sees only the "
                "confidence and the category; set `calibration` on the cascade instead"
            )
        made = Calibrated.of(first.threshold, found.groups)
        object.__setattr__(self, "default", made.default)
        object.__setattr__(self, "by_category", made.by_category)
        object.__setattr__(self, "stored", first.map)
        object.__setattr__(self, "categories", first.categories)

    @classmethod
    def of(cls, threshold: ThresholdRule | None, groups: Mapping[str, GroupRule] | None = None) -> "Calibrated":
        """From an artefact's parts; None defers everything."""
        slices = {
            name: DEFER_ALL if each.threshold is None else each.threshold.policy
            for name, each in (groups or {}).items()
        }
        return cls(default=DEFER_ALL if threshold is None else threshold.policy, by_category=slices)

    def threshold_for(self, question: Question) -> float | None:
        """tau of the question's category, on the scale of the mapped score; None where everything is deferred."""
        if self.stored is not None:  # the trace has the confidence, not the score
            return None
        return self._policy(question).threshold_for(question)

    def _policy(self, question: Question) -> Threshold:
        return self.by_category.get(question.category or "", self.default)

    def decide(self, question: Question, confidence: Confidence) -> Decision:
        if self.categories is not None and question.category not in self.categories:
            return Decision.DEFER
        if self.stored is not None:
            value = np.nan if confidence.value is None else confidence.value
            columns = {"confidence": np.array([value]), "category": np.array([question.category], dtype=object)}
            score = float(apply_map(self.stored, columns)[0])
            confidence = Confidence(value=None if np.isnan(score) else score, signal=confidence.signal)
        return self._policy(question).decide(question, confidence)
