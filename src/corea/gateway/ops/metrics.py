"""What is counted. Counting is adding to plain numbers, since every request pays for it."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from corea.gateway.chat.request_state import CompletedRequest
from corea.gateway.errors import GatewayError
from corea.types import ZERO_USD

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
Gauges = Callable[[], Mapping[str, float]]
Breakers = Callable[[], Mapping[str, str]]


@dataclass(slots=True)
class Histogram:
    """Counts by bucket; the last bucket has no bound."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    total: float = 0.0

    def observe(self, seconds: float) -> None:
        """Adds one."""
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds


class Metrics:
    """Plain numbers; `corea.gateway.ops.prometheus` shows them to Prometheus.

    Args:
        gauges: Gives what is only looked at when asked, by the names in `exposition.GAUGES`.
        dropped: How many decisions were dropped.
        breakers: State of each stage's circuit breaker.
    """

    def __init__(self, gauges: Gauges, dropped: Callable[[], int], breakers: Breakers) -> None:
        self.gauges: Gauges = gauges
        self.dropped: Callable[[], int] = dropped
        self.breakers: Breakers = breakers
        self.requests: Counter[tuple[str, str, str]] = Counter()
        self.refusals: Counter[tuple[str, str]] = Counter()
        self.decisions: Counter[tuple[str, str, str]] = Counter()
        self.tokens: Counter[tuple[str, str, str]] = Counter()
        self.seconds: dict[tuple[str, str], Histogram] = {}
        self.first_text: dict[tuple[str, str], Histogram] = {}
        self.spent: dict[str, Decimal] = {}
        self.saved: dict[str, Decimal] = {}
        self.unpriced: Counter[str] = Counter()
        self.client_disconnected: Counter[str] = Counter()
        self.cached: Counter[str] = Counter()

    def text(self) -> bytes:
        """What /metrics serves."""
        from corea.gateway.ops.prometheus import exposed  # Prometheus' client takes its time, and the start has none

        return exposed(self)

    def refused(self, fault: GatewayError) -> None:
        """Counts a request that was not let in."""
        self.refusals[str(fault.status), fault.code or ""] += 1

    def record(self, done: CompletedRequest) -> None:
        """Counts a request that has ended."""
        trace, cascade = done.trace, done.plan.route
        stage = trace.stage or ""
        self.requests[cascade, stage, str(done.fault.status) if done.fault is not None else "200"] += 1
        _observe(self.seconds, (cascade, stage), done.seconds)
        if done.first_text_seconds is not None:
            _observe(self.first_text, (cascade, stage), done.first_text_seconds)
        if done.client_disconnected:
            self.client_disconnected[cascade] += 1
        if done.cached:
            self.cached[cascade] += 1
        for step in trace.steps:
            if step.confidence is not None and step.decision is not None and not done.cached:
                self.decisions[cascade, step.stage, step.decision.value] += 1
            if step.completion is not None:
                self.tokens[cascade, step.stage, "prompt"] += step.completion.usage.prompt_tokens
                self.tokens[cascade, step.stage, "completion"] += step.completion.usage.completion_tokens
        if trace.cost_usd is None:
            self.unpriced[cascade] += 1
        else:
            self.spent[cascade] = self.spent.get(cascade, ZERO_USD) + trace.cost_usd
        if (saved := trace.saved_usd) is not None:
            self.saved[cascade] = self.saved.get(cascade, ZERO_USD) + saved


def _observe(histograms: dict[tuple[str, str], Histogram], labels: tuple[str, str], seconds: float) -> None:
    histogram = histograms.get(labels)
    if histogram is None:
        histogram = histograms[labels] = Histogram()
    histogram.observe(seconds)
