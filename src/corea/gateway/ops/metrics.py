"""Counters, histograms and gauges for Prometheus."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from corea.gateway.chat.request_state import CompletedRequest
from corea.gateway.errors import GatewayError
from corea.hedge import LOST

STAGE = ("cascade", "stage")
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
GAUGES = {
    "corea_requests_running": "Requests under way.",
    "corea_decisions_waiting": "Decisions that are not stored yet.",
    "corea_accounts_failing": "1 while spending cannot be written.",
    "corea_cache_entries": "Answers in the response cache.",
}


class Metrics(Collector):
    """Metrics of the requests, in a registry of their own.

    Args:
        gauges: Current values, by the names in `GAUGES`.
        dropped: Number of decisions dropped.
        breakers: State of each stage's circuit breaker.
    """

    def __init__(
        self,
        gauges: Callable[[], Mapping[str, float]],
        dropped: Callable[[], int],
        breakers: Callable[[], Mapping[str, str]],
    ) -> None:
        self.gauges = gauges
        self.dropped = dropped
        self.breakers = breakers
        disable_created_metrics()
        self.registry: CollectorRegistry = CollectorRegistry()
        registry = self.registry
        ProcessCollector(registry=registry)
        registry.register(self)
        self._child = cache(_child)  # finding a metric's child by its labels takes three times as long as counting
        counter = partial(Counter, registry=registry)
        seconds = partial(Histogram, labelnames=STAGE, buckets=SECONDS, registry=registry)
        self.requests: Counter = counter("corea_requests", "Admitted requests, by status.", (*STAGE, "status"))
        self.refusals: Counter = counter("corea_requests_refused", "Requests not admitted.", ("status", "code"))
        self.decisions: Counter = counter(
            "corea_decisions", "Answers kept, deferred or abstained from.", (*STAGE, "decision")
        )
        self.outside: Counter = counter(
            "corea_outside_calibration", "Answers deferred as an input is unlike all rows that calibrated.", STAGE
        )
        self.tokens: Counter = counter("corea_tokens", "Tokens of all calls except signals'.", (*STAGE, "kind"))
        self.unpriced: Counter = counter("corea_requests_unpriced", "Requests of unknown cost.", STAGE[:1])
        self.disconnected: Counter = counter(
            "corea_requests_client_disconnected", "Requests without a client.", STAGE[:1]
        )
        self.cached: Counter = counter("corea_requests_cached", "Requests answered from the response cache.", STAGE[:1])
        self.spent: Counter = counter("corea_spent_usd", "Cost of the answers.", STAGE[:1])
        self.saved: Gauge = Gauge("corea_saved_usd", "Saving over the last stage alone.", STAGE[:1], registry=registry)
        self.hedges: Counter = counter("corea_hedges", "Requests that two stages raced for, by the winner.", STAGE)
        self.seconds: Histogram = seconds("corea_request_seconds", "From admission to the end.")
        self.first_text: Histogram = seconds("corea_first_text_seconds", "From admission to the first streamed text.")

    def collect(self) -> Iterable[Metric]:
        """The families whose values are read when /metrics is."""
        yield CounterMetricFamily("corea_decisions_dropped", "Decisions that could not be stored.", self.dropped())
        for name, value in self.gauges().items():
            yield GaugeMetricFamily(name, GAUGES[name], value)
        states = GaugeMetricFamily("corea_breaker_open", "1 where no call is allowed.", labels=["stage", "state"])
        for stage, state in self.breakers().items():
            states.add_metric([stage, state], float(state != "closed"))
        yield states

    def text(self) -> bytes:
        """Prometheus' text format, with the process's own metrics."""
        return generate_latest(self.registry)

    def refused(self, error: GatewayError) -> None:
        """Counts a request that was not admitted."""
        self.refusals.labels(error.status, error.code or "").inc()

    def record(self, completed: CompletedRequest) -> None:
        """Counts a completed request."""
        trace, cascade = completed.trace, completed.state.plan.route
        stage = trace.stage or ""
        self._child(self.requests, cascade, stage, completed.error.status if completed.error is not None else 200).inc()
        self._child(self.seconds, cascade, stage).observe(completed.seconds)
        if completed.first_text_seconds is not None:
            self._child(self.first_text, cascade, stage).observe(completed.first_text_seconds)
        if completed.client_disconnected:
            self._child(self.disconnected, cascade).inc()
        if completed.state.cached:
            self._child(self.cached, cascade).inc()
        if any(step.error_kind == LOST for step in trace.steps):
            self._child(self.hedges, cascade, stage).inc()
        for step in trace.steps:
            if step.confidence is not None and step.decision is not None and not completed.state.cached:
                self._child(self.decisions, cascade, step.stage, step.decision.value).inc()
                if step.confidence.outside:
                    self._child(self.outside, cascade, step.stage).inc()
            if step.completion is not None:
                self._child(self.tokens, cascade, step.stage, "prompt").inc(step.completion.usage.prompt_tokens)
                self._child(self.tokens, cascade, step.stage, "completion").inc(step.completion.usage.completion_tokens)
        if trace.cost_usd is None:
            self._child(self.unpriced, cascade).inc()
        else:
            self._child(self.spent, cascade).inc(float(trace.cost_usd))
        if (saved := trace.saved_usd) is not None:
            self._child(self.saved, cascade).inc(float(saved))


def _child(metric: Any, *labels: object) -> Any:
    return metric.labels(*labels)
