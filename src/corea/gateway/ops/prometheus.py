"""What was counted, as Prometheus sees it. Made only when /metrics is read."""

from collections.abc import Iterable, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from corea.gateway.ops.metrics import SECONDS, Histogram, Metrics

GAUGES = {
    "corea_requests_running": "Requests under way.",
    "corea_decisions_waiting": "Decisions that are not stored yet.",
    "corea_accounts_failing": "1 while money cannot be written down.",
    "corea_cache_entries": "Answers in the response cache.",
}


REQUEST = ["cascade", "stage", "status"]
DECISION = ["cascade", "stage", "decision"]


def exposed(metrics: Metrics) -> bytes:
    """Prometheus' text format, with the process's own numbers."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Families(metrics))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class Families(Collector):
    """The metrics as families."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """Every family."""
        counts = self.metrics
        yield _counter("corea_requests", "Requests that were let in, by how they ended.", REQUEST, counts.requests)
        yield _counter("corea_requests_refused", "Requests that were not let in.", ["status", "code"], counts.refusals)
        yield _counter("corea_decisions", "Answers kept, deferred or abstained from.", DECISION, counts.decisions)
        yield _counter(
            "corea_tokens", "Tokens of all calls, but not of signals.", ["cascade", "stage", "kind"], counts.tokens
        )
        for counted, name, what in (
            (counts.unpriced, "corea_requests_unpriced", "Requests whose cost is not known."),
            (counts.client_disconnected, "corea_requests_client_disconnected", "Requests whose client did not wait."),
            (counts.cached, "corea_requests_cached", "Requests answered from the response cache."),
        ):
            yield _counter(name, what, ["cascade"], {(cascade,): count for cascade, count in counted.items()})
        for histograms, name, what in (
            (counts.seconds, "corea_request_seconds", "From admission to the end."),
            (counts.first_text, "corea_first_text_seconds", "From admission to the first text of a streamed answer."),
        ):
            family = HistogramMetricFamily(name, what, labels=["cascade", "stage"])
            for labels, histogram in histograms.items():
                _add_histogram(family, list(labels), histogram)
            yield family
        spent = CounterMetricFamily("corea_spent_usd", "What the answers cost.", labels=["cascade"])
        for cascade, usd in counts.spent.items():
            spent.add_metric([cascade], float(usd))
        yield spent
        saved = GaugeMetricFamily("corea_saved_usd", "Less than the last stage alone; may fall.", labels=["cascade"])
        for cascade, usd in counts.saved.items():
            saved.add_metric([cascade], float(usd))
        yield saved
        yield CounterMetricFamily("corea_decisions_dropped", "Decisions that could not be stored.", counts.dropped())
        for name, value in counts.gauges().items():
            yield GaugeMetricFamily(name, GAUGES[name], value)
        breakers = GaugeMetricFamily("corea_breaker_open", "1 where no call may go.", labels=["stage", "state"])
        for stage, state in counts.breakers().items():
            breakers.add_metric([stage, state], float(state != "closed"))
        yield breakers


def _counter(name: str, what: str, labels: list[str], counts: Mapping[tuple[str, ...], int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, what, labels=labels)
    for values, count in counts.items():
        family.add_metric(list(values), count)
    return family


def _add_histogram(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    bounds = [*(str(seconds) for seconds in SECONDS), "+Inf"]
    family.add_metric(labels, list(zip(bounds, accumulate(histogram.counts), strict=True)), histogram.total)
