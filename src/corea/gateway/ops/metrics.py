"""Counters, histograms and gauges for Prometheus."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from corea.cascade import COST_INCOMPLETE
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
COUNTED: dict[str, tuple[type[CounterMetricFamily | GaugeMetricFamily], str, tuple[str, ...]]] = {
    "corea_requests": (CounterMetricFamily, "Admitted requests, by status.", (*STAGE, "status")),
    "corea_requests_refused": (CounterMetricFamily, "Requests not admitted.", ("status", "code")),
    "corea_decisions": (CounterMetricFamily, "Answers kept, deferred or abstained from.", (*STAGE, "decision")),
    "corea_outside_calibration": (
        CounterMetricFamily,
        "Answers deferred as an input is unlike all rows that calibrated.",
        STAGE,
    ),
    "corea_tokens": (CounterMetricFamily, "Tokens of all calls except signals'.", (*STAGE, "kind")),
    "corea_requests_unpriced": (CounterMetricFamily, "Requests of unknown or incomplete cost.", STAGE[:1]),
    "corea_requests_client_disconnected": (CounterMetricFamily, "Requests without a client.", STAGE[:1]),
    "corea_requests_cached": (CounterMetricFamily, "Requests answered from the response cache.", STAGE[:1]),
    "corea_spent_usd": (CounterMetricFamily, "Cost of the answers.", STAGE[:1]),
    "corea_saved_usd": (GaugeMetricFamily, "Saving over the last stage alone.", STAGE[:1]),
    "corea_saved_plain_usd": (
        GaugeMetricFamily,
        "Saving over the last stage asked as the client asked, by the share measured at calibration.",
        STAGE[:1],
    ),
    "corea_hedges": (CounterMetricFamily, "Requests that two stages raced for, by the winner.", STAGE),
}  # added up here: a client library's counter takes five times as long


class Metrics(Collector):
    """Metrics of the requests, in a registry of their own.

    Args:
        gauges: Current values, by the names in `GAUGES`.
        dropped: Number of decisions dropped.
        breakers: State of each circuit breaker, by stage and number of the deployment.
    """

    def __init__(
        self,
        gauges: Callable[[], Mapping[str, float]],
        dropped: Callable[[], int],
        breakers: Callable[[], Mapping[tuple[str, str], str]],
    ) -> None:
        self.gauges = gauges
        self.dropped = dropped
        self.breakers = breakers
        disable_created_metrics()
        self.registry: CollectorRegistry = CollectorRegistry()
        registry = self.registry
        ProcessCollector(registry=registry)
        registry.register(self)
        self.counts: dict[tuple[str, ...], float] = defaultdict(float)  # by metric and labels
        self._child = cache(_child)  # finding a metric's child by its labels takes three times as long as counting
        seconds = partial(Histogram, labelnames=STAGE, buckets=SECONDS, registry=registry)
        self.seconds: Histogram = seconds("corea_request_seconds", "From admission to the end.")
        self.first_text: Histogram = seconds("corea_first_text_seconds", "From admission to the first streamed text.")

    def collect(self) -> Iterable[Metric]:
        """The families whose values are read when /metrics is."""
        families = {name: kind(name, text, labels=labels) for name, (kind, text, labels) in COUNTED.items()}
        for (name, *labels), value in self.counts.items():
            families[name].add_metric(labels, value)
        yield from families.values()
        yield CounterMetricFamily("corea_decisions_dropped", "Decisions that could not be stored.", self.dropped())
        for name, value in self.gauges().items():
            yield GaugeMetricFamily(name, GAUGES[name], value)
        labels = ["stage", "deployment", "state"]
        states = GaugeMetricFamily("corea_breaker_open", "1 where no call is allowed.", labels=labels)
        for (stage, deployment), state in self.breakers().items():
            states.add_metric([stage, deployment, state], float(state != "closed"))
        yield states

    def text(self) -> bytes:
        """Prometheus' text format, with the process's own metrics."""
        return generate_latest(self.registry)

    def refused(self, error: GatewayError) -> None:
        """Counts a request that was not admitted."""
        self._add("corea_requests_refused", str(error.status), error.code or "")

    def record(self, completed: CompletedRequest) -> None:
        """Counts a completed request."""
        trace, cascade = completed.trace, completed.state.plan.route
        stage, add = trace.stage or "", self._add
        add("corea_requests", cascade, stage, str(completed.error.status) if completed.error is not None else "200")
        self._child(self.seconds, cascade, stage).observe(completed.seconds)
        if completed.first_text_seconds is not None:
            self._child(self.first_text, cascade, stage).observe(completed.first_text_seconds)
        if completed.client_disconnected:
            add("corea_requests_client_disconnected", cascade)
        if completed.state.cached:
            add("corea_requests_cached", cascade)
        if any(step.error_kind == LOST for step in trace.steps):
            add("corea_hedges", cascade, stage)
        for step in trace.steps:
            if step.confidence is not None and step.decision is not None and not completed.state.cached:
                add("corea_decisions", cascade, step.stage, step.decision.value)
                if step.confidence.outside:
                    add("corea_outside_calibration", cascade, step.stage)
            if step.completion is not None:
                usage = step.completion.usage
                add("corea_tokens", cascade, step.stage, "prompt", by=usage.prompt_tokens)
                add("corea_tokens", cascade, step.stage, "completion", by=usage.completion_tokens)
        if trace.cost_usd is None or COST_INCOMPLETE in trace.flags:
            add("corea_requests_unpriced", cascade)
        if trace.cost_usd is not None:
            add("corea_spent_usd", cascade, by=float(trace.cost_usd))
        if (saved := trace.saved_usd) is not None:
            add("corea_saved_usd", cascade, by=float(saved))
        plain = completed.state.plan.cascade.calibrated.plain(trace.baseline_cost_usd)
        if plain is not None and trace.cost_usd is not None:
            add("corea_saved_plain_usd", cascade, by=float(plain - trace.cost_usd))

    def _add(self, metric: str, *labels: str, by: float = 1.0) -> None:
        self.counts[metric, *labels] += by


def _child(metric: Any, *labels: object) -> Any:
    return metric.labels(*labels)
