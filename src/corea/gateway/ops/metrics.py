"""Counters, histograms and gauges for Prometheus."""

import platform
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

import corea
from corea.cascade import COST_INCOMPLETE, Cascade
from corea.gateway.chat.request_state import CompletedRequest
from corea.gateway.chat.routing import WITHOUT_CATEGORY
from corea.gateway.errors import GatewayError
from corea.gateway.ops.logs import ERROR_KINDS, error_kind
from corea.hedge import LOST
from corea.policies.threshold import threshold_of
from corea.types import Decision, Step

STAGE = ("cascade", "stage")
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
SHORT_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
CONFIDENCE = (*(tenths / 10 for tenths in range(1, 10)), 0.95, 0.98, 0.99, 1.0)
HISTOGRAMS: dict[str, tuple[str, Sequence[float]]] = {
    "corea_request_seconds": ("From admission to the end.", SECONDS),
    "corea_first_text_seconds": ("From admission to the first streamed text.", SECONDS),
    "corea_stage_seconds": ("A stage's call with retries and signal.", SECONDS),
    "corea_confidence": ("Confidence of the answers of a stage.", CONFIDENCE),
}  # the last one is not of last stages
REFUSALS = (
    ("401", "missing_api_key"), ("401", "invalid_api_key"), ("429", "overloaded"), ("429", "rate_limit_exceeded"),
    ("429", "budget_reserved"), ("429", "insufficient_quota"), ("503", "accounts_unavailable"),
)  # fmt: skip
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
    "corea_stage_errors": (CounterMetricFamily, "Failed calls of a stage, by kind.", (*STAGE, "kind")),
    "corea_hedges": (CounterMetricFamily, "Requests that two stages raced for, by the winner.", STAGE),
}  # added up here: a client library's counter takes five times as long


class Buckets:
    """A histogram of one set of labels, added up by one thread, as the counters are.

    Args:
        bounds: Upper bounds, included, ascending.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds: Sequence[float] = bounds
        self.counts: list[int] = [0] * (len(bounds) + 1)
        self.total: float = 0.0

    def observe(self, value: float) -> None:
        """Counts a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """The counts up to each bound, as Prometheus writes them."""
        names = [*map(str, self.bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self.counts)), strict=True))


class KeyBudget(NamedTuple):
    """A budget of an API key; `period` is "day", "week", "month" or "life"."""

    key_id: str
    period: str
    usd: float
    spent_usd: float


class Metrics(Collector):
    """Metrics of the requests, in a registry of their own.

    Args:
        gauges: Current values, by the names in `GAUGES`.
        dropped: Number of decisions dropped.
        breakers: State of each circuit breaker, by stage and number of the deployment.

    Attributes:
        budgets: The budgets of the keys, where they are shown.
        retries: Failed attempts that another one followed, as `breakers`.
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
        self.histograms: dict[tuple[str, str, str], Buckets] = {}  # by metric, cascade and stage
        short = partial(Histogram, buckets=SHORT_SECONDS, registry=registry)
        self.commit: Histogram = short("corea_writer_commit_seconds", "Transactions of spending.")
        self.sync: Histogram = short("corea_writer_sync_seconds", "Syncs of the database's log.")
        self.loop_lag: Histogram = short("corea_event_loop_lag_seconds", "Delay of a timer, measured 4 times a second.")
        self.budgets: Callable[[], Iterable[KeyBudget]] = tuple
        self.retries: Callable[[], Mapping[tuple[str, str], int]] = dict
        self.cascades: Mapping[str, Cascade] = {}
        self.config_digest: str = ""
        self.reload_ok: bool = True
        self.reloaded_at: float = time.time()

    def use(self, cascades: Mapping[str, Cascade], digest: str) -> None:
        """Takes the cascades of a new configuration, and shows all their series from now on, at 0."""
        self.cascades, self.config_digest = cascades, digest
        self.reload_ok, self.reloaded_at = True, time.time()
        for status, code in REFUSALS:
            self._add("corea_requests_refused", status, code, by=0)
        for name, cascade in cascades.items():
            stages = [stage.name for stage in cascade.stages]
            for metric in ("requests_unpriced", "requests_client_disconnected", "requests_cached", "spent_usd"):
                self._add(f"corea_{metric}", name, by=0)
            self._add("corea_saved_usd", name, by=0)
            for status in ("502", "503", "504"):
                self._add("corea_requests", name, "", status, by=0)
            for stage in stages:
                self._expect(name, stage, measured=stage != stages[-1])

    def _expect(self, cascade: str, stage: str, *, measured: bool) -> None:
        values = {
            "requests": ["200"],
            "tokens": ["prompt", "completion"],
            "stage_errors": ERROR_KINDS,
            "decisions": [Decision.KEEP.value, Decision.DEFER.value] if measured else [],
        }
        for metric, labels in values.items():
            for label in labels:
                self._add(f"corea_{metric}", cascade, stage, label, by=0)
        for metric in ("hedges", *(("outside_calibration",) if measured else ())):
            self._add(f"corea_{metric}", cascade, stage, by=0)
        for metric in HISTOGRAMS if measured else tuple(HISTOGRAMS)[:-1]:
            self._buckets(metric, cascade, stage)

    def collect(self) -> Iterable[Metric]:
        """The families whose values are read when /metrics is."""
        families = {name: kind(name, text, labels=labels) for name, (kind, text, labels) in COUNTED.items()}
        for (name, *labels), value in self.counts.items():
            families[name].add_metric(labels, value)
        yield from families.values()
        filled = {name: HistogramMetricFamily(name, text, labels=STAGE) for name, (text, _) in HISTOGRAMS.items()}
        for (name, *labels), buckets in self.histograms.items():
            filled[name].add_metric(labels, buckets.cumulative(), buckets.total)
        yield from filled.values()
        yield CounterMetricFamily("corea_decisions_dropped", "Decisions that could not be stored.", self.dropped())
        for name, value in self.gauges().items():
            yield GaugeMetricFamily(name, GAUGES[name], value)
        labels = ["stage", "deployment", "state"]
        states = GaugeMetricFamily("corea_breaker_open", "1 where no call is allowed.", labels=labels)
        for (stage, deployment), state in self.breakers().items():
            states.add_metric([stage, deployment, state], float(state != "closed"))
        yield states
        retries = CounterMetricFamily("corea_stage_retries", "Calls that another attempt followed.", labels=labels[:2])
        for (stage, deployment), number in self.retries().items():
            retries.add_metric([stage, deployment], number)
        yield retries
        yield from self._configuration()
        labels = ["key", "period"]
        limits = GaugeMetricFamily("corea_key_budget_usd", "Budget of a key.", labels=labels)
        spent = GaugeMetricFamily("corea_key_spent_usd", "Spending of a key in a period.", labels=labels)
        for budget in self.budgets():
            limits.add_metric([budget.key_id, budget.period], budget.usd)
            spent.add_metric([budget.key_id, budget.period], budget.spent_usd)
        yield from (limits, spent)

    def _configuration(self) -> Iterable[Metric]:
        build = GaugeMetricFamily("corea_build_info", "1, with versions.", labels=["version", "python"])
        build.add_metric([corea.__version__, platform.python_version()], 1)
        config = GaugeMetricFamily("corea_config_info", "1, with the start of the SHA-256.", labels=["sha256"])
        config.add_metric([self.config_digest], 1)
        thresholds = GaugeMetricFamily("corea_threshold", "Answers at or above it are kept.", labels=list(STAGE))
        for name, cascade in self.cascades.items():
            for stage in cascade.stages[:-1]:
                if (threshold := threshold_of(stage.policy, WITHOUT_CATEGORY)) is not None:
                    thresholds.add_metric([name, stage.name], threshold)
        ok, at = "corea_config_last_reload_successful", "corea_config_last_reload_success_timestamp_seconds"
        return (
            build,
            config,
            thresholds,
            GaugeMetricFamily(ok, "1 unless the last reload was refused.", float(self.reload_ok)),
            GaugeMetricFamily(at, "Start, or last reload that was not refused.", self.reloaded_at),
        )

    def text(self) -> bytes:
        """Prometheus' text format, with the process's own metrics."""
        return generate_latest(self.registry)

    def refused(self, error: GatewayError) -> None:
        """Counts a request that was not admitted."""
        self._add("corea_requests_refused", str(error.status), error.code or "")

    def record(self, completed: CompletedRequest) -> None:
        """Counts a completed request."""
        trace, cascade = completed.trace, completed.state.plan.route
        stage, counts = trace.stage or "", self.counts  # without a function for each: it would take half of the time
        status = str(completed.error.status) if completed.error is not None else "200"
        counts["corea_requests", cascade, stage, status] += 1
        self._buckets("corea_request_seconds", cascade, stage).observe(completed.seconds)
        if completed.first_text_seconds is not None:
            self._buckets("corea_first_text_seconds", cascade, stage).observe(completed.first_text_seconds)
        if completed.client_disconnected:
            counts["corea_requests_client_disconnected", cascade] += 1
        if completed.state.cached:
            counts["corea_requests_cached", cascade] += 1
        raced = False
        for step in trace.steps:
            raced = raced or step.error_kind == LOST
            if not completed.state.cached:
                self._call(cascade, step)
            if step.completion is not None:
                usage = step.completion.usage
                counts["corea_tokens", cascade, step.stage, "prompt"] += usage.prompt_tokens
                counts["corea_tokens", cascade, step.stage, "completion"] += usage.completion_tokens
        if raced:
            counts["corea_hedges", cascade, stage] += 1
        cost = trace.cost_usd
        if cost is None or COST_INCOMPLETE in trace.flags:
            counts["corea_requests_unpriced", cascade] += 1
        if cost is None:
            return
        counts["corea_spent_usd", cascade] += float(cost)
        if trace.baseline_cost_usd is not None:
            counts["corea_saved_usd", cascade] += float(trace.baseline_cost_usd - cost)
        plain = completed.state.plan.cascade.calibrated.plain(trace.baseline_cost_usd)
        if plain is not None:
            counts["corea_saved_plain_usd", cascade] += float(plain - cost)

    def _call(self, cascade: str, step: Step) -> None:
        """Counts a call of a request, and the decision on its answer."""
        if step.skipped is not None:
            return
        self._buckets("corea_stage_seconds", cascade, step.stage).observe(step.seconds)
        if (kind := error_kind(step)) is not None:
            self.counts["corea_stage_errors", cascade, step.stage, kind] += 1
        if (confidence := step.confidence) is None:
            return
        if confidence.value is not None:
            self._buckets("corea_confidence", cascade, step.stage).observe(confidence.value)
        if step.decision is not None:
            self.counts["corea_decisions", cascade, step.stage, step.decision.value] += 1
            if confidence.outside:
                self.counts["corea_outside_calibration", cascade, step.stage] += 1

    def _buckets(self, metric: str, cascade: str, stage: str) -> Buckets:
        found = self.histograms.get((metric, cascade, stage))
        if found is None:
            found = self.histograms[metric, cascade, stage] = Buckets(HISTOGRAMS[metric][1])
        return found

    def _add(self, metric: str, *labels: str, by: float = 1.0) -> None:
        self.counts[metric, *labels] += by
