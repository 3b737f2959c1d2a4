"""Detectors of a change in live traffic."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.calibrate.simulated import compared

from corea.calibrate import FitOptions, Targets, fit, load
from corea.calibrate.monitor import BETS, Detector, Monitor
from corea.errors import ConfigError


def stream(share: float, n: int, seed: int) -> list[float]:
    return (np.random.default_rng(seed).random(n) < share).astype(float).tolist()


def test_evidence_by_hand() -> None:
    detector = Detector(name="d", high=0.4)
    assert not detector.observe(1.0)
    bets = BETS / 0.4
    assert detector.evidence == pytest.approx(float((1 + bets * 0.6).mean()))
    detector.observe(0.0)
    assert detector.evidence == pytest.approx(float(((2 + bets * 0.6) * (1 - bets * 0.4)).mean()))
    assert (detector.seen, detector.mean) == (2, 0.5)


@pytest.mark.parametrize("bounds", [{"high": 0.3}, {"low": 0.3}, {"low": 0.2, "high": 0.2}])
def test_at_the_bound_the_expected_evidence_grows_by_one_an_observation(bounds: dict[str, float]) -> None:
    """Which is what bounds the false alarms: n / every within n, and every in the mean."""
    share = next(iter(bounds.values()))
    before = Detector(name="d", low=bounds.get("low"), high=bounds.get("high"))
    for value in (1.0, 0.0, 0.0, 1.0):
        before.observe(value)
    after: list[float] = []
    for value in (0.0, 1.0):
        branch = Detector(name="d", low=bounds.get("low"), high=bounds.get("high"))
        branch.resume(before.state())
        branch.observe(value)
        after.append(branch.evidence)
    assert (1 - share) * after[0] + share * after[1] == pytest.approx(before.evidence + 1)


@pytest.mark.parametrize(("share", "most"), [(0.6, 200), (0.12, 200)])
def test_a_change_to_either_side_is_seen(share: float, most: int) -> None:
    detector = Detector(name="d", low=0.31, high=0.39)
    assert not any(detector.observe(value) for value in stream(0.35, 1000, 0))
    changed = [detector.observe(value) for value in stream(share, 500, 1)]
    assert changed.index(True) < most
    assert detector.alarmed_at == 1000 + changed.index(True) + 1
    assert changed[-1]  # it stays


def test_a_stream_within_the_bounds_raises_no_alarm() -> None:
    detector = Detector(name="d", low=0.31, high=0.39, every=1e6)
    assert not any(detector.observe(value) for value in stream(0.35, 20_000, 3))


def test_a_state_goes_through_json_and_goes_on_the_same() -> None:
    whole, part = Detector(name="d", high=0.3), Detector(name="d", high=0.3)
    values = stream(0.5, 200, 2)
    for value in values:
        whole.observe(value)
    for value in values[:100]:
        part.observe(value)
    resumed = Detector(name="d", high=0.3)
    resumed.resume(json.loads(json.dumps(part.state())))
    for value in values[100:]:
        resumed.observe(value)
    assert resumed.state() == whole.state()
    assert whole.alarmed_at is not None
    with pytest.raises(ConfigError, match="of other bounds"):
        Detector(name="d", low=0.1, high=0.3).resume(part.state())


def test_the_labelled_detector_tests_the_guarantee() -> None:
    """Two points over all questions, of which a quarter is kept, are 8 points of the kept."""
    monitor = Monitor.of(deferred_differ=(0.3, 0.4), kept_differ=(0.05, 0.1), kept_share=0.25, max_drop=0.02)
    labelled = monitor.labelled
    assert labelled is not None
    assert (labelled.high, labelled.least) == (pytest.approx(0.08), -1.0)
    rng = np.random.default_rng(5)
    for value in rng.choice([1.0, 0.0, -1.0], p=[0.07, 0.91, 0.02], size=3000):  # 5 points of the kept: it holds
        labelled.observe(value)
    assert monitor.alarms == ()
    for value in rng.choice([1.0, 0.0, -1.0], p=[0.25, 0.73, 0.02], size=1000):
        labelled.observe(value)
    assert monitor.alarms == ("labelled",)
    assert [each.name for each in monitor.detectors] == ["deferred", "audited", "labelled"]


def test_an_artefact_says_what_to_watch(tmp_path: Path) -> None:
    table = compared(2000)
    found = fit(table, Targets(max_drop=0.05), FitOptions(map="identity"))
    found.save(tmp_path / "c.json")
    monitor, watched = Monitor.of_calibration(load(tmp_path / "c.json"), every=500), found.watched
    assert watched is not None
    assert watched.deferred_differ is not None
    assert monitor.deferred is not None
    assert monitor.deferred.low == watched.deferred_differ[0] < watched.deferred_differ[1] == monitor.deferred.high
    assert monitor.audited.high == watched.kept_differ[1] < watched.deferred_differ[0]
    assert [each.every for each in monitor.detectors] == [500, 500, 500]
    assert watched.kept_share == pytest.approx(1 - found.expected["llm_share"].value)
    unknown = fit(table.change(0, agreement=None), Targets(max_drop=0.05), FitOptions(map="identity"))
    with pytest.raises(ConfigError, match="without shares to watch"):
        Monitor.of_calibration(unknown)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({}, "a bound on one side"),
        ({"high": 1.0}, "expected one between 0.0 and 1.0"),
        ({"high": 0.5, "every": 1}, "every"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(bad: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Detector(name="d", **bad)
    with pytest.raises(ConfigError, match=r"expected an observation from 0\.0 to 1\.0"):
        Detector(name="d", high=0.5).observe(2.0)
