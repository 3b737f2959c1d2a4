"""The audit's state and evidence, for `corea audit`, `GET /v1/audit` and a page."""

import time
from collections.abc import Sequence
from decimal import Decimal

import msgspec
from msgspec import Struct

from corea.gateway.audit.store import (
    DAY_SECONDS,
    DONE,
    OVER_BUDGET,
    DrawnRow,
    LabelRow,
    MonitorRow,
    drawn_rows,
    label_rows,
    monitor_rows,
)
from corea.gateway.audit.traffic import read_facts
from corea.gateway.audit.watch import MEANING, DetectorState
from corea.gateway.billing.connection import SqlConnection
from corea.types import ZERO_USD

NO_TEST = "chosen by who sent it: a rate to read, no test"
LABELS_OF_SAMPLE = "with labels of reviewers, of drawn answers: feeds the detector `labelled`"


class SourceEvidence(Struct, kw_only=True):
    """Evidence of one source.

    Args:
        n: Observations. `rate`: their mean; None without any.
        evidence: Of a change, from 0; the alarm comes at `every`. None: no detector.
        low, high: Bounds of the mean where nothing has changed.
        alarm: The detector has alarmed, at its observation `alarmed_at`.
        meaning: The meaning of the evidence, in words.
    """

    source: str
    n: int
    rate: float | None
    evidence: float | None = None
    every: float | None = None
    low: float | None = None
    high: float | None = None
    alarm: bool = False
    alarmed_at: int | None = None
    meaning: str = ""


class AuditDay(Struct, kw_only=True):
    """One day (UTC) of drawn questions.

    Args:
        kept: Kept ones that were compared with the last stage; `kept_differ` of these differ, or with a judge are
            worse to it. Likewise `deferred`, which no judge compares.
        cost_usd: Of the audit's calls, as decimal text.
        over_budget: The budget did not cover the whole day.
    """

    day: str
    kept: int = 0
    kept_differ: int = 0
    deferred: int = 0
    deferred_differ: int = 0
    cost_usd: str = "0"
    over_budget: bool = False


class CascadeEvidence(Struct, kw_only=True):
    """State and evidence of one cascade.

    Args:
        since: Start of its detectors, seconds since 1970.
        alarm: Names of the detectors that have alarmed, until acknowledged; `alarmed_at` in seconds since 1970.
        drawn: Number of drawn kept questions by state: done, failed, asked, lost, budget.
        cost_usd: Of all calls of the audit: on no client's key.
        to_label: Drawn kept questions whose answers differ, or could not be compared, without a reviewer's label.
    """

    cascade: str
    since: float | None
    alarm: str | None
    alarmed_at: float | None
    acknowledged_at: float | None
    sources: list[SourceEvidence]
    drawn: dict[str, int]
    cost_usd: str
    to_label: int
    days: list[AuditDay]


class AuditEvidence(Struct, kw_only=True):
    """The whole audit."""

    cascades: list[CascadeEvidence]


def evidence_of(connection: SqlConnection) -> AuditEvidence:
    """State and evidence of all cascades in a database."""
    monitors = {row.cascade: row for row in monitor_rows(connection)}
    drawn, labels = drawn_rows(connection, whole=False), label_rows(connection)
    names = sorted({*monitors, *(row.cascade for row in drawn), *(label.cascade for label in labels)})
    return AuditEvidence(
        cascades=[
            _cascade(
                name, monitors.get(name), [row for row in drawn if row.cascade == name],
                [label for label in labels if label.cascade == name],
            )
            for name in names
        ]
    )  # fmt: skip


def _cascade(
    name: str, monitor: MonitorRow | None, drawn: Sequence[DrawnRow], labels: Sequence[LabelRow]
) -> CascadeEvidence:
    kept = [row for row in drawn if row.kept]
    states: dict[str, int] = {}
    for row in kept:
        states[row.state] = states.get(row.state, 0) + 1
    return CascadeEvidence(
        cascade=name,
        since=monitor.since if monitor else None,
        alarm=monitor.alarm if monitor else None,
        alarmed_at=monitor.alarmed_at if monitor else None,
        acknowledged_at=monitor.acknowledged_at if monitor else None,
        sources=[*_detectors(monitor), *_drawn_rates(drawn, monitor), *_feedback(labels)],
        drawn=states,
        cost_usd=cost_of(kept),
        to_label=sum(row.kept for row in to_label(drawn, labels)),
        days=_days(drawn),
    )


def to_label(drawn: Sequence[DrawnRow], labels: Sequence[LabelRow]) -> list[DrawnRow]:
    """Drawn questions whose answers differ, or could not be compared, and that no reviewer has labelled.

    Those kept come first: they alone test a promise, the others a new calibration too. In the order of the draw, so
    that any part of the list from its top is a random one.
    """
    known = {label.trace_id for label in labels if label.sampled}
    found = [row for row in drawn if row.state == DONE and row.differ is not False and row.trace_id not in known]
    return sorted(found, key=lambda row: (not row.kept, row.draw))


def _detectors(monitor: MonitorRow | None) -> list[SourceEvidence]:
    states = msgspec.json.decode(monitor.detectors, type=dict[str, DetectorState]) if monitor is not None else {}
    return [
        SourceEvidence(
            source=name, n=each.seen, rate=each.total / each.seen if each.seen else None, evidence=each.value,
            every=each.every, low=each.low, high=each.high, alarm=each.alarmed_at is not None,
            alarmed_at=each.alarmed_at, meaning=MEANING[name],
        )
        for name, each in states.items()
    ]  # fmt: skip


def _drawn_rates(drawn: Sequence[DrawnRow], monitor: MonitorRow | None) -> list[SourceEvidence]:
    """Rates of the drawn questions, where no detector watches the cascade."""
    if monitor is not None:
        return []
    found: list[SourceEvidence] = []
    for name, kept in (("deferred", False), ("audited", True)):
        differ = [each for row in drawn if row.kept is kept and (each := _worse(row)) is not None]
        if differ:
            meaning = "no calibration says what is normal: a rate to read, no test"
            found.append(SourceEvidence(source=name, n=len(differ), rate=sum(differ) / len(differ), meaning=meaning))
    return found


def _worse(row: DrawnRow) -> bool | None:
    """True where the two answers differ, or a judge prefers the last stage's; None: not compared."""
    facts = read_facts(row.facts)
    if facts.judge:
        return None if facts.judged is None else facts.judged > 0
    return row.differ


def _feedback(labels: Sequence[LabelRow]) -> list[SourceEvidence]:
    found: list[SourceEvidence] = []
    for source, sampled in sorted({(label.source, label.sampled) for label in labels}):
        served = [label.served for label in labels if (label.source, label.sampled) == (source, sampled)]
        meaning = LABELS_OF_SAMPLE if sampled else NO_TEST
        found.append(
            SourceEvidence(source=f"feedback:{source}", n=len(served), rate=sum(served) / len(served), meaning=meaning)
        )
    return found


def cost_of(drawn: Sequence[DrawnRow]) -> str:
    """USD of the audit's calls as decimal text, those in flight at their reserve."""
    return str(sum((Decimal(row.cost_usd or row.reserved_usd) for row in drawn), ZERO_USD))


def _days(drawn: Sequence[DrawnRow]) -> list[AuditDay]:
    found: dict[int, list[DrawnRow]] = {}
    for row in drawn:
        found.setdefault(row.day, []).append(row)
    return [_day(day, rows) for day, rows in sorted(found.items())]


def _day(day: int, rows: Sequence[DrawnRow]) -> AuditDay:
    kept, deferred = (
        [each for row in rows if row.kept is kept and row.state == DONE and (each := _worse(row)) is not None]
        for kept in (True, False)
    )
    return AuditDay(
        day=time.strftime("%Y-%m-%d", time.gmtime(day * DAY_SECONDS)),
        kept=len(kept),
        kept_differ=sum(kept),
        deferred=len(deferred),
        deferred_differ=sum(deferred),
        cost_usd=cost_of(rows),
        over_budget=any(row.state == OVER_BUDGET for row in rows),
    )
