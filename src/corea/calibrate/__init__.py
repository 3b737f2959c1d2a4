"""Calibration: thresholds with a finite-sample guarantee, from labelled questions that every model answered.

    from corea.calibrate import OutcomeTable, Targets, fit, load

    table = OutcomeTable.from_arrays(correct=correct, cost_usd=cost, confidence=confidence)
    found = fit(table, Targets(max_drop=0.02))
    found.save("calibration.json")
    answers = load("calibration.json").apply(other_table)

In the order in which a table meets them:

- `targets`: the guarantees asked for, and the p-value of each being missed.
- `prepare`, `certify`: the split of the rows, and the one selection for two models and more, and for few labels.
- `maps`: fitted confidence maps, from measured columns to a score.
- `rules`, `paths`: threshold rules, and the order in which candidates are tested.
- `exact_tests`, `few_labels`: p-values that hold at every sample size.
- `fitting`: the whole, with `held_out` (figures on the rows of the test), `signal_quality` and `sentences`.
- `artefact`, `binding`: the versioned JSON file, and its use in a cascade.
- `sample_size`, `coverage`: how many labels are needed, and how often the guarantee holds on one's own rows.
"""

from corea.calibrate.artefact import Calibration, load
from corea.calibrate.certify import select_for_labelling
from corea.calibrate.fitting import fit
from corea.calibrate.monitor import Monitor
from corea.calibrate.prepare import FitOptions
from corea.calibrate.rules import CascadeAnswers
from corea.calibrate.targets import Targets
from corea.records.table import ModelOutcomes, OutcomeTable

__all__ = [
    "Calibration",
    "CascadeAnswers",
    "FitOptions",
    "ModelOutcomes",
    "Monitor",
    "OutcomeTable",
    "Targets",
    "fit",
    "load",
    "select_for_labelling",
]
