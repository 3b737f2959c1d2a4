"""Saving against the number of labels: calibrates on many sets of each size, of given rows or of an assumed pair."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from corea.calibrate.certify import certify
from corea.calibrate.prepare import DEFAULTS, FitOptions
from corea.calibrate.rules import ScoredTable
from corea.calibrate.targets import Targets
from corea.errors import ConfigError, DataError
from corea.metrics.arrays import Floats
from corea.records.table import LEAST_ROWS, OutcomeTable

SIZES = (100, 200, 300, 600, 1000, 2000, 3000, 6000)
ASSUMED_ROWS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPlan:
    """The savings that sets of one size certify.

    Args:
        labels: Rows of a set, those that fit the map included.
        certified: Share of the sets with a guarantee.
        saving: Median share of the last model's cost saved over all rows; 0 where nothing is certified.
        saving_low, saving_high: What 1 set in 10 is below, and above.
    """

    labels: int
    certified: float
    saving: float
    saving_low: float
    saving_high: float


def plan_labels(
    rows: OutcomeTable,
    targets: Targets,
    options: FitOptions = DEFAULTS,
    *,
    sizes: Sequence[int] = SIZES,
    draws: int = 100,
    seed: int = 0,
) -> Iterator[LabelPlan]:
    """One entry for each size, the number of rows in the place of greater ones; an estimate, no guarantee.

    Args:
        rows: Labelled questions, from which sets are drawn without replacement; each is calibrated, and its rules are
            judged on all rows. `draws`: sets of each size.

    Raises:
        ConfigError: There is no set to draw.
        DataError: Rows that cannot be used; see `OutcomeTable.check`.
    """
    if draws < 1 or min(sizes, default=0) < LEAST_ROWS:
        raise ConfigError(f"plan: got {draws} sets of {list(sizes)} labels, expected at least one of {LEAST_ROWS}")
    rows.check()
    whole = ScoredTable.of(rows)
    for n in sorted({min(size, len(rows)) for size in sizes}):
        savings = [_saving(whole, targets, options, n, [seed, n, draw]) for draw in range(draws)]
        known = [0.0 if saving is None else saving for saving in savings]
        low, median, high = np.quantile(known, (0.1, 0.5, 0.9)).tolist()
        certified = 1 - savings.count(None) / draws
        yield LabelPlan(labels=n, certified=certified, saving=median, saving_low=low, saving_high=high)


def _saving(whole: ScoredTable, targets: Targets, options: FitOptions, n: int, seed: Sequence[int]) -> float | None:
    """Saving over all rows of the rules that one set certifies; None where it certifies none."""
    drawn = whole.table.take(np.random.default_rng(seed).permutation(len(whole))[:n])
    try:
        drawn.check()
    except DataError:  # such as one class only: a user's own table would be refused
        return None
    found = certify(drawn, targets, replace(options, seed=seed[-1]))
    if found.rules is None:
        return None
    answers = whole.with_maps(found.prepared.maps, found.prepared.categories).outcome(found.rules)
    return 1 - float(answers.cost_usd.mean() / whole.table.last.cost_usd.mean())


def assumed_pair(
    *,
    slm_accuracy: float,
    llm_accuracy: float,
    auroc: float,
    agreement: float = 0.5,
    cost_ratio: float = 20.0,
    n: int = ASSUMED_ROWS,
    seed: int = 0,
) -> OutcomeTable:
    """A simulated pair with these accuracies and this signal, to plan before any row is there.

    Model: the confidence is normal with equal spread for right and wrong answers, at a distance that gives the AUROC;
    given that the small model is right, the large one's correctness does not depend on the confidence.

    Args:
        agreement: Where the last model errs, from 0 (only where the first one is wrong too) to 1 (independently of it).
        cost_ratio: Cost of an answer of the large model over one of the small.

    Raises:
        ConfigError: A number is out of its range.
    """
    inside = {"slm-accuracy": slm_accuracy, "llm-accuracy": llm_accuracy, "auroc": auroc}
    for name, value in inside.items():
        if not 0 < value < 1:
            raise ConfigError(f"--{name}: got {value}, expected a number between 0 and 1")
    if not 0 <= agreement <= 1:
        raise ConfigError(f"--agreement: got {agreement}, expected a share in [0, 1]")
    if not 0 < cost_ratio < math.inf:
        raise ConfigError(f"--cost-ratio: got {cost_ratio}, expected a number above 0")
    rng = np.random.default_rng(seed)
    right = rng.random(n) < slm_accuracy
    miss_right = agreement * (1 - llm_accuracy)  # probability that the large model errs where the small one is right
    miss_wrong = (1 - llm_accuracy - slm_accuracy * miss_right) / (1 - slm_accuracy)
    large = rng.random(n) >= np.where(right, miss_right, np.clip(miss_wrong, 0.0, 1.0))
    apart = math.sqrt(2) * NormalDist().inv_cdf(auroc)
    score: Floats = rng.normal(size=n) + apart * (right - 0.5)
    return OutcomeTable.from_arrays(
        correct=np.column_stack([right, large]), cost_usd=[1.0, cost_ratio], confidence=1 / (1 + np.exp(-score))
    )
