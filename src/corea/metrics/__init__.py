"""Metrics, with numpy alone: arrays in, floats out.

`arrays` checks the arguments; `calibration` has the error of stated confidences and their power to rank; `deferral` the
cost and accuracy of a cascade; `intervals` the one rule for intervals, and paired tests; `score_map` evaluates a stored
confidence map.
"""

from corea.metrics.calibration import (
    Bin,
    aurc,
    auroc,
    auroc_interval,
    brier_score,
    expected_calibration_error,
    reliability_bins,
)
from corea.metrics.deferral import (
    Frontier,
    Point,
    best_single,
    cascade_frontier,
    cost_at_drop,
    oracle_frontier,
    oracle_point,
    random_frontier,
)
from corea.metrics.intervals import (
    Interval,
    cost_interval,
    mcnemar_test,
    mean_difference_interval,
    paired_share_interval,
    permutation_test,
    ratio_interval,
    saving_interval,
    share_interval,
    wilson_interval,
)

__all__ = [
    "Bin",
    "Frontier",
    "Interval",
    "Point",
    "aurc",
    "auroc",
    "auroc_interval",
    "best_single",
    "brier_score",
    "cascade_frontier",
    "cost_at_drop",
    "cost_interval",
    "expected_calibration_error",
    "mcnemar_test",
    "mean_difference_interval",
    "oracle_frontier",
    "oracle_point",
    "paired_share_interval",
    "permutation_test",
    "random_frontier",
    "ratio_interval",
    "reliability_bins",
    "saving_interval",
    "share_interval",
    "wilson_interval",
]
