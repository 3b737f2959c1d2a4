"""Whether a signal can carry a cascade at all, in numbers and in words."""

from typing import Any

import numpy as np

from corea.metrics import auroc, auroc_interval, brier_score, expected_calibration_error
from corea.metrics.arrays import Floats

CEILING = 0.95
USELESS, WEAK, FAIR, GOOD = "unusable", "weak", "fair", "good"


def signal_health(confidence: Floats, correct: Floats) -> dict[str, Any]:
    """The state of one signal over N answers; NaN confidences are parse failures.

    Returns:
        n, unstated (share), at_ceiling (share of the stated at or above 0.95), distinct values, largest_tie (share of
        the stated on one value), auroc with interval, ece (10 equal widths) and its sign as mean_confidence - accuracy,
        brier, verdict and words. Numbers that have no meaning are None.
    """
    stated = ~np.isnan(confidence)
    c, y = confidence[stated], correct[stated]
    if not len(c):
        return {"n": len(confidence), "unstated": 1.0, "verdict": USELESS, "words": "no confidence is stated anywhere"}
    values, counts = np.unique(c, return_counts=True)
    area, (low, high) = auroc(c, y), auroc_interval(c, y)
    inside = bool(c.min() >= 0 and c.max() <= 1)
    found: dict[str, Any] = {
        "n": len(confidence),
        "unstated": float(1 - stated.mean()),
        "at_ceiling": float((c >= CEILING).mean()),
        "distinct": len(values),
        "largest_tie": float(counts.max() / len(c)),
        "auroc": _number(area), "auroc_low": _number(low), "auroc_high": _number(high),
        "ece": expected_calibration_error(c, y) if inside else None,
        "brier": brier_score(c, y) if inside else None,
        "mean_confidence": float(c.mean()),
        "accuracy": float(y.mean()),
    }  # fmt: skip
    found["verdict"], found["words"] = _judge(found)
    return found


def _judge(found: dict[str, Any]) -> tuple[str, str]:
    area, low, high = found["auroc"], found["auroc_low"], found["auroc_high"]
    if area is None:
        return USELESS, "all stated answers are right, or all wrong: nothing can be told"
    said: list[str] = []
    if high is not None and high < 0.5:
        verdict = USELESS
        said.append(f"inverted: surer answers are wrong more often (AUROC {area:.2f})")
    elif low is None or low <= 0.5:
        verdict = USELESS
        said.append(f"no better than chance (AUROC {area:.2f}, interval reaches 0.5)")
    else:
        verdict = WEAK if area < 0.65 else FAIR if area < 0.8 else GOOD
        said.append(f"{verdict} at telling right from wrong (AUROC {area:.2f}, {low:.2f} - {high:.2f})")
    if found["at_ceiling"] > 0.8:
        said.append(f"{100 * found['at_ceiling']:.0f} % of the values are at the ceiling of {CEILING}")
    if found["largest_tie"] > 0.5:
        said.append(f"{100 * found['largest_tie']:.0f} % share one value, so thresholds can hardly tell them apart")
    if found["unstated"] > 0.05:
        said.append(f"{100 * found['unstated']:.0f} % state nothing that could be read")
    gap = found["mean_confidence"] - found["accuracy"]
    if found["ece"] is not None and found["ece"] > 0.1:
        said.append(f"{'over' if gap > 0 else 'under'}confident by {100 * abs(gap):.0f} points, which a map can mend")
    return verdict, "; ".join(said)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
