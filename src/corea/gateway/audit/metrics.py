"""Metrics of the audit, read when /metrics is."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from corea.gateway.audit.auditor import Auditor

DETECTOR = ("cascade", "detector")


class AuditMetrics(Collector):
    """Counters and gauges of an audit."""

    def __init__(self, auditor: Auditor) -> None:
        self.auditor = auditor

    def collect(self) -> Iterable[Metric]:
        """The families of metrics with their present values."""
        auditor = self.auditor
        drawn = CounterMetricFamily("corea_audits", "Drawn kept answers, by outcome.", labels=("cascade", "outcome"))
        spent = CounterMetricFamily("corea_audit_spent_usd", "Cost of the audit's calls.", labels=("cascade",))
        for key, count in list(auditor.outcomes.items()):
            drawn.add_metric(key, count)
        for cascade, usd in list(auditor.spent.items()):
            spent.add_metric((cascade,), float(usd))
        yield drawn
        yield spent
        yield CounterMetricFamily("corea_audit_dropped", "Questions that could not be compared.", auditor.dropped)
        alarm = GaugeMetricFamily("corea_audit_alarm", "1 from an alarm until it is acknowledged.", labels=DETECTOR)
        evidence = GaugeMetricFamily("corea_audit_evidence", "Evidence over its limit: alarm at 1.", labels=DETECTOR)
        for cascade, watch in auditor.watches.items():
            for name, each in watch.evidence().items():
                alarm.add_metric((cascade, name), float(each.alarmed_at is not None))
                evidence.add_metric((cascade, name), each.value / each.every)
        yield alarm
        yield evidence
