"""Metrics, with numpy alone: arrays in, floats out.

`arrays` checks the arguments; `calibration` has the error of stated confidences and their power to rank; `deferral` the
cost and accuracy of a cascade; `bootstrap` intervals and paired tests; `score_map` evaluates a stored confidence map.
"""

from corea.metrics.calibration import (
    Bin,
    aurc,
    auroc,
    auroc_interval,
    brier_score,
    equal_mass_calibration_error,
    expected_calibration_error,
    reliability_bins,
    risk_coverage,
)
from corea.metrics.deferral import (
    Frontier,
    Point,
    area_under_frontier,
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
    paired_share_interval,
    permutation_test,
    ratio_interval,
    share_interval,
    wilson_interval,
)

__all__ = [
    "Bin",
    "Frontier",
    "Interval",
    "Point",
    "area_under_frontier",
    "aurc",
    "auroc",
    "auroc_interval",
    "best_single",
    "brier_score",
    "cascade_frontier",
    "cost_at_drop",
    "cost_interval",
    "equal_mass_calibration_error",
    "expected_calibration_error",
    "mcnemar_test",
    "oracle_frontier",
    "oracle_point",
    "paired_share_interval",
    "permutation_test",
    "random_frontier",
    "ratio_interval",
    "reliability_bins",
    "risk_coverage",
    "share_interval",
    "wilson_interval",
]
