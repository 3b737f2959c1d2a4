"""The threshold of a calibration artefact, for all questions or one for each category."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from corea.errors import ConfigError
from corea.metrics.score_map import apply_map, inputs_of
from corea.policies.threshold import Threshold
from corea.types import Confidence, Decision, Question

DEFER_ALL = Threshold(tau=float("inf"), tie_fraction=0.0)


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Thresholds by category, and one for the rest; over a score that a `Mapped` signal gives.

    Args:
        path: The artefact; then its map is applied here, to one confidence and the category. None: the confidence
            is the mapped score already (as `corea.calibrate.artefact.bind` arranges).

    Raises:
        ConfigError: The artefact is not there, or its map reads more than a confidence and a category.
    """

    path: str | None = None
    default: Threshold = DEFER_ALL
    by_category: Mapping[str, Threshold] = field(default_factory=dict[str, Threshold])
    stored: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.path is None:
            return
        try:
            found = json.loads(Path(self.path).read_bytes())
            made, stored = Calibrated.of(found["threshold"], found.get("groups", {})), found["map"]
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(
                f"policy calibrated, path: {self.path} is not a calibration ({error}); make one with `corea calibrate`"
            ) from error
        if lacking := set(inputs_of(stored)) - {"confidence", "category"}:
            raise ConfigError(
                f"policy calibrated: the map of {self.path} reads {', '.join(sorted(lacking))}, a policy sees only the "
                "confidence and the category; set `calibration` on the cascade instead"
            )
        object.__setattr__(self, "default", made.default)
        object.__setattr__(self, "by_category", made.by_category)
        object.__setattr__(self, "stored", stored)

    @classmethod
    def of(cls, threshold: Mapping[str, Any] | None, groups: Mapping[str, Any] | None = None) -> "Calibrated":
        """From an artefact's parts; None defers everything."""
        slices = {name: _threshold(each.get("threshold")) for name, each in (groups or {}).items()}
        return cls(default=_threshold(threshold), by_category=slices)

    def decide(self, question: Question, confidence: Confidence) -> Decision:
        if self.stored is not None:
            value = np.nan if confidence.value is None else confidence.value
            columns = {"confidence": np.array([value]), "category": np.array([question.category], dtype=object)}
            score = float(apply_map(self.stored, columns)[0])
            confidence = Confidence(value=None if np.isnan(score) else score, signal=confidence.signal)
        return self.by_category.get(question.category or "", self.default).decide(question, confidence)


def _threshold(stored: Mapping[str, Any] | None) -> Threshold:
    if stored is None:
        return DEFER_ALL
    return Threshold(tau=stored["tau"], tie_fraction=stored["tie_fraction"], abstain_below=stored.get("abstain_below"))
