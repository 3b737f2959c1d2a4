"""Ways to choose a threshold, on questions whose best threshold is known."""

import numpy as np
import pytest

from corea.evaluate.thresholds import cheapest_threshold, kept_by, published_threshold
from corea.records.table import OutcomeTable

CONFIDENCE = np.array([0.9, 0.8, 0.7, 0.6, 0.6, 0.6, 0.6, np.nan])
SMALL = np.array([1.0, 1, 1, 1, 1, 0, 0, 1])
TABLE = OutcomeTable.from_arrays(
    correct=np.stack([SMALL, np.ones(8)], axis=1), cost_usd=[1.0, 10.0], confidence=CONFIDENCE
)


def test_the_cheapest_threshold_stops_before_the_first_loss() -> None:
    assert (cheapest_threshold(TABLE, 0.0).tau, cheapest_threshold(TABLE, 0.0).tie_fraction) == (0.7, 1.0)


def test_a_part_of_a_tie_is_kept_where_all_of_it_loses_too_much() -> None:
    found = cheapest_threshold(TABLE, 1 / 8)
    assert (found.tau, found.tie_fraction) == (0.6, pytest.approx(0.5))


def test_the_published_rule_is_the_large_models_accuracy() -> None:
    assert published_threshold(TABLE).tau == 1.0


def test_an_unstated_confidence_is_deferred() -> None:
    assert kept_by(cheapest_threshold(TABLE, 0.0), TABLE).tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
