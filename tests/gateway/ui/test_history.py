"""Figures of stored decisions, each worked out by hand."""

from functools import partial
from pathlib import Path

import pytest
from tests.gateway.ui.rows import NOW, decide, draw, label

from corea.gateway.billing.storage import open_database
from corea.gateway.ops.settings import GatewayStorage
from corea.gateway.ui.history import MOST_BUCKETS, MOST_POINTS, History, bucket_seconds, curve_of
from corea.metrics.intervals import wilson_interval

HOUR = 3600.0


@pytest.fixture(params=["sqlite", "postgres"])
def history(tmp_path: Path, request: pytest.FixtureRequest) -> History:
    if request.param == "postgres":
        settings = GatewayStorage(url=request.getfixturevalue("database"))
        return History(partial(open_database, settings, None))
    return History(partial(open_database, GatewayStorage(), tmp_path / "corea.db"))


def test_the_saving_is_the_baseline_less_all_that_was_spent_for_it(history: History) -> None:
    with history.open() as c:
        decide(c, "kept", x=0.9)
        decide(c, "deferred", x=0.3, kept=False, at=NOW - 10 * HOUR)
        decide(c, "failed", x=0.4, kept=False, error="upstream_timeout", baseline=None)
        decide(c, "unpriced", x=0.8, cost=None)
        decide(c, "cached", x=0.95, cost="0", cached=True)
        decide(c, "old", at=NOW - 100 * HOUR)
        decide(c, "other", cascade="second")
        draw(c, "kept", 0.9, True, cost="0.002")
    found = history.summary(NOW, NOW - 24 * HOUR, "corea", ["large"])
    money = found.money
    assert (money.n, money.answered, money.failed, money.cached, money.kept) == (5, 4, 1, 1, 3)
    assert (money.compared, money.estimated, money.unpriced) == (3, 2, 1)  # kept and cached: large was not asked
    assert money.cost == pytest.approx(0.001 + 0.011 + 0)
    assert money.spent == pytest.approx(0.001 + 0.011 + 0.011 + 0)
    assert money.baseline == pytest.approx(0.03)
    assert (found.audit_usd, found.saved_usd) == (pytest.approx(0.002), pytest.approx(0.03 - 0.012 - 0.002))
    assert found.saved_share == pytest.approx(0.016 / 0.03)
    assert (found.kept[18], found.kept[16], found.deferred[6], found.deferred[8]) == (1, 1, 1, 1)
    assert (sum(found.kept), sum(found.deferred)) == (2, 2)  # no cached answer
    assert sum(bucket.n for bucket in found.buckets) == 5
    assert sum(bucket.cost for bucket in found.buckets) == pytest.approx(money.cost)
    assert history.summary(NOW, NOW - 24 * HOUR, None, ["large"]).money.n == 6


def test_without_decisions_nothing_is_claimed(history: History) -> None:
    found = history.summary(NOW, 0.0, None, ["large"])
    assert (found.money.n, found.saved_share, found.buckets, sum(found.kept)) == (0, None, [], 0)
    assert history.thresholds(0.0, "corea", 0.7).n == 0
    assert history.reliability(0.0, None) == {"agrees": [], "labelled": []}
    assert (history.newest(), history.stages()) == ([], {})


def test_another_threshold_costs_what_the_stored_calls_say(history: History) -> None:
    """Scores .9 and .8 are kept (large: an estimate of .01, .02), .3 is deferred (large: .04); one has no score."""
    with history.open() as c:
        decide(c, "a", x=0.9)
        decide(c, "b", x=0.8, large="0.02")
        decide(c, "c", x=0.3, kept=False, large="0.04")
        decide(c, "d", x=None, kept=False, large="0.08")
        decide(c, "cached", x=0.9, cached=True)
        decide(c, "direct", x=0.9, decision=None)
        decide(c, "unpriced", x=0.9, cost=None)
    found = history.thresholds(0.0, "corea", 0.7)
    assert (found.n, found.actual_deferred) == (4, 2)
    assert found.actual_usd == pytest.approx(0.001 + 0.001 + 0.041 + 0.081)
    assert found.baseline_usd == pytest.approx(0.15)
    got = [(p.threshold, p.deferred, round(p.cost_usd, 9), p.estimated) for p in found.points]
    assert got == [
        (0.3, 1, 0.004 + 0.08, 0), (0.7, 2, 0.124, 0), (0.9, 3, 0.144, 1), (None, 4, 0.154, 2),
    ]  # fmt: skip
    assert next(p.cost_usd for p in found.points if p.threshold == 0.7) == pytest.approx(found.actual_usd)


def test_the_score_and_not_the_confidence_is_compared_where_there_is_one(history: History) -> None:
    with history.open() as c:
        decide(c, "a", x=0.99, score=0.25)
        decide(c, "b", x=0.98, score=0.75)
    assert [p.threshold for p in history.thresholds(0.0, "corea", None).points] == [0.25, 0.75, None]


def test_many_scores_are_joined_and_the_threshold_in_use_stays_exact() -> None:
    rows = [(i / 5000, 1, 0, 0.0, 1.0, 0.0, 1.0) for i in range(5000)]
    found = curve_of(rows, 0.50003)
    assert len(found.points) <= MOST_POINTS + 2
    (used,) = [p for p in found.points if p.threshold == 0.50003]
    assert (used.deferred, used.cost_usd, used.estimated) == (2501, 2501.0, 2501)
    assert [p.cost_usd for p in found.points] == sorted(p.cost_usd for p in found.points)


def test_reliability_is_of_the_small_models_answers_alone(history: History) -> None:
    with history.open() as c:
        for i, (x, differ) in enumerate([(0.95, False), (0.97, True), (0.2, True)]):
            draw(c, f"drawn{i}", x, differ, kept=x > 0.7)
        draw(c, "unknown", 0.9, None)
        decide(c, "kept", x=0.92)
        decide(c, "kept too", x=0.94)
        decide(c, "deferred", x=0.3, kept=False)
        for trace_id, served in (("kept", 0.0), ("kept too", 1.0), ("deferred", 1.0)):
            label(c, trace_id, served)
        label(c, "kept", 1.0, "review", sampled=True)  # a reviewer's label stands above a user's
    found = history.reliability(0.0, None)
    assert [(round(b.confidence, 3), b.n, b.share) for b in found["agrees"]] == [(0.2, 1, 0.0), (0.96, 2, 0.5)]
    assert [(round(b.confidence, 3), b.n, b.share) for b in found["labelled"]] == [(0.93, 2, 1.0)]
    expected = wilson_interval(1, 2)
    assert (found["agrees"][1].low, found["agrees"][1].high) == (expected.low, expected.high)


def test_the_list_holds_no_text_and_the_newest_first(history: History) -> None:
    with history.open() as c:
        decide(c, "a", at=NOW - 5, prompt="secret prompt")
        decide(c, "b", kept=False, error="upstream_timeout")
    first, second = history.newest()
    assert (first["trace_id"], first["error"], second["trace_id"]) == ("b", "upstream_timeout", "a")
    assert "secret prompt" not in str((first, second))
    stages = history.stages()
    assert (stages["small"].calls, stages["small"].failed, stages["small"].mean_seconds) == (2, 0, 0.5)
    assert (stages["large"].calls, stages["large"].failed, stages["large"].mean_seconds) == (1, 1, 2.0)


@pytest.mark.parametrize("days", [0.01, 1, 7, 30, 365])
def test_a_time_is_divided_into_few_spans(days: float) -> None:
    assert days * 86_400 / bucket_seconds(days * 86_400) <= MOST_BUCKETS
