"""Figures of the stored decisions for the page, gathered in SQL."""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from corea.gateway.billing.database import connect
from corea.metrics.intervals import wilson_interval

T = TypeVar("T")
BINS, RELIABILITY_BINS = 20, 10
MOST_POINTS = 200  # thresholds that the page offers
MOST_DECIDED = 50_000  # decisions behind them, the newest; each is read whole
NEWEST = 40  # decisions in the list
RECENT = 1000  # decisions behind the state of the models
BUCKETS = (300.0, 3600.0, 6 * 3600.0, 86_400.0, 7 * 86_400.0, 30 * 86_400.0)
MOST_BUCKETS = 60

MONEY = """count(*) AS n, sum(status = 'answered') AS answered, sum(error IS NOT NULL) AS failed, sum(cached) AS cached,
sum(status = 'answered' AND NOT measured) AS kept, sum(both) AS compared, sum(both AND NOT measured) AS estimated,
sum(cost IS NULL) AS unpriced, sum(cost) AS spent, sum(CASE WHEN both THEN cost END) AS cost,
sum(CASE WHEN both THEN baseline END) AS baseline"""
PRICED = """WITH priced AS (SELECT at, status, error, cached, CAST(cost_usd AS REAL) AS cost,
CAST(baseline_usd AS REAL) AS baseline, cost_usd IS NOT NULL AND baseline_usd IS NOT NULL AS both,
stage IN (SELECT value FROM json_each(:last)) AS measured FROM decisions WHERE at >= :since AND
(:cascade IS NULL OR cascade = :cascade))"""
HISTOGRAM = f"""SELECT min(CAST(confidence * {BINS} AS INTEGER), {BINS - 1}), deferred, count(*) FROM decisions
WHERE at >= :since AND (:cascade IS NULL OR cascade = :cascade) AND NOT cached AND confidence BETWEEN 0 AND 1
GROUP BY 1, 2"""
# `x` is what the threshold is compared with. A kept question has no call to the last stage: `large` is estimated then
DECIDED = f"""WITH newest AS (SELECT steps, cost_usd, baseline_usd, deferred FROM decisions WHERE at >= :since AND
cascade = :cascade AND status = 'answered' AND NOT cached ORDER BY at DESC LIMIT {MOST_DECIDED}),
decided AS (SELECT coalesce(steps ->> '$[0].score', steps ->> '$[0].confidence') AS x,
CAST(steps ->> '$[0].cost_usd' AS REAL) AS small, CAST(cost_usd AS REAL) AS cost,
CAST(baseline_usd AS REAL) AS baseline, deferred FROM newest WHERE steps ->> '$[0].decision' IN ('keep', 'defer'))
SELECT x, count(*), sum(deferred), sum(small), sum(CASE WHEN deferred THEN cost - small ELSE baseline END), sum(cost),
sum(baseline) FROM decided WHERE small IS NOT NULL AND cost IS NOT NULL AND baseline IS NOT NULL
GROUP BY x ORDER BY x"""
AGREES = f"""SELECT min(CAST(x * {RELIABILITY_BINS} AS INTEGER), {RELIABILITY_BINS - 1}), count(*), sum(x),
sum(NOT differ) FROM (SELECT CAST(facts ->> '$.small.confidence' AS REAL) AS x, differ FROM audits
WHERE at >= :since AND differ IS NOT NULL AND (:cascade IS NULL OR cascade = :cascade))
WHERE x BETWEEN 0 AND 1 GROUP BY 1"""
# a label is of the answer that was served, so only kept answers say something of the small model
LABELLED = f"""SELECT min(CAST(x * {RELIABILITY_BINS} AS INTEGER), {RELIABILITY_BINS - 1}), count(*), sum(x),
sum(served) FROM (SELECT d.confidence AS x, l.served, max(l.sampled * 1e12 + l.at)
FROM labels l JOIN decisions d USING (trace_id)
WHERE l.at >= :since AND NOT d.deferred AND (:cascade IS NULL OR l.cascade = :cascade) GROUP BY l.trace_id)
WHERE x BETWEEN 0 AND 1 GROUP BY 1"""
LIST = f"""SELECT trace_id, at, coalesce(k.name, key_id) AS key, d.cascade, stage, status, error, deferred, confidence,
threshold, CAST(cost_usd AS REAL) AS cost_usd, CAST(baseline_usd AS REAL) AS baseline_usd, seconds, cached
FROM decisions d LEFT JOIN keys k ON k.id = d.key_id ORDER BY at DESC LIMIT {NEWEST}"""
STAGES = f"""WITH newest AS (SELECT steps FROM decisions WHERE NOT cached ORDER BY at DESC LIMIT {RECENT})
SELECT s.value ->> 'stage', count(*), sum(s.value ->> 'error' IS NOT NULL), avg(s.value ->> 'seconds')
FROM newest, json_each(newest.steps) s WHERE s.value ->> 'skipped' IS NULL GROUP BY 1"""


class Money(Struct, kw_only=True):
    """Money of some decisions, USD; only those whose two costs are known are compared.

    Args:
        n: Decisions. `failed`: those that ended in an error; `kept`: answers of earlier stages than the last.
        compared: Those with a known cost and a known cost of the last stage alone: `cost`, `baseline`.
        estimated: Those compared where the last stage did not answer, so that its cost is an estimate.
        unpriced: Decisions of unknown cost. `spent`: the cost of all others.
    """

    n: int = 0
    answered: int = 0
    failed: int = 0
    cached: int = 0
    kept: int = 0
    compared: int = 0
    estimated: int = 0
    unpriced: int = 0
    spent: float = 0.0
    cost: float = 0.0
    baseline: float = 0.0


class MoneyBucket(Struct, kw_only=True):
    """Money of one span of time, from `at` (seconds since 1970)."""

    at: float
    n: int
    cost: float
    baseline: float


class TrafficSummary(Struct, kw_only=True):
    """Figures of a time.

    Args:
        audit_usd: Cost of the audit's own calls, those in flight at their reserve; `money` does not hold it.
        saved_usd: The baseline, less the cost and the audit's. `saved_share`: of the baseline; None without one.
        bucket_seconds: Length of each of `buckets`; those without a decision are left out.
        kept, deferred: Decisions by confidence, in bins of equal width from 0 to 1.
    """

    now: float
    since: float
    money: Money
    audit_usd: float
    saved_usd: float
    saved_share: float | None
    bucket_seconds: float
    buckets: list[MoneyBucket]
    kept: list[int]
    deferred: list[int]


class ThresholdPoint(Struct, kw_only=True):
    """A threshold and what it would have cost.

    Args:
        threshold: The first stage is kept at or above it; None: at no score, so everything is deferred.
        estimated: Questions deferred by it that were kept: what the last stage would have cost is an estimate.
    """

    threshold: float | None
    deferred: int
    cost_usd: float
    estimated: int


class ThresholdCurve(Struct, kw_only=True):
    """Costs at other thresholds, of the decisions that a threshold decided at the first of two stages.

    Args:
        n: Decisions, among the newest `at_most`.
        actual_usd: Their cost. `baseline_usd`: the last stage alone, estimated where it was not asked.
        points: By rising threshold.
    """

    n: int
    at_most: int
    actual_usd: float
    actual_deferred: int
    baseline_usd: float
    points: list[ThresholdPoint]


class ReliabilityBin(Struct, kw_only=True):
    """Answers of one bin of confidence: the share that agrees, or is right, with its 95 % interval."""

    confidence: float
    n: int
    share: float
    low: float
    high: float


class StageTraffic(Struct, kw_only=True):
    """Calls of a stage among the newest decisions."""

    calls: int
    failed: int
    mean_seconds: float


@dataclass(frozen=True, slots=True)
class History:
    """Reads the database; all methods block.

    Args:
        path: The SQLite file.
    """

    path: Path

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with closing(connect(self.path)) as connection:
            connection.execute("PRAGMA query_only=ON")
            return work(connection)

    def summary(self, now: float, since: float, cascade: str | None, last_stages: Collection[str]) -> TrafficSummary:
        """Figures of the decisions since a time.

        Args:
            cascade: None takes all.
            last_stages: Names of the stages whose own cost is the baseline.
        """
        return self._read(lambda connection: _summary(connection, now, since, cascade, last_stages))

    def thresholds(self, since: float, cascade: str, in_use: float | None) -> ThresholdCurve:
        """Costs that other thresholds of a cascade of two stages would have had.

        Args:
            in_use: The present threshold, which is one of the points.
        """
        rows = self._read(lambda c: c.execute(DECIDED, {"since": since, "cascade": cascade}).fetchall())
        return curve_of(rows, in_use)

    def reliability(self, since: float, cascade: str | None) -> dict[str, list[ReliabilityBin]]:
        """Shares by confidence: drawn answers that agree with the last stage's, and labelled ones that are right."""
        named = {"since": since, "cascade": cascade}
        found = {"agrees": AGREES, "labelled": LABELLED}
        return self._read(lambda c: {name: _bins(c.execute(query, named)) for name, query in found.items()})

    def newest(self) -> list[dict[str, Any]]:
        """The newest decisions, without any text."""
        return self._read(lambda connection: _dicts(connection.execute(LIST)))

    def stages(self) -> dict[str, StageTraffic]:
        """Calls by stage among the newest decisions."""
        rows = self._read(lambda connection: connection.execute(STAGES).fetchall())
        return {name: StageTraffic(calls=n, failed=failed, mean_seconds=mean) for name, n, failed, mean in rows}


def curve_of(rows: Iterable[tuple[Any, ...]], in_use: float | None = None) -> ThresholdCurve:
    """The curve of rows by rising score: score, decisions, deferred ones, USD of small, large, all, baseline.

    A row without a score is deferred at every threshold. Rows are joined to about `MOST_POINTS` thresholds, one of
    which is that in use.
    """
    every = list(rows)
    scored = [row for row in every if row[0] is not None]
    n, was_deferred = sum(row[1] for row in every), sum(row[2] for row in every)
    step = max(1, -(-len(scored) // MOST_POINTS))
    deferred = sum(row[1] for row in every if row[0] is None)
    cost = sum(row[3] for row in every) + sum(row[4] for row in every if row[0] is None)
    estimated, points = 0, list[ThresholdPoint]()
    for i, (score, count, late, _, large, _, _) in enumerate(scored):
        used = in_use is not None and (i == 0 or scored[i - 1][0] < in_use) and in_use <= score
        if i % step == 0 or used:
            tau = in_use if used else score
            points.append(ThresholdPoint(threshold=tau, deferred=deferred, cost_usd=cost, estimated=estimated))
        deferred, cost, estimated = deferred + count, cost + large, estimated + count - late
    points.append(ThresholdPoint(threshold=None, deferred=deferred, cost_usd=cost, estimated=estimated))
    return ThresholdCurve(
        n=n, at_most=MOST_DECIDED, actual_usd=sum(row[5] for row in every), actual_deferred=was_deferred,
        baseline_usd=sum(row[6] for row in every), points=points,
    )  # fmt: skip


def _summary(
    connection: sqlite3.Connection, now: float, since: float, cascade: str | None, last_stages: Collection[str]
) -> TrafficSummary:
    first = connection.execute("SELECT min(at) FROM decisions WHERE at >= ?", (since,)).fetchone()[0]
    bucket = bucket_seconds(now - max(since, first if first is not None else now))
    named = {"since": since, "cascade": cascade, "last": json.dumps(sorted(last_stages)), "bucket": bucket}
    by_time = f"{PRICED} SELECT CAST(at / :bucket AS INTEGER) * :bucket AS at, {MONEY} FROM priced GROUP BY 1"
    rows = _dicts(connection.execute(by_time, named))
    money = Money(**{name: sum(row[name] or 0 for row in rows) for name in Money.__struct_fields__})
    spent = """SELECT sum(CAST(coalesce(cost_usd, reserved_usd) AS REAL)) FROM audits
    WHERE kept AND at >= :since AND (:cascade IS NULL OR cascade = :cascade)"""
    audit_usd = connection.execute(spent, named).fetchone()[0] or 0.0
    saved = money.baseline - money.cost - audit_usd
    kept, deferred = [0] * BINS, [0] * BINS
    for number, was_deferred, count in connection.execute(HISTOGRAM, named):
        (deferred if was_deferred else kept)[number] = count
    return TrafficSummary(
        now=now, since=since, money=money, audit_usd=audit_usd, saved_usd=saved,
        saved_share=saved / money.baseline if money.baseline else None, bucket_seconds=bucket,
        buckets=[
            MoneyBucket(at=row["at"], n=row["n"], cost=row["cost"] or 0.0,
                        baseline=row["baseline"] or 0.0)
            for row in rows
        ],
        kept=kept, deferred=deferred,
    )  # fmt: skip


def bucket_seconds(span: float) -> float:
    """The length of the spans that a time is divided into: at most `MOST_BUCKETS` of them."""
    return next((each for each in BUCKETS if span <= MOST_BUCKETS * each), BUCKETS[-1])


def _bins(rows: Iterable[tuple[int, int, float, float]]) -> list[ReliabilityBin]:
    found = [(n, total, wilson_interval(min(hits, n), n)) for _, n, total, hits in rows]
    return [
        ReliabilityBin(confidence=total / n, n=n, share=share.value, low=share.low, high=share.high)
        for n, total, share in found
    ]


def _dicts(cursor: sqlite3.Cursor) -> list[dict[str, Any]]:
    names = [each[0] for each in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
