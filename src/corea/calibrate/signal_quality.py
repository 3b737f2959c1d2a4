"""The quality of a confidence signal, in numbers and in words: its ability to carry a cascade at all."""

import msgspec
import numpy as np

from corea.metrics import auroc, auroc_interval, brier_score, expected_calibration_error
from corea.metrics.arrays import Floats

CEILING = 0.95
UNUSABLE, WEAK, FAIR, GOOD = "unusable", "weak", "fair", "good"


class SignalReport(msgspec.Struct, frozen=True, kw_only=True):
    """The quality of one signal over n answers; None for numbers that have no meaning.

    Args:
        unstated: Share without a value.
        at_ceiling: Share of the stated at or above 0.95. `distinct`: values. `largest_tie`: share on one value.
        auroc: With its 95 % interval. `ece`: over 10 equal widths.
        verdict: "unusable", "weak", "fair" or "good"; `words` says why.
    """

    n: int
    unstated: float
    verdict: str
    words: str
    at_ceiling: float | None = None
    distinct: int | None = None
    largest_tie: float | None = None
    auroc: float | None = None
    auroc_low: float | None = None
    auroc_high: float | None = None
    ece: float | None = None
    brier: float | None = None
    mean_confidence: float | None = None
    accuracy: float | None = None


def signal_quality(confidence: Floats, correct: Floats, *, probability: bool = True) -> SignalReport:
    """The quality of a signal over (N,) answers; NaN confidences are answers without a value.

    Args:
        probability: False for a score that orders answers and states no probability: it has no ECE and Brier score.
    """
    stated = ~np.isnan(confidence)
    n, c, y = len(confidence), confidence[stated], correct[stated]
    if not len(c):
        return SignalReport(n=n, unstated=1.0, verdict=UNUSABLE, words="no confidence is stated anywhere")
    _, counts = np.unique(c, return_counts=True)
    area, (low, high) = auroc(c, y), auroc_interval(c, y)
    inside = probability and bool(c.min() >= 0 and c.max() <= 1)
    found = SignalReport(
        n=n,
        unstated=float(1 - stated.mean()),
        verdict="",
        words="",
        at_ceiling=float((c >= CEILING).mean()),
        distinct=len(counts),
        largest_tie=float(counts.max() / len(c)),
        auroc=_number(area),
        auroc_low=_number(low),
        auroc_high=_number(high),
        ece=expected_calibration_error(c, y) if inside else None,
        brier=brier_score(c, y) if inside else None,
        mean_confidence=float(c.mean()),
        accuracy=float(y.mean()),
    )
    verdict, words = _judge(found)
    return msgspec.structs.replace(found, verdict=verdict, words=words)


def _judge(found: SignalReport) -> tuple[str, str]:
    area, low, high = found.auroc, found.auroc_low, found.auroc_high
    if area is None and found.accuracy:
        return FAIR, f"every answer with a value is right, {100 * found.unstated:.0f} % have none and are deferred"
    if area is None:
        return UNUSABLE, "every answer with a value is wrong"
    said: list[str] = []
    if high is not None and high < 0.5:
        verdict = UNUSABLE
        said.append(f"inverted: surer answers are wrong more often (AUROC {area:.2f})")
    elif low is None or low <= 0.5:
        verdict = UNUSABLE
        said.append(f"no better than chance (AUROC {area:.2f}, interval reaches 0.5)")
    else:
        verdict = WEAK if area < 0.65 else FAIR if area < 0.8 else GOOD
        said.append(f"{verdict} at telling right from wrong (AUROC {area:.2f}, {low:.2f} - {high:.2f})")
    return verdict, "; ".join([*said, *_remarks(found)])


def _remarks(found: SignalReport) -> list[str]:
    said: list[str] = []
    ceiling, tie = found.at_ceiling or 0.0, found.largest_tie or 0.0
    gap = (found.mean_confidence or 0.0) - (found.accuracy or 0.0)
    if ceiling > 0.8:
        said.append(f"{100 * ceiling:.0f} % of the values are at the ceiling of {CEILING}")
    if tie > 0.5:
        said.append(f"{100 * tie:.0f} % share one value, so thresholds can hardly tell them apart")
    if found.unstated > 0.05:
        said.append(f"{100 * found.unstated:.0f} % state no value that could be read")
    if found.ece is not None and found.ece > 0.1:
        said.append(f"{'over' if gap > 0 else 'under'}confident by {100 * abs(gap):.0f} points, which a map corrects")
    return said


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
