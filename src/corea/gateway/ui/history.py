"""Figures of the stored decisions for the page, gathered in SQL that SQLite and PostgreSQL read alike."""

from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from msgspec import Struct

from corea.gateway.billing.connection import SqlConnection, is_postgres
from corea.metrics.intervals import wilson_interval

T = TypeVar("T")
BINS, RELIABILITY_BINS = 20, 10
MOST_POINTS = 200  # thresholds that the page offers
MOST_DECIDED = 50_000  # decisions behind them, the newest; each is read whole
NEWEST = 40  # decisions in the list
RECENT = 1000  # decisions behind the state of the models
BUCKETS = (300.0, 3600.0, 6 * 3600.0, 86_400.0, 7 * 86_400.0, 30 * 86_400.0)
MOST_BUCKETS = 60

SINCE = "at >= :since AND (CAST(:cascade AS TEXT) IS NULL OR cascade = :cascade)"
USD = "CAST(cost_usd AS DOUBLE PRECISION) AS cost, CAST(baseline_usd AS DOUBLE PRECISION) AS baseline"
# the columns of `Money` in their order
MONEY = """count(*), count(*) FILTER (WHERE status = 'answered'), count(*) FILTER (WHERE error IS NOT NULL),
count(*) FILTER (WHERE cached = 1), count(*) FILTER (WHERE status = 'answered' AND NOT measured),
count(*) FILTER (WHERE priced), count(*) FILTER (WHERE priced AND NOT measured), count(*) FILTER (WHERE cost IS NULL),
sum(cost), sum(cost) FILTER (WHERE priced), sum(baseline) FILTER (WHERE priced)"""


class Dialect(NamedTuple):
    """The parts in which the queries of the two databases differ, each a format of an expression.

    Args:
        floor: The whole number below one that is not negative.
        json: A column of JSON text, for `->` and `->>`.
        elements: The elements of a JSON list, as rows with one column `value`.
    """

    floor: str
    json: str
    elements: str


SQLITE = Dialect("CAST({} AS INTEGER)", "{}", "json_each({})")
POSTGRES = Dialect("floor({})", "CAST({} AS JSONB)", "jsonb_array_elements(CAST({} AS JSONB))")


def by_time(dialect: Dialect, last_stages: int) -> str:
    """Money by span of time. Parameters `last0`, ... name the stages whose cost is measured and not estimated."""
    measured = ", ".join(f":last{n}" for n in range(last_stages))
    bucket = dialect.floor.format("at / :bucket")
    return f"""WITH known AS (SELECT at, status, error, cached, {USD},
    coalesce(stage IN ({measured}), FALSE) AS measured FROM decisions WHERE {SINCE}),
    decided AS (SELECT *, cost IS NOT NULL AND baseline IS NOT NULL AS priced FROM known)
    SELECT {bucket} * :bucket, {MONEY} FROM decided GROUP BY 1 ORDER BY 1"""


def histogram(dialect: Dialect) -> str:
    """Decisions by bin of confidence."""
    return f"""SELECT {binned(dialect, "confidence", BINS)}, deferred, count(*) FROM decisions
    WHERE {SINCE} AND cached = 0 AND confidence BETWEEN 0 AND 1 GROUP BY 1, 2"""


def binned(dialect: Dialect, name: str, bins: int) -> str:
    """The number of the bin of a share, from 0; the last one holds 1 too."""
    return f"CASE WHEN {name} >= 1 THEN {bins - 1} ELSE {dialect.floor.format(f'{name} * {bins}')} END"


def decided(dialect: Dialect) -> str:
    """Costs by score; `x` is what the threshold is compared with.

    A kept question has no call to the last stage: `large` is estimated then.
    """
    return f"""WITH newest AS (SELECT {dialect.json.format("steps")} -> 0 AS first, {USD}, deferred FROM decisions
    WHERE at >= :since AND cascade = :cascade AND status = 'answered' AND cached = 0 ORDER BY at DESC
    LIMIT {MOST_DECIDED}), decided AS (
    SELECT CAST(coalesce(first ->> 'score', first ->> 'confidence') AS DOUBLE PRECISION) AS x,
    CAST(first ->> 'cost_usd' AS DOUBLE PRECISION) AS small, cost, baseline, deferred FROM newest
    WHERE first ->> 'decision' IN ('keep', 'defer'))
    SELECT x, count(*), count(*) FILTER (WHERE deferred = 1), sum(small),
    sum(CASE WHEN deferred = 1 THEN cost - small ELSE baseline END), sum(cost), sum(baseline) FROM decided
    WHERE small IS NOT NULL AND cost IS NOT NULL AND baseline IS NOT NULL GROUP BY x ORDER BY x NULLS FIRST"""


def agrees(dialect: Dialect) -> str:
    """Drawn answers of the first stage that agree with the last one's, by bin of confidence."""
    return f"""SELECT {binned(dialect, "x", RELIABILITY_BINS)}, count(*), sum(x), count(*) FILTER (WHERE differ = 0)
    FROM (SELECT CAST({dialect.json.format("facts")} -> 'small' ->> 'confidence' AS DOUBLE PRECISION) AS x, differ
    FROM audits WHERE differ IS NOT NULL AND {SINCE}) drawn WHERE x BETWEEN 0 AND 1 GROUP BY 1 ORDER BY 1"""


def labelled(dialect: Dialect) -> str:
    """Answers of the first stage by bin of confidence, and the correctness that a label gives them.

    A label is of the answer that was served, so only kept answers say something of the small model. A reviewer's
    stands above others', a later one above an earlier.
    """
    return f"""SELECT {binned(dialect, "x", RELIABILITY_BINS)}, count(*), sum(x), sum(served) FROM (
    SELECT d.confidence AS x, l.served,
    row_number() OVER (PARTITION BY l.trace_id ORDER BY l.sampled DESC, l.at DESC) AS n
    FROM labels l JOIN decisions d USING (trace_id) WHERE l.at >= :since AND d.deferred = 0
    AND (CAST(:cascade AS TEXT) IS NULL OR l.cascade = :cascade)) labels
    WHERE n = 1 AND x BETWEEN 0 AND 1 GROUP BY 1 ORDER BY 1"""


def stages(dialect: Dialect) -> str:
    """Calls by stage among the newest decisions."""
    return f"""WITH newest AS (SELECT steps FROM decisions WHERE cached = 0 ORDER BY at DESC LIMIT {RECENT})
    SELECT s.value ->> 'stage', count(*), count(*) FILTER (WHERE s.value ->> 'error' IS NOT NULL),
    avg(CAST(s.value ->> 'seconds' AS DOUBLE PRECISION)) FROM newest, {dialect.elements.format("newest.steps")} s
    WHERE s.value ->> 'skipped' IS NULL GROUP BY 1"""


AUDIT = (
    f"""SELECT sum(CAST(coalesce(cost_usd, reserved_usd) AS DOUBLE PRECISION)) FROM audits WHERE kept = 1 AND {SINCE}"""
)
LISTED = (
    "trace_id", "at", "key", "cascade", "stage", "status", "error", "deferred", "confidence", "threshold", "cost_usd",
    "baseline_usd", "seconds", "cached",
)  # fmt: skip
LIST = f"""SELECT trace_id, at, coalesce(k.name, key_id), d.cascade, stage, status, error, deferred, confidence,
threshold, CAST(cost_usd AS DOUBLE PRECISION), CAST(baseline_usd AS DOUBLE PRECISION), seconds, cached
FROM decisions d LEFT JOIN keys k ON k.id = d.key_id ORDER BY at DESC LIMIT {NEWEST}"""


class Money(Struct):
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
        open: Opens it.
    """

    open: Callable[[], AbstractContextManager[SqlConnection]]

    def _read(self, work: Callable[[SqlConnection, Dialect], T]) -> T:
        with self.open() as connection:
            return work(connection, POSTGRES if is_postgres(connection) else SQLITE)

    def summary(self, now: float, since: float, cascade: str | None, last_stages: Collection[str]) -> TrafficSummary:
        """Figures of the decisions since a time.

        Args:
            cascade: None takes all.
            last_stages: Names of the stages whose own cost is the baseline, one at least.
        """
        return self._read(lambda c, dialect: _summary(c, dialect, now, since, cascade, sorted(last_stages)))

    def thresholds(self, since: float, cascade: str, in_use: float | None) -> ThresholdCurve:
        """Costs that other thresholds of a cascade of two stages would have had.

        Args:
            in_use: The present threshold, which is one of the points.
        """
        named = {"since": since, "cascade": cascade}
        rows = self._read(lambda c, dialect: c.execute(decided(dialect), named).fetchall())
        return curve_of(rows, in_use)

    def reliability(self, since: float, cascade: str | None) -> dict[str, list[ReliabilityBin]]:
        """Shares by confidence: drawn answers that agree with the last stage's, and labelled ones that are right."""
        named, found = {"since": since, "cascade": cascade}, {"agrees": agrees, "labelled": labelled}
        return self._read(
            lambda c, dialect: {name: _bins(c.execute(query(dialect), named)) for name, query in found.items()}
        )

    def newest(self) -> list[dict[str, Any]]:
        """The newest decisions, without any text."""
        return self._read(lambda c, _: [dict(zip(LISTED, row, strict=True)) for row in c.execute(LIST)])

    def stages(self) -> dict[str, StageTraffic]:
        """Calls by stage among the newest decisions."""
        rows = self._read(lambda c, dialect: c.execute(stages(dialect)).fetchall())
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
    connection: SqlConnection, dialect: Dialect, now: float, since: float, cascade: str | None, last_stages: list[str]
) -> TrafficSummary:
    first = connection.execute("SELECT min(at) FROM decisions WHERE at >= ?", (since,)).fetchone()[0]
    bucket = bucket_seconds(now - max(since, first if first is not None else now))
    named = {"since": since, "cascade": cascade}
    parameters = {**named, "bucket": bucket, **{f"last{n}": name for n, name in enumerate(last_stages)}}
    rows = [
        (at, Money(*(value or 0 for value in values)))
        for at, *values in connection.execute(by_time(dialect, len(last_stages)), parameters)
    ]
    money = Money(*(sum(getattr(each, name) for _, each in rows) for name in Money.__struct_fields__))
    audit_usd = connection.execute(AUDIT, named).fetchone()[0] or 0.0
    saved = money.baseline - money.cost - audit_usd
    kept, deferred = [0] * BINS, [0] * BINS
    for number, was_deferred, count in connection.execute(histogram(dialect), named):
        (deferred if was_deferred else kept)[int(number)] = count
    return TrafficSummary(
        now=now, since=since, money=money, audit_usd=audit_usd, saved_usd=saved,
        saved_share=saved / money.baseline if money.baseline else None, bucket_seconds=bucket,
        buckets=[MoneyBucket(at=at, n=each.n, cost=each.cost, baseline=each.baseline) for at, each in rows],
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
